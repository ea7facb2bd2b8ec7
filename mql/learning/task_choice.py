"""Which training tasks are collected next: all equally often, or those that go badly more often.

The harder tasks then have fresher episodes; what is learned from draws all tasks alike in any case. Every second place
is dealt in shuffled rounds, so that no task is left out: its share never falls below half of an equal one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence

import numpy as np

from mql.seeding import generator
from mql.types import JSON, Episode

LATEST = 4  # episodes of a task that say how it goes
WORST = 0.25  # share of the tasks that the places in between are for


class TaskChoice:
    """Deals out places to `n` tasks, `count` in each iteration.

    Args:
        worst: every second place is for the worst tasks.
        seed: of the run.
    """

    def __init__(self, n: int, count: int, *, worst: bool, seed: int) -> None:
        self._n, self._count, self._worst, self._seed = n, count, worst, seed
        # Of each task's latest episodes: success and return. Tasks are compared by success first.
        self._latest: list[deque[tuple[float, float]]] = [deque(maxlen=LATEST) for _ in range(n)]

    def tasks_of(self, iteration: int) -> list[int]:
        """Return the tasks of an iteration."""
        places = range(iteration * self._count, (iteration + 1) * self._count)
        if not self._worst:
            return self._dealt(places)
        dealt = self._dealt([place // 2 for place in places if place % 2 == 0])
        bad = self._worst_ones(len(places) - len(dealt), iteration)
        return [(bad if place % 2 else dealt).pop(0) for place in places]

    def _dealt(self, places: Sequence[int]) -> list[int]:
        """Deal tasks out in shuffled rounds, so that all come equally often."""
        rounds = {place // self._n for place in places}
        order = {r: generator(self._seed, "tasks", r).permutation(self._n) for r in rounds}
        return [int(order[place // self._n][place % self._n]) for place in places]

    def _worst_ones(self, count: int, iteration: int) -> list[int]:
        """Draw `count` of the worst tasks, each as often as it takes; a task without episodes is one of them."""
        score = [tuple(np.mean(latest, axis=0)) if latest else (-np.inf, -np.inf) for latest in self._latest]
        worst = sorted(range(self._n), key=lambda task: score[task])[: max(round(WORST * self._n), 1)]
        rng = generator(self._seed, "worst tasks", iteration)
        drawn: list[int] = []
        while len(drawn) < count:
            drawn += rng.permutation(worst).tolist()
        return drawn[:count]

    def note(self, episode: Episode) -> None:
        """Take up how an episode went."""
        if self._worst:
            self._latest[episode.task].append((float(bool(episode.success)), episode.episode_return))

    def counters(self) -> Mapping[str, JSON]:
        """What a checkpoint has to hold; nothing where all tasks come equally often."""
        return {"latest": [list(map(list, latest)) for latest in self._latest]} if self._worst else {}

    def restore(self, counters: Mapping[str, JSON]) -> None:
        """Take over what `counters` gave; a run that starts from another agent knows nothing yet."""
        for latest, saved in zip(self._latest, counters.get("latest", []), strict=False):
            latest.clear()
            latest.extend((success, value) for success, value in saved)
