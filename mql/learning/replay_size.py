"""How large a replay is: the one place that says which arrays it has, for its allocation and for checks before a run.

Shapes: N tasks, R rows in a task's ring, O observation, A action, Z encoder state.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, kw_only=True)
class ReplaySize:
    """The arrays of a replay, by name, each with its shape and type.

    Args:
        n_tasks: each gets a ring of its own.
        obs_dim, action_dim: of one transition.
        capacity: transitions over all tasks, shared out equally.
        episode_length: the longest episode; a task's ring holds at least one, however small its share is.
        context_dim: size of the encoder state kept for every row (0: none is kept).
    """

    n_tasks: int
    obs_dim: int
    action_dim: int
    capacity: int
    episode_length: int
    context_dim: int = 0

    @property
    def rows(self) -> int:
        """Rows in a task's ring (R): its share of the transitions, and a final row for each episode."""
        steps = max(self.capacity // self.n_tasks, self.episode_length)
        return steps + -(-steps // self.episode_length)

    @property
    def on_device(self) -> Mapping[str, tuple[tuple[int, ...], npt.DTypeLike]]:
        """What lies where batches are made: the rows (o_t, a_t, r_t), and the encoder's state before each."""
        rows = self.n_tasks * self.rows
        return {
            "table": ((rows, self.obs_dim + self.action_dim + 1), np.float32),
            # Between -1 and 1, and only a start for the states that are learned from: half precision (2^-11) does.
            "states": ((rows, self.context_dim), np.float16),
        }

    @property
    def on_host(self) -> Mapping[str, tuple[tuple[int, ...], npt.DTypeLike]]:
        """The indices, in the machine's memory: of every row, its step, the steps after it, and the end's kind."""
        shape = (self.n_tasks, self.rows)
        return {"step": (shape, np.int32), "remaining": (shape, np.int32), "terminated": (shape, np.bool_)}

    @property
    def device_bytes(self) -> int:
        """Bytes of the full replay on its device, indices excluded (with ``cpu`` they come on top)."""
        return _bytes(self.on_device)

    @property
    def nbytes(self) -> int:
        """Bytes of the full replay, indices included."""
        return _bytes(self.on_device) + _bytes(self.on_host)


def _bytes(arrays: Mapping[str, tuple[tuple[int, ...], npt.DTypeLike]]) -> int:
    return sum(math.prod(shape) * np.dtype(dtype).itemsize for shape, dtype in arrays.values())
