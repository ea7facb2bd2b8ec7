"""kitchen: a Franka arm does two hidden jobs out of seven in a kitchen.

Description: 9 joint velocities are the actions, 280 steps. The jobs: turn the bottom burner on, the top burner, the
light switch, open the slide cabinet, the hinge cabinet, the microwave, put the kettle elsewhere. ``kitchen`` rewards
each step with, for each job asked, the part of the way from start to goal that is done now (1 at the goal, 0 at the
start, negative beyond the start), and 1 more once it is finished. ``kitchen-sparse`` has the package's reward: 1 at
the step that finishes a job. A job is finished when what it moves comes within 0.3 (rad, m) of its goal. An episode
never ends early.
Parameters: first and second, the two jobs asked (0 to 6, in the order above; their order makes no difference). All 21
pairs are listed: 15 to train on, 6 to test, with every job in both; tasks outside ask for one job only.
Success: all jobs asked have been finished; counted over the episode.

Shapes: observation [59]: 9 arm joints, their speeds, 21 positions and 20 speeds of what stands in the kitchen, with
the package's noise; action [9].
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from typing import Any

import gymnasium
import mujoco
import numpy as np

from mql.robots.description import View
from mql.tasks.distributions import Choice, Value
from mql.tasks.families.robotics.environment import make_robotics, set_task, simulation_of
from mql.tasks.family import FloatArray, Split
from mql.tasks.parameter import Parameter
from mql.tasks.wrapped.gymnasium_family import GymnasiumFamily

EPISODE_LENGTH = 280  # control steps: 22 s
CONTROL_TIMESTEP = 0.08  # s; 40 physics steps of 2 ms
JOBS = ("bottom burner", "top burner", "light switch", "slide cabinet", "hinge cabinet", "microwave", "kettle")
NUMBERS = tuple(float(job) for job in range(len(JOBS)))
# Neighbours in the list are tested, so that every job is both in training and in test, but never the same pair.
TEST_PAIRS = tuple((job, job + 1) for job in range(len(JOBS) - 1))
TRAIN_PAIRS = tuple(pair for pair in combinations(range(len(JOBS)), 2) if pair not in TEST_PAIRS)
VIEW = View(body="panda0_link4", distance=3.0, azimuth=70.0, elevation=-35.0)  # as the robot franka-kitchen is shown
PROBE_START, PROBE_EVERY = 20, 40  # steps: the probe finishes one job after another


class KitchenTask(gymnasium.Wrapper[Any, Any, Any, Any]):
    """The kitchen with its jobs from task parameters.

    Args:
        env: the package's environment.
        dense: whether the reward is ours, or the package's.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], *, dense: bool) -> None:
        super().__init__(env)
        kitchen: Any = env.unwrapped
        self._kitchen = kitchen
        kitchen.view = VIEW  # for pictures: the first of the model's own cameras is inside the counter
        self._dense = dense
        self._goals: dict[str, Any] = dict(kitchen.goal)
        self._way: dict[str, float] = {}

    def set_task(self, parameters: Mapping[str, Value]) -> None:
        """Ask for the task's jobs from the next reset on."""
        asked = {parameters["first"], parameters["second"]}
        self._kitchen.goal = {name: self._goals[name] for job, name in enumerate(JOBS) if job in asked}

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start an episode, and measure how far each job is from its goal."""
        obs, info = self.env.reset(seed=seed, options=options)
        self._way = {name: _distance(obs, name) for name in self._kitchen.goal}
        return obs, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Advance by one control step; ``info`` gets success and the number of finished jobs."""
        obs, reward, terminated, truncated, info = self.env.step(action)
        finished = len(info["episode_task_completions"])
        if self._dense:
            reward = finished + sum(1.0 - _distance(obs, name) / way for name, way in self._way.items())
        info["finished"] = finished
        info["success"] = finished == len(self._way)
        return obs, reward, terminated, truncated, info


@dataclass(frozen=True, kw_only=True, eq=False)
class KitchenFamily(GymnasiumFamily):
    """A family whose unseen tasks are new pairs of known jobs."""

    def _in_training_range(self, values: Mapping[str, Value]) -> bool:
        """Tell whether two different jobs are asked: the lists name pairs, but what is tested are new pairs."""
        return values["first"] != values["second"]


def make_kitchen(dense: bool, render_mode: str | None = None) -> KitchenTask:
    """Build one kitchen that does not end an episode when the jobs are finished."""
    env = make_robotics(
        "FrankaKitchen-v1",
        terminate_on_tasks_completed=False,
        remove_task_when_completed=True,
        render_mode=render_mode,
    )
    return KitchenTask(env, dense=dense)


def probe_kitchen(env: gymnasium.Env[Any, Any], obs: FloatArray, t: int) -> FloatArray:
    """Do all seven jobs by an unseen hand, one every 40 steps, while the arm rests: rewards show which are asked."""
    from gymnasium_robotics.envs.franka_kitchen.kitchen_env import OBS_ELEMENT_GOALS, OBS_ELEMENT_INDICES

    job, late = divmod(t - PROBE_START, PROBE_EVERY)
    if late == 0 and 0 <= job < len(JOBS):
        simulation, name = simulation_of(env), JOBS[job]
        simulation.data.qpos[OBS_ELEMENT_INDICES[name]] = OBS_ELEMENT_GOALS[name]
        mujoco.mj_forward(simulation.model, simulation.data)
    return np.zeros(9, dtype=np.float32)


def kitchen(reward: str = "dense") -> KitchenFamily:
    """Build kitchen, or with ``reward="sparse"`` kitchen-sparse."""
    dense = reward == "dense"
    return KitchenFamily(
        name="kitchen" if dense else "kitchen-sparse",
        summary="an arm does two hidden jobs out of seven in a kitchen" + ("" if dense else "; sparse reward"),
        obs_dim=59,
        action_dim=9,
        episode_length=EPISODE_LENGTH,
        control_timestep=CONTROL_TIMESTEP,
        make_env=partial(make_kitchen, dense),
        set_task=set_task,
        observed_keys=("observation",),
        success_key="success",
        has_success=True,
        info_keys=("finished",),
        parameters={"first": _job("one job asked"), "second": _job("the other job asked; the same: only that one")},
        splits={
            "train": Split(listed=tuple(map(_task, TRAIN_PAIRS))),
            "test": Split(listed=tuple(map(_task, TEST_PAIRS))),
            "ood": Split(listed=tuple(_task((job, job)) for job in range(len(JOBS)))),
        },
        probe=probe_kitchen,
    )


def _distance(obs: Mapping[str, Any], job: str) -> float:
    return float(np.linalg.norm(obs["achieved_goal"][job] - obs["desired_goal"][job]))


def _job(doc: str) -> Parameter:
    names = ", ".join(f"{number} {name}" for number, name in enumerate(JOBS))
    return Parameter(distribution=Choice(NUMBERS), unit="1", doc=f"{doc} ({names})", allowed=NUMBERS)


def _task(pair: tuple[int, int]) -> dict[str, Value]:
    return {"first": float(pair[0]), "second": float(pair[1])}
