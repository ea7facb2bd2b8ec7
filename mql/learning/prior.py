"""A lab's past logs as tasks of their own: episodes that are learned from, and never collected or evaluated.

They stand in the replay behind the training tasks, a ring for each, with numbers below 0: no checkpoint counts or holds
them, since a run keeps them in a file of its own (`mql.runs.prior_files`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from mql.types import JSON, Episode


@dataclass(frozen=True)
class PriorTask:
    """The logged episodes of one task, oldest first.

    Attributes:
        name: as reports call it, such as ``prior:0``.
        episodes: whatever task they say.
        facts: where they come from, as plain data.
    """

    name: str
    episodes: Sequence[Episode]
    facts: Mapping[str, JSON]

    @property
    def steps(self) -> int:
        """Transitions of all episodes."""
        return sum(episode.length for episode in self.episodes)


Prior = tuple[PriorTask, ...]


def numbered(prior: Prior, trained: int) -> Iterator[tuple[int, Episode]]:
    """Yield all episodes with their numbers, the last one's being -1; their tasks come behind the `trained` ones."""
    number = -sum(len(task.episodes) for task in prior)
    for place, task in enumerate(prior, start=trained):
        for episode in task.episodes:
            yield number, replace(episode, task=place)
            number += 1
