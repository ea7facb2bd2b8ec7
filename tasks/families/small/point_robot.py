"""point-robot: a point walks to a hidden goal on the plane. Analytic, so it is the smallest family there is.

Description: reward ``-distance`` to the goal (m) at each of 20 steps; an episode never ends early.
Parameters: goal (m), uniform in the square [-1, 1]^2; tasks outside: on a ring between 1.5 and 1.9 m.
Success: none is defined; returns are compared.

Shapes: N tasks; qpos [N, 2]: x and y in m; there are no velocities; observation [N, 2] is qpos.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mql.tasks.distributions import Disc, Uniform, Value
from mql.tasks.families.rewards import distance
from mql.tasks.family import Array, Split, Task
from mql.tasks.parameter import Parameter
from mql.tasks.stepping.parallel import ParallelFamily
from mql.tasks.stepping.physics_state import PhysicsState
from mql.tasks.stepping.state import Outcome, State

EPISODE_LENGTH = 20  # control steps: enough to walk 2 m, about the mean way from one point of the square to another
STEP_LENGTH = 0.1  # m, along each axis, for an action of 1
CONTROL_TIMESTEP = 0.1  # s; it only sets the speed of pictures
GOAL_BOUNDS = (-100.0, 100.0)  # m; the plane has no edge, but a goal must stay a sensible number

_PICTURE_SIZE = 240  # pixels
_PICTURE_EDGE = 2.0  # m; the picture shows [-2, 2]^2


@dataclass(frozen=True, kw_only=True, eq=False)
class PointRobot(ParallelFamily):
    """A point that moves by what its action says."""

    def dynamics(self, tasks: Sequence[Task], threads: int) -> PointDynamics:
        """Build the motion of `tasks`; the arithmetic is too small for threads."""
        return PointDynamics(np.array([task.parameters["goal"] for task in tasks], dtype=np.float64))

    @property
    def moves_by(self) -> tuple[str, ...]:
        """No task parameter: a point walks wherever its goal is."""
        return ()

    def initial_state(self, rng: np.random.Generator, parameters: Mapping[str, Value]) -> tuple[Array, Array]:
        """Draw a place in the square [-1, 1]^2."""
        return rng.uniform(-1.0, 1.0, size=2), np.zeros(0)

    def observe(self, state: State) -> Array:
        """Return the place [N, 2]."""
        return state.qpos

    def seen_states(self, before: Array, after: Array) -> tuple[State, State]:
        """Return the places, which are all there is."""
        none = np.zeros((len(before), 0))
        return State(before[:, :2], none), State(after[:, :2], none)

    def outcome(self, before: State, after: State, action: Array, parameters: Mapping[str, Array]) -> Outcome:
        """Punish the distance to the goal."""
        away = distance(after.qpos, parameters["goal"])
        return Outcome(-away, info={"distance": away})


class PointDynamics:
    """N points that walk; `goal` [N, 2] is kept for pictures only."""

    def __init__(self, goal: Array) -> None:
        self._goal = goal
        self._state = State(np.zeros_like(goal), np.zeros((len(goal), 0)))

    def place(self, start: PhysicsState) -> State:
        """Put every point at the start's qpos [N, 2]."""
        self._state = State(start.qpos.copy(), start.qvel)
        return self._state

    def advance(self, action: Array) -> tuple[State, State]:
        """Move every point by ``0.1 m * action``."""
        before = self._state
        self._state = State(before.qpos + STEP_LENGTH * action, before.qvel)
        return before, self._state

    def render(self, row: int) -> npt.NDArray[np.uint8]:
        """Return a picture [240, 240, 3]: the goal in green, the point in blue."""
        picture = np.full((_PICTURE_SIZE, _PICTURE_SIZE, 3), 255, dtype=np.uint8)
        axis = np.linspace(-_PICTURE_EDGE, _PICTURE_EDGE, _PICTURE_SIZE)
        for centre, radius, colour in (
            (self._goal[row], 0.1, (40, 160, 80)),
            (self._state.qpos[row], 0.05, (40, 80, 200)),
        ):
            inside = (axis[None, :] - centre[0]) ** 2 + (axis[::-1, None] - centre[1]) ** 2 <= radius**2
            picture[inside] = colour
        return picture

    def close(self) -> None:
        """Do nothing: there is nothing to release."""


def point_robot() -> PointRobot:
    """Build point-robot."""
    return PointRobot(
        name="point-robot",
        summary="a point walks to a hidden goal in the square [-1, 1]^2",
        obs_dim=2,
        action_dim=2,
        episode_length=EPISODE_LENGTH,
        control_timestep=CONTROL_TIMESTEP,
        parameters={
            "goal": Parameter(distribution=Uniform(-1.0, 1.0, 2), unit="m", doc="goal x and y", bounds=GOAL_BOUNDS)
        },
        splits={
            "train": Split(n=40, seed=1),
            "test": Split(n=20, seed=2),
            # All of the ring lies outside the square, whose corners are 1.41 m away.
            "ood": Split(n=20, seed=3, override={"goal": Disc(radius=1.9, inner_radius=1.5)}),
        },
    )


def point_robot_oracle() -> PointRobot:
    """Build point-robot with the goal in the observation."""
    return point_robot().as_oracle()
