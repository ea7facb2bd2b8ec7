"""Actions that let Meta-World's hidden goals show: random ones hardly ever move an object.

The package's scripted expert of the environment acts, but it is told the middle of the goals' range instead of the
goal: so the actions give nothing away, and rewards tell the tasks apart as soon as the object moves.

Shapes: observation [39 or more], action [4].
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import gymnasium
import numpy as np

from mql.tasks.families.meta_world.environment import OBSERVATION_SIZE, package_class
from mql.tasks.family import FloatArray, Task
from mql.tasks.stepping.single import TaskEnvironment
from mql.tasks.wrapped.gymnasium_environment import GymnasiumEnvironment

if TYPE_CHECKING:
    from metaworld.policies.policy import Policy

GOAL = slice(36, 39)  # where a visible goal stands in the observation


@runtime_checkable
class _NamesEnvironments(Protocol):
    def environment_name(self, task: Task) -> str: ...


def probe(env: gymnasium.Env[Any, Any], obs: FloatArray, t: int) -> FloatArray:
    """Return the scripted expert's action [4] for the middle goal."""
    assert isinstance(env, GymnasiumEnvironment | TaskEnvironment) and isinstance(env.family, _NamesEnvironments)
    name = env.family.environment_name(env.task)
    seen = obs[:OBSERVATION_SIZE].astype(np.float64)
    seen[GOAL] = middle_goal(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an expert that asks for more than [-1, 1] says so
        action = expert(name).get_action(seen)
    return np.clip(action, -1.0, 1.0).astype(np.float32)


@cache
def middle_goal(name: str) -> FloatArray:
    """Return the middle [3] (m) of where the package has the goals of an environment."""
    environment = package_class(name)()
    goals = environment.goal_space
    environment.close()
    middle: FloatArray = (goals.low[:3] + goals.high[:3]) / 2.0
    return middle


@cache
def expert(name: str) -> Policy:
    """Return the package's scripted expert of an environment; it acts on an observation with the goal visible."""
    from metaworld.policies import ENV_POLICY_MAP

    build: Callable[[], Policy] = ENV_POLICY_MAP[f"{name}-v3"]
    return build()
