"""An end effector that a mocap body pulls: the other way of a control mode ``ee_delta``.

The mocap body stands where the weld that holds the hand to it is content at the start, and is displaced from there;
position servos of a pulled arm yield. What an action means is what `mql.tasks.control.effector` says.

Shapes: U actuators, A numbers of an action, Y position servos of a pulled arm.
"""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np

from mql.tasks.control.actuators import Indices
from mql.tasks.control.effector import EndEffector, Stroke
from mql.tasks.control.limits import VELOCITY, WORKSPACE
from mql.tasks.family import Array


@dataclass(frozen=True, kw_only=True, eq=False)
class MocapEffector(EndEffector):
    """An end effector that a mocap body pulls, by a weld between it and a body of the robot.

    The weld is content where the mocap body's orientation is the pulled body's times `weld_turn`, and where the point
    `own_point` of the mocap body is the point `pulled_point` of the other.

    Args:
        mocap: number of the mocap body among the mocap bodies.
        pulled: number of the pulled body among all bodies.
        weld_turn: [4], a quaternion.
        own_point: [3] m, in the mocap body's frame.
        pulled_point: [3] m, in the pulled body's frame.
        yielding: [Y], position servos of joints that the pull moves.
        places: [Y], where those joints stand in qpos.
        ratio: [Y], the servos' control for 1 rad or m.
        end_point: [3] m, the end effector in the pulled body's frame: what actions displace, and turn about.
    """

    mocap: int
    pulled: int
    weld_turn: Array
    own_point: Array
    pulled_point: Array
    yielding: Indices
    places: Indices
    ratio: Array
    end_point: Array

    def drive(self, model: mujoco.MjModel, data: mujoco.MjData) -> MocapDrive:
        """Command one simulation."""
        return MocapDrive(self, model, data)


class MocapDrive:
    """Commands one simulation by a `MocapEffector`. What is asked for is where the mocap body stands."""

    def __init__(self, effector: MocapEffector, model: mujoco.MjModel, data: mujoco.MjData) -> None:
        self._effector, self._model, self._data = effector, model, data
        # Views: each access to an attribute of MjData makes a new one.
        self._controls, self._qpos = data.ctrl, data.qpos
        self._position, self._quaternion = data.mocap_pos[effector.mocap], data.mocap_quat[effector.mocap]
        self._pulled_position, self._pulled_quaternion = data.xpos[effector.pulled], data.xquat[effector.pulled]
        self._end, self._offset = (
            np.zeros(3),
            np.zeros(3),
        )  # m, of the end effector: where it is, and from the mocap body
        self._own_end = np.zeros(3)  # the latter in the mocap body's frame, which no weld changes
        self._asked, self._turned = np.zeros(3), np.zeros(4)
        self.limited: dict[str, bool] = {}

    def start(self) -> None:
        """Start an episode: put the mocap body where nothing is pulled, and let the actuators hold."""
        effector = self._effector
        self._controls[:] = effector.holding.controls(self._model, self._data)
        effector.holding.settle(self._data.act, self._controls)
        mujoco.mju_mulQuat(self._quaternion, self._pulled_quaternion, effector.weld_turn)
        mujoco.mju_rotVecQuat(self._offset, effector.own_point, self._quaternion)
        mujoco.mju_rotVecQuat(self._end, effector.pulled_point, self._pulled_quaternion)
        self._position[:] = self._pulled_position + self._end - self._offset
        self._look()
        self._asked[:] = self._end
        mujoco.mju_negQuat(self._turned, self._quaternion)
        mujoco.mju_rotVecQuat(self._own_end, self._end - self._position, self._turned)
        self._limit(slow=False, outside=False)

    def act(self, action: Array) -> None:
        """Displace the mocap body, and write the gripper's controls, for an action [A]."""
        effector, slow, outside = self._effector, False, False
        self._look()
        asked: Array = effector.stroke.ask(self._asked, action[:3], self._end)
        if effector.farthest is not None:
            way = asked - self._asked
            length = float(np.linalg.norm(way))
            slow = length > effector.farthest
            if slow:
                asked = self._asked + effector.farthest / length * way
        if effector.workspace is not None:
            kept, left = effector.workspace.keep(self._asked[None], asked[None])
            asked, outside = kept[0], bool(left[0])
        self._asked[:] = asked
        if effector.turn is not None:
            self._turn(effector.turn, action[3:6])
        mujoco.mju_rotVecQuat(self._offset, self._own_end, self._quaternion)
        self._position[:] = self._asked - self._offset
        self._limit(slow=slow, outside=outside)
        if effector.yielding.size:
            self._controls[effector.yielding] = effector.ratio * self._qpos[effector.places]
        effector.fingers.command(self._controls, action)

    def _turn(self, turn: Stroke, action: Array) -> None:
        """Turn the mocap body, for turns [3] about the world's axes."""
        asked, now = np.zeros(9), np.zeros(9)
        mujoco.mju_mulQuat(self._turned, self._pulled_quaternion, self._effector.weld_turn)
        mujoco.mju_quat2Mat(now, self._turned)
        mujoco.mju_quat2Mat(asked, self._quaternion)
        further = turn.turn(asked.reshape(1, 3, 3), action[None], now.reshape(1, 3, 3))
        if action.any():  # else it stays to the last bit
            mujoco.mju_mat2Quat(self._quaternion, further.ravel())

    def _look(self) -> None:
        """See where the end effector is."""
        mujoco.mju_rotVecQuat(self._end, self._effector.end_point, self._pulled_quaternion)
        self._end += self._pulled_position

    def _limit(self, *, slow: bool, outside: bool) -> None:
        if self._effector.farthest is not None:
            self.limited[VELOCITY] = slow
        if self._effector.workspace is not None:
            self.limited[WORKSPACE] = outside
