"""A definition's own reward terms, stages, success and early ends, as expressions that are evaluated after every step.

Who evaluates them, on numbers or on arrays, is `mql.tasks.definitions.judge`. What they read: ``info``, ``task``,
``obs`` and ``action``, and ``last.info``, ``last.obs`` and ``last.action``, which are those before the step.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mql.errors import UserError
from mql.tasks.definitions.expressions.compiled import Expression, compile_expression
from mql.tasks.definitions.file import DefinitionFile
from mql.tasks.definitions.schema import TermSpec

STAGE = "stage"  # how many stages are completed: a name below ``info`` where a definition has stages


@dataclass(frozen=True)
class Term:
    """One term of the reward. ``key`` is what the term is reported as in ``info``."""

    key: str
    expression: Expression
    weight: float


@dataclass(frozen=True)
class Stage:
    """A part of an episode: its terms, what ends it, and the bonus for that, reported as ``bonus_key``."""

    terms: tuple[Term, ...]
    until: Expression | None
    bonus: float
    bonus_key: str

    @property
    def keys(self) -> tuple[str, ...]:
        """What it reports."""
        return (*(term.key for term in self.terms), *((self.bonus_key,) if self.bonus else ()))


@dataclass(frozen=True)
class Ending:
    """What ends an episode once it has been true for ``after`` steps in a row."""

    expression: Expression
    after: int


@dataclass(frozen=True)
class Terms:
    """What a definition says about reward, success and early ends beside the environment or the class.

    Args:
        rewards: the terms of its reward.
        replaces: they stand in place of the environment's own reward, not beside it.
        stages: those that follow one another, each with terms of its own.
        success: true while the task is where it should be; None: no expression says so.
        endings: what ends an episode early.
        keyed: all expressions by their dotted keys.
    """

    rewards: tuple[Term, ...] = ()
    replaces: bool = False
    stages: tuple[Stage, ...] = ()
    success: Expression | None = None
    endings: tuple[Ending, ...] = ()
    keyed: Mapping[str, Expression] = field(default_factory=dict)

    def names(self, root: str) -> frozenset[str]:
        """Return the names that are read below `root`, such as "info" or "last.info"; "" is the root itself."""
        return frozenset(name for each in self.keyed.values() for own, name in each.names if own == root)

    def reads(self, name: str) -> str:
        """Return the dotted key of the first expression that reads `name` below ``info`` or ``last.info``."""
        roots = {("info", name), ("last.info", name)}
        return next(key for key, each in self.keyed.items() if roots & {*each.names})

    @property
    def info_names(self) -> frozenset[str]:
        """The names that are read below ``info`` and ``last.info``, beside the number of stages."""
        return (self.names("info") | self.names("last.info")) - ({STAGE} if self.stages else set())


def terms_of(file: DefinitionFile) -> Terms:
    """Compile a definition's expressions.

    Raises:
        UserError: an expression is not allowed.
    """
    definition = file.definition
    names = file.choices
    keyed = {
        key: compile_expression(text, where=file.where(key), names=names)
        for key, text in definition.expressions().items()
    }
    reward = definition.reward

    def terms(specs: Mapping[str, TermSpec], key: str, reported: str) -> tuple[Term, ...]:
        return tuple(
            Term(f"reward_{reported}{name}", keyed[f"{key}.terms.{name}.expr"], spec.weight)
            for name, spec in specs.items()
        )

    return Terms(
        rewards=terms(reward.terms, "reward", "") if reward else (),
        replaces=reward is not None and reward.mode == "replace" and not reward.is_empty,
        stages=tuple(
            Stage(
                terms=terms(stage.terms, f"reward.stages.{n}", f"{stage.name}_"),
                until=keyed.get(f"reward.stages.{n}.until"),
                bonus=stage.bonus,
                bonus_key=f"reward_{stage.name}_bonus",
            )
            for n, stage in enumerate(reward.stages if reward else ())
        ),
        success=keyed.get("success.expr"),
        endings=tuple(
            Ending(keyed[f"terminate.{n}.expr"], ending.after) for n, ending in enumerate(definition.terminate)
        ),
        keyed=keyed,
    )


def check_names(
    file: DefinitionFile,
    terms: Terms,
    *,
    info: Collection[str],
    obs: Collection[str],
    sizes: Mapping[str, int],
    at_start: Collection[str] | None = None,
) -> None:
    """Refuse names that nothing has, indices beyond the end, and vectors that don't fit together.

    Args:
        file: the definition.
        terms: its terms.
        info: the names below ``info``.
        obs: the names below ``obs``; empty where an observation is just numbers.
        sizes: how many numbers "obs" and "action" have (nothing is known of one that is left out), and of the vectors
            "info.NAME" and "obs.NAME".
        at_start: the names of ``info`` that are known at the start of an episode, and so below ``last.info``; None:
            all.

    Raises:
        UserError: an unknown name (the message gives the nearest), an index out of range, or vectors of two lengths.
    """
    stage = {STAGE} if terms.stages else set()
    # A model finds pairs of bodies by their names, but doesn't list them.
    known_names = {*info, *(name for name in terms.info_names if name in info)}
    before = {*(known_names if at_start is None else at_start), *stage}
    parameters = file.definition.parameters
    known = {key: size for key, size in sizes.items() if key != "task"}
    known |= {f"last.{key}": size for key, size in known.items()}
    known |= {f"task.{name}": file.distribution(name).size or 0 for name in parameters}
    for key, expression in terms.keyed.items():
        # What a stage lasts until decides on the number of stages.
        now = {*known_names, *(stage if not key.endswith(".until") else ())}
        for name in sorted(
            name for root, name in expression.names if root == "last.info" and name in known_names - before
        ):
            what = f"last.info has no {name!r} in the first step, since a reset of the environment doesn't tell it"
            raise UserError(
                what, where=file.where(key), mend="read last.obs, which has the observation before the step"
            )
        available = {"info": now, "task": parameters, "obs": obs, "last.info": before, "last.obs": obs}
        expression.check_names(available, where=file.where(key), sizes=known)
        if all(root in known for root, name in expression.names if not name):
            expression.evaluate(_ones(expression, known))


def _ones(expression: Expression, sizes: Mapping[str, int]) -> dict[str, Any]:
    """Return a scope of the right shapes for an expression."""
    scope: dict[str, Any] = {}
    for use in expression.uses:
        size = sizes.get(use.label, 0)
        value = np.ones(size) if size else 1.0
        if use.name:
            scope.setdefault(use.held_in, {})[use.name] = value
        else:
            scope[use.root] = value
    return scope
