"""One task of a family around a Gymnasium environment, with the family's spaces and every answer checked.

Shapes: O observation, A action.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias, TypeVar, cast

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium import Space
from gymnasium.spaces import Box, Discrete

from mql.errors import UserError
from mql.robots.mjcf.warnings import warn_on_stderr
from mql.stopping import NOT_THEIRS
from mql.tasks.family import FloatArray, Task, TaskFamily
from mql.tasks.fault import EpisodeFault, episode_fault
from mql.tasks.parameter import visible_values
from mql.tasks.stepping.checked import RENDER_MODES, all_finite, check_render_mode, checked_action
from mql.tasks.stepping.success import SuccessRule
from mql.tasks.wrapped.answers import reported, reset_answer, step_answer, what_went_wrong
from mql.tasks.wrapped.environment_source import EnvironmentSource
from mql.tasks.wrapped.spaces import Control, FlatObservation, action_size, affine_to, choice_of

Result = TypeVar("Result")
Name: TypeAlias = Callable[[], str]  # of what was asked of the environment, in messages
MOST_REWARD = float(np.finfo(np.float32).max)  # rewards are stored as float32


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
        self._reads_info = bool(source.info_keys) or source.success_key is not None
        self._env: gymnasium.Env[Any, Any] | None = None
        self._env = self._guard("building the environment", lambda: source.borrow(task, render_mode))
        warn_on_stderr()  # of this environment's own physics, if it has any
        self._control = self._known_space(self._action_map)
        self._flat: FlatObservation | None = None  # known after the first reset: some spaces are only settled there
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
        seen, _ = self._guard("reset", lambda: reset_answer(env.reset(seed=start)))
        if self._flat is None:
            where, observed = f"family {self.family.name}", self._source.observed
            self._flat = self._known_space(lambda: FlatObservation(env.observation_space, observed, where=where))
        self._steps = 0
        self._success.reset()
        flat = self._flat
        return self._observation(self._guard("reset", lambda: flat(seen)), lambda: "reset"), {}

    def step(self, action: npt.ArrayLike) -> tuple[FloatArray, float, bool, bool, dict[str, Any]]:
        """Advance by one control step with action [A]; values are clipped to [-1, 1].

        Raises:
            UserError: an action of another shape, or one that is not finite, or no reset before.
            EpisodeFault: the environment failed.
        """
        given = checked_action(self.family, action)
        if not all_finite(given):
            mend = "look for NaN in the policy's output"
            raise UserError("the action is not finite", where=f"family {self.family.name}", mend=mend)
        return self.advance(np.minimum(np.maximum(given, -1.0), 1.0))

    def advance(self, action: npt.NDArray[np.float64]) -> tuple[FloatArray, float, bool, bool, dict[str, Any]]:
        """Do as `step` with an action [A] that is known to be finite and within [-1, 1].

        Raises:
            UserError: no reset before.
            EpisodeFault: the environment failed.
        """
        flat = self._flat
        if self._steps is None or flat is None:
            raise UserError("step before reset", where=f"family {self.family.name}", mend="call reset first")
        self._steps += 1
        control = self._control(action)
        try:
            seen, reward, terminated, truncated, info = step_answer(self.inner.step(control))
            row = flat(seen)
        except (EpisodeFault, UserError):
            raise
        except BaseException as error:
            raise self._failed(self._name, error) from error
        obs = self._observation(row, self._name)
        if not abs(reward) <= MOST_REWARD:
            raise self._fault(f"{self._name()} gave the reward {reward:g}")
        at_end = self._steps >= self.family.episode_length
        told = self._info(info, self._name) if self._reads_info else {}
        if self._source.success_key is not None:
            told["success"] = bool(self._success.judge(told["success"], terminated or truncated or at_end))
        return obs, reward, terminated, (truncated or at_end) and not terminated, told

    def render(self) -> npt.NDArray[np.uint8] | None:
        """Return a picture [height, width, 3], or None where no render mode was chosen."""
        if self.render_mode is None:
            return None
        picture = self._guard("render", lambda: np.asarray(self.inner.render()))
        if picture.dtype.kind not in "uif" or picture.ndim != 3:
            raise self._fault("render gave no picture, which is an array [height, width, 3]")
        return picture.astype(np.uint8)

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
        except BaseException as error:  # some simulators end the program where they can't go on
            raise self._failed(lambda: name, error) from error

    def _known_space(self, read: Callable[[], Result]) -> Result:
        """Read one of the environment's spaces: one that does not suit was another one when the family was made."""
        try:
            return self._guard("a space", read)
        except UserError as error:
            raise self._fault(f"its spaces are not those that it had: {error.what}") from error

    def _failed(self, name: Name, error: BaseException) -> EpisodeFault:
        """Return the fault of an exception, and discard the environment.

        Raises:
            KeyboardInterrupt, LeftOff: the exception is one: this process was asked to stop.
        """
        fault = self._fault(f"{name()} {what_went_wrong(error)}")
        if isinstance(error, NOT_THEIRS):
            raise error
        return fault

    def _fault(self, what: str) -> EpisodeFault:
        """Return a fault, and discard the environment: what has gone wrong once may have left anything behind."""
        if self._env is not None:
            self._source.discard(self._env)
            self._env = None
        return episode_fault(self.task, what)

    def _name(self) -> str:
        """What messages call the running step; made for them alone, since every step of a run comes by here."""
        return f"step {self._steps}"

    def _action_map(self) -> Control:
        space = self.inner.action_space
        if self.family.choices:
            if not isinstance(space, Discrete) or space.n != self.family.action_dim:
                what = f"the action space is {space}, not {self.family.action_dim} choices"
                raise self._fault(what)
            return choice_of(space)
        if not isinstance(space, Box) or action_size(space, f"family {self.family.name}") != self.family.action_dim:
            what = f"the action space is {space}, not a Box of {self.family.action_dim} numbers"
            raise self._fault(what)
        return affine_to(space)

    def _observation(self, row: npt.NDArray[np.float64], name: Name) -> FloatArray:
        """Return the observation as the agent sees it, [O] float32, of what is seen of the environment's."""
        if len(self._visible):
            row = np.concatenate([row, self._visible])
        obs = row.astype(np.float32)  # (a copy: an environment may go on writing into its own array)
        if len(obs) != self.family.obs_dim:
            what = f"{name()} gave an observation of {len(obs)} numbers, not {self.family.obs_dim}"
            raise self._fault(what)
        if not all_finite(obs):
            at = int(np.flatnonzero(~np.isfinite(obs))[0])
            raise self._fault(f"{name()} gave {obs[at]} at place {at} of the observation")
        return obs

    def _info(self, given: Mapping[str, Any], name: Name) -> dict[str, Any]:
        try:
            return reported(given, self._source.info_keys, self._source.success_key)
        except BaseException as error:  # of a mapping that raises, too
            raise self._failed(name, error) from error
