"""One task of a family around a Gymnasium environment, with the family's spaces and every answer checked.

Shapes: O observation, A action.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium import Space
from gymnasium.spaces import Box, Dict

from mql.errors import UserError
from mql.robots.mjcf.warnings import warn_on_stderr
from mql.tasks.family import FloatArray, Task, TaskFamily
from mql.tasks.fault import EpisodeFault, episode_fault
from mql.tasks.parameter import visible_values
from mql.tasks.stepping.checked import RENDER_MODES, check_render_mode, checked_action
from mql.tasks.stepping.success import SuccessRule
from mql.tasks.wrapped.environment_source import Control, EnvironmentSource, affine_to

Result = TypeVar("Result")


class GymnasiumEnvironment(gymnasium.Env[FloatArray, FloatArray]):
    """One task; it truncates itself after the family's episode length.

    Args:
        family: the family.
        source: the family's environments.
        task: one of its tasks.
        render_mode: None or ``rgb_array``.

    Raises:
        UserError: an unknown render mode.
        EpisodeFault: the environment can't be built, or has other spaces than the family says.
    """

    def __init__(
        self, family: TaskFamily, source: EnvironmentSource, task: Task, *, render_mode: str | None = None
    ) -> None:
        check_render_mode(family, render_mode)
        self.family, self.task, self.render_mode = family, task, render_mode
        self._source = source
        self.metadata = {"render_modes": RENDER_MODES, "render_fps": max(1, round(1.0 / family.control_timestep))}
        self.observation_space = cast("Space[FloatArray]", family.observation_space)
        self.action_space = cast("Space[FloatArray]", family.action_space)
        self._steps: int | None = None
        self._success = SuccessRule(family)
        self._env: gymnasium.Env[Any, Any] | None = None
        self._env = self._guard("building the environment", lambda: source.borrow(task, render_mode))
        warn_on_stderr()  # of this environment's own physics, if it has any
        self._control = self._action_map()
        seen = task.parameters if source.oracle else ()
        self._visible = visible_values(task.parameters, seen, 1)[0].astype(np.float32)

    @property
    def inner(self) -> gymnasium.Env[Any, Any]:
        """The environment that this one wraps; a family's probe finds the original simulation in `inner.unwrapped`.

        Raises:
            UserError: it was closed.
        """
        if self._env is None:
            raise UserError("the environment is closed", where=f"family {self.family.name}", mend="make another one")
        return self._env

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[FloatArray, dict[str, Any]]:
        """Start an episode from `seed`; without, from the next number of the stream.

        Raises:
            EpisodeFault: the environment failed.
        """
        super().reset(seed=seed)
        env, start = self.inner, seed if seed is not None else int(self.np_random.integers(2**31))
        self._guard("setting the task", lambda: self._source.prepare(env, self.task, start))
        seen, _ = self._guard("reset", lambda: env.reset(seed=start))
        self._steps = 0
        self._success.reset()
        return self._observation(seen, "reset"), {}

    def step(self, action: npt.ArrayLike) -> tuple[FloatArray, float, bool, bool, dict[str, Any]]:
        """Advance by one control step with action [A]; values are clipped to [-1, 1].

        Raises:
            UserError: an action of another shape, or one that is not finite, or no reset before.
            EpisodeFault: the environment failed.
        """
        given = checked_action(self.family, action)
        if not np.isfinite(given).all():
            mend = "look for NaN in the policy's output"
            raise UserError("the action is not finite", where=f"family {self.family.name}", mend=mend)
        return self.advance(np.clip(given, -1.0, 1.0))

    def advance(self, action: npt.NDArray[np.float64]) -> tuple[FloatArray, float, bool, bool, dict[str, Any]]:
        """Do as `step` with an action [A] that is known to be finite and within [-1, 1].

        Raises:
            UserError: no reset before.
            EpisodeFault: the environment failed.
        """
        if self._steps is None:
            raise UserError("step before reset", where=f"family {self.family.name}", mend="call reset first")
        self._steps += 1
        name = f"step {self._steps}"
        control = self._control(action)
        seen, reward, terminated, truncated, info = self._guard(name, lambda: self.inner.step(control))
        obs = self._observation(seen, name)
        worth = self._guard(name, lambda: float(reward))
        if not np.isfinite(worth):
            raise episode_fault(self.task, f"{name} gave the reward {worth}")
        at_end = self._steps >= self.family.episode_length
        told = self._info(info, name)
        if self._source.success_key is not None:
            at_goal = bool(info.get(self._source.success_key, False))
            told["success"] = bool(self._success.judge(at_goal, bool(terminated or truncated or at_end)))
        return obs, worth, bool(terminated), bool((truncated or at_end) and not terminated), told

    def render(self) -> npt.NDArray[np.uint8] | None:
        """Return a picture [height, width, 3], or None where no render mode was chosen."""
        if self.render_mode is None:
            return None
        picture = self._guard("render", self.inner.render)
        return np.asarray(picture, dtype=np.uint8)

    def close(self) -> None:
        """Give the wrapped environment back to the family, which keeps it for later tasks."""
        if self._env is not None:
            self._source.give_back(self._env, self.task, self.render_mode)
            self._env = None

    def _guard(self, name: str, act: Callable[[], Result]) -> Result:
        """Turn whatever the environment raises into a fault of this episode. The environment is not used again."""
        try:
            return act()
        except (EpisodeFault, UserError):
            raise
        except Exception as error:
            self._env = None
            raise episode_fault(self.task, f"{name} raised {type(error).__name__}: {error}") from error

    def _action_map(self) -> Control:
        space = self.inner.action_space
        if not isinstance(space, Box) or space.shape != (self.family.action_dim,):
            what = f"the action space is {space}, not a Box of {self.family.action_dim} numbers"
            raise episode_fault(self.task, what)
        return affine_to(space)

    def _observation(self, seen: Any, name: str) -> FloatArray:
        """Return the observation as the agent sees it, [O] float32."""
        parts = self._guard(name, lambda: _parts(seen, self._source.observed or _keys_of(self.inner.observation_space)))
        obs = np.concatenate([*parts, self._visible]).astype(np.float32)
        if obs.shape != (self.family.obs_dim,):
            what = f"{name} gave an observation of {len(obs)} numbers, not {self.family.obs_dim}"
            raise episode_fault(self.task, what)
        if not np.isfinite(obs).all():
            at = int(np.flatnonzero(~np.isfinite(obs))[0])
            raise episode_fault(self.task, f"{name} gave {obs[at]} at place {at} of the observation")
        return obs

    def _info(self, given: dict[str, Any], name: str) -> dict[str, Any]:
        for key in self._source.info_keys:
            if key not in given:
                raise episode_fault(self.task, f"{name} gave no {key!r} in info, only {sorted(map(str, given))}")
        return {key: float(given[key]) for key in self._source.info_keys}


def _keys_of(space: Space[Any]) -> tuple[str, ...]:
    return tuple(space.spaces) if isinstance(space, Dict) else ()


def _parts(seen: Any, keys: tuple[str, ...]) -> list[npt.NDArray[np.float64]]:
    chosen = [seen[key] for key in keys] if keys else [seen]
    return [np.asarray(part, dtype=np.float64).reshape(-1) for part in chosen]
