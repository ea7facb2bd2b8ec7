"""Disturbed tasks, in parallel or as one Gymnasium environment: what is seen of them, and what reaches them.

Shapes: N tasks, O observation, A action, S what is seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt

from mql.tasks.disturbances.actuators import Actuators
from mql.tasks.disturbances.sensors import Sensors
from mql.tasks.family import Array, BatchStep, BoolArray, FloatArray, Task, TaskBatch, TaskFamily
from mql.tasks.stepping.checked import checked_action, checked_actions


class DisturbedBatch:
    """The `TaskBatch` of a disturbed family.

    Args:
        family: the disturbed family.
        batch: the same tasks, undisturbed.
        sensors: what the agent sees of them; None: all as it is.
        actuators: what becomes of its actions; None: nothing.
    """

    def __init__(
        self, family: TaskFamily, batch: TaskBatch, sensors: Sensors | None, actuators: Actuators | None
    ) -> None:
        self.family = family
        self.tasks: tuple[Task, ...] = tuple(batch.tasks)
        self._batch, self._sensors, self._actuators = batch, sensors, actuators
        self._last: tuple[FloatArray, BoolArray] | None = None  # what was seen, and which episodes had ended

    def reset(self, seeds: Sequence[int]) -> FloatArray:
        """Start an episode of every task, each from its own seed; return what is seen [N, S].

        Raises:
            UserError: not one non-negative seed per task.
        """
        obs = self._batch.reset(seeds)
        if self._actuators is not None:
            self._actuators.begin()
        if self._sensors is not None:
            obs = self._sensors.begin(obs, seeds)
            self._last = obs.copy(), np.zeros(len(self.tasks), np.bool_)
        return obs

    def step(self, actions: npt.ArrayLike) -> BatchStep:
        """Advance every task by one control step with commanded actions [N, A]; values are clipped to [-1, 1].

        Raises:
            UserError: actions not of shape [N, A] or not finite, or no reset before the first step.
        """
        action = checked_actions(self.family, len(self.tasks), actions)
        step = self._batch.step(action if self._actuators is None else self._actuators.drive(action))
        if self._sensors is not None and self._last is not None:
            seen, ended = self._last
            step.obs = np.where(ended[:, None], seen, self._sensors.read(step.obs))
            self._last = step.obs.copy(), step.terminated | step.truncated
        return step

    def render(self, row: int = 0) -> Any:
        """Return a picture of one task."""
        return self._batch.render(row)  # type: ignore[attr-defined]

    def close(self) -> None:
        """Release what the undisturbed batch holds."""
        self._batch.close()


class DisturbedEnvironment(gymnasium.Wrapper[FloatArray, FloatArray, FloatArray, FloatArray]):
    """One disturbed task: equal, bit for bit, to the same task in a batch.

    Args:
        family: the disturbed family.
        environment: the task, undisturbed.
        sensors: what the agent sees of it; None: all as it is.
        actuators: what becomes of its actions; None: nothing.
    """

    def __init__(
        self,
        family: TaskFamily,
        environment: gymnasium.Env[FloatArray, FloatArray],
        sensors: Sensors | None,
        actuators: Actuators | None,
    ) -> None:
        super().__init__(environment)
        self.family = family
        self.observation_space, self.action_space = family.observation_space, family.action_space  # type: ignore[assignment]
        self.true_obs: FloatArray = np.zeros(0, np.float32)  # [O], the newest; for a family's probe
        self._sensors, self._actuators = sensors, actuators
        self._seeds = np.random.default_rng()  # of episodes that are given none
        self._seen: FloatArray | None = None
        self._ended = False

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[FloatArray, dict[str, Any]]:
        """Start an episode. With `seed` it is as in a batch with that seed; without, the next of the stream."""
        self.true_obs, info = self.env.reset(seed=seed, options=options)
        if seed is not None:
            self._seeds = np.random.default_rng(seed)
        if self._actuators is not None:
            self._actuators.begin()
        self._ended = False
        if self._sensors is None:
            return self.true_obs, info
        own = seed if seed is not None else int(self._seeds.integers(2**31))
        self._seen = self._sensors.begin(self.true_obs[None], [own])[0]
        return self._seen.copy(), info

    def step(self, action: npt.ArrayLike) -> tuple[FloatArray, float, bool, bool, dict[str, Any]]:
        """Advance by one control step with the commanded action [A]; values are clipped to [-1, 1].

        Raises:
            UserError: an action of another shape, or one that is not finite.
        """
        commanded: Array = checked_actions(self.family, 1, checked_action(self.family, action)[None])
        effective = commanded if self._actuators is None else self._actuators.drive(commanded)
        self.true_obs, reward, terminated, truncated, info = self.env.step(effective[0])
        if self._sensors is None:
            return self.true_obs, float(reward), terminated, truncated, info
        seen = self._sensors.read(self.true_obs[None])[0]
        if self._ended and self._seen is not None:
            seen = self._seen
        self._seen, self._ended = seen, bool(terminated or truncated)
        return seen.copy(), float(reward), terminated, truncated, info
