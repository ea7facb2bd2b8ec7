"""Batches whose rows are drawn, and whose indices are computed, where the replay's table is: on a GPU.

The host's way (`Replay.sample`) draws rows in numpy and computes some dozen small arrays of indices, which takes longer
than a GPU takes for the update. Here the same arrays are tensors of fixed shapes, made by operators that a CUDA graph
can record. Rows have the same probabilities as there, but other random numbers: a run on a GPU draws other batches than
one on the CPU.

Shapes: n batches drawn together, S sequences, T steps, L transitions read in each sequence (B = S * L), N tasks, R rows
in a task's ring.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from mql.agent.scaling import Scaling
from mql.learning.contexts import ContextPlan, Segments, Windows, reads
from mql.learning.n_step import window_to
from mql.learning.replay import Replay
from mql.types import Batch, Context, Transition


@dataclass(frozen=True)
class Drawn:
    """Indices of n batches: transitions at `at` [n, B] of the table, with targets read `ahead` steps on, at `end`.

    ``steps`` [n, T, S] are the table rows that contexts and windows are made of. ``starts`` [n, S] and ``reads``
    [n, S, L] say where sequences begin and what is read (of segments), ``missing`` [n, S] how much of its window a
    history lacks.
    """

    at: torch.Tensor
    end: torch.Tensor
    steps: torch.Tensor
    ahead: torch.Tensor
    weights: torch.Tensor | None = None
    starts: torch.Tensor | None = None
    reads: torch.Tensor | None = None
    missing: torch.Tensor | None = None


class DeviceBatches:
    """Draws batches of `batch_size` transitions from a replay, tasks with equal probability, on the replay's device.

    Args:
        replay: without a priority among its episodes.
        scaling: the replay's; fitted by now, if it will ever be.
        batch_size: at least one sequence is drawn.
        plan: how contexts are gathered.
    """

    def __init__(self, replay: Replay, scaling: Scaling, batch_size: int, plan: ContextPlan) -> None:
        self._replay, self._scaling, self._plan = replay, scaling, plan
        self.sequences = max(batch_size // reads(plan), 1)
        device, rows = replay.device, replay.n_tasks * replay.rows
        self._step = torch.zeros(rows, dtype=torch.int32, device=device)
        self._remaining = torch.zeros(rows, dtype=torch.int32, device=device)
        self._terminated = torch.zeros(rows, dtype=torch.bool, device=device)
        # Table rows of the stored transitions, task by task; where each task's begin, how many it has; and how many
        # tasks there are any of.
        self._rows = torch.zeros(rows, dtype=torch.int64, device=device)
        self._first = torch.zeros(replay.n_tasks, dtype=torch.int64, device=device)
        self._count = torch.zeros(replay.n_tasks, dtype=torch.int64, device=device)
        self._tasks = torch.zeros((), dtype=torch.int64, device=device)

    @property
    def device(self) -> torch.device:
        """Where batches are made."""
        return self._replay.device

    def refresh(self) -> None:
        """Take over what the replay holds by now."""
        replay = self._replay
        for ours, theirs in (
            (self._step, replay.step), (self._remaining, replay.remaining), (self._terminated, replay.terminated),
        ):  # fmt: skip
            ours.copy_(torch.from_numpy(theirs.reshape(-1)))
        rows = replay.all_rows()  # in an order that does not depend on where the rings lie
        task = (rows // replay.rows).astype(np.int32)
        count = np.bincount(task)
        count = count[count > 0]
        for place, values in (
            (self._rows, rows[np.argsort(task, kind="stable")]),
            (self._first, np.cumsum(count) - count),
            (self._count, count),
        ):
            place[: len(values)].copy_(torch.from_numpy(values))
        self._tasks.fill_(len(count))

    def draw(self, n: int, generator: torch.Generator) -> Drawn:
        """Draw the rows of `n` batches and compute their indices."""
        size = (3, n, self.sequences)
        which, row, offset = torch.rand(size, generator=generator, dtype=torch.float64, device=self._rows.device)
        task = (which * self._tasks).long()
        rows = self._rows[self._first[task] + (row * self._count[task]).long()]
        return self.indices(rows, offset)

    def indices(self, rows: torch.Tensor, offset: torch.Tensor) -> Drawn:
        """Compute the indices of batches around the transitions in table rows [n, S].

        Args:
            rows: those drawn.
            offset: in [0, 1): where in its segment each of them lies.
        """
        if isinstance(self._plan, Windows):
            return self._windows(rows, self._plan)
        return self._segments(rows, (offset * self._plan.length).long(), self._plan)

    def _segments(self, rows: torch.Tensor, offset: torch.Tensor, plan: Segments) -> Drawn:
        ring, start, step, length = self._episodes(rows)
        first = step - offset
        position = first[..., None] + self._numbers(0, plan.length)
        valid = (position >= 0) & (position < length[..., None])
        position = position.clamp(min=0).minimum(length[..., None] - 1)
        weights = valid.double()
        weights = (weights / weights.mean(dim=-1, keepdim=True)).float()

        begin = (first - plan.burn_in).clamp(min=0)
        farthest = 1 if plan.n_step is None else plan.n_step.n
        ahead = (length[..., None] - position).clamp(max=farthest)
        to_read = self._numbers(0, plan.burn_in + plan.length - 1 + farthest)
        steps = (begin[:, None] + to_read[:, None]).minimum(length[:, None])  # past the end: not read
        read = position - begin[..., None]
        return Drawn(
            at=self._place(ring[..., None], start[..., None], position).flatten(1),
            end=self._place(ring[..., None], start[..., None], position + ahead).flatten(1),
            steps=self._place(ring[:, None], start[:, None], steps),
            ahead=ahead,
            weights=weights.flatten(1),
            starts=self._place(ring, start, begin),
            reads=read,
        )

    def _windows(self, rows: torch.Tensor, plan: Windows) -> Drawn:
        ring, start, step, length = self._episodes(rows)
        farthest = 1 if plan.n_step is None else plan.n_step.n
        ahead = (length - step).clamp(max=farthest)
        around = step[:, None] + self._numbers(-plan.length, farthest)[:, None]
        around = around.clamp(min=0).minimum((step + ahead - 1)[:, None])
        return Drawn(
            at=rows,
            end=self._place(ring, start, step + ahead),
            steps=self._place(ring[:, None], start[:, None], around),
            ahead=ahead,
            missing=(plan.length - step),
        )

    def batch(self, drawn: Drawn, which: int) -> Batch:
        """Gather batch number `which` of those drawn."""
        rows_at = self._table(drawn.steps[which])
        elements = self._scaling.elements(rows_at)
        at, end, ahead = drawn.at[which], drawn.end[which], drawn.ahead[which]
        if isinstance(self._plan, Windows):
            assert drawn.missing is not None
            length, missing = self._plan.length, drawn.missing[which]
            now = rows_at[length]
            after = elements[1:] if self._plan.n_step is None else window_to(elements, ahead, length)
            context = Context(elements[:length], start=missing.clamp(min=0))
            next_context = Context(after, start=(missing - ahead).clamp(min=0))
            weights = torch.ones_like(now[:, -1])
        else:
            assert drawn.reads is not None and drawn.starts is not None and drawn.weights is not None
            read, initial = drawn.reads[which], None
            if self._replay.states.shape[1]:
                initial = self._replay.states.index_select(0, drawn.starts[which]).to(elements.dtype)
            now = self._table(at)
            context = Context(elements, read=read, initial=initial)
            next_context = Context(elements, read=read + ahead, initial=initial)
            weights = drawn.weights[which]
        transition = self._transition(at, now, self._table(end), ahead.flatten())
        return Batch(transition=transition, context=context, next_context=next_context, weights=weights)

    def _transition(self, at: torch.Tensor, now: torch.Tensor, after: torch.Tensor, ahead: torch.Tensor) -> Transition:
        obs_dim, n_step = self._replay.obs_dim, self._plan.n_step
        reward, discount, last = now[:, -1], None, at
        if n_step is not None:
            ring = at // self._replay.rows * self._replay.rows
            place = self._numbers(0, n_step.n)[:, None]
            counted = self._place(ring, at - ring, place.minimum(ahead - 1))
            base = torch.full((), n_step.discount, dtype=torch.float64, device=at.device)
            factors = torch.where(place < ahead, torch.pow(base, place), 0.0).float()
            reward = (self._replay.table[counted, -1] * factors).sum(dim=0)
            discount = torch.pow(base, ahead).float()
            last = self._place(ring, at - ring, ahead - 1)
        transition = Transition(
            obs=now[:, :obs_dim],
            action=now[:, obs_dim:-1],
            reward=reward,
            next_obs=after[:, :obs_dim],
            terminated=self._terminated[last].float(),
            discount=discount,
        )
        return self._scaling.transition(transition)

    def _episodes(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Of rows: where their ring begins in the table, where their episode does in it; their step, its length."""
        step, size = self._step[rows].long(), self._replay.rows
        ring = rows // size * size
        return ring, (rows - ring - step) % size, step, step + self._remaining[rows]

    def _place(self, ring: torch.Tensor, start: torch.Tensor, steps: torch.Tensor) -> torch.Tensor:
        return ring + (start + steps) % self._replay.rows

    def _numbers(self, first: int, end: int) -> torch.Tensor:
        return torch.arange(first, end, device=self._rows.device)

    def _table(self, at: torch.Tensor) -> torch.Tensor:
        return self._replay.table.index_select(0, at.flatten()).view(*at.shape, -1)
