"""Actions that let the task parameters of the Fetch families show within one episode.

A probe does not look at the task: it is the same sequence of moves in every task. It first touches the object, so that
mass and friction show. Then it takes the gripper away and lays the object, one place a step, all over the range in
which goals are drawn, so that a sparse reward shows too; without an object the gripper itself visits the range.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gymnasium
import mujoco
import numpy as np
import numpy.typing as npt

from mql.tasks.families.robotics.fetch_scenes import GRIPPER, OBJECT, OBJECT_JOINT, SCENES, Scene, started
from mql.tasks.family import FloatArray
from mql.tasks.stepping.simulation import Simulation, simulation_of

Array = npt.NDArray[np.float64]

STROKE = 0.05  # m; displacement that a full action asks for
CORNER = 0.14  # m; within 0.02 m of the corners of the range of reach goals, which is less than the tolerance
TOUCH_STEPS = 22  # the object is touched until here,
LIFT_STEPS = 3  # the gripper then gets out of the way, and the 25 steps that remain show places
ASIDE = np.array([0.0, 0.0, 1.0, 1.0], dtype=np.float32)  # up, fingers open
HITTING_STEPS = 9  # long enough to reach an object 0.2 m away at full speed; then it slides on by itself
ABOVE = 0.1  # m; height of the gripper over a block before it comes down
GRASP_DESCENT, GRASP_CLOSING, GRASP_DRAG, GRASP_RAISE = 8, 12, 15, 19  # first steps of the parts of a grasp
GRID = tuple(np.linspace(-1.0, 1.0, 5))  # in both directions: 25 places, in parts of the range


def probe_reaching(env: gymnasium.Env[Any, Any], obs: FloatArray, t: int) -> FloatArray:
    """Visit the eight corners of the range of goals, edge by edge, about six steps each."""
    robot = _Robot.of(env, SCENES["reach"])
    code = (t // 6) ^ (t // 12)  # a Gray code: neighbours share an edge
    corner = np.array([CORNER if code >> bit & 1 else -CORNER for bit in range(3)])
    return _toward(started(robot.scene).gripper + corner - robot.gripper)


def probe_pushing(env: gymnasium.Env[Any, Any], obs: FloatArray, t: int) -> FloatArray:
    """Run into the block, stop and let it slide, run into it again; then lay it all over the table."""
    return _probe_object(_Robot.of(env, SCENES["push"]), t, _hit, reach=0.15)


def probe_sliding(env: gymnasium.Env[Any, Any], obs: FloatArray, t: int) -> FloatArray:
    """Run into the puck, stop and let it slide, run into it again; then lay it all over the table."""
    return _probe_object(_Robot.of(env, SCENES["slide"]), t, _hit, reach=0.3)


def probe_grasping(env: gymnasium.Env[Any, Any], obs: FloatArray, t: int) -> FloatArray:
    """Grasp the block, drag and raise it; then put it all over the table and, every other step, into the air."""
    return _probe_object(_Robot.of(env, SCENES["pick"]), t, _grasp, reach=0.15, height=0.45)


@dataclass(frozen=True)
class _Robot:
    """The simulation of an environment, the package's own or one of a batch with this task alone."""

    simulation: Simulation
    scene: Scene

    @classmethod
    def of(cls, env: gymnasium.Env[Any, Any], scene: Scene) -> _Robot:
        found = simulation_of(env)
        assert found is not None
        return cls(found, scene)

    @property
    def gripper(self) -> Array:
        place: Array = self.simulation.data.site(GRIPPER).xpos.copy()
        return place

    @property
    def object(self) -> Array:
        place: Array = self.simulation.data.site(OBJECT).xpos.copy()
        return place

    def lay_object(self, place: Array) -> None:
        """Put the object to rest at a place [3] in m."""
        joint = self.simulation.data.joint(OBJECT_JOINT)
        joint.qpos[:] = [*place, 1.0, 0.0, 0.0, 0.0]
        joint.qvel[:] = 0.0
        mujoco.mj_forward(self.simulation.model, self.simulation.data)


def _probe_object(
    robot: _Robot, t: int, touch: Callable[[_Robot, int], FloatArray], *, reach: float, height: float = 0.0
) -> FloatArray:
    if t < TOUCH_STEPS:
        return touch(robot, t)
    place = t - TOUCH_STEPS - LIFT_STEPS
    if 0 <= place < len(GRID) ** 2:
        # The stride of 7 jumps about, so that heights and places are not tied to each other.
        row, column = divmod(place * 7 % len(GRID) ** 2, len(GRID))
        start = started(robot.scene)
        at = start.gripper + np.array([GRID[row] * reach + robot.scene.target_ahead, GRID[column] * reach, 0.0])
        at[2] = start.height + height * (place % 2) * place / len(GRID) ** 2
        robot.lay_object(at)
    return ASIDE


def _hit(robot: _Robot, t: int) -> FloatArray:
    """Run at the object for some steps, then wait for it."""
    if t % (TOUCH_STEPS // 2) >= HITTING_STEPS:
        return np.zeros(4, dtype=np.float32)
    away = robot.object - robot.gripper
    action = _toward(away / np.linalg.norm(away[:2]))
    action[2] = np.clip(away[2] / STROKE, -1.0, 1.0)
    return action


def _grasp(robot: _Robot, t: int) -> FloatArray:
    """Come from above with open fingers, close them, drag the block along the table, raise it."""
    to_block = robot.object - robot.gripper
    if t < GRASP_DESCENT:
        return _toward(to_block + np.array([0.0, 0.0, ABOVE]), gripper=1.0)
    if t < GRASP_CLOSING:
        return _toward(to_block, gripper=1.0)
    if t < GRASP_DRAG:
        return _toward(np.zeros(3), gripper=-1.0)
    if t < GRASP_RAISE:
        return _toward(np.array([STROKE, 0.0, 0.0]), gripper=-1.0)
    return _toward(np.array([0.0, 0.0, STROKE]), gripper=-1.0)


def _toward(displacement: Array, gripper: float = 0.0) -> FloatArray:
    action: FloatArray = np.clip(np.append(displacement / STROKE, gripper), -1.0, 1.0).astype(np.float32)
    return action
