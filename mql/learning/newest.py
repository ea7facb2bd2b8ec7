"""Which of the stored transitions are the newest, so that all tasks are among them.

`Stored` says where an episode lies, `Stretch` which of its transitions are meant.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mql.types import IntArray

GOLDEN = (5**0.5 - 1) / 2  # its multiples, modulo 1, fill the unit interval evenly, whatever the number of tasks


COPY = 2**40  # from here on, numbers are those of copies: this plus the number of the episode that is copied


class Stored(NamedTuple):
    """Where an episode lies: its first place in its task's ring and its rows; `turn` counts its task's episodes."""

    number: int
    task: int
    first: int
    rows: int
    turn: int

    @property
    def origin(self) -> int:
        """Its number or, of a copy, that of the episode that is copied."""
        return self.number - COPY if self.number >= COPY else self.number

    @property
    def length(self) -> int:
        """Its transitions: the final row is none."""
        return self.rows - 1


class Stretch(NamedTuple):
    """`steps` transitions of an episode, from its step `first` on."""

    episode: Stored
    first: int
    steps: int


def whole(episode: Stored) -> Stretch:
    """Return all transitions of an episode."""
    return Stretch(episode, 0, episode.length)


def newest_of_all(queues: Sequence[Sequence[Stored]], at_most: int | None) -> list[Stretch]:
    """Return the newest transitions of all tasks, newest episodes first within a task, tasks in turn.

    Whole episodes, as long as there is room; where only some tasks have room in the last turn, these are spread evenly
    over all. If not even one episode of each task has room, each gives an equally long stretch of its newest one (short
    episodes are whole), whose place in the episode moves from task to task. With fewer transitions than tasks, some
    tasks, spread evenly, give one each.

    Args:
        queues: each task's episodes, newest first.
        at_most: bounds the transitions.
    """
    chosen: list[Stretch] = []
    left = at_most
    for turn in range(max((len(queue) for queue in queues), default=0)):
        there = [queue[turn] for queue in queues if turn < len(queue)]
        if left is not None:
            count = sum(episode.length for episode in there)
            if count > left and turn == 0:
                return _stretches(there, left)
            if count > left:
                return [*chosen, *map(whole, _spread_within(there, left))]
            left -= count
        chosen += map(whole, there)
    return chosen


def _stretches(episodes: Sequence[Stored], at_most: int) -> list[Stretch]:
    """Return stretches of `episodes`, of one length where they are long enough, together at most `at_most`."""
    episodes = _spread(episodes, min(len(episodes), at_most))
    lengths = np.array([episode.length for episode in episodes])
    share, before = at_most // len(episodes), -1
    while share != before:  # what short episodes leave, the others share
        short = lengths <= share
        if short.all():  # nobody is left to share
            break
        share, before = int((at_most - lengths[short].sum()) // (~short).sum()), share
    count = np.minimum(lengths, share)
    first = np.floor((np.arange(1, len(episodes) + 1) * GOLDEN % 1.0) * (lengths - count + 1)).astype(np.int64)
    return [Stretch(*part) for part in zip(episodes, first.tolist(), count.tolist(), strict=True)]


def _spread_within(episodes: Sequence[Stored], at_most: int) -> list[Stored]:
    """Return as many of `episodes`, spread evenly, as have at most `at_most` transitions together."""
    n = min(len(episodes), at_most // min(episode.length for episode in episodes))
    while sum(episode.length for episode in _spread(episodes, n)) > at_most:
        n -= 1
    return _spread(episodes, n)


def _spread(episodes: Sequence[Stored], n: int) -> list[Stored]:
    """Return `n` of `episodes`, spread evenly."""
    return [episodes[(2 * i + 1) * len(episodes) // (2 * n)] for i in range(n)]


def rows_of(stretches: Sequence[Stretch], *, ring: int) -> IntArray:
    """Return the table rows of all transitions of `stretches`, in order; a task's ring has `ring` rows."""
    if not stretches:
        return np.zeros(0, dtype=np.int64)
    begin = np.array([stretch.episode.task * ring for stretch in stretches])
    start = np.array([stretch.episode.first + stretch.first for stretch in stretches])
    count = np.array([stretch.steps for stretch in stretches])
    within = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    rows: IntArray = np.repeat(begin, count) + (np.repeat(start, count) + within) % ring
    return rows
