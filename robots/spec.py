"""A robot as a lab states it: an MJCF, and facts about it with units and sources, in one YAML file.

`mql.robots.registry.load` reads one; `compile` builds its model, and `mql robots check` compares the two.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn

from pydantic import Field, PrivateAttr, model_validator

from mql.config.parts import Mistake, Part, Real
from mql.errors import UserError, nearest
from mql.plain_text import counted
from mql.robots.description import View
from mql.robots.mjcf.source import MjcfSource, find_mjcf
from mql.robots.spec_parts import (
    Actuator,
    AttachPoint,
    Base,
    Bounds,
    CameraView,
    ControlMode,
    EndEffector,
    Gripper,
    Joint,
    Mount,
    Name,
    Positive,
    Safety,
    Sensor,
)

if TYPE_CHECKING:
    import mujoco

    from mql.robots.mjcf.sealed import Sealed

SCHEMA = "mql.robot/1"

RandomisedField = Literal[
    "body_mass",
    "body_pos",
    "geom_friction",
    "dof_damping",
    "dof_frictionloss",
    "dof_armature",
    "jnt_stiffness",
    "actuator_gainprm",
    "actuator_gear",
    "site_pos",
]


class RobotSpec(Part):
    """One robot: where its model is, what holds for it, how it is commanded, and what the real one must not do."""

    schema_: Literal["mql.robot/1"] = Field(alias="schema", description="Version of this format: mql.robot/1.")
    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$")] = Field(
        description="The robot's name: small letters, digits, '-' and '_'."
    )
    version: Annotated[int, Field(ge=1)] = Field(default=1, description="Counts up when a fact changes.")
    description: str = Field(default="", description="What it is, in a line.")
    licence: Annotated[str, Field(pattern=r"^[A-Za-z0-9.+() -]+$")] = Field(
        description="Of the model file, as an SPDX identifier; NOASSERTION where it is not known."
    )
    source: Name = Field(description="Where the model and the numbers come from.")
    sources: Mapping[str, Name] = Field(
        default={}, description="Where single numbers come from, by dotted key, such as joints.elbow.effort_limit."
    )
    mjcf: Name = Field(
        description="The model, MJCF or URDF: a file beside this one, menagerie:<name>[/<entry>], descriptions:<name> "
        "or package:<module>/<path>."
    )
    physics_timestep_s: Positive | None = Field(default=None, description="One physics step, s.")
    base: Base | None = Field(default=None, description="What the robot stands on.")
    mount: Mount = Field(default=Mount(), description="Where the base attaches in a scene.")
    home: Mapping[str, Real | tuple[Real, ...]] = Field(
        default={},
        description="Joint -> position at rest, rad or m; ball: a quaternion; free: x, y, z (m), quaternion.",
    )
    end_effector: EndEffector | None = Field(default=None, description="The point that does the work.")
    gripper: Gripper | None = Field(default=None, description="How the hand is opened and closed.")
    joints: Mapping[str, Joint] = Field(default={}, description="Joint -> its limits.")
    actuators: Mapping[str, Actuator] = Field(default={}, description="Actuator, or the joint it drives -> its facts.")
    replace_actuators: bool = Field(
        default=False, description="True: the model's own actuators are left out, and those stated here are built."
    )
    control: Mapping[str, ControlMode] = Field(default={}, description="Control mode -> how actions command the robot.")
    exclude: Literal["all"] | tuple[tuple[Name, Name], ...] = Field(
        default=(), description="Pairs of bodies that never touch each other, or all: none of the robot's bodies do."
    )
    sensors: Mapping[str, Sensor] = Field(
        default={}, description="Sensor -> what the real robot measures, and how well."
    )
    randomise: Mapping[RandomisedField, Bounds] = Field(
        default={}, description="Field of the model -> how far it may be varied."
    )
    attach: Mapping[str, AttachPoint] = Field(default={}, description="Place -> where something can be attached.")
    safety: Safety = Field(default=Safety(), description="Limits that the real robot must keep.")
    masses: Mapping[str, Positive] = Field(default={}, description="Body -> mass, kg.")
    view: CameraView | None = Field(default=None, description="From where pictures are taken.")

    _file: Path | None = PrivateAttr(default=None)
    _places: Mapping[str, str] = PrivateAttr(default={})
    _menagerie: Path | None = PrivateAttr(default=None)
    _folder: Path | None = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _agrees(self) -> RobotSpec:
        for name, joint in self.joints.items():
            if joint.unlimited and joint.position_range is not None:
                _conflict(f"joints.{name}.unlimited", "an unlimited joint has a range", "delete one of the two lines")
        for name in self.home if self.joints else ():
            _known(f"home.{name}", "joint", name, self.joints)
        for name, actuator in self.actuators.items():
            if self.joints and actuator.joint is not None:
                _known(f"actuators.{name}.joint", "joint", actuator.joint, self.joints)
        if self.gripper is not None:
            for name in self.gripper.actuators if self.actuators else ():
                _known("gripper.actuators", "actuator", name, self.actuators)
            for key in ("open", "close"):
                given, needed = len(getattr(self.gripper, key)), len(self.gripper.actuators)
                if given != needed:
                    _conflict(
                        f"gripper.{key}",
                        f"{counted(given, 'value')} for {counted(needed, 'actuator')}",
                        "give one for each of them",
                    )
        for name, mode in self.control.items():
            self._check_mode(f"control.{name}", mode)
        for name, point in self.attach.items():
            if (point.site is None) == (point.body is None):
                _conflict(f"attach.{name}", "not one place", "give either a site or a body")
        for field, bounds in self.randomise.items():
            if bounds.low > bounds.high:
                _conflict(f"randomise.{field}.low", "low is above high", "exchange the two")
        for key in self.sources:
            self._check_source(key)
        return self

    def _check_mode(self, key: str, mode: ControlMode) -> None:
        if (mode.kind == "ee_delta") != (mode.by is not None):
            _conflict(
                key, f"{mode.kind} with by: {mode.by or 'nothing'}", "ee_delta, and only that, needs by: mocap or ik"
            )
        if (mode.by == "mocap") != (mode.mocap_body is not None):
            _conflict(key, "by and mocap_body do not agree", "name a mocap_body with by: mocap, and only there")
        if mode.kind == "ee_delta" and not isinstance(mode.scale, float):
            _conflict(key, "a scale per joint with ee_delta, which moves the end effector", "give one number, in m")
        if mode.kind != "ee_delta" and mode.rotation_scale is not None:
            _conflict(key, f"{mode.kind} with rotation_scale", "only ee_delta turns the end effector: leave it out")
        if isinstance(mode.scale, Mapping):
            for name in mode.scale if self.joints else ():
                _known(f"{key}.scale.{name}", "joint", name, self.joints)
        if mode.by == "ik" and self.end_effector is None:
            _conflict(key, "there is no end effector to move", "add a section 'end_effector: {site: NAME}'")

    def _check_source(self, key: str) -> None:
        tree: Any = self.model_dump(by_alias=True)
        rest = key
        while rest:
            if not isinstance(tree, Mapping):
                _conflict(f"sources.{key}", f"nothing stands at {key!r}", "end it at a key that holds numbers")
            found = [name for name in tree if rest == name or rest.startswith(f"{name}.")]
            if not found:
                _conflict(f"sources.{key}", f"there is no key {key!r}", nearest(rest.split(".")[0], tree))
            longest = max(found, key=len)  # a name may hold dots itself
            tree, rest = tree[longest], rest[len(longest) + 1 :]

    @property
    def file(self) -> Path | None:
        """The YAML file; None where the spec was not read from one."""
        return self._file

    def where(self, key: str) -> str:
        """Return the place of a dotted key, ``arm.yaml:12 joints.elbow``: of the innermost part that is there."""
        parts = key
        while parts and parts not in self._places:
            parts = parts.rpartition(".")[0]
        place = self._places.get(parts) or (str(self._file) if self._file else f"robot {self.name}")
        return f"{place} {key}"

    def source_of(self, key: str) -> str:
        """Return where the number at a dotted key comes from: its own source, that of its section, or the robot's."""
        parts = key
        while parts and parts not in self.sources:
            parts = parts.rpartition(".")[0]
        return self.sources.get(parts, self.source)

    def mjcf_source(self) -> MjcfSource:
        """Return the model's file, and the folder that holds all it may read.

        Raises:
            UserError: it is not there; the message says how to get it.
        """
        try:
            return find_mjcf(self.mjcf, self._folder, self._menagerie)
        except UserError as error:
            raise UserError(error.what, where=error.where or self.where("mjcf"), mend=error.mend) from None

    def path(self) -> Path:
        """Return the path of the MJCF. Raises UserError as `mjcf_source` does."""
        return self.mjcf_source().path

    def read_model(self) -> Sealed:
        """Read the model with all its files, which is tried out in a process of its own the first time.

        Raises:
            UserError: a file is missing or outside its folder, or MuJoCo can't take the model.
        """
        from mql.robots.mjcf.compiled import read_model

        source = self.mjcf_source()
        return read_model(source.path, source.folder)

    def mjspec(self, sealed: Sealed) -> Any:
        """Return a model read by `read_model` as an MjSpec, with what this spec adds to it.

        Raises:
            UserError: MuJoCo refuses it, or the spec can't be added.
        """
        from mql.robots.additions import add_to

        spec = sealed.spec()
        add_to(spec, self, sealed)
        return spec

    def compile(self) -> mujoco.MjModel:
        """Compile the model, with what this spec adds to one without actuators.

        Raises:
            UserError: as `read_model` does, MuJoCo refuses the model, or it holds wrong numbers.
        """
        from mql.robots.additions import needs_additions
        from mql.robots.mjcf.compiled import checked, compile_spec

        sealed = self.read_model()
        if needs_additions(self, sealed):
            return compile_spec(self.mjspec(sealed), sealed)
        return checked(sealed.compile(), sealed.path)

    def camera(self) -> View | None:
        """Return `view` in the form that cameras take."""
        if self.view is None:
            return None
        view = self.view
        return View(body=view.body, distance=view.distance, azimuth=view.azimuth, elevation=view.elevation)

    def summary_row(self) -> dict[str, Any]:
        """Return the line of `mql robots list` as plain data."""
        return {
            "name": self.name,
            "summary": self.description,
            "joints": len(self.joints),
            "actuators": len(self.actuators),
            "licence": self.licence,
            "source": self.source,
        }

    def describe(self) -> dict[str, Any]:
        """Return all that is stated, and defaults for the rest, as plain data."""
        return self.model_dump(mode="json", by_alias=True)

    def placed(
        self, file: Path | None, places: Mapping[str, str], menagerie: Path | None, folder: Path | None = None
    ) -> RobotSpec:
        """Return this spec with the memory of where it was read, and of where the menagerie is.

        Args:
            file: what it was read from, if that was a file.
            places: dotted key -> file and line.
            menagerie: a copy of the menagerie.
            folder: which `mjcf` is relative to, and which holds all that is read; None: the file's own.
        """
        copy = self.model_copy()
        copy._file, copy._places, copy._menagerie = file, places, menagerie
        copy._folder = folder or (file.parent if file is not None else None)
        return copy


def _known(key: str, kind: str, name: str, names: Mapping[str, object]) -> None:
    if name not in names:
        near = nearest(name, names)
        joined = f"{near} Else" if near.endswith("?") else f"{near}, or"
        _conflict(key, f"unknown {kind} {name!r}", f"{joined} state it under '{kind}s', too")


def _conflict(key: str, what: str, mend: str) -> NoReturn:
    raise Mistake(what, mend, key)
