"""One task of a family, and many of them stepped in parallel: what `mql.tasks.family` hands out.

Shapes: N tasks in parallel, O observation, A action.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from mql.tasks.distributions import Value
from mql.tasks.name_choice import plain_value

Array = npt.NDArray[np.float64]
FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Task:
    """One task: the values of a family's task parameters, and where they come from.

    ``split`` is train, validation, test, ood, validation-ood or custom; ``index`` is the place in that split's list (0
    for a custom task). ``in_training_range`` is False where a value lies outside what training tasks are drawn from.
    """

    family: str
    split: str
    index: int
    parameters: Mapping[str, Value] = field(hash=False)
    in_training_range: bool = True

    def to_json(self) -> dict[str, Any]:
        """Return the task parameters as plain data: numbers, names, and lists where a parameter is a vector."""
        return {name: plain_value(value) for name, value in self.parameters.items()}


@dataclass
class BatchStep:
    """What one control step of N tasks returns.

    obs [N, O] float32, reward [N] float32, terminated [N] and truncated [N] bool, and info: name -> [N].
    """

    obs: FloatArray
    reward: FloatArray
    terminated: BoolArray
    truncated: BoolArray
    info: dict[str, npt.NDArray[Any]]

    def copy(self) -> BatchStep:
        """Return a step with arrays of its own."""
        info = {name: values.copy() for name, values in self.info.items()}
        return BatchStep(self.obs.copy(), self.reward.copy(), self.terminated.copy(), self.truncated.copy(), info)


class TaskBatch(Protocol):
    """Many tasks of one family in parallel.

    There is no automatic reset. A task that has ended (terminated or truncated) is masked until the next reset: its
    observation, flags and info stay what they were, its reward is 0 and its actions are ignored.
    """

    @property
    def tasks(self) -> Sequence[Task]:
        """The tasks, in the order of the rows."""
        ...

    def reset(self, seeds: Sequence[int]) -> FloatArray:
        """Start an episode of every task, each from its own seed; return obs [N, O]."""
        ...

    def step(self, actions: npt.ArrayLike) -> BatchStep:
        """Advance every task by one control step with actions [N, A]; values are clipped to [-1, 1]."""
        ...

    def close(self) -> None:
        """Release threads, processes and rendering contexts; closing twice is harmless."""
        ...
