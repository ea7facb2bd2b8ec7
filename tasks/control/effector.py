"""What actions of a control mode ``ee_delta`` do: they displace the robot's end effector and move its gripper.

An action is x, y and z (1: the mode's scale, along the world's axes) and, where the robot has a gripper, one more,
from -1 (closed) to 1 (open). The end effector keeps the orientation that it has when an episode starts. Actuators that
belong neither to the arm nor to the gripper hold still: position servos where they are at the start, others at 0.

The place that is asked for is remembered from step to step, so an arm that sags under its weight does not creep down,
and a place that was asked for is reached a little later. It runs at most a short way ahead of the end effector, so that
an arm which is held up does not press ever harder.

There are two ways. Position servos of the arm's hinges get the angles of `mql.tasks.control.kinematics`; an arm of less
than six joints can't keep its orientation, which is then left free. Or a mocap body pulls: it stands where the weld
that holds the hand to it is content at the start, and is displaced from there; position servos of a pulled arm yield.

Shapes: N tasks, Q positions, U actuators, J joints of the arm, A = 3 or 4 numbers of an action, G actuators of the
gripper, Y position servos of a pulled arm.
"""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np
import numpy.typing as npt

from mql.robots.mjcf.lookup import holding_controls
from mql.tasks.control.kinematics import ArmKinematics
from mql.tasks.family import Array

LEAD_TIME = 0.1  # s; how far ahead of the end effector the place asked for may run, at full speed
LEAST_LEAD = 3.0  # strokes of a full action; a slow arm needs two to keep up the speed that is asked for
JOINTS_TO_ORIENT = 6  # with fewer, a hand can't keep its orientation while it moves along three axes

Indices = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Stroke:
    """How far an action of 1 displaces the end effector, and how far ahead it may ask: m along each axis."""

    length: float
    lead: float

    def ask(self, asked: Array, action: Array, place: Array) -> Array:
        """Return the place to ask for [.., 3] after `asked` [.., 3], where the end effector is at `place` [.., 3]."""
        ahead: Array = np.clip(asked + self.length * action[..., :3] - place, -self.lead, self.lead)
        return place + ahead


def stroke(scale: float, rate_hz: float) -> Stroke:
    """Return the stroke of a mode whose action of 1 means `scale` m, at `rate_hz` actions per second."""
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
            controls[..., self.actuators] = self.middle + self.half * action[..., 3:]


@dataclass(frozen=True)
class ServoEffector:
    """An end effector that moves by position servos of the hinges between it and the robot's base.

    Args:
        kinematics: of the model as it was compiled. What a task changes in it, the controller does not know.
        servos: [J], the actuator of each joint.
        ratio: [J], its control for an angle of 1 rad.
        stroke: what an action means.
        fingers: the gripper.
    """

    kinematics: ArmKinematics
    servos: Indices
    ratio: Array
    stroke: Stroke
    fingers: Fingers

    @property
    def action_dim(self) -> int:
        """Length A of an action."""
        return 3 + self.fingers.action_dim

    def begin(self, qpos: Array, resting: Array) -> ServoEpisode:
        """Start an episode of each task from qpos [N, Q]; `resting` [N, U] are controls that hold all as it is."""
        return ServoEpisode(self, qpos, resting)

    def drive(self, model: mujoco.MjModel, data: mujoco.MjData) -> ServoDrive:
        """Command one simulation."""
        return ServoDrive(self, model, data)


class ServoEpisode:
    """An episode of N tasks: where the end effectors are asked to be, and by which joint angles."""

    def __init__(self, effector: ServoEffector, qpos: Array, resting: Array) -> None:
        self._effector, self._controls = effector, resting.copy()
        kinematics = effector.kinematics
        self._angles = self._posture = qpos[:, kinematics.qpos]
        flange = kinematics.flange(self._angles)
        self._asked = flange.position
        self._rotation = flange.rotation if len(kinematics.names) >= JOINTS_TO_ORIENT else None

    def controls(self, qpos: Array, action: Array) -> Array:
        """Return the controls [N, U] for an action [N, A] where the joints are at qpos [N, Q]: valid until the next."""
        effector, kinematics = self._effector, self._effector.kinematics
        place = kinematics.flange(qpos[:, kinematics.qpos]).position
        self._asked = effector.stroke.ask(self._asked, action, place)
        # From the angles asked for, not those reached, so that what the servos leave undone does not add up.
        flange = kinematics.flange(self._angles)
        way = self._asked - flange.position
        self._angles = kinematics.targets(self._angles, flange, way, self._rotation, self._posture)
        self._controls[:, effector.servos] = effector.ratio * self._angles
        effector.fingers.command(self._controls, action)
        return self._controls


class ServoDrive:
    """Commands one simulation by a `ServoEffector`."""

    def __init__(self, effector: ServoEffector, model: mujoco.MjModel, data: mujoco.MjData) -> None:
        self._effector, self._model, self._data = effector, model, data
        self._qpos, self._controls = data.qpos, data.ctrl  # views: each access to an attribute makes a new one
        self._episode: ServoEpisode | None = None

    def start(self) -> None:
        """Start an episode from the pose that the simulation has."""
        self._episode = self._effector.begin(self._qpos[None], resting_controls(self._model, self._data)[None])

    def act(self, action: Array) -> None:
        """Write the controls for an action [A]."""
        assert self._episode is not None
        self._controls[:] = self._episode.controls(self._qpos[None], action[None])[0]


@dataclass(frozen=True)
class MocapEffector:
    """An end effector that a mocap body pulls, by a weld between it and a body of the robot.

    The weld is content where the mocap body's orientation is the pulled body's times `turn`, and where the point
    `own_point` of the mocap body is the point `pulled_point` of the other.

    Args:
        mocap: number of the mocap body among the mocap bodies.
        pulled: number of the pulled body among all bodies.
        turn: [4], a quaternion.
        own_point: [3] m, in the mocap body's frame.
        pulled_point: [3] m, in the pulled body's frame.
        yielding: [Y], position servos of joints that the pull moves.
        places: [Y], where those joints stand in qpos.
        ratio: [Y], the servos' control for 1 rad or m.
        stroke: what an action means.
        fingers: the gripper.
    """

    mocap: int
    pulled: int
    turn: Array
    own_point: Array
    pulled_point: Array
    yielding: Indices
    places: Indices
    ratio: Array
    stroke: Stroke
    fingers: Fingers

    @property
    def action_dim(self) -> int:
        """Length A of an action."""
        return 3 + self.fingers.action_dim

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
        self._own_offset = np.zeros(3)  # m; of the mocap body's point, in the world: its orientation stays
        self._point = np.zeros(3)

    def start(self) -> None:
        """Start an episode: put the mocap body where nothing is pulled, and let the actuators hold."""
        effector = self._effector
        self._controls[:] = resting_controls(self._model, self._data)
        mujoco.mju_mulQuat(self._quaternion, self._pulled_quaternion, effector.turn)
        mujoco.mju_rotVecQuat(self._own_offset, effector.own_point, self._quaternion)
        self._position[:] = self._content()

    def act(self, action: Array) -> None:
        """Displace the mocap body, and write the gripper's controls, for an action [A]."""
        effector = self._effector
        self._position[:] = effector.stroke.ask(self._position, action, self._content())
        if effector.yielding.size:
            self._controls[effector.yielding] = effector.ratio * self._qpos[effector.places]
        effector.fingers.command(self._controls, action)

    def _content(self) -> Array:
        """Return where the mocap body would stand if the weld had nothing to pull, [3] m."""
        mujoco.mju_rotVecQuat(self._point, self._effector.pulled_point, self._pulled_quaternion)
        place: Array = self._pulled_position + self._point - self._own_offset
        return place


def resting_controls(model: mujoco.MjModel, data: mujoco.MjData) -> Array:
    """Return controls [U] that ask position servos for the pose that `data` has, and all others for nothing."""
    mujoco.mj_fwdPosition(model, data)
    return holding_controls(model, data)
