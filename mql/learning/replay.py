"""Transitions stored once, per task; context sequences gathered when they are sampled.

Shapes: N tasks, R rows in a task's ring, O observation, A action, D = O + A + 1; a batch has S context sequences of
T elements of C numbers, parts of rows (`mql.agent.elements`), with L transitions each (B = S * L).

Layout: one table [N * R, D] of rows (o_t, a_t, r_t), float32. An episode of n steps takes n + 1 consecutive rows of its
task's ring; the last one holds the final observation and is no transition. A task whose ring is full forgets its oldest
whole episodes, so a context never starts in the middle of an episode that is half overwritten.
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from mql.agent.elements import ContextElements
from mql.agent.protocols import Encoder
from mql.agent.scaling import Scaling
from mql.learning.contexts import ContextPlan, Segments, Windows, reads
from mql.learning.n_step import NStep, steps_ahead, window_to
from mql.learning.newest import COPY, Stored, newest_of_all, rows_of, whole
from mql.learning.priority import EpisodePriority, Favoured
from mql.learning.refresh_order import RefreshOrder
from mql.learning.replay_size import ReplaySize
from mql.learning.rings import EpisodeRows, zeros
from mql.types import Batch, Context, Episode, FloatArray, IntArray, Transition

EPISODES_AT_ONCE = 256  # go through the encoder in parallel when states are refreshed


class Replay:
    """A ring of episodes for each of `n_tasks` tasks.

    On the CPU, memory is taken up as episodes come in; a GPU gives all of it at once.

    Args:
        n_tasks, obs_dim, action_dim, capacity, episode_length, context_dim: as for `ReplaySize`; without a
            `context_dim`, segments start from an empty state.
        device: where the table lives and batches are made.
        folder: of the file that holds table and states; None: memory.
        scaling: of what batches and states are made from (None: none), and what contexts have of a row (None: all);
            the table itself keeps its units.
        prior: names of the last tasks, whose episodes are no run's own (`mql.learning.prior`): numbers below 0.
        priority: which episodes `sample` draws more often; None: all alike.
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
        folder: str | None = None,
        scaling: Scaling | None = None,
        prior: Sequence[str] = (),
        priority: EpisodePriority | None = None,
    ) -> None:
        self._scaling = scaling or Scaling(
            ContextElements(obs_dim, action_dim), reward_scale=1.0, normalize=False, device=device
        )
        self.n_tasks, self.obs_dim, self.action_dim = n_tasks, obs_dim, action_dim
        self.prior = tuple(prior)
        sizes = {"capacity": capacity, "episode_length": episode_length, "context_dim": context_dim}
        size = ReplaySize(n_tasks=n_tasks, obs_dim=obs_dim, action_dim=action_dim, **sizes)
        self.rows = size.rows
        self.table = zeros(*size.on_device["table"], device, folder)
        # Of every row: the encoder's state before its step, as of the last `refresh_states` that reached its episode.
        self.states = zeros(*size.on_device["states"], device, folder)
        # Of every row: the step in its episode, and how many steps its episode has after it (0: the final row).
        indices = {name: np.zeros(shape, dtype) for name, (shape, dtype) in size.on_host.items()}
        self.step, self.remaining, self.terminated = indices["step"], indices["remaining"], indices["terminated"]
        self._tail = np.zeros(n_tasks, dtype=np.int64)
        self._size = np.zeros(n_tasks, dtype=np.int64)
        self._stored: list[deque[Stored]] = [deque() for _ in range(n_tasks)]
        self._lengths: dict[int, int] = {}  # steps of every episode held, by number
        self._at: dict[int, Stored] = {}
        self._favoured = Favoured(priority, (n_tasks, size.rows)) if priority else None
        self._order = RefreshOrder()
        self._kept_states: dict[int, torch.Tensor] = {}  # of a checkpoint, for episodes that are yet to be appended
        self.appended = 0  # the number of the next episode

    @property
    def device(self) -> torch.device:
        """Where batches are made."""
        return self.table.device

    @property
    def nbytes(self) -> int:
        """Bytes of a full buffer, indices included."""
        return sum(a.nbytes for a in (self.table, self.states, self.step, self.remaining, self.terminated))

    @property
    def transitions(self) -> int:
        """Transitions held now."""
        return int(self._size.sum()) - len(self._at)

    @property
    def n_trained(self) -> int:
        """Tasks whose episodes a run collects; they come before those of `prior`."""
        return self.n_tasks - len(self.prior)

    @property
    def first_live_episode(self) -> int:
        """Number of the oldest episode held that a run has collected, or copied (`appended` when none is)."""
        own = self._stored[: self.n_trained]
        return min((stored[0].origin for stored in own if stored), default=self.appended)

    def append(self, episode: Episode, *, number: int | None = None, copy_of: int | None = None) -> None:
        """Store one whole episode in its task's ring, forgetting that task's oldest ones if it is full.

        `number` is the episode's number in its run, by default the next one; below 0 for one that is not the run's. A
        copy (`mql.learning.relabelling`) has that of the episode that it is made from, which comes right before it.

        Raises:
            ValueError: the episode is longer than the ring, its task is unknown, or restored states are not its own.
        """
        task, rows = episode.task, episode.length + 1
        if not 0 <= task < self.n_tasks or rows > self.rows:
            raise ValueError(f"episode of {rows - 1} steps of task {task} does not fit {self.n_tasks} x {self.rows}")
        while self._size[task] + rows > self.rows:
            dropped = self._stored[task].popleft()
            del self._at[dropped.number], self._lengths[dropped.number]
            self._tail[task] = (self._tail[task] + dropped.rows) % self.rows
            self._size[task] -= dropped.rows
            if self._favoured:
                self._favoured.drop(dropped)
        first = int(self._tail[task] + self._size[task]) % self.rows
        place = (first + np.arange(rows)) % self.rows
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
        if copy_of is not None:
            number = COPY + copy_of
        else:
            number = self.appended if number is None else number
            self.appended = number + 1
        turn = self._stored[task][-1].turn + 1 if self._stored[task] else 0
        stored = Stored(number, task, first, rows, turn)
        self._stored[task].append(stored)
        self._at[number], self._lengths[number] = stored, episode.length
        if self._favoured:
            self._favoured.add(stored, episode)
        if not self.states.shape[1]:
            return
        kept = self._kept_states.pop(number, None)
        if kept is None:
            self._order.add(number)
        elif len(kept) != episode.length:
            raise ValueError(f"episode {number} has {episode.length} steps, not the {len(kept)} of its kept states")
        else:
            self.states[self._index(task * self.rows + place[:-1])] = kept.to(self.device)

    def all_rows(self, *, at_most: int | None = None) -> IntArray:
        """Table rows of stored transitions, newest episodes first within a task, tasks in turn.

        `at_most` bounds the number of transitions. All tasks are covered however few these are: by whole episodes, or
        by a stretch of the newest one of each where they do not fit (`newest_of_all`).
        """
        return rows_of(newest_of_all([list(reversed(stored)) for stored in self._stored], at_most), ring=self.rows)

    def observations_and_rewards(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Observations [n, O] and rewards [n] of all transitions that a run has collected, in their own units."""
        stored = self.all_rows()
        rows = self._rows(stored[stored < self.n_trained * self.rows])
        return rows[:, : self.obs_dim], rows[:, -1]

    def sample_rows(self, n: int, rng: np.random.Generator) -> IntArray:
        """Draw `n` table rows of transitions with replacement: tasks with equal probability, then by `priority`."""
        tasks_with_data = np.flatnonzero(self._size)
        task = tasks_with_data[rng.integers(len(tasks_with_data), size=n)]
        row = np.empty(n, dtype=np.int64)
        redraw = np.arange(n)
        while len(redraw):  # final rows are no transitions: draw again
            who = task[redraw]
            row[redraw] = (self._tail[who] + rng.integers(self._size[who])) % self.rows
            refused = self.remaining[who, row[redraw]] == 0
            if self._favoured:
                refused |= ~self._favoured.accepted(who, row[redraw], rng)
            redraw = redraw[refused]
        return task * self.rows + row

    def sample(self, batch_size: int, plan: ContextPlan, rng: np.random.Generator) -> Batch:
        """Draw a batch of `batch_size` transitions, at least one segment of them; tasks are weighted equally."""
        return self.gather(self.sample_rows(max(batch_size // reads(plan), 1), rng), plan, rng=rng)

    def gather(
        self,
        rows: IntArray,
        plan: ContextPlan,
        *,
        rng: np.random.Generator | None = None,
        density: FloatArray | npt.NDArray[np.bool_] | None = None,
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
            return self._windows(rows, plan, importance)
        task, row = np.divmod(rows, self.rows)
        step = self.step[task, row].astype(np.int64)
        length = step + self.remaining[task, row]
        episode = EpisodeRows(task * self.rows, (row - step) % self.rows, self.rows)
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
        ahead, farthest = steps_ahead(plan.n_step, length[:, None] - position)
        read_to = plan.burn_in + plan.length - 1 + farthest
        steps = np.minimum(begin + np.arange(read_to)[:, None], length)  # past the end: not read
        elements = self._scaling.elements(self._rows(episode.rows(steps)))
        initial = None
        if self.states.shape[1]:
            initial = self.states.index_select(0, self._index(episode.rows(begin[None])[0])).to(elements.dtype)
        read = position - begin[:, None]
        at, end = at.ravel(), episode.rows((position + ahead).T).T.ravel()
        return Batch(
            transition=self._transition(at, self._rows(at), self._rows(end), plan.n_step),
            context=Context(elements, read=self._index(read), initial=initial),
            next_context=Context(elements, read=self._index(read + ahead), initial=initial),
            weights=self._weights(weights),
        )

    def _windows(self, rows: IntArray, plan: Windows, importance: FloatArray | None) -> Batch:
        """Make the batch of the transitions in `rows`; one gather of steps serves both windows and the step."""
        task, row = np.divmod(rows, self.rows)
        length, step = plan.length, self.step[task, row].astype(np.int64)
        ahead, farthest = steps_ahead(plan.n_step, self.remaining[task, row].astype(np.int64))
        episode = EpisodeRows(task * self.rows, (row - step) % self.rows, self.rows)
        places = np.clip(step + np.arange(-length, farthest)[:, None], 0, step + ahead - 1)
        rows_at = self._rows(episode.rows(places))
        elements = self._scaling.elements(rows_at)
        after = elements[farthest:] if plan.n_step is None else window_to(elements, self._index(ahead), length)
        missing = length - step  # steps by which the history is shorter than the window
        end = episode.rows((step + ahead)[None])[0]
        return Batch(
            transition=self._transition(rows, rows_at[length], self._rows(end), plan.n_step),
            context=Context(elements[:length], start=self._index(np.maximum(missing, 0))),
            next_context=Context(after, start=self._index(np.maximum(missing - ahead, 0))),
            weights=self._weights(np.ones(len(rows)) if importance is None else importance[rows]),
        )

    def refresh_states(self, encoder: Encoder, *, at_most: int | None = None) -> None:
        """Compute the states before stored steps, as `encoder` carries them from their episodes' starts.

        Segments then start from states of whole histories, as in acting; without this, a policy that carries its state
        through an episode would meet states that training never saw. Episodes that have no states yet get them, and
        `at_most` steps (all by default; the last episode may go beyond) of the others, longest untouched first.
        """
        chosen = [self._at[number] for number in self._order.take(self._lengths, at_most)]
        # In the order of `all_rows`, which does not depend on where the rings lie.
        chosen.sort(key=lambda stored: (self._stored[stored.task][-1].turn - stored.turn, stored.task))
        self._compute_states(encoder, np.array([s.task * self.rows + s.first for s in chosen], dtype=np.int64))

    def forget_states(self) -> None:
        """Let the next `refresh_states` compute the states of every episode."""
        self._order.forget(self._at)

    def with_states_of(self, encoder: Encoder, rows: IntArray) -> Replay:
        """Return a view of the same episodes with states of its own: `encoder`'s, in the episodes that `rows` lie in.

        This replay and its states stay as they are; the view is good until the next episode is appended.
        """
        view = copy.copy(self)
        view.states = zeros(tuple(self.states.shape), np.float16, str(self.device))
        task, row = np.divmod(rows, self.rows)
        starts = task * self.rows + (row - self.step[task, row]) % self.rows
        view._compute_states(encoder, starts[np.flatnonzero(np.diff(starts, prepend=-1))])
        return view

    @torch.no_grad()
    def _compute_states(self, encoder: Encoder, starts: IntArray) -> None:
        """Compute the states of the episodes that begin in table rows `starts`."""
        task, row = np.divmod(starts, self.rows)
        length = self.remaining[task, row].astype(np.int64)
        for first in range(0, len(starts), EPISODES_AT_ONCE):
            some = slice(first, first + EPISODES_AT_ONCE)
            steps = np.arange(length[some].max())[:, None]
            at = EpisodeRows(task[some] * self.rows, row[some], self.rows).rows(steps)
            states = encoder.states(self._scaling.elements(self._rows(at)))[:-1].to(self.states.dtype)
            valid = steps < length[some]
            if valid.all():
                self.states[self._index(at)] = states
            else:
                self.states[self._index(at[valid])] = states[torch.from_numpy(valid).to(self.device)]

    def state_tensors(self) -> dict[str, torch.Tensor]:
        """What `restore_states` needs to go on as if nothing had happened; nothing where all states are to be computed.

        ``replay.refreshed`` [E, 2]: number and steps of the episodes that have states, longest untouched first;
        ``replay.states`` [sum of steps, Z]: their states.
        """
        numbers = self._order.with_states(self._lengths)
        if not numbers or not self.states.shape[1]:
            return {}
        rows = rows_of([whole(self._at[number]) for number in numbers], ring=self.rows)
        refreshed = torch.tensor([(number, self._lengths[number]) for number in numbers])
        return {"replay.refreshed": refreshed, "replay.states": self.states[self._index(rows)]}

    def restore_states(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Take what `state_tensors` gave among `tensors`; the episodes are appended after this, with their numbers.

        Raises:
            KeyError: one of the two tensors is missing.
            ValueError: the shapes do not fit.
        """
        if not {"replay.refreshed", "replay.states"} & set(tensors):
            return
        refreshed, states = tensors["replay.refreshed"].tolist(), tensors["replay.states"]
        if states.shape != (total := sum(length for _, length in refreshed), self.states.shape[1]):
            raise ValueError(f"replay.states has shape {tuple(states.shape)}, not {(total, self.states.shape[1])}")
        parts = states.split_with_sizes([length for _, length in refreshed])
        self._kept_states = {number: part for (number, _), part in zip(refreshed, parts, strict=True)}
        self._order.restore(number for number, _ in refreshed)

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
            return self.gather(starts, replace(plan, length=int(length.max()), burn_in=0))
        steps = np.concatenate([np.arange(n) for n in length])
        rows = np.repeat(task, length) * self.rows + (np.repeat(row, length) + steps) % self.rows
        return self.gather(rows, plan)

    def _rows(self, at: IntArray) -> torch.Tensor:
        return self.table.index_select(0, self._index(at.ravel())).view(*at.shape, -1)

    def _index(self, values: IntArray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(values, dtype=np.int64)).to(self.device)

    def _weights(self, values: npt.NDArray[Any]) -> torch.Tensor:
        return torch.from_numpy(values.ravel().astype(np.float32)).to(self.device)

    def _transition(self, at: IntArray, now: torch.Tensor, after: torch.Tensor, n_step: NStep | None) -> Transition:
        """The transitions in table rows `at` [B], whose contents are `now` and are followed by `after`, each [B, D].

        With `n_step`, `after` is where its return ends.
        """
        task, row = np.divmod(at, self.rows)
        reward, discount = now[:, -1], None
        if n_step is not None:
            steps = n_step.steps(self.remaining[task, row])
            places, factors = n_step.terms(steps)
            rewards = self.table[self._index(task * self.rows + (row + places) % self.rows), -1]
            reward = (rewards * self._weights(factors).view_as(rewards)).sum(dim=0)
            discount = self._weights(n_step.discounts(steps))
            row = (row + steps - 1) % self.rows  # the last one counted: only there may an episode have terminated
        transition = Transition(
            obs=now[:, : self.obs_dim],
            action=now[:, self.obs_dim : -1],
            reward=reward,
            next_obs=after[:, : self.obs_dim],
            terminated=self._weights(self.terminated[task, row]),
            discount=discount,
        )
        return self._scaling.transition(transition)
