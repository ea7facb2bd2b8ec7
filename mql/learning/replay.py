"""Transitions stored once, per task; context sequences gathered when they are sampled.

Shapes: N tasks, R rows in a task's ring, O observation, A action, C = O + A + 1; a batch has S context sequences of T
elements with L transitions each (B = S * L).

Layout: one table [N * R, C] of rows (o_t, a_t, r_t), float32. An episode of n steps takes n + 1 consecutive rows of its
task's ring; the last one holds the final observation and is no transition. A task whose ring is full forgets its oldest
whole episodes, so a context never starts in the middle of an episode that is half overwritten.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from mql.agent.protocols import Encoder
from mql.agent.scaling import Scaling
from mql.learning.contexts import ContextPlan, Segments, Windows, reads
from mql.types import Batch, Context, Episode, FloatArray, IntArray, Transition

EPISODES_AT_ONCE = 256  # go through the encoder side by side when states are refreshed


class Replay:
    """A ring of episodes for each of `n_tasks` tasks.

    Args:
        capacity: transitions over all tasks, shared out equally; the memory bound, allocated as it fills.
        episode_length: the longest episode; a task's ring holds at least one.
        context_dim: size of the encoder state kept for every row, from which `Segments` start (0: none is kept, and
            segments start from an empty state).
        device: where the table lives and batches are made.
        scaling: of what batches and states are made from (None: none); the table itself keeps its units.
    """

    def __init__(
        self,
        *,
        n_tasks: int,
        obs_dim: int,
        action_dim: int,
        capacity: int,
        episode_length: int,
        context_dim: int = 0,
        device: str = "cpu",
        scaling: Scaling | None = None,
    ) -> None:
        self._scaling = scaling or Scaling(obs_dim, action_dim, reward_scale=1.0, normalize=False, device=device)
        self.n_tasks, self.obs_dim, self.action_dim = n_tasks, obs_dim, action_dim
        steps = max(capacity // n_tasks, episode_length)
        self.rows = steps + -(-steps // episode_length)  # a final row for each episode
        self.table = torch.zeros(n_tasks * self.rows, obs_dim + action_dim + 1, device=device)
        # Of every row: the encoder's state before its step, as of the last `refresh_states`. Between -1 and 1, and only
        # a start for the states that are learned from: half precision (2^-11) does.
        self.states = torch.zeros(n_tasks * self.rows, context_dim, dtype=torch.float16, device=device)
        # Of every row: the step in its episode, and how many steps its episode has after it (0: the final row).
        self.step = np.zeros((n_tasks, self.rows), dtype=np.int32)
        self.remaining = np.zeros((n_tasks, self.rows), dtype=np.int32)
        self.terminated = np.zeros((n_tasks, self.rows), dtype=bool)
        self._tail = np.zeros(n_tasks, dtype=np.int64)
        self._size = np.zeros(n_tasks, dtype=np.int64)
        self._stored: list[deque[tuple[int, int]]] = [deque() for _ in range(n_tasks)]  # (episode number, rows)
        self.appended = 0  # the number of the next episode

    @property
    def device(self) -> torch.device:
        """Where batches are made."""
        return self.table.device

    @property
    def nbytes(self) -> int:
        """Bytes of a full buffer, indices included."""
        return (
            self.table.nbytes + self.states.nbytes + self.step.nbytes + self.remaining.nbytes + self.terminated.nbytes
        )

    @property
    def transitions(self) -> int:
        """Transitions held now."""
        return int(self._size.sum()) - sum(len(stored) for stored in self._stored)

    @property
    def first_live_episode(self) -> int:
        """Number of the oldest episode held (`appended` when none is)."""
        return min((stored[0][0] for stored in self._stored if stored), default=self.appended)

    def append(self, episode: Episode, *, number: int | None = None) -> None:
        """Store one whole episode in its task's ring, forgetting that task's oldest ones if it is full.

        `number` is the episode's number in its run, by default the next one.

        Raises:
            ValueError: the episode is longer than the ring, or its task is unknown.
        """
        task, rows = episode.task, episode.length + 1
        if not 0 <= task < self.n_tasks or rows > self.rows:
            raise ValueError(f"episode of {rows - 1} steps of task {task} does not fit {self.n_tasks} x {self.rows}")
        while self._size[task] + rows > self.rows:
            _, dropped = self._stored[task].popleft()
            self._tail[task] = (self._tail[task] + dropped) % self.rows
            self._size[task] -= dropped
        place = (self._tail[task] + self._size[task] + np.arange(rows)) % self.rows
        block = np.zeros((rows, self.table.shape[1]), dtype=np.float32)
        block[:, : self.obs_dim] = episode.obs
        block[:-1, self.obs_dim : -1] = episode.action
        block[:-1, -1] = episode.reward
        self.table[torch.from_numpy(task * self.rows + place).to(self.device)] = torch.from_numpy(block).to(self.device)
        self.step[task, place] = np.arange(rows)
        self.remaining[task, place] = np.arange(rows)[::-1]
        self.terminated[task, place] = False
        self.terminated[task, place[-2]] = episode.terminated
        self._size[task] += rows
        number = self.appended if number is None else number
        self._stored[task].append((number, rows))
        self.appended = number + 1

    def all_rows(self, *, at_most: int | None = None) -> IntArray:
        """Table rows of stored transitions, newest episodes first within a task, tasks in turn, whole episodes.

        `at_most` bounds the number of transitions (at least one episode is given).
        """
        ends = [(self._tail[task] + self._size[task]) % self.rows for task in range(self.n_tasks)]
        queues = [list(reversed(stored)) for stored in self._stored]
        chosen: list[IntArray] = []
        count = 0
        for turn in range(max((len(queue) for queue in queues), default=0)):
            for task, queue in enumerate(queues):
                if turn >= len(queue):
                    continue
                rows = queue[turn][1]
                if at_most is not None and chosen and count + rows - 1 > at_most:
                    return np.concatenate(chosen)
                first = (ends[task] - rows) % self.rows
                ends[task] = first
                chosen.append(task * self.rows + (first + np.arange(rows - 1)) % self.rows)
                count += rows - 1
        return np.concatenate(chosen) if chosen else np.zeros(0, dtype=np.int64)

    def observations_and_rewards(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Observations [n, O] and rewards [n] of all stored transitions, in their own units."""
        rows = self._rows(self.all_rows())
        return rows[:, : self.obs_dim], rows[:, -1]

    def sample_rows(self, n: int, rng: np.random.Generator) -> IntArray:
        """Draw `n` table rows of transitions with replacement: tasks with equal probability, then uniformly."""
        tasks_with_data = np.flatnonzero(self._size)
        task = tasks_with_data[rng.integers(len(tasks_with_data), size=n)]
        row = np.empty(n, dtype=np.int64)
        redraw = np.arange(n)
        while len(redraw):  # final rows are no transitions: draw again
            who = task[redraw]
            row[redraw] = (self._tail[who] + rng.integers(self._size[who])) % self.rows
            redraw = redraw[self.remaining[who, row[redraw]] == 0]
        return task * self.rows + row

    def sample(self, batch_size: int, plan: ContextPlan, rng: np.random.Generator) -> Batch:
        """Draw a batch of `batch_size` transitions, tasks weighted equally."""
        return self.gather(self.sample_rows(batch_size // reads(plan), rng), plan, rng=rng)

    def gather(
        self,
        rows: IntArray,
        plan: ContextPlan,
        *,
        rng: np.random.Generator | None = None,
        density: FloatArray | None = None,
        importance: FloatArray | None = None,
    ) -> Batch:
        """Make the batch around the transitions in table rows `rows` [S].

        Without `rng`, a segment begins at its row, and its transitions count the same. With `rng`, it lies at a random
        offset around its row, and each of its transitions gets the weight L p / sum(p), p being the probability
        `density` (per table row; uniform if None) with which rows were drawn: so every transition counts in expectation
        by its density, also at the ends of an episode, where a segment sticks out. These weights sum to B; `importance`
        (per table row) multiplies them.
        """
        if isinstance(plan, Windows):
            return self._windows(rows, plan.length, importance)
        task, row = np.divmod(rows, self.rows)
        step = self.step[task, row].astype(np.int64)
        length = step + self.remaining[task, row]
        episode = _Episodes(task * self.rows, (row - step) % self.rows, self.rows)
        first = step if rng is None else step - rng.integers(plan.length, size=len(rows))
        position = first[:, None] + np.arange(plan.length)
        valid = (position >= 0) & (position < length[:, None])
        position = np.clip(position, 0, length[:, None] - 1)
        at = episode.rows(position.T).T

        weights = valid * (1.0 if density is None else density[at])
        over = None if rng is None else 1  # drawn segments share out their weight each, given ones all together
        weights = weights / weights.mean(axis=over, keepdims=True)
        if importance is not None:
            weights = weights * importance[at]

        begin = np.maximum(first - plan.burn_in, 0)
        steps = np.minimum(begin + np.arange(plan.burn_in + plan.length)[:, None], length)  # past the end: not read
        elements = self._scaling.elements(self._rows(episode.rows(steps)))
        initial = None
        if self.states.shape[1]:
            initial = self.states.index_select(0, self._index(episode.rows(begin[None])[0])).to(elements.dtype)
        read = position - begin[:, None]
        return Batch(
            transition=self._transition(
                at.ravel(), self._rows(at.ravel()), self._rows(episode.rows(position.T + 1).T.ravel())
            ),
            context=Context(elements, read=self._index(read), initial=initial),
            next_context=Context(elements, read=self._index(read + 1), initial=initial),
            weights=self._weights(weights),
        )

    def _windows(self, rows: IntArray, length: int, importance: FloatArray | None) -> Batch:
        """Make the batch of the transitions in `rows`; one gather of H + 1 steps serves both windows and the step."""
        task, row = np.divmod(rows, self.rows)
        step = self.step[task, row].astype(np.int64)
        episode = _Episodes(task * self.rows, (row - step) % self.rows, self.rows)
        at = episode.rows(np.maximum(step + np.arange(-length, 1)[:, None], 0))
        rows_at = self._rows(at)
        elements = self._scaling.elements(rows_at)
        missing = length - step  # steps by which the history is shorter than the window
        return Batch(
            transition=self._transition(rows, rows_at[-1], self._rows(episode.rows(step[None] + 1)[0])),
            context=Context(elements[:-1], start=self._index(np.maximum(missing, 0))),
            next_context=Context(elements[1:], start=self._index(np.maximum(missing - 1, 0))),
            weights=self._weights(np.ones(len(rows)) if importance is None else importance[rows]),
        )

    @torch.no_grad()
    def refresh_states(self, encoder: Encoder) -> None:
        """Compute the state before every stored step, as `encoder` carries it from the episode's start.

        Segments then start from states of whole histories, as in acting; without this, a policy that carries its state
        through an episode would meet states that training never saw.
        """
        starts = self.episode_starts(self.all_rows())
        task, row = np.divmod(starts, self.rows)
        length = self.remaining[task, row].astype(np.int64)
        for first in range(0, len(starts), EPISODES_AT_ONCE):
            some = slice(first, first + EPISODES_AT_ONCE)
            steps = np.arange(length[some].max())[:, None]
            at = _Episodes(task[some] * self.rows, row[some], self.rows).rows(steps)
            states = encoder.states(self._scaling.elements(self._rows(at)))[:-1].to(self.states.dtype)
            valid = steps < length[some]
            if valid.all():
                self.states[self._index(at)] = states
            else:
                self.states[self._index(at[valid])] = states[torch.from_numpy(valid).to(self.device)]

    def episode_starts(self, rows: IntArray) -> IntArray:
        """Those of `rows` at which an episode begins."""
        task, row = np.divmod(rows, self.rows)
        starts: IntArray = rows[self.step[task, row] == 0]
        return starts

    def whole_episodes(self, starts: IntArray, plan: ContextPlan) -> Batch:
        """Make one batch of every transition of the episodes that begin at `starts`, in order, as acted.

        Contexts are those that the policy had: windows, or the state carried since the reset. Where episodes differ
        in length, padding has weight 0; the other weights are equal and sum to B.
        """
        task, row = np.divmod(starts, self.rows)
        length = self.remaining[task, row]
        if isinstance(plan, Segments):
            return self.gather(starts, Segments(length=int(length.max()), burn_in=0))
        steps = np.concatenate([np.arange(n) for n in length])
        rows = np.repeat(task, length) * self.rows + (np.repeat(row, length) + steps) % self.rows
        return self.gather(rows, plan)

    def _rows(self, at: IntArray) -> torch.Tensor:
        return self.table.index_select(0, self._index(at.ravel())).view(*at.shape, -1)

    def _index(self, values: IntArray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(values, dtype=np.int64)).to(self.device)

    def _weights(self, values: npt.NDArray[Any]) -> torch.Tensor:
        return torch.from_numpy(values.ravel().astype(np.float32)).to(self.device)

    def _transition(self, at: IntArray, now: torch.Tensor, after: torch.Tensor) -> Transition:
        """The transitions in table rows `at` [B], whose contents are `now` and are followed by `after`, each [B, C]."""
        task, row = np.divmod(at, self.rows)
        transition = Transition(
            obs=now[:, : self.obs_dim],
            action=now[:, self.obs_dim : -1],
            reward=now[:, -1],
            next_obs=after[:, : self.obs_dim],
            terminated=self._weights(self.terminated[task, row]),
        )
        return self._scaling.transition(transition)


@dataclass(frozen=True)
class _Episodes:
    """Where episodes lie: the table row [S] at which the ring begins, and the ring position [S] of the first step."""

    ring: IntArray
    start: IntArray
    size: int

    def rows(self, steps: IntArray) -> IntArray:
        """Table rows of steps [..., S], at most `size` of them: the ring is circular."""
        place: IntArray = self.start + steps
        np.subtract(place, self.size, out=place, where=place >= self.size)
        place += self.ring
        return place
