"""A definition's own reward terms and success, as expressions that are evaluated after every step.

An environment evaluates them on numbers, tasks side by side on arrays; both see the same roots: ``info``, ``task``,
``obs`` and ``action``.

Shapes: N tasks, O observation, A action.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mql.tasks.definitions.expressions.compiled import Expression, compile_expression
from mql.tasks.definitions.file import DefinitionFile

Array = npt.NDArray[np.float64]
Scope = Mapping[str, Any]


@dataclass(frozen=True)
class Term:
    """One term of the reward. ``key`` is what the term is reported as in ``info``."""

    key: str
    expression: Expression
    weight: float


@dataclass(frozen=True)
class Terms:
    """What a definition says about reward and success beside the environment's or the class's own.

    Args:
        rewards: the terms of its reward.
        replaces: they stand in place of the environment's own reward, not beside it.
        success: true while the task is where it should be; None: no expression says so.
        hold: control steps in a row that this must last.
    """

    rewards: tuple[Term, ...] = ()
    replaces: bool = False
    success: Expression | None = None
    hold: int = 1

    @property
    def expressions(self) -> tuple[Expression, ...]:
        """All expressions."""
        return (*(term.expression for term in self.rewards), *((self.success,) if self.success else ()))

    @property
    def info_names(self) -> frozenset[str]:
        """The names below ``info`` that are read."""
        return frozenset(name for each in self.expressions for root, name in each.names if root == "info")

    @property
    def reads_observation(self) -> bool:
        """Whether an expression reads ``obs``."""
        return any(root == "obs" for each in self.expressions for root, _ in each.names)

    def reward(self, scope: Scope, own: float) -> tuple[float, dict[str, float]]:
        """Return one step's reward, and the weighted terms by their keys; `own` is the environment's reward."""
        values = {term.key: term.weight * float(term.expression.evaluate(scope)) for term in self.rewards}
        return sum(values.values(), 0.0 if self.replaces else own), values

    def reward_rows(self, scope: Scope, rows: int) -> tuple[Array, dict[str, Array]]:
        """Return the reward [N] and the weighted terms [N] by their keys."""
        values = {
            term.key: np.broadcast_to(np.asarray(term.weight * term.expression.evaluate_rows(scope), float), rows)
            for term in self.rewards
        }
        return np.sum([*values.values()], axis=0), values


def terms_of(file: DefinitionFile) -> Terms:
    """Compile a definition's expressions.

    Raises:
        UserError: an expression is not allowed.
    """
    reward, success = file.definition.reward, file.definition.success
    rewards = tuple(
        Term(f"reward_{name}", _compiled(file, term.expr, f"reward.terms.{name}.expr"), term.weight)
        for name, term in (reward.terms.items() if reward else ())
    )
    goal = success.expr if success else None
    return Terms(
        rewards=rewards,
        replaces=reward is not None and reward.mode == "replace" and bool(rewards),
        success=_compiled(file, goal, "success.expr") if goal is not None else None,
        hold=success.hold if success else 1,
    )


def check_names(file: DefinitionFile, terms: Terms, *, info: Collection[str], sizes: Mapping[str, int]) -> None:
    """Refuse names that nothing has, and indices beyond the end.

    Args:
        file: the definition.
        terms: its terms.
        info: the names below ``info``.
        sizes: how many numbers ``obs`` and ``action`` have.

    Raises:
        UserError: an unknown name (the message gives the nearest), or an index out of range.
    """
    available = {"info": info, "task": file.definition.parameters}
    for term in terms.rewards:
        where = file.where(f"reward.terms.{term.key.removeprefix('reward_')}.expr")
        term.expression.check_names(available, where=where, sizes=sizes)
    if terms.success is not None:
        terms.success.check_names(available, where=file.where("success.expr"), sizes=sizes)


def _compiled(file: DefinitionFile, text: str, key: str) -> Expression:
    return compile_expression(text, where=file.where(key))
