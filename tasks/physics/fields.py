"""The numbers of a compiled MuJoCo model that a task parameter may change, and what a change of one says.

What a change does stands in `mql.tasks.physics.changes`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from mql.config.parts import Mistake, Names, Part, whole
from mql.errors import nearest

SMALLEST = 1e-9  # kg, kg m^2, s or a scale: physics needs more than 0, and nothing that a lab weighs is lighter
# The smallest scale of a mass or an inertia that this project's own families take.
SMALLEST_SCALE = 1e-6
ALL = "*"  # instead of a name: all that the model has

TARGETS = ("body", "joint", "geom", "actuator", "site", "tendon", "equality", "mesh")

# How a change is carried out: on the numbers of the model as it is (LIVE); so too, but by compiling the model's file
# anew where MuJoCo fixes lengths or poses from places when it compiles (PLACE); always by compiling (SHAPE).
LIVE, PLACE, SHAPE = "live", "place", "shape"


@dataclass(frozen=True, kw_only=True)
class ChangeField:
    """One field.

    Args:
        array: the array of the model that holds it: ``model.<array>``, or ``model.opt.<array>`` for an option.
        targets: which keys of a change may name what is changed; empty for an option, which is the model's own.
        width: components of each one's value.
        column: where in the array's rows the first component stands.
        sign: -1 where the array holds the negative of the value.
        unit: of a value that is set or added.
        low: the lowest value that physics allows.
        default_index: the component that a plain number means where the change has no index; None: all of them for
            op scale, and an index is needed for set and add.
        increasing: the two components are a range, the first below the second.
        carried: LIVE, PLACE or SHAPE.
        derived: MuJoCo derives other numbers of the model from it (``mj_setConst``).
        ops: what can be done with it.
        orientation: ``quaternion``, or ``turn`` of one: a rotation vector in the thing's own frame; else empty.
    """

    array: str
    targets: tuple[str, ...] = ()
    width: int = 1
    column: int = 0
    sign: int = 1
    unit: str = "1"
    low: float = -math.inf
    default_index: int | None = None
    increasing: bool = False
    carried: str = LIVE
    derived: bool = False
    ops: tuple[str, ...] = ("set", "scale", "add")
    orientation: str = ""


_BODY, _JOINT, _SITE, _TENDON, _EQUALITY = ("body",), ("joint",), ("site",), ("tendon",), ("equality",)
_GEOM = ("geom", "body")  # some models leave geoms unnamed; those go by the body that they belong to
_ACTUATOR = ("actuator", "joint")  # likewise: by the joint that they drive
_PLACED: dict[str, Any] = {"width": 3, "unit": "m"}
_QUATERNION: dict[str, Any] = {"width": 4, "ops": ("set",), "orientation": "quaternion"}
_TURN: dict[str, Any] = {"width": 3, "unit": "rad", "ops": ("add",), "orientation": "turn"}
_BODY_PLACE: dict[str, Any] = {"targets": _BODY, "carried": PLACE, "derived": True}
_BODY_LOAD: dict[str, Any] = {"targets": _BODY, "derived": True, "low": SMALLEST}
_GEOM_SHAPE: dict[str, Any] = {"targets": _GEOM, "carried": SHAPE, "derived": True}

FIELDS: Mapping[str, ChangeField] = MappingProxyType(
    {
        "body_mass": ChangeField(array="body_mass", unit="kg", **_BODY_LOAD),
        "body_mass_only": ChangeField(array="body_mass", unit="kg", **_BODY_LOAD),
        "body_inertia": ChangeField(array="body_inertia", width=3, unit="kg m^2", **_BODY_LOAD),
        "body_ipos": ChangeField(array="body_ipos", targets=_BODY, carried=SHAPE, derived=True, **_PLACED),
        "body_pos": ChangeField(array="body_pos", **_BODY_PLACE, **_PLACED),
        "body_quat": ChangeField(array="body_quat", **_BODY_PLACE, **_QUATERNION),
        "body_turn": ChangeField(array="body_quat", **_BODY_PLACE, **_TURN),
        "body_gravcomp": ChangeField(array="body_gravcomp", targets=_BODY),
        "geom_friction": ChangeField(array="geom_friction", targets=_GEOM, width=3, low=0.0, default_index=0),
        "geom_solref": ChangeField(array="geom_solref", targets=_GEOM, width=2),
        "geom_solimp": ChangeField(array="geom_solimp", targets=_GEOM, width=5),
        "geom_pos": ChangeField(array="geom_pos", **_GEOM_SHAPE, **_PLACED),
        "geom_quat": ChangeField(array="geom_quat", **_GEOM_SHAPE, **_QUATERNION),
        "geom_turn": ChangeField(array="geom_quat", **_GEOM_SHAPE, **_TURN),
        "geom_size": ChangeField(array="geom_size", **_GEOM_SHAPE, width=3, unit="m", low=SMALLEST),
        "mesh_scale": ChangeField(array="mesh_scale", targets=("mesh",), width=3, carried=SHAPE, derived=True),
        "dof_damping": ChangeField(array="dof_damping", targets=_JOINT, unit="N s/m or N m s/rad", low=0.0),
        "dof_frictionloss": ChangeField(array="dof_frictionloss", targets=_JOINT, unit="N or N m", low=0.0),
        "dof_armature": ChangeField(array="dof_armature", targets=_JOINT, unit="kg or kg m^2", low=0.0, derived=True),
        "jnt_range": ChangeField(array="jnt_range", targets=_JOINT, width=2, unit="m or rad", increasing=True),
        "jnt_stiffness": ChangeField(array="jnt_stiffness", targets=_JOINT, unit="N/m or N m/rad", low=0.0),
        "qpos_spring": ChangeField(array="qpos_spring", targets=_JOINT, unit="m or rad"),
        "actuator_gear": ChangeField(array="actuator_gear", targets=_ACTUATOR, width=6, default_index=0, derived=True),
        "position_gain": ChangeField(array="actuator_gainprm", targets=_ACTUATOR, unit="N/m or N m/rad", low=0.0),
        "position_damping": ChangeField(
            array="actuator_biasprm", targets=_ACTUATOR, column=2, sign=-1, unit="N s/m or N m s/rad", low=0.0
        ),
        "actuator_forcerange": ChangeField(
            array="actuator_forcerange", targets=_ACTUATOR, width=2, unit="N or N m", increasing=True
        ),
        "site_pos": ChangeField(array="site_pos", targets=_SITE, carried=PLACE, derived=True, **_PLACED),
        "tendon_stiffness": ChangeField(array="tendon_stiffness", targets=_TENDON, unit="N/m or N/rad", low=0.0),
        "tendon_damping": ChangeField(array="tendon_damping", targets=_TENDON, unit="N s/m or N s/rad", low=0.0),
        "tendon_frictionloss": ChangeField(array="tendon_frictionloss", targets=_TENDON, unit="N", low=0.0),
        "tendon_range": ChangeField(array="tendon_range", targets=_TENDON, width=2, unit="m or rad", increasing=True),
        "tendon_lengthspring": ChangeField(array="tendon_lengthspring", targets=_TENDON, width=2, unit="m or rad"),
        "eq_polycoef": ChangeField(array="eq_data", targets=_EQUALITY, width=5),
        "eq_anchor": ChangeField(array="eq_data", targets=_EQUALITY, derived=True, **_PLACED),
        "eq_relpos": ChangeField(array="eq_data", targets=_EQUALITY, column=3, **_PLACED),
        "eq_torquescale": ChangeField(array="eq_data", targets=_EQUALITY, column=10, low=0.0),
        "eq_solref": ChangeField(array="eq_solref", targets=_EQUALITY, width=2),
        "eq_solimp": ChangeField(array="eq_solimp", targets=_EQUALITY, width=5),
        "gravity": ChangeField(array="gravity", width=3, unit="m/s^2"),
        "wind": ChangeField(array="wind", width=3, unit="m/s"),
        "timestep": ChangeField(array="timestep", unit="s", low=SMALLEST),
        "density": ChangeField(array="density", unit="kg/m^3", low=0.0),
        "viscosity": ChangeField(array="viscosity", unit="Pa s", low=0.0),
    }
)


def allowed_range(field: str, op: str) -> tuple[float, float]:
    """Return the lowest and highest parameter that physics allows a change of `field` by `op`.

    What is added is judged by the sum, which the model must be known for; so nothing is excluded here.
    """
    low = FIELDS[field].low
    if op == "add" or low < 0.0:
        return (-math.inf, math.inf)
    return (low, math.inf)


def _field(value: str) -> str:
    if value not in FIELDS:
        raise Mistake(f"unknown field {value!r}", nearest(value, FIELDS))
    return value


FieldName = Annotated[str, AfterValidator(_field), WithJsonSchema({"enum": list(FIELDS)})]


class Change(Part):
    """One number of the compiled model that a task parameter changes, always from the model's own value."""

    field: FieldName = Field(description="What changes; body_mass scales the inertia, too.")
    body: Names | None = Field(
        default=None, description="The body, or a list ('*': all); of a geom's field, all geoms of the body."
    )
    joint: Names | None = Field(default=None, description="The joint, or a list; for an actuator, the joint it drives.")
    geom: Names | None = Field(default=None, description="The geom, or a list of geoms.")
    actuator: Names | None = Field(default=None, description="The actuator, or a list of actuators.")
    site: Names | None = Field(default=None, description="The site, or a list of sites.")
    tendon: Names | None = Field(default=None, description="The tendon, or a list of tendons.")
    equality: Names | None = Field(default=None, description="The equality constraint, or a list of them.")
    mesh: Names | None = Field(default=None, description="The mesh, or a list of meshes.")
    index: Annotated[int, BeforeValidator(whole), Field(ge=0)] | None = Field(
        default=None, description="Which component of the field, from 0 (geom_friction: 0 is sliding, the default)."
    )
    op: Literal["set", "scale", "add"] = Field(description="Set the value, multiply the model's own, or add to it.")

    @model_validator(mode="after")
    def _fits(self) -> Change:
        kind = FIELDS[self.field]
        if self.op not in kind.ops:
            turn = f", or turn it from where it is with {self.field.replace('quat', 'turn')}"
            mend = f"write op: {kind.ops[0]}" + (turn if kind.orientation == "quaternion" else "")
            raise Mistake(f"op {self.op} of {self.field}", mend, "op")
        given = [target for target in TARGETS if getattr(self, target) is not None]
        allowed = " or ".join(kind.targets)
        for target in given:
            if target not in kind.targets:
                mend = f"name the {allowed}" if allowed else f"{self.field} belongs to the whole model; delete the line"
                raise Mistake(f"{self.field} has no {target}", mend, target)
        if len(given) != min(len(kind.targets), 1):
            what = (
                f"{self.field} doesn't say which {allowed}" if not given else f"{self.field} names {len(given)} kinds"
            )
            raise Mistake(what, f"give one of {allowed}, such as '{kind.targets[0]}: NAME'")
        if self.index is not None and not self.index < kind.width:
            mend = f"give 0 to {kind.width - 1}" if kind.width > 1 else f"{self.field} is one number; delete the line"
            raise Mistake(f"{self.field} has no component {self.index}", mend, "index")
        return self

    @property
    def kind(self) -> ChangeField:
        """What is known about the field."""
        return FIELDS[self.field]

    @property
    def target(self) -> tuple[str, tuple[str, ...]]:
        """Which key names what is changed, and the names; ("", ()) for an option of the whole model."""
        for target in TARGETS:
            names = getattr(self, target)
            if names is not None:
                return target, names
        return "", ()

    def components(self, size: int | None) -> tuple[int, ...]:
        """Say which components of the field a parameter of `size` numbers (None: a plain one) changes, in order.

        Raises:
            Mistake: they don't fit.
        """
        return _components(self, self.kind, size)


def change(op: str, field: str, *, index: int | None = None, **target: str | tuple[str, ...]) -> Change:
    """Write a change in Python: ``change("scale", "body_mass", body="torso")``.

    Raises:
        ValueError: it is none.
    """
    return Change.model_validate({"field": field, "op": op, "index": index} | target)


def _components(change: Change, kind: ChangeField, size: int | None) -> tuple[int, ...]:
    names = change.target[1]
    if kind.orientation == "quaternion" and (size != kind.width or change.index is not None):
        raise Mistake(f"{change.field} is set as a whole", "give the parameter a size of 4: w, x, y, z")
    if size is None:
        if change.index is not None:
            return (change.index,)
        if kind.width == 1 or kind.default_index is not None:
            return (kind.default_index or 0,)
        if change.op == "scale":
            return tuple(range(kind.width))
        mend = f"add 'index: 0' to 'index: {kind.width - 1}', or give the parameter a size of {kind.width}"
        raise Mistake(f"{change.field} has {kind.width} components, the parameter is one number", mend)
    if change.index is not None:
        raise Mistake("an index and a parameter with a size", "leave one of them out", "index")
    if kind.width == 1:
        if len(names) == size:
            return (0,)
        mend = f"name {size} of them, one for each component, or leave the size out"
        raise Mistake(f"a parameter of size {size} for {max(len(names), 1)} x {change.field}", mend)
    if size > kind.width:
        raise Mistake(f"a parameter of size {size} for {change.field}", f"it has {kind.width} components")
    return tuple(range(size))
