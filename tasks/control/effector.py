"""What actions of a control mode ``ee_delta`` do: they displace the robot's end effector and move its gripper.

An action is x, y and z (1: the mode's scale, along the world's axes); where the mode turns, too, the turns about these
axes; and, where the robot has a gripper, one more, from -1 (closed) to 1 (open). Where it does not turn, the end
effector keeps the orientation that it has when an episode starts. Actuators that belong neither to the arm nor to the
gripper hold still.

The place that is asked for is remembered from step to step, so an arm that gives way under a load does not creep, and
a place that was asked for is reached a little later. An action never asks for more than a short way ahead of the end
effector, so that an arm which is held up does not press ever harder.

There are two ways. Position servos of the arm's hinges get the angles of `mql.tasks.control.kinematics`; an arm of less
than six joints can't keep its orientation, which is then left free. Or a mocap body pulls (`mql.tasks.control.mocap`).

Shapes: N tasks, Q positions, U actuators, J joints of the arm, A numbers of an action, G actuators of the gripper.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import mujoco
import numpy as np

from mql.tasks.control.actuators import Holding, Indices
from mql.tasks.control.controller import EpisodeDrive
from mql.tasks.control.kinematics import ArmKinematics, Flange
from mql.tasks.control.limits import VELOCITY, WORKSPACE, Box
from mql.tasks.control.rotation import matrices, turns_between
from mql.tasks.family import Array, BoolArray

LEAD_TIME = 0.1  # s; how far ahead of the end effector the place asked for may run, at full speed
LEAST_LEAD = 3.0  # strokes of a full action; a slow arm needs two to keep up the speed that is asked for
JOINTS_TO_ORIENT = 6  # with fewer, a hand can't keep its orientation while it moves along three axes


@dataclass(frozen=True)
class Stroke:
    """How far an action of 1 displaces something, and how far ahead of where that is an action may ask.

    Args:
        length: of an action of 1: m along each axis, or rad; one number, or one for each number of the action.
        lead: likewise.
    """

    length: float | Array
    lead: float | Array

    def ask(self, asked: Array, action: Array, place: Array) -> Array:
        """Return the place to ask for [..] after `asked` [..], where something is at `place` [..].

        Without an action it stays where it is, however far away the thing itself has been drawn.
        """
        ahead = asked - place
        furthest = np.maximum(self.lead, np.abs(ahead))
        step = np.minimum(np.maximum(self.length * action, -furthest - ahead), furthest - ahead)
        further: Array = asked + step
        return further

    def turn(self, asked: Array, action: Array, orientation: Array) -> Array:
        """Return the orientation to ask for [N, 3, 3] likewise, for turns [N, 3] about the world's axes."""
        allowed = np.maximum(self.lead, np.linalg.norm(turns_between(orientation, asked), axis=1))
        further = matrices(self.length * action) @ asked
        ahead = turns_between(orientation, further)
        angle = np.linalg.norm(ahead, axis=1)
        too_far = angle > allowed + 1e-9
        if too_far.any():
            less = ahead[too_far] * (allowed / np.maximum(angle, 1e-12))[too_far, None]
            further[too_far] = matrices(less) @ orientation[too_far]
        return further


def stroke(scale: float, rate_hz: float) -> Stroke:
    """Return the stroke of a mode whose action of 1 means `scale` m or rad, at `rate_hz` actions per second."""
    return Stroke(scale, scale * max(LEAST_LEAD, LEAD_TIME * rate_hz))


@dataclass(frozen=True)
class Fingers:
    """A gripper: its actuators [G] and their controls, ``middle + half * a`` for the action's last number a.

    Args:
        actuators: [G], empty without a gripper.
        middle: [G], between closed and open.
        half: [G], from there to open.
    """

    actuators: Indices
    middle: Array
    half: Array

    @property
    def action_dim(self) -> int:
        """Numbers of an action that it takes: 0 or 1."""
        return int(self.actuators.size > 0)

    def command(self, controls: Array, action: Array) -> None:
        """Write into controls [.., U] what an action [.., A] asks for."""
        if self.actuators.size:
            controls[..., self.actuators] = self.middle + self.half * action[..., -1:]


NO_FINGERS = Fingers(np.zeros(0, np.intp), np.zeros(0), np.zeros(0))


@dataclass(frozen=True, kw_only=True, eq=False)
class EndEffector:
    """What both ways of moving an end effector have in common.

    Args:
        stroke: what an action means.
        holding: what holds all that no action moves.
        fingers: the gripper.
        turn: what the turns of an action mean; None: it has none.
        workspace: the place that is asked for stays in there; None: anywhere.
        farthest: m; how far the place that is asked for may go in a step; None: any way.
    """

    stroke: Stroke
    holding: Holding
    fingers: Fingers = NO_FINGERS
    turn: Stroke | None = None
    workspace: Box | None = None
    farthest: float | None = None

    @property
    def stays(self) -> bool:
        """No action asks the end effector to stay."""
        return True

    @property
    def action_dim(self) -> int:
        """Length A of an action."""
        return 3 + (3 if self.turn is not None else 0) + self.fingers.action_dim


@dataclass(frozen=True, kw_only=True, eq=False)
class ServoEffector(EndEffector):
    """An end effector that moves by position servos of the hinges between it and the robot's base.

    Args:
        kinematics: of the model as it was compiled. What a task changes in it, the controller does not know.
        servos: [J], the actuator of each joint.
        ratio: [J], its control for an angle of 1 rad.
        fastest: [J] rad; how far the angles that are asked for may go in a step; None: any way.
        rotation: [3, 3], the orientation that the end effector keeps; None: the one that it starts with.
        posture: [J] rad, to which the arm is drawn where the end effector does not mind; None: the one at the start.
    """

    kinematics: ArmKinematics
    servos: Indices
    ratio: Array
    fastest: Array | None = None
    rotation: Array | None = None
    posture: Array | None = None

    def begin(self, qpos: Array, resting: Array) -> ServoEpisode:
        """Start an episode of each task from qpos [N, Q]; `resting` [N, U] are controls that hold all as it is."""
        return ServoEpisode(self, qpos, resting)

    def drive(self, model: mujoco.MjModel, data: mujoco.MjData) -> EpisodeDrive:
        """Command one simulation."""
        return EpisodeDrive(self, model, data)


class ServoEpisode:
    """An episode of N tasks: where the end effectors are asked to be, and by which joint angles."""

    def __init__(self, effector: ServoEffector, qpos: Array, resting: Array) -> None:
        self._effector, self._controls = effector, resting.copy()
        kinematics = effector.kinematics
        self._angles = qpos[:, kinematics.qpos]
        self._posture = self._angles if effector.posture is None else effector.posture
        # What the servos are asked for beyond the angles, to carry what weighs on them where the episode starts.
        self._load = resting[:, effector.servos] - effector.ratio * self._angles
        self._seen = self._reached = kinematics.flange(self._angles)
        self._asked = self._seen.position
        keeps = effector.rotation is not None or len(kinematics.names) >= JOINTS_TO_ORIENT
        self._rotation: Array | None = None
        if keeps:
            self._rotation = self._seen.rotation if effector.rotation is None else effector.rotation
        self.limited: dict[str, BoolArray] = {}
        self._limit(np.zeros(len(qpos), np.bool_), np.zeros(len(qpos), np.bool_))

    def see(self, qpos: Array, qvel: Array) -> Mapping[str, Array]:
        """Look at qpos [N, Q]; return place, ``asked``, ``ahead`` [N, 3] m, rotation [N, 3, 3], Jacobian [N, 6, J].

        The place, the rotation and the Jacobian are the end effector's; ``asked`` is the place that was asked for, and
        ``ahead`` the way to there.
        """
        kinematics, rows = self._effector.kinematics, len(qpos)
        # Where it is, and where it would be with the angles that were asked for: together, which saves a third.
        both = kinematics.flange(np.concatenate([qpos[:, kinematics.qpos], self._angles]))
        self._seen, self._reached = (
            Flange(both.position[part], both.rotation[part], both.jacobian[part])
            for part in (slice(rows), slice(rows, None))
        )
        seen = self._seen
        return {
            "position": seen.position,
            "rotation": seen.rotation,
            "jacobian": seen.jacobian,
            "asked": self._asked,
            "ahead": self._asked - seen.position,
        }

    def controls(self, action: Array) -> Array:
        """Return the controls [N, U] for an action [N, A] where the arms were last seen: valid until the next."""
        effector, kinematics = self._effector, self._effector.kinematics
        asked = effector.stroke.ask(self._asked, action[:, :3], self._seen.position)
        slow = outside = np.zeros(len(action), np.bool_)
        if effector.farthest is not None:
            way = asked - self._asked
            share = effector.farthest / np.maximum(np.linalg.norm(way, axis=1), effector.farthest)
            slow = share < 1.0
            asked = np.where(slow[:, None], self._asked + share[:, None] * way, asked)
        if effector.workspace is not None:
            asked, outside = effector.workspace.keep(self._asked, asked)
        self._asked = asked
        if effector.turn is not None:
            assert self._rotation is not None
            self._rotation = effector.turn.turn(self._rotation, action[:, 3:6], self._seen.rotation)
        # From the angles asked for, not those reached, so that what the servos leave undone does not add up.
        way = asked - self._reached.position
        angles = kinematics.targets(self._angles, self._reached, way, self._rotation, self._posture)
        if effector.fastest is not None:
            turns = np.abs(angles - self._angles)
            too_far = turns > effector.fastest  # never where no speed is stated: that limit is inf
            share = np.divide(effector.fastest, turns, out=np.ones_like(turns), where=too_far).min(axis=1)
            slow = slow | (share < 1.0)
            angles = self._angles + share[:, None] * (angles - self._angles)
        self._angles = angles
        self._limit(slow, outside)
        self._controls[:, effector.servos] = self._load + effector.ratio * angles
        effector.fingers.command(self._controls, action)
        return self._controls

    def _limit(self, slow: BoolArray, outside: BoolArray) -> None:
        effector = self._effector
        if effector.farthest is not None or effector.fastest is not None:
            self.limited[VELOCITY] = slow
        if effector.workspace is not None:
            self.limited[WORKSPACE] = outside
