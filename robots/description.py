"""What is stated about a robot: where its model is, and the facts about it that tasks build on.

Units: kg, m, s, rad, N m. The tests compare every fact with the compiled model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from mql.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Actuator:
    """One motor.

    Args:
        joint: the joint it turns. Some models leave actuators unnamed, so they are addressed by joint.
        control_range: lowest and highest control signal.
        gear: torque (N m) for a control signal of 1.
    """

    joint: str
    control_range: tuple[float, float]
    gear: float


@dataclass(frozen=True, kw_only=True)
class View:
    """From where pictures are taken: looking at `body` (None: the origin), `distance` m away, angles in degrees."""

    body: str | None
    distance: float
    azimuth: float
    elevation: float


@dataclass(frozen=True, kw_only=True)
class Robot:
    """A robot.

    Args:
        name: the robot's name.
        source: where the model and the numbers come from.
        licence: of the model file, as an SPDX identifier.
        package: the installed package that holds the model file.
        mjcf: path of the model file inside that package.
        physics_timestep: seconds of one physics step.
        frame_skip: physics steps in one control step.
        joints: joint names in the order of qpos; every joint has one degree of freedom, but a free root has six.
        rest: the pose qpos that the model starts from; a free root takes seven numbers: x, y, z and a quaternion.
        home: joint -> where it starts in tasks that a lab defines, within its range; joints left out start as in the
            model, and so do all where it is empty.
        actuators: in the order of the control signal.
        masses: body name -> kg, in the model's order and without the world; a body without a name goes by its joint's.
        view: from where pictures are taken.
    """

    name: str
    source: str
    licence: str
    package: str
    mjcf: str
    physics_timestep: float
    frame_skip: int
    joints: tuple[str, ...]
    rest: tuple[float, ...]
    actuators: tuple[Actuator, ...]
    masses: Mapping[str, float]
    view: View
    home: Mapping[str, float | tuple[float, ...]] = field(default_factory=dict)

    @property
    def control_timestep(self) -> float:
        """Seconds between two actions."""
        return self.physics_timestep * self.frame_skip

    @property
    def path(self) -> Path:
        """Path of the model file in the installed package, which is not imported for that.

        Raises:
            UserError: the package is not installed, or holds no such file.
        """
        found = find_spec(self.package)
        if found is None or found.origin is None:
            raise UserError(
                f"package {self.package} is missing", where=f"robot {self.name}", mend="install it with pip"
            )
        path = Path(found.origin).parent / self.mjcf
        if not path.is_file():
            raise UserError(f"{path} is missing", where=f"robot {self.name}", mend=f"reinstall {self.package}")
        return path
