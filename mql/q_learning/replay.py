"""What was seen, for actions that are numbers: observations stored once, returns over n steps, drawn by priority.

Each lane has a ring of its own. A row holds what was observed, the action, and, once it is known, the return that
begins there, its discount, and the row of the state that follows. Rows are drawn only then: a return over n steps is
known n steps later, when what follows has been observed, or when its episode ends. After a termination nothing
follows, and the discount is 0. At a time limit the return is cut, and what follows is the final observation, which has
a row of its own that is never drawn.

Shapes: L lanes, R rows in a lane's ring, B transitions, O the shape of an observation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from mql.q_learning.settings import QSettings
from mql.q_learning.sum_tree import SumTree
from mql.types import IntArray

LEAST_LOSS = 1e-10  # a transition of no loss is drawn again, too


@dataclass(frozen=True)
class QBatch:
    """Transitions to learn from: ``obs`` and ``next_obs`` [B, *O] as they were stored, all else [B].

    ``reward`` is the discounted sum of a return, ``discount`` the factor on what follows (0 after a termination),
    ``weights`` multiply the losses, and ``rows`` are for `QReplay.learned`.
    """

    obs: torch.Tensor
    action: torch.Tensor
    reward: torch.Tensor
    discount: torch.Tensor
    next_obs: torch.Tensor
    weights: torch.Tensor
    rows: IntArray


class QReplay:
    """The newest steps of lanes that are stepped in parallel.

    Args:
        obs_shape: O.
        obs_dtype: what observations are stored as: bool, uint8 or float32.
        settings: capacity, returns and priorities.
        lanes: L.

    Raises:
        ValueError: the capacity has no room for a return in each lane.
    """

    def __init__(
        self, obs_shape: Sequence[int], obs_dtype: npt.DTypeLike, settings: QSettings, *, lanes: int = 1
    ) -> None:
        self._rows, self._n, self._discount = settings.replay_capacity // lanes, settings.n_step, settings.discount
        if self._rows < self._n + 2:
            raise ValueError(f"{settings.replay_capacity} rows have no room for returns of {self._n} steps in {lanes}")
        self._alpha = settings.priority_alpha if settings.prioritised else 0.0
        rows = self._rows * lanes
        self._obs = np.zeros((rows, *obs_shape), dtype=obs_dtype)
        self._action = np.zeros(rows, dtype=np.int64)
        self._reward = np.zeros(rows, dtype=np.float32)
        self._factor = np.zeros(rows, dtype=np.float32)
        self._following = np.zeros(rows, dtype=np.int64)
        self._tree = SumTree(rows, summed=self._alpha > 0.0)
        self._written = [0] * lanes  # rows so far, of each lane
        self._open: list[list[tuple[int, float]]] = [[] for _ in range(lanes)]  # rows and rewards of unknown returns
        self._largest = 1.0  # loss so far

    def __len__(self) -> int:
        """Return how many transitions can be drawn."""
        return int(np.count_nonzero(self._tree.weights))

    def add(
        self,
        obs: npt.NDArray[Any],
        action: npt.ArrayLike,
        reward: npt.ArrayLike,
        terminated: npt.ArrayLike,
        truncated: npt.ArrayLike,
        next_obs: npt.NDArray[Any],
    ) -> None:
        """Store a step of every lane, [L] each, and `obs` and `next_obs` [L, *O] before and after it.

        After a time limit, `next_obs` is the final observation, not the first one of the next episode.
        """
        steps = zip(*(np.asarray(a).tolist() for a in (action, reward, terminated, truncated)), strict=True)
        for lane, (act, gain, end, cut) in enumerate(steps):
            row = self._next_row(lane)
            self._obs[row], self._action[row] = obs[lane], act
            unknown = self._open[lane]
            if len(unknown) == self._n:
                self._close(unknown, row, count=1)
                del unknown[0]
            unknown.append((row, gain))
            if end or cut:
                if end:
                    self._close(unknown, None, count=len(unknown))
                else:
                    final = self._next_row(lane)
                    self._obs[final] = next_obs[lane]
                    self._close(unknown, final, count=len(unknown))
                unknown.clear()

    def cut(self) -> None:
        """Forget returns that are not known yet: the lanes go on elsewhere, and what would follow is not seen."""
        for unknown in self._open:
            unknown.clear()

    def sample(self, batch_size: int, rng: np.random.Generator, *, beta: float = 1.0) -> QBatch:
        """Draw transitions, uniformly or by priority.

        By priority p, one is drawn from each of B equal parts of all priorities (Schaul et al. 2016, arXiv 1511.05952),
        and importance weights (N p)^-`beta` are divided by the largest of the batch.

        Raises:
            ValueError: there is none.
        """
        if self._alpha:
            rows = self._tree.find((np.arange(batch_size) + rng.random(batch_size)) / batch_size)
            weights = self._tree.weights[rows]
            weights = (weights / weights.min()) ** -beta  # (N and the sum of all priorities are the same for each)
        else:
            rows, weights = self._uniform(batch_size, rng), np.ones(batch_size)
        return QBatch(
            obs=torch.from_numpy(self._obs[rows]),
            action=torch.from_numpy(self._action[rows]),
            reward=torch.from_numpy(self._reward[rows]),
            discount=torch.from_numpy(self._factor[rows]),
            next_obs=torch.from_numpy(self._obs[self._following[rows]]),
            weights=torch.from_numpy(weights.astype(np.float32)),
            rows=rows,
        )

    def learned(self, rows: IntArray, losses: npt.NDArray[np.floating]) -> None:
        """Take the losses [B] of rows that were just drawn for their priorities: to the power of alpha.

        A new transition has the largest loss so far. These are losses of transitions: no penalty is part of them.
        """
        if not self._alpha:
            return
        found = np.maximum(losses.astype(np.float64), LEAST_LOSS)
        self._largest = max(self._largest, float(found.max()))
        self._tree.set(rows, found**self._alpha)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return all of it by name, as copies; unused rows are left out."""
        used = min(max(self._written), self._rows)
        found: dict[str, npt.NDArray[Any]] = {
            name: self._by_lane(array)[:, :used].copy() for name, array in self._columns().items()
        }
        unknown = [(lane, row, reward) for lane, steps in enumerate(self._open) for row, reward in steps]
        found["written"] = np.array(self._written, dtype=np.int64)
        found["open_rows"] = np.array([(lane, row) for lane, row, _ in unknown], dtype=np.int64).reshape(-1, 2)
        found["open_rewards"] = np.array([reward for *_, reward in unknown], dtype=np.float64)
        found["largest_loss"] = np.array([self._largest], dtype=np.float64)
        return found

    def restore(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Take over what `arrays` gave.

        Raises:
            KeyError: an array is missing.
            ValueError: one is of another shape or type.
        """
        written = arrays["written"].tolist()
        used = min(max(written), self._rows)
        for name, column in self._columns().items():
            place, given = self._by_lane(column), arrays[name]
            if given.shape != place[:, :used].shape or given.dtype != place.dtype:
                expected = f"{place.dtype} {place[:, :used].shape}"
                raise ValueError(f"{name} is {given.dtype} {given.shape}, expected {expected}")
            place[:, :used], place[:, used:] = given, 0
        self._tree.set(np.arange(len(self._action)), self._tree.weights.copy())  # (all sums are old)
        self._written, self._largest = written, float(arrays["largest_loss"][0])
        self._open = [[] for _ in written]
        for (lane, row), reward in zip(arrays["open_rows"].tolist(), arrays["open_rewards"].tolist(), strict=True):
            self._open[lane].append((row, reward))

    def _uniform(self, count: int, rng: np.random.Generator) -> IntArray:
        """Return rows that can be drawn, all alike: those that can't are drawn again (few can't, behind the newest)."""
        end = (len(self._written) - 1) * self._rows + min(self._written[-1], self._rows)
        rows = rng.integers(max(end, 1), size=count)
        missed = np.flatnonzero(self._tree.weights[rows] == 0.0)
        if len(missed) and not self._tree.weights.any():
            raise ValueError("no row has a weight")
        while len(missed):
            rows[missed] = rng.integers(end, size=len(missed))
            missed = missed[self._tree.weights[rows[missed]] == 0.0]
        return rows

    def _next_row(self, lane: int) -> int:
        """Return the row that is written next; what it held is gone."""
        row = lane * self._rows + self._written[lane] % self._rows
        self._written[lane] += 1
        self._tree.set(row, 0.0)
        return row

    def _close(self, unknown: list[tuple[int, float]], following: int | None, *, count: int) -> None:
        """Let the first `count` of open rows be drawn: their returns are the rewards from there on.

        None follows a termination.
        """
        for place in range(count):
            row, rewards = unknown[place][0], [reward for _, reward in unknown[place:]]
            self._reward[row] = sum(self._discount**k * reward for k, reward in enumerate(rewards))
            self._factor[row] = 0.0 if following is None else self._discount ** len(rewards)
            self._following[row] = row if following is None else following
            self._tree.set(row, self._largest**self._alpha)

    def _columns(self) -> dict[str, npt.NDArray[Any]]:
        return {
            "obs": self._obs,
            "action": self._action,
            "reward": self._reward,
            "discount": self._factor,
            "following": self._following,
            "priority": self._tree.weights,
        }

    def _by_lane(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return array.reshape(len(self._written), self._rows, *array.shape[1:])
