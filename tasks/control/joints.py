"""Actions that command a model's actuators: their whole ranges, or what a robot's control mode of joints says.

Shapes: U actuators (an action has as many numbers), Q positions; with tasks side by side a leading N.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import mujoco
import numpy as np
import numpy.typing as npt

from mql.errors import UserError
from mql.tasks.family import Array

if TYPE_CHECKING:
    from mql.robots.spec_parts import ControlMode


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


def joint_control(model: mujoco.MjModel, mode: ControlMode | None, *, where: str) -> Control:
    """Return what an action does in a control mode of joints; None: it commands the actuators' ranges.

    Actuators that drive no single joint are commanded by their ranges in any mode.

    Args:
        model: the compiled model.
        mode: of any kind but ``ee_delta``.
        where: the place of what chose it, for messages.

    Raises:
        UserError: an actuator has no range.
    """
    check_ranges(model, where=where)
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


def check_ranges(model: mujoco.MjModel, *, where: str) -> None:
    """Refuse an actuator without a control range, which actions could be mapped to.

    Raises:
        UserError: there is one.
    """
    for actuator in range(model.nu):
        low, high = model.actuator_ctrlrange[actuator]
        if not model.actuator_ctrllimited[actuator] or not low < high:
            name = model.actuator(actuator).name or str(actuator)
            mend = 'give it ctrlrange="LOW HIGH", which actions from -1 to 1 are mapped to'
            raise UserError(f"actuator {name!r} has no control range", where=where, mend=mend)
