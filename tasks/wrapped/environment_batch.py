"""Environments as a batch, stepped one after another in this process.

Shapes: N tasks, O observation, A action.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mql.errors import UserError
from mql.tasks.family import BatchStep, FloatArray, Task, TaskFamily
from mql.tasks.stepping.checked import checked_actions, checked_seeds
from mql.tasks.wrapped.gymnasium_environment import GymnasiumEnvironment


class EnvironmentBatch:
    """The `TaskBatch` of a family around Gymnasium environments."""

    def __init__(self, family: TaskFamily, tasks: Sequence[Task], environments: Sequence[GymnasiumEnvironment]) -> None:
        self.family = family
        self.tasks: tuple[Task, ...] = tuple(tasks)
        self._environments = list(environments)
        self._last: BatchStep | None = None

    def reset(self, seeds: Sequence[int]) -> FloatArray:
        """Start an episode of every task, each from its own seed; return obs [N, O].

        Raises:
            UserError: not one non-negative seed per task.
            EpisodeFault: an environment failed.
        """
        checked = checked_seeds(seeds, len(self._environments))
        obs = np.stack([each.reset(seed=seed)[0] for each, seed in zip(self._environments, checked, strict=True)])
        rows = len(self._environments)
        flags = np.zeros(rows, dtype=np.bool_)
        self._last = BatchStep(obs.copy(), np.zeros(rows, np.float32), flags, flags.copy(), {})
        return obs

    def step(self, actions: npt.ArrayLike) -> BatchStep:
        """Advance every task whose episode has not ended by one control step with actions [N, A].

        Raises:
            UserError: actions not of shape [N, A] or not finite, or no reset before the first step.
            EpisodeFault: an environment failed.
        """
        last = self._last
        if last is None:
            raise UserError("step before reset", where=f"family {self.family.name}", mend="call reset first")
        action = checked_actions(self.family, len(self._environments), actions)
        last.reward[:] = 0.0
        for row, environment in enumerate(self._environments):
            if last.terminated[row] or last.truncated[row]:
                continue
            last.obs[row], last.reward[row], last.terminated[row], last.truncated[row], info = environment.advance(
                action[row]
            )
            for name, value in info.items():
                if name not in last.info:
                    last.info[name] = np.zeros(len(self._environments), _type_of(name))
                last.info[name][row] = value
        return last.copy()

    def render(self, row: int = 0) -> npt.NDArray[np.uint8] | None:
        """Return a picture of one task, if its environment was built for that."""
        return self._environments[row].render()

    def close(self) -> None:
        """Give the environments back to the family, which keeps them for later tasks."""
        for environment in self._environments:
            environment.close()


def _type_of(name: str) -> type:
    return np.bool_ if name == "success" else np.float64
