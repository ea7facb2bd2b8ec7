"""The numbers of a compiled MuJoCo model that a task parameter may change, and what a change of one says.

What a change does stands in `mql.tasks.physics.changes`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from mql.config.parts import Mistake, Names, Part, whole
from mql.errors import nearest

SMALLEST = 1e-9  # kg, kg m^2, s or a scale: physics needs more than 0, and nothing that a lab weighs is lighter

TARGETS = ("body", "joint", "geom", "actuator", "site")


@dataclass(frozen=True, kw_only=True)
class ChangeField:
    """One field.

    Args:
        array: the array of the model that holds it: ``model.<array>``, or ``model.opt.<array>`` for an option.
        targets: which keys of a change may name what is changed; empty for an option, which is the model's own.
        width: components of each one's value.
        unit: of a value that is set or added.
        low: the lowest value that physics allows.
        default_index: the component that a plain number means where the change has no index; None: all of them for
            op scale, and an index is needed for set and add.
        increasing: the two components are a range, the first below the second.
    """

    array: str
    targets: tuple[str, ...] = ()
    width: int = 1
    unit: str = "1"
    low: float = -math.inf
    default_index: int | None = None
    increasing: bool = False


_BODY, _JOINT, _GEOM, _SITE = ("body",), ("joint",), ("geom",), ("site",)
_ACTUATOR = ("actuator", "joint")  # some models leave actuators unnamed; those go by the joint that they drive

FIELDS: Mapping[str, ChangeField] = MappingProxyType(
    {
        "body_mass": ChangeField(array="body_mass", targets=_BODY, unit="kg", low=SMALLEST),
        "body_inertia": ChangeField(array="body_inertia", targets=_BODY, width=3, unit="kg m^2", low=SMALLEST),
        "body_pos": ChangeField(array="body_pos", targets=_BODY, width=3, unit="m"),
        "body_gravcomp": ChangeField(array="body_gravcomp", targets=_BODY),
        "geom_friction": ChangeField(array="geom_friction", targets=_GEOM, width=3, low=0.0, default_index=0),
        "geom_pos": ChangeField(array="geom_pos", targets=_GEOM, width=3, unit="m"),
        "geom_size": ChangeField(array="geom_size", targets=_GEOM, width=3, unit="m", low=SMALLEST),
        "dof_damping": ChangeField(array="dof_damping", targets=_JOINT, unit="N s/m or N m s/rad", low=0.0),
        "dof_frictionloss": ChangeField(array="dof_frictionloss", targets=_JOINT, unit="N or N m", low=0.0),
        "dof_armature": ChangeField(array="dof_armature", targets=_JOINT, unit="kg or kg m^2", low=0.0),
        "jnt_range": ChangeField(array="jnt_range", targets=_JOINT, width=2, unit="m or rad", increasing=True),
        "jnt_stiffness": ChangeField(array="jnt_stiffness", targets=_JOINT, unit="N/m or N m/rad", low=0.0),
        "qpos_spring": ChangeField(array="qpos_spring", targets=_JOINT, unit="m or rad"),
        "actuator_gear": ChangeField(array="actuator_gear", targets=_ACTUATOR, width=6, default_index=0),
        "position_gain": ChangeField(array="actuator_gainprm", targets=_ACTUATOR, unit="N/m or N m/rad", low=0.0),
        "actuator_forcerange": ChangeField(
            array="actuator_forcerange", targets=_ACTUATOR, width=2, unit="N or N m", increasing=True
        ),
        "site_pos": ChangeField(array="site_pos", targets=_SITE, width=3, unit="m"),
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

    field: FieldName = Field(description="What changes; body_mass takes the inertia along.")
    body: Names | None = Field(default=None, description="The body, or a list of bodies.")
    joint: Names | None = Field(default=None, description="The joint, or a list; for an actuator, the joint it drives.")
    geom: Names | None = Field(default=None, description="The geom, or a list of geoms.")
    actuator: Names | None = Field(default=None, description="The actuator, or a list of actuators.")
    site: Names | None = Field(default=None, description="The site, or a list of sites.")
    index: Annotated[int, BeforeValidator(whole), Field(ge=0)] | None = Field(
        default=None, description="Which component of the field, from 0 (geom_friction: 0 is sliding, the default)."
    )
    op: Literal["set", "scale", "add"] = Field(description="Set the value, multiply the model's own, or add to it.")

    @model_validator(mode="after")
    def _fits(self) -> Change:
        kind = FIELDS[self.field]
        if self.field == "geom_size":
            mend = "a size is compiled into the model; write the sizes you need as geoms of their own, or as files"
            raise Mistake("geom_size can't be changed by a parameter", mend, "field")
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


def _components(change: Change, kind: ChangeField, size: int | None) -> tuple[int, ...]:
    names = change.target[1]
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
