"""What PEARL's updates learn from: transitions of some tasks from all of the replay, and contexts of their newest data.

The policy that contexts come from should be close to that of now (the paper's section 5.2): a belief is to be made from
what the agent itself does in a new task.

Shapes: S tasks in a batch, B transitions, T context transitions of a task, O observation, A action.
"""

from __future__ import annotations

import numpy as np
import torch

from mql.baselines.pearl.agent import context_elements
from mql.config.schema import PearlConfig
from mql.learning.contexts import Windows
from mql.learning.replay import Replay
from mql.types import Batch, Context, IntArray


class Drawing:
    """Draws batches from `replay` as it is now: it is good until the next episode is appended.

    Raises:
        ValueError: the replay is empty.
    """

    def __init__(self, replay: Replay, config: PearlConfig) -> None:
        self._replay, self._config = replay, config
        rows = replay.all_rows()  # of each task, newest episodes first
        if not len(rows):
            raise ValueError("there are no transitions to learn from")
        task = rows // replay.rows
        order = np.argsort(task, kind="stable")
        ends = np.flatnonzero(np.diff(task[order])) + 1
        self._rows: list[IntArray] = np.split(rows[order], ends)
        self._newest = [own[: self._steps_of_newest(own)] for own in self._rows]

    def _steps_of_newest(self, rows: IntArray) -> int:
        """How many of one task's `rows` belong to its newest ``recent_episodes``."""
        task, row = np.divmod(rows, self._replay.rows)
        starts = np.flatnonzero(self._replay.step[task, row] == 0)
        recent = self._config.recent_episodes
        return int(starts[recent]) if recent < len(starts) else len(rows)

    def batch(self, size: int, rng: np.random.Generator) -> Batch:
        """Draw `size` transitions, equally many of each of ``tasks_per_update`` tasks (one may come twice)."""
        tasks = rng.integers(len(self._rows), size=self._config.tasks_per_update)
        each = size // len(tasks)
        rows = np.concatenate([self._rows[task][rng.integers(len(self._rows[task]), size=each)] for task in tasks])
        drawn = self._replay.gather(rows, Windows(0))
        context = self._context([self._newest[task] for task in tasks], rng)
        return Batch(drawn.transition, context, context, drawn.weights)

    def _context(self, newest: list[IntArray], rng: np.random.Generator) -> Context:
        """Draw at most ``context_transitions`` of each task's newest rows, none twice; padding stands in front."""
        drawn = [rng.permutation(rows)[: self._config.context_transitions] for rows in newest]
        steps = max(map(len, drawn))
        start = np.array([steps - len(rows) for rows in drawn])
        padded = np.stack([np.concatenate([np.repeat(rows[:1], steps - len(rows)), rows]) for rows in drawn], axis=1)
        elements = context_elements(self._replay.gather(padded.ravel(), Windows(0)).transition)
        return Context(elements.view(steps, len(drawn), -1), start=torch.from_numpy(start).to(self._replay.device))
