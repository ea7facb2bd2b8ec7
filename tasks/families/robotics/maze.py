"""maze: a ball is pushed through a room to a hidden place.

Description: Gymnasium-Robotics' point in its open room of 5 m by 3 m, pushed by two forces. Reward at each of 150
steps: ``exp(-distance)`` to the goal, with the distance in m, from 0 to 1; an episode never ends early, and the goal
stays where it is when it has been reached. The agent sees its own place and velocity: it must infer the goal from
rewards.
Parameters: goal_x and goal_y (m from the room's centre), uniform up to 0.5 m from the walls; tasks outside: in
one corner, 0.2 to 0.4 m from both walls.
Success: the ball's centre is within 0.45 m of the goal at any step.

Where the ball starts is drawn from the seed as the package does, and knows nothing of the goal.

Shapes: action [2]: forces in x and y; observation [4]: x and y (m), their speeds (m/s).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from mql.tasks.distributions import Uniform
from mql.tasks.families.robotics.environment import PendingTask, make_robotics, set_task
from mql.tasks.family import FloatArray, Split
from mql.tasks.parameter import Parameter
from mql.tasks.wrapped.gymnasium_family import GymnasiumFamily

# Control steps: half of the package's 3 s. Full force crosses the room in 1.1 s, and in a longer episode a ball that is
# pushed at random runs into the goal more often.
EPISODE_LENGTH = 150
CONTROL_TIMESTEP = 0.01  # s; one physics step
GOAL_X = Uniform(-2.0, 2.0)  # m; the centres of the outer cells, half a metre from the walls
GOAL_Y = Uniform(-1.0, 1.0)  # m
OUTER_X = Uniform(2.1, 2.3)  # m; the ball's centre gets as far as 2.4
OUTER_Y = Uniform(1.1, 1.3)  # m; and 1.4
X_BOUNDS = (-2.5, 2.5)  # m; the walls
Y_BOUNDS = (-1.5, 1.5)  # m
PROBE_CORNERS = ((-2.0, -1.0), (-2.0, 1.0), (2.0, 1.0), (2.0, -1.0))  # m
PROBE_PULL, PROBE_BRAKE = 2.0, 0.4  # of full force, per m and per m/s: no swinging beyond the corner


class MazeTask(PendingTask):
    """The point with a goal from task parameters."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start an episode, then place the goal, and its mark in pictures."""
        obs, info = self.env.reset(seed=seed, options=options)
        if self._parameters:
            maze: Any = self.env.unwrapped
            maze.goal = np.array([self._parameters["goal_x"], self._parameters["goal_y"]], dtype=np.float64)
            maze.update_target_site_pos()
            obs["desired_goal"] = maze.goal.copy()
        return obs, info


def make_maze(render_mode: str | None = None) -> MazeTask:
    """Build one room. The package leaves the room's model file behind in the temporary folder; it is removed."""
    env = make_robotics(
        "PointMaze_Open-v3", reward_type="dense", continuing_task=True, reset_target=False, render_mode=render_mode
    )
    simulation: Any = env.unwrapped
    Path(simulation.tmp_xml_file_path).unlink(missing_ok=True)
    return MazeTask(env)


def probe_maze(env: gymnasium.Env[Any, Any], obs: FloatArray, t: int) -> FloatArray:
    """Go round the four corners of the range of goals, the same way in every task."""
    corner = np.array(PROBE_CORNERS[t * len(PROBE_CORNERS) // EPISODE_LENGTH])
    force = PROBE_PULL * (corner - obs[:2]) - PROBE_BRAKE * obs[2:]
    action: FloatArray = np.clip(force, -1.0, 1.0).astype(np.float32)
    return action


def maze() -> GymnasiumFamily:
    """Build maze."""
    return GymnasiumFamily(
        name="maze",
        summary="a ball is pushed through a room to a hidden place",
        obs_dim=4,
        action_dim=2,
        episode_length=EPISODE_LENGTH,
        control_timestep=CONTROL_TIMESTEP,
        make_env=make_maze,
        set_task=set_task,
        observed_keys=("observation",),
        success_key="success",
        has_success=True,
        parameters={
            "goal_x": Parameter(distribution=GOAL_X, unit="m", doc="goal along the room", bounds=X_BOUNDS),
            "goal_y": Parameter(distribution=GOAL_Y, unit="m", doc="goal across the room", bounds=Y_BOUNDS),
        },
        splits={
            "train": Split(n=100, seed=1),
            "test": Split(n=30, seed=2),
            "ood": Split(n=20, seed=3, override={"goal_x": OUTER_X, "goal_y": OUTER_Y}),
        },
        probe=probe_maze,
    )
