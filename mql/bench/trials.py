"""A trial of RL^2 (Duan et al. 2016, arXiv 1611.02779) as one Gymnasium episode: k episodes of one task.

Any recurrent agent for Gymnasium then is a meta-learner: what it remembers over a trial is what it knows of the task.
It sees the observation, the action and the reward of the step before, and whether an episode of the trial begins.

Shapes: O observation, A action.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt

from mql.types import FloatArray


class Trials(gymnasium.Wrapper[FloatArray, FloatArray, FloatArray, FloatArray]):
    """`environment`, of ``gymnasium.make("mql/<family>-v0")``, with `episodes` of one task in a row as an episode.

    The task is drawn when a trial is reset. Observations are [O + A + 2] (`seen`).
    """

    def __init__(self, environment: gymnasium.Env[FloatArray, FloatArray], episodes: int) -> None:
        super().__init__(environment)
        size = sum(space.shape[0] for space in (environment.observation_space, environment.action_space) if space.shape)
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (size + 2,), np.float32)
        self._episodes, self._left = episodes, 0
        self._still = np.zeros(environment.action_space.shape or (), np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[FloatArray, dict[str, Any]]:
        """Begin a trial."""
        obs, info = self.env.reset(seed=seed, options=options)
        self._left = self._episodes - 1
        return seen(obs, self._still, 0.0, begins=False), info

    def step(self, action: FloatArray) -> tuple[FloatArray, float, bool, bool, dict[str, Any]]:
        """Advance by a step; after an episode's last one, the next episode of the trial has begun."""
        obs, reward, terminated, truncated, info = self.env.step(action)
        begins = (terminated or truncated) and self._left > 0
        if begins:
            self._left -= 1
            terminated = truncated = False
            task: Any = self.env.unwrapped.task  # type: ignore[attr-defined]
            obs, _ = self.env.reset(options={"task": f"{task.split}:{task.index}"})
        return seen(obs, action, float(reward), begins=begins), float(reward), terminated, truncated, info


def seen(obs: npt.ArrayLike, action: npt.ArrayLike, reward: float, *, begins: bool) -> FloatArray:
    """Return what the agent sees: obs [O], action [A] and reward of the step before, and whether an episode begins.

    (A trial's first one is no mark: there the agent remembers nothing.)
    """
    return np.concatenate([np.asarray(obs), np.asarray(action), [reward, float(begins)]]).astype(np.float32)
