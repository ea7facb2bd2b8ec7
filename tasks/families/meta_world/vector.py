"""The environments of Meta-World's own evaluation protocol: several in parallel, each with its own list of goals.

The stack of wrappers is that of the package's `make_ml_envs_test`; the tasks are given, so that no benchmark is drawn
anew and any number of sub-environments works (the package's default of 20 fails for the 50 goals of ML1).

Shapes: sub-environments G, observation [G, 45]: the task's observation (39), the last action (4), the last reward (as
it was) and whether the episode ended.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import gymnasium
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import RecordEpisodeStatistics, TimeLimit
from metaworld.types import Task as PackageTask
from metaworld.wrappers import AutoTerminateOnSuccessWrapper, PseudoRandomTaskSelectWrapper, RNNBasedMetaRLWrapper

from mql.tasks.families.meta_world.environment import package_class
from mql.tasks.families.meta_world.family import MetaWorldFamily
from mql.tasks.family import Task


def make_vector(family: MetaWorldFamily, groups: Sequence[Sequence[Task]], *, seed: int) -> SyncVectorEnv:
    """Build one sub-environment for each group of tasks; all tasks of a group are of one environment.

    Args:
        family: an episode is as long as the family says.
        seed: of the order in which a sub-environment goes through its tasks, each of them once.
    """
    makers = []
    for group in groups:
        tasks = [family.package_task(task) for task in group]
        makers.append(partial(_make_one, family.environment_name(group[0]), tasks, seed, family.episode_length))
    return SyncVectorEnv(makers, autoreset_mode=AutoresetMode.SAME_STEP)


def current_tasks(envs: SyncVectorEnv, family: MetaWorldFamily, groups: Sequence[Sequence[Task]]) -> list[Task]:
    """Return the task that each sub-environment has now."""
    places, lists = envs.get_attr("current_task_idx"), envs.get_attr("tasks")
    found = []
    for place, tasks, group in zip(places, lists, groups, strict=True):
        own = {family.package_task(task).data: task for task in group}
        found.append(own[tasks[place].data])
    return found


def _make_one(name: str, tasks: list[PackageTask], seed: int, episode_length: int) -> gymnasium.Env[Any, Any]:
    environment = package_class(name)()
    environment.seed(seed)
    env: gymnasium.Env[Any, Any] = TimeLimit(environment, episode_length)
    env = AutoTerminateOnSuccessWrapper(env)
    env = RNNBasedMetaRLWrapper(env, normalize_reward=False)
    return PseudoRandomTaskSelectWrapper(RecordEpisodeStatistics(env), tasks)
