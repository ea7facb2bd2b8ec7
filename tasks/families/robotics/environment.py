"""Environments of the Gymnasium-Robotics package, built without a step limit of their own."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping
from typing import Any

import gymnasium

from mql.tasks.distributions import Value

# On import the package writes a note about the history of Adroit's rewards to stderr, where it would stand in front of
# every answer of the command line.
with contextlib.redirect_stderr(io.StringIO()):
    import gymnasium_robotics


def make_robotics(env_id: str, **settings: Any) -> gymnasium.Env[Any, Any]:
    """Build the environment `env_id`, such as ``FetchPush-v4``, with `settings` for its constructor."""
    gymnasium.register_envs(gymnasium_robotics)
    return gymnasium.make(env_id, max_episode_steps=-1, disable_env_checker=True, **settings)


class PendingTask(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Keeps the task for the next episode; what follows from it is done by a subclass's reset."""

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        super().__init__(env)
        self._parameters: Mapping[str, Value] = {}

    def set_task(self, parameters: Mapping[str, Value]) -> None:
        """Keep the task for the next episode."""
        self._parameters = parameters


def set_task(env: gymnasium.Env[Any, Any], parameters: Mapping[str, Value]) -> None:
    """Tell one of these families' environments which task its next episode is of: what a family is given."""
    tasked: Any = env
    tasked.set_task(parameters)


def simulation_of(env: gymnasium.Env[Any, Any]) -> Any:
    """Return the package's environment inside what a family's `make` built, for its probe."""
    return getattr(env, "inner", env).unwrapped
