"""The gate: whether a new agent is kept in the place of the one before, by a few episodes of each from equal starts.

How demanding it is follows from what the first agent gets in the new task. Where that is less than most of the
training tasks' stored episodes got, the task is a strange one: there is much to win, and a better return in one episode
is likely a better agent. Where it is as much, the task is a familiar one: the context has done its work, there is
little to win, and a better return is likely chance.

Shapes: n episodes of each agent, whose starts are the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mql.adaptation.meta_training import MetaTraining
from mql.config.schema import AdaptConfig

NEWEST = 4  # episodes of each training task that the gate is made by
FAMILIAR_FROM = 0.25  # the part of the training tasks' newest episodes that got less
TRIED_OUT_FAMILIAR = ((4, 2), (2, 1))  # from this budget on, an agent is tried out from so many starts
TRIED_OUT_STRANGE = ((8, 2), (2, 1))  # few, so that more rounds are left


@dataclass(frozen=True)
class Gate:
    """What it takes to be kept.

    Attributes:
        noise: standard deviation of the return of one episode, where nothing changes but chance.
        familiar_from: returns from this one on are those of a familiar task.
        margin: standard errors by which a new agent has to be better.
    """

    noise: float
    familiar_from: float
    margin: float

    def is_familiar(self, first: float) -> bool:
        """Tell whether a task in which the meta-trained agent's first episode got `first` is a familiar one."""
        return first >= self.familiar_from

    def starts(self, budget: int, *, familiar: bool) -> int:
        """Return from how many starts agents are tried out, the first one included; 0: the budget is too small."""
        by_budget = TRIED_OUT_FAMILIAR if familiar else TRIED_OUT_STRANGE
        return next((count for least, count in by_budget if budget >= least), 0)

    def rejects(self, before: np.ndarray, after: np.ndarray, *, familiar: bool) -> bool:
        """Tell whether returns `after` [n], against `before` [n], say enough: further starts need not be played."""
        difference = after - before
        return bool(difference.min() <= 0.0 if familiar else difference.mean() < -self._error(difference))

    def keeps(self, before: np.ndarray, after: np.ndarray, *, familiar: bool) -> bool:
        """Tell whether returns `after` [n] are better than `before` [n] by more than chance gives.

        In a familiar task each of them has to be better, too. A standard error is the one that `noise` leads to, or
        that of the paired differences where these vary more.
        """
        difference = after - before
        better = difference.mean() > self.margin * self._error(difference)
        return bool(better and not self.rejects(before, after, familiar=familiar))

    def _error(self, difference: np.ndarray) -> float:
        error = self.noise * np.sqrt(2.0 / len(difference))
        if len(difference) > 1:
            error = max(error, float(difference.std(ddof=1)) / np.sqrt(len(difference)))
        return float(error)


def gate_of(trained: MetaTraining, config: AdaptConfig) -> Gate:
    """Return the gate that meta-training and `config` make."""
    returns = trained.newest_returns(NEWEST)
    familiar_from = float(np.quantile(np.concatenate(returns), FAMILIAR_FROM))
    return Gate(_pooled_deviation(returns), familiar_from, config.gate_margin)


def _pooled_deviation(returns: Sequence[np.ndarray]) -> float:
    """Return the standard deviation within tasks, pooled over them; 0.0 where no task has two returns."""
    squares = sum(float(np.square(own - own.mean()).sum()) for own in returns)
    freedoms = sum(max(len(own) - 1, 0) for own in returns)
    return float(np.sqrt(squares / freedoms)) if freedoms else 0.0
