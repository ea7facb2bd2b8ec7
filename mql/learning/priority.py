"""Which stored episodes are drawn more often: those that succeeded, or the better ones of their task.

Draws stay within a task: each is learned from as often as any other. The shares are not corrected for by weights: that
some episodes count more is what is wanted (self-imitation, Oh et al., arXiv 1806.05635, is the same idea with a loss of
its own).

Shapes: N tasks, R rows in a task's ring.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from mql.config.schema import TrainConfig
from mql.errors import UserError
from mql.learning.newest import Stored
from mql.tasks.family import BoolArray, TaskFamily
from mql.types import Episode, IntArray

UPPER = 0.75  # quantile of a task's returns from which on an episode is one of the better ones


class Score(NamedTuple):
    """What an episode is judged by."""

    success: bool
    episode_return: float


def succeeded(scores: Sequence[Score]) -> BoolArray:
    """Tell which of a task's episodes succeeded."""
    return np.array([score.success for score in scores], dtype=bool)


def among_the_best(scores: Sequence[Score]) -> BoolArray:
    """Tell which of a task's episodes are in the upper quarter of their returns."""
    returns = np.array([score.episode_return for score in scores])
    best: BoolArray = returns >= np.quantile(returns, UPPER)
    return best


# Beside the choices of `train.episode_priority`, but for uniform.
RULES: Mapping[str, Callable[[Sequence[Score]], BoolArray]] = MappingProxyType(
    {"success": succeeded, "return": among_the_best}
)


@dataclass(frozen=True)
class EpisodePriority:
    """A rule, of `RULES`, and how many times as often as others the steps of a favoured episode are drawn."""

    rule: str
    factor: float


def priority_for(train: TrainConfig, family: TaskFamily) -> EpisodePriority | None:
    """Return what ``train.episode_priority`` says; None: all episodes are drawn alike.

    Raises:
        UserError: episodes are to be judged by a success that the family does not have.
    """
    if train.episode_priority == "uniform":
        return None
    if train.episode_priority == "success" and not family.has_success:
        what = f"episodes of {family.name} neither succeed nor fail"
        raise UserError(what, where="train.episode_priority", mend="use train.episode_priority=return")
    return EpisodePriority(train.episode_priority, train.episode_priority_factor)


class Favoured:
    """The rows of a replay's favoured episodes, of which it is told as they come and go.

    Args:
        priority: the rule.
        shape: [N, R].
    """

    def __init__(self, priority: EpisodePriority, shape: tuple[int, int]) -> None:
        self._rule, self._ordinary = RULES[priority.rule], 1.0 / priority.factor
        self._rows = np.zeros(shape, dtype=bool)
        self._scores: list[dict[Stored, Score]] = [{} for _ in range(shape[0])]
        self._changed: set[int] = set()

    def add(self, stored: Stored, episode: Episode) -> None:
        """Take up an episode."""
        self._scores[stored.task][stored] = Score(bool(episode.success), episode.episode_return)
        self._changed.add(stored.task)

    def drop(self, stored: Stored) -> None:
        """Forget an episode."""
        del self._scores[stored.task][stored]
        self._changed.add(stored.task)

    def accepted(self, task: IntArray, row: IntArray, rng: np.random.Generator) -> BoolArray:
        """Tell which of uniformly drawn rows stay drawn, so that those of favoured episodes do more often."""
        for changed in self._changed:
            self._judge(changed)
        self._changed.clear()
        kept: BoolArray = self._rows[task, row] | (rng.random(len(row)) < self._ordinary)
        return kept

    def _judge(self, task: int) -> None:
        scores = self._scores[task]
        favoured = self._rule(list(scores.values())) if scores else np.zeros(0, dtype=bool)
        self._rows[task] = not favoured.any()  # among equals nothing is refused, however large the factor
        for stored, chosen in zip(scores, favoured, strict=True):
            if chosen:
                self._rows[task, (stored.first + np.arange(stored.rows)) % self._rows.shape[1]] = True
