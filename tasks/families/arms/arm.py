"""What arm-reach, arm-push, arm-drawer and arm-peg share: a 7-joint arm whose flange the actions move.

An action displaces the place that is asked of the flange by up to 2.5 cm along x, y and z in one step of 0.05 s, and
position servos bring it there (`mql.tasks.control.effector`): 60 % of the way in a step, or 40 to 85 % with the hidden
gains. The place asked for is remembered, so that without an action the arm stays, whatever it carries. The tool keeps
pointing down, and the flange stays in a box in front of the robot.

What is seen of the arm is its flange, place and velocity, as joint encoders tell them, and how far from there the place
is that was asked for: an arm knows its own commands, and without them the next step could not be told from what is
seen. The tool's end, `tool_length` below the flange, is not seen. Lengths are observed in dm, so that a centimetre is
not lost among the numbers of a network.

Shapes: N tasks, J = 7 joints, U = 7 actuators; action [N, 3].
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import cast

import mujoco
import numpy as np

from mql.robots.description import Robot
from mql.robots.mjcf.lookup import HOME
from mql.robots.models.arm7 import ARM7
from mql.tasks.control.actuators import Holding, position_ratio
from mql.tasks.control.effector import ServoEffector, Stroke
from mql.tasks.control.kinematics import ArmKinematics
from mql.tasks.control.limits import Box
from mql.tasks.control.rest import Resting
from mql.tasks.distributions import Distribution, LogUniform, Uniform, Value
from mql.tasks.family import Array, Split, SuccessAt, Task
from mql.tasks.parameter import Parameter
from mql.tasks.physics.fields import Change, change
from mql.tasks.scenes.compose import FLANGE, compose, scene_source
from mql.tasks.scenes.source import ModelSource
from mql.tasks.stepping.effector import ControlledDynamics
from mql.tasks.stepping.rollout import MujocoFamily, model_of
from mql.tasks.stepping.state import Dynamics, State

STROKE = 0.025  # m; displacement of the flange that a full action asks for, at most 0.5 m/s
LEAD = 0.05  # m; how far ahead of the flange an action may ask: what it takes to move at that speed
WORKSPACE = np.array([[0.30, -0.30, 0.06], [0.70, 0.30, 0.45]])  # m; the flange is not sent beyond these corners
DOWN = np.diag([-1.0, 1.0, -1.0])  # the flange's orientation: its z axis points down
OBSERVED_LENGTH = 0.1  # m; the unit in which lengths are observed
EPISODE_LENGTH = 50  # control steps: 2.5 s
HOLD_STEPS = 10  # the last 0.5 s
# A centimetre off still costs 0.02 of the 0.2 that being far off costs: the last bit of the way is rewarded, too.
CLOSENESS_WEIGHT = 0.2
CLOSENESS_WIDTH = 0.03  # m
ALL_TOOLS = (0.03, 0.25)  # m; shorter ones have no room for their end, longer ones no room above the table
ALL_GAINS = (0.1, 4.0)  # below, a payload pulls the arm down; above, the physics step is too long for so stiff an arm


@dataclass(frozen=True, kw_only=True, eq=False)
class ArmFamily(MujocoFamily):
    """The arm with a tool in a scene.

    Args:
        scene: name of the scene.
        tool: name of the tool; the task parameter ``tool_length`` says how long it is.
        start: where the flange starts, in m.
        start_noise: rad, uniform, on each joint at the start.
    """

    robot: Robot = ARM7
    control_timestep: float = ARM7.control_timestep
    action_dim: int = 3
    episode_length: int = EPISODE_LENGTH
    has_success: bool = True
    hold_steps: int = HOLD_STEPS
    success_at: SuccessAt = "end"
    scene: str
    tool: str = "rod"
    start: tuple[float, float, float]
    start_noise: float = 0.02

    @property
    def source(self) -> ModelSource:
        """The files of arm, scene and tool."""
        return scene_source("arm7", self.scene, gripper=self.tool)

    def base(self) -> mujoco.MjModel:
        """Return arm, scene and tool, as long as its file has it. It is shared: change a copy, never this one."""
        return self._nominal

    def changes(self) -> Mapping[str, Sequence[Change]]:
        """Return what tool length and gain change; a family adds what it varies beyond."""
        return {
            "tool_length": (change("set", "body_pos", body="tip", index=2),),
            "half tool_length": (
                change("set", "geom_pos", geom="rod", index=2),
                change("set", "geom_size", geom="rod", index=1),
            ),
            "gain": (change("scale", "position_gain", actuator="*"),),
        }

    def changed_to(self, parameters: Mapping[str, Value]) -> Mapping[str, Value]:
        """Return the values of these changes."""
        return {**parameters, "half tool_length": cast(float, parameters["tool_length"]) / 2.0}

    @abstractmethod
    def place(self, rng: np.random.Generator) -> Mapping[str, float]:
        """Draw where the scene's joints start: joint -> m. Nothing here may depend on the task."""

    def initial_state(self, rng: np.random.Generator, parameters: Mapping[str, Value]) -> tuple[Array, Array]:
        """Draw an arm at rest near its start, and places for the objects."""
        qpos = np.zeros(self._nominal.nq)
        joints = rng.uniform(-self.start_noise, self.start_noise, size=self._posture.size)
        qpos[self._kinematics.qpos] = self._posture + joints
        for name, value in self.place(rng).items():
            qpos[self._columns[name]] = value
        return qpos, np.zeros(self._nominal.nv)

    def dynamics(self, tasks: Sequence[Task], threads: int) -> Dynamics:
        """Build the simulation of `tasks`."""
        models = self.task_models(tasks)
        frame_skip, view = self.robot.frame_skip, self.robot.view
        return ControlledDynamics(models, frame_skip, threads, self.derived, self._controller, view=view)

    def commands(self) -> ServoEffector:
        """Return the controller, whose memory of what was asked for is seen."""
        return self._controller

    def resting(self, task: Task) -> Resting:
        """Return the arm of a task that is asked to stay, as it starts without noise."""
        model, qpos = model_of(self, task), np.zeros(self._nominal.nq)
        qpos[self._kinematics.qpos] = self._posture
        for name, value in self.place(np.random.default_rng(0)).items():
            qpos[self._columns[name]] = value
        still, none = np.zeros(self._nominal.nv), np.zeros(self.action_dim)
        return Resting(model, qpos, still, FLANGE, self._controller, none, self.robot.frame_skip)

    def observe_flange(self, state: State) -> Array:
        """Return the flange's place (dm, from where it starts), velocity (dm/s), and the way to where it is asked (dm).

        Together [N, 9].
        """
        speeds = np.ascontiguousarray(state.qvel[:, self._kinematics.qvel])[:, :, None]
        velocity = (state.derived["jacobian"][:, :3] @ speeds)[:, :, 0]
        position = state.derived["position"]
        place, way = position - np.array(self.start), state.derived["asked"] - position
        return np.concatenate([place, velocity, way], axis=1) / OBSERVED_LENGTH

    def seen_states(self, before: Array, after: Array) -> tuple[State, State] | None:
        """Return the states that observations tell, for `reward`: the flange and the scene's joints.

        How the flange is turned is not seen; it is taken to point down, which servos hold within a degree or so.
        """
        joints = self.seen_joints(before), self.seen_joints(after)
        if joints[0] is None or joints[1] is None:
            return None
        return self._seen_state(before, joints[0]), self._seen_state(after, joints[1])

    @abstractmethod
    def seen_joints(self, obs: Array) -> Mapping[str, Array] | None:
        """Return the places of the scene's joints that an observation [N, O] tells: joint -> [N] in m.

        None: observations don't tell enough of the state.
        """

    def _seen_state(self, obs: Array, joints: Mapping[str, Array]) -> State:
        rows = len(obs)
        qpos = np.zeros((rows, self._nominal.nq))
        for name, place in joints.items():
            qpos[:, self._columns[name]] = place
        flange = {
            "position": obs[:, :3] * OBSERVED_LENGTH + np.array(self.start),
            "rotation": np.broadcast_to(DOWN, (rows, 3, 3)),
        }
        return State(qpos, np.zeros((rows, self._nominal.nv)), flange)

    def seen_places(self, obs: Array, *names: str, first: int) -> dict[str, Array]:
        """Return joints whose places along x, y and z stand in an observation from `first` on, as seen from the start.

        Joint -> [N] in m.
        """
        places = obs[:, first : first + len(names)] * OBSERVED_LENGTH + np.array(self.start[: len(names)])
        return dict(zip(names, places.T, strict=True))

    def joints(self, values: Array, *names: str) -> Array:
        """Return the places (m, of qpos) or speeds (m/s, of qvel) [N, len(names)] of the scene's slides `names`.

        All joints of arm scenes have one degree of freedom, so that qpos and qvel have the same columns.
        """
        return values[:, [self._columns[name] for name in names]]

    @cached_property
    def _nominal(self) -> mujoco.MjModel:
        return compose("arm7", self.scene, gripper=self.tool)

    @cached_property
    def _columns(self) -> dict[str, int]:
        return {self._nominal.joint(index).name: index for index in range(self._nominal.njnt)}

    @cached_property
    def _kinematics(self) -> ArmKinematics:
        return ArmKinematics(self._nominal, FLANGE)

    @cached_property
    def _controller(self) -> ServoEffector:
        servos = np.arange(self._nominal.nu)  # the arm's joints in their order; scenes and tools have no actuators
        return ServoEffector(
            kinematics=self._kinematics,
            servos=servos,
            ratio=position_ratio(self._nominal, servos),
            stroke=Stroke(STROKE, LEAD),
            holding=Holding(self._nominal),
            workspace=Box(*WORKSPACE),
            rotation=DOWN,
            posture=self._posture,
        )

    @cached_property
    def _posture(self) -> Array:
        home = self._nominal.key(HOME).qpos[self._kinematics.qpos]
        return self._kinematics.pose_at(np.array(self.start), DOWN, home)


def tip(state: State, tool_length: Array) -> Array:
    """Return where the tool's end is, [N, 3] in m, for tools of length [N] in m."""
    place: Array = state.derived["position"] + state.derived["rotation"][:, :, 2] * tool_length[:, None]
    return place


def closeness(away: Array, *, width: float = CLOSENESS_WIDTH) -> Array:
    """Return a reward [N] for a distance [N] in m: minus the distance, and minus 0.2 beyond some `width` m."""
    reward: Array = -away - CLOSENESS_WEIGHT * (1.0 - np.exp(-((away / width) ** 2)))
    return reward


def tool_length(low: float, high: float) -> Parameter:
    """Return the task parameter ``tool_length`` of every arm family."""
    doc = "from the flange to the tool's end"
    return Parameter(distribution=Uniform(low, high), unit="m", doc=doc, bounds=ALL_TOOLS)


def gain() -> Parameter:
    """Return the task parameter ``gain`` of every arm family."""
    doc = "factor on the stiffness of all joint motors"
    return Parameter(distribution=LogUniform(0.6, 1.8), unit="1", doc=doc, bounds=ALL_GAINS)


def arm_splits(outside: Mapping[str, Distribution]) -> dict[str, Split]:
    """Return the splits of every arm family: 60 tasks to train on, 20 to test on, and 20 drawn from `outside`."""
    return {"train": Split(n=60, seed=1), "test": Split(n=20, seed=2), "ood": Split(n=20, seed=3, override=outside)}
