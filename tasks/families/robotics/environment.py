"""Environments of the Gymnasium-Robotics package, built without a step limit of their own."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping
from typing import Any

import gymnasium
import mujoco

from mql.errors import UserError, installation
from mql.tasks.distributions import Value

BROKEN_FROM = (3, 12)  # of MuJoCo: the package's environments with a mocap body, and the kitchen, can't be built


def check_mujoco(version: str) -> None:
    """Refuse versions of MuJoCo, such as ``3.12.0``, that the package does not work with.

    Raises:
        UserError: it is one of these.
    """
    if tuple(int(part) for part in version.split(".")[:2]) >= BROKEN_FROM:
        what = f"Gymnasium-Robotics does not work with mujoco {version}"
        below = ".".join(map(str, BROKEN_FROM))
        raise UserError(what, mend=f"{installation('gymnasium_robotics')} installs a mujoco below {below}")


check_mujoco(mujoco.__version__)

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
