"""What an action does: it commands the actuators' ranges, or, of a robot, what one of its control modes says.

Modes that displace the end effector are those of `mql.tasks.control.effector`; all others are a `Control`.

Shapes: U actuators (an action of a `Control` has as many numbers), Q positions; with lanes side by side a leading N.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import mujoco
import numpy as np
import numpy.typing as npt

from mql.errors import UserError, nearest
from mql.tasks.control.effector import MocapEffector, ServoEffector
from mql.tasks.control.modes import effector_of
from mql.tasks.definitions.file import DefinitionFile

if TYPE_CHECKING:
    from mql.robots.spec import RobotSpec

Array = npt.NDArray[np.float64]

CONTROL_RATE = 20.0  # actions per second where neither the definition nor a control mode says


@dataclass(frozen=True)
class Control:
    """The control signal for an action a in [-1, 1]: ``base + gain * a``, from where a joint is if it `follows` one.

    Args:
        base: [U].
        gain: [U], what an action of 1 means.
        follows: [U], the place in qpos that is added; -1: none. None: no actuator follows a joint.
        low: [U], least control signal.
        high: [U], largest control signal.
    """

    base: Array
    gain: Array
    follows: npt.NDArray[np.int64] | None
    low: Array
    high: Array

    @property
    def action_dim(self) -> int:
        """Length U of an action."""
        return self.base.size

    def drive(self, model: mujoco.MjModel, data: mujoco.MjData) -> ActuatorDrive:
        """Command one simulation."""
        return ActuatorDrive(self, data)

    def signal(self, qpos: Array, action: Array) -> Array:
        """Return the control signal [U] or [N, U] for an action [U] or [N, U] where the joints are at qpos [.., Q]."""
        signal: Array = self.base + self.gain * action
        if self.follows is not None:
            signal += np.where(self.follows >= 0, qpos[..., self.follows], 0.0)
            np.clip(signal, self.low, self.high, out=signal)
        return signal


class ActuatorDrive:
    """Commands one simulation by a `Control`, which remembers nothing."""

    def __init__(self, control: Control, data: mujoco.MjData) -> None:
        # Views of the data's own memory: each access to an attribute of MjData makes a new one.
        self._signal, self._qpos, self._controls = control.signal, data.qpos, data.ctrl

    def start(self) -> None:
        """Start an episode."""

    def act(self, action: Array) -> None:
        """Write the controls for an action [U]."""
        self._controls[:] = self._signal(self._qpos, action)


def robot_of(file: DefinitionFile) -> RobotSpec | None:
    """Return the robot of a definition, or None: it has no robot but a model.

    Raises:
        UserError: there is no such robot, or its file is wrong.
    """
    name = file.definition.env.robot
    if name is None:
        return None
    from mql.robots import registry as robots

    is_path = "/" in name or name.endswith((".yaml", ".yml", ".xml"))
    try:
        return robots.load(str(file.folder / name) if is_path else name)
    except UserError as error:
        raise UserError(error.what, where=error.where or file.where("env.robot"), mend=error.mend) from None


def frame_skip_of(file: DefinitionFile, model: mujoco.MjModel, robot: RobotSpec | None) -> int:
    """Return the physics steps of a control step: as given, or what comes nearest to the control mode's rate."""
    env = file.definition.env
    if env.frame_skip is not None:
        return env.frame_skip
    mode = None if robot is None or env.control is None else robot.control.get(env.control)
    rate = CONTROL_RATE if mode is None else mode.rate_hz
    return max(1, round(1.0 / (rate * float(model.opt.timestep))))


def control_of(
    file: DefinitionFile, model: mujoco.MjModel, robot: RobotSpec | None
) -> Control | ServoEffector | MocapEffector:
    """Return what an action does. Actuators that drive no single joint are commanded by their ranges.

    Raises:
        UserError: an actuator has no range, or the robot has no such control mode, or one that the model can't serve.
    """
    name = file.definition.env.control
    modes = {} if robot is None else robot.control
    if name is not None and name not in modes:
        mend = nearest(name, modes) if modes else "leave it out: actions then command the actuators' ranges"
        raise UserError(f"the robot has no control mode {name!r}", where=file.where("env.control"), mend=mend)
    mode = None if name is None else modes[name]
    if robot is not None and name is not None and mode is not None and mode.kind == "ee_delta":
        return effector_of(model, robot, name)
    for actuator in range(model.nu):
        low, high = model.actuator_ctrlrange[actuator]
        if not model.actuator_ctrllimited[actuator] or not low < high:
            name = model.actuator(actuator).name or str(actuator)
            mend = 'give it ctrlrange="LOW HIGH", which actions from -1 to 1 are mapped to'
            raise UserError(f"actuator {name!r} has no control range", where=file.where("env"), mend=mend)
    low, high = (np.array(end, np.float64) for end in model.actuator_ctrlrange.T)
    plain = Control((high + low) / 2.0, (high - low) / 2.0, None, low, high)
    if mode is None:
        return plain
    base, gain, follows = plain.base.copy(), plain.gain.copy(), np.full(model.nu, -1)
    for actuator in map(int, np.flatnonzero(model.actuator_trntype == mujoco.mjtTrn.mjTRN_JOINT.value)):
        joint = int(model.actuator_trnid[actuator, 0])
        if mode.kind == "joint_position":
            gain[actuator] *= mode.scale
        else:
            base[actuator] = 0.0
            gain[actuator] = mode.scale
            if mode.kind == "torque":
                gain[actuator] /= model.actuator_gear[actuator, 0]
            if mode.kind == "position_delta":
                follows[actuator] = model.jnt_qposadr[joint]
    return Control(base, gain, follows if (follows >= 0).any() else None, low, high)
