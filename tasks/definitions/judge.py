"""What a definition's expressions make of an episode: each step's reward, success and early end.

Two judges apply the same rules: `Judge` to one environment, on numbers, and `RowsJudge` to tasks in parallel, on
arrays. Between steps they remember what an episode needs: the action before, how many stages are completed, and for
how long what ends the episode has been true. A step is judged in this order, by the state after it:

1. Where the current stage's ``until`` is true, the next stage begins: at most one a step, and never one before.
2. The reward is the sum of the terms, those of the stage that now is the current one, and the bonus of the one that was
   completed. After the last stage its terms stay.
3. Success and early ends are asked.

Shapes: N tasks, A action.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from mql.tasks.definitions.terms import STAGE, Stage, Term, Terms
from mql.tasks.family import Array, BoolArray
from mql.tasks.stepping.state import Outcome
from mql.tasks.stepping.success import HoldCounter

Scope = dict[str, Any]


@dataclass(frozen=True)
class Verdict:
    """What a step of one environment was worth; ``info`` holds the weighted terms by their keys."""

    reward: float
    at_goal: bool = False
    terminated: bool = False
    info: dict[str, float] = field(default_factory=dict)


class Judge:
    """Judges the episodes of one environment.

    Args:
        terms: what the definition says.
    """

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self._read_before = sorted(terms.names("last.info") - ({STAGE} if terms.stages else set()))
        self._remembers_obs = bool(terms.names("last.obs"))
        self._endings = [(ending.expression, HoldCounter(ending.after)) for ending in terms.endings]
        self._unpaid = dict.fromkeys((key for stage in terms.stages for key in stage.keys), 0.0)
        self._before: Scope = {}
        self._stage = 0

    def begin(self, scope: Scope, action_dim: int) -> None:
        """Start an episode; `scope` is what the start has, and there was no action, which counts as zeros."""
        self._stage = 0
        for _, counter in self._endings:
            counter.reset()
        self._remember(scope, np.zeros(action_dim))

    def judge(self, scope: Scope, own: float) -> Verdict:
        """Judge a step by what it left: "info", "task", "obs", "obs.NAME" and "action"; `own` is the reward beside it.

        Raises:
            UserError: an expression can't be computed.
        """
        terms = self._terms
        scope = scope | self._before
        values: dict[str, float] = {}
        if terms.stages:
            values = self._advance(scope)
        for term in (*terms.rewards, *self._current):
            values[term.key] = term.weight * float(term.expression.evaluate(scope))
        ended = [counter.count(bool(expression.evaluate(scope))) for expression, counter in self._endings]
        at_goal = terms.success is not None and bool(terms.success.evaluate(scope))
        self._remember(scope, scope["action"])
        reward = sum(values.values(), 0.0 if terms.replaces else own)
        return Verdict(reward, at_goal, any(ended), values | ({STAGE: float(self._stage)} if terms.stages else {}))

    @property
    def _current(self) -> Sequence[Any]:
        stages = self._terms.stages
        return stages[min(self._stage, len(stages) - 1)].terms if stages else ()

    def _advance(self, scope: Scope) -> dict[str, float]:
        """Complete the current stage if it is over; return its bonus among the terms of all stages, which are 0."""
        values, stages = dict(self._unpaid), self._terms.stages
        stage = stages[self._stage] if self._stage < len(stages) else None
        if stage is not None and stage.until is not None and bool(stage.until.evaluate(scope)):
            self._stage += 1
            if stage.bonus:
                values[stage.bonus_key] = stage.bonus
        scope["info"] = {**scope["info"], STAGE: float(self._stage)}
        return values

    def _remember(self, scope: Scope, action: npt.ArrayLike) -> None:
        info = {name: np.copy(value) if np.ndim(value := scope["info"][name]) else value for name in self._read_before}
        if self._terms.stages:
            info[STAGE] = float(self._stage)
        self._before = {"last.action": np.array(action, np.float64), "last.info": info}
        if self._remembers_obs:
            self._before["last.obs"] = np.array(scope["obs"])
            named: Mapping[str, Any] = scope.get("obs.NAME", {})
            self._before["last.obs.NAME"] = {name: np.array(value) for name, value in named.items()}


class RowsJudge:
    """Judges the episodes of N tasks in parallel.

    Args:
        terms: what the definition says.
        rows: N.
        action_dim: A.
    """

    def __init__(self, terms: Terms, rows: int, action_dim: int) -> None:
        self._terms, self._rows = terms, rows
        self._endings = [(ending.expression, HoldCounter(ending.after)) for ending in terms.endings]
        self._no_action = np.zeros((rows, action_dim))
        self.begin()

    def begin(self) -> None:
        """Start an episode of every task. There was no action, which counts as zeros."""
        self._stage = np.zeros(self._rows, np.int64)
        self._last_action = self._no_action
        for _, counter in self._endings:
            counter.reset()

    def judge(self, scope: Scope, lost: BoolArray) -> Outcome:
        """Judge a step of every task.

        Args:
            scope: "info", "task", "obs", "obs.NAME" and "action" after it, and "last.info", "last.obs" and
                "last.obs.NAME" before it, as far as they are read.
            lost: [N], tasks whose physics has diverged: their reward is NaN.

        Raises:
            UserError: an expression can't be computed.
        """
        terms = self._terms
        scope = scope | {"last.action": self._last_action}
        values: dict[str, Array] = {}
        if terms.stages:
            values = self._advance(scope)
        values |= weighted(terms.rewards, scope, self._rows)
        for number, stage in enumerate(terms.stages):
            current = np.minimum(self._stage, len(terms.stages) - 1) == number
            values |= self._of_stage(stage, current, scope)
        terminated = np.zeros(self._rows, np.bool_)
        for expression, counter in self._endings:
            terminated |= counter.count(self._truth(expression.evaluate_rows(scope)))
        success = None if terms.success is None else self._truth(terms.success.evaluate_rows(scope)) & ~lost
        self._last_action = np.array(scope["action"], np.float64)
        reward = np.where(lost, np.nan, np.sum([*values.values()], axis=0))
        if terms.stages:
            values[STAGE] = self._stage.astype(np.float64)
        return Outcome(reward, terminated & ~lost if self._endings else None, success, values)

    def _advance(self, scope: Scope) -> dict[str, Array]:
        """Complete the stages that are over; return the bonuses."""
        stages = self._terms.stages
        scope["last.info"] = {**scope.get("last.info", {}), STAGE: self._stage.astype(np.float64)}
        over = {
            number: (self._stage == number) & self._truth(stage.until.evaluate_rows(scope))
            for number, stage in enumerate(stages)
            if stage.until is not None
        }
        self._stage = self._stage + np.sum([*over.values()], axis=0, dtype=np.int64)
        scope["info"] = {**scope["info"], STAGE: self._stage.astype(np.float64)}
        return {stages[n].bonus_key: np.where(now, stages[n].bonus, 0.0) for n, now in over.items() if stages[n].bonus}

    def _of_stage(self, stage: Stage, current: BoolArray, scope: Scope) -> dict[str, Array]:
        values = weighted(stage.terms, scope, self._rows)
        return {key: np.where(current, value, 0.0) for key, value in values.items()}

    def _truth(self, values: npt.NDArray[Any]) -> BoolArray:
        return np.broadcast_to(values.astype(np.bool_), self._rows)


def weighted(terms: Sequence[Term], scope: Scope, rows: int) -> dict[str, Array]:
    """Return what terms are worth in each of N = `rows` tasks, by their keys: [N].

    Raises:
        UserError: an expression can't be computed.
    """
    values = {term.key: term.weight * term.expression.evaluate_rows(scope) for term in terms}
    return {key: np.broadcast_to(np.asarray(value, np.float64), rows) for key, value in values.items()}
