"""Expressions in definitions, such as ``-abs(info.x_velocity - task.velocity)``: rewards and success in one line.

An expression is Python's syntax cut down to a few nodes: numbers, arithmetic, comparisons, ``and``, ``or``, ``not``,
``a if c else b``, some functions, vectors ``[0, 0, 1]``, and what the step holds: ``info.NAME``, ``task.NAME``,
``obs``, ``obs.NAME``, ``action``, what these were before the step (``last.info.NAME``, ``last.obs``, ``last.action``),
and components (``obs[3]``, ``action[0:2]``, ``info.site_tip[2]``). Everything else is refused when it is read. It is
compiled once; nothing is interpreted at a step.

Shapes: N tasks, O observation, A action, D components of a vector.
"""

from __future__ import annotations

import ast
import keyword
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from mql.errors import UserError, close_names, nearest
from mql.tasks.definitions.expressions.functions import CONSTANTS, FOR_ONE, ShapeError, Vector
from mql.tasks.definitions.expressions.rows import FOR_ROWS
from mql.tasks.definitions.expressions.syntax import Use, held_in, translate

MOST_CHARACTERS = 2_000
Scope = Mapping[str, Any]


@dataclass(frozen=True)
class Expression:
    """A compiled expression. Build one with `compile_expression`; it pickles as its text.

    Args:
        text: as it was written.
        names: what it reads, as (root, attribute): ("info", "x_velocity"), and ("obs", "") for the root itself.
    """

    text: str
    names: frozenset[tuple[str, str]]
    _where: str = field(repr=False, compare=False)
    _uses: tuple[Use, ...] = field(repr=False, compare=False)
    _of_one: Callable[[Scope], Any] = field(repr=False, compare=False)
    _of_rows: Callable[[Scope], Any] = field(repr=False, compare=False)
    _choices: Mapping[str, Sequence[str]] = field(repr=False, compare=False)

    @property
    def uses(self) -> tuple[Use, ...]:
        """Every place where it reads something."""
        return self._uses

    @property
    def code(self) -> str:
        """What is compiled of it, as text: a function of a scope that calls `FOR_ONE` (see `functions.py`)."""
        line = " ".join(self.text.split())
        return ast.unparse(translate(ast.parse(line, mode="eval").body, line, self._where, self._choices)[0])

    def evaluate(self, scope: Scope) -> Any:
        """Return the value at one step of one environment: a float, or a bool where the expression asks something.

        Args:
            scope: "info" and "task": name -> number or vector [D]; "obs" [O], "obs.NAME": name -> vector; "action"
                [A]; "last.info", "last.obs", "last.obs.NAME" and "last.action" likewise, as they were before the
                step. Only what the expression reads needs to be there.

        Raises:
            UserError: a name or a component is missing, vectors don't fit together, or the value is a vector.
        """
        try:
            value = self._of_one(scope)
        except (KeyError, ShapeError) as error:
            raise self._failure(error, scope) from None
        if value.__class__ is Vector:
            if len(value.items) != 1:
                raise self._failure(ShapeError(f"the value is a vector of {len(value.items)} components"), scope)
            return value.items[0]
        return value

    def evaluate_rows(self, scope: Scope) -> npt.NDArray[Any]:
        """Return the values at one step of N tasks: [N] float64, or [N] bool where the expression asks something.

        Args:
            scope: as of `evaluate`, with tasks in front: [N] in place of a number, [N, D] in place of a vector.

        Raises:
            UserError: a name or a component is missing, vectors don't fit together, or the value is a vector.
        """
        try:
            with np.errstate(all="ignore"):
                value = np.asarray(self._of_rows(scope))
        except (KeyError, ShapeError, ValueError) as error:
            raise self._failure(error, scope) from None
        if value.ndim == 2 and value.shape[1] == 1:
            if len(value) == 1:
                return np.repeat(value[:, 0], _rows(scope))
            return value[:, 0].copy()
        if value.ndim == 2:
            raise self._failure(ShapeError(f"the value is a vector of {value.shape[1]} components"), scope)
        return np.repeat(value.reshape(1), _rows(scope))

    def check_names(
        self, available: Mapping[str, Collection[str]], *, where: str, sizes: Mapping[str, int] | None = None
    ) -> None:
        """Refuse names that don't exist, and components beyond the size of what is indexed.

        Args:
            available: root -> the names it has; the names of a root that is not a key are not checked.
            where: the place for the message.
            sizes: "obs", "action", "info.NAME", "last.obs" and so on -> number of components (0: a plain number), if
                known.

        Raises:
            UserError: the first one that is wrong, with the nearest that is right.
        """
        for use in self._uses:
            if use.root in available and use.name and use.name not in available[use.root]:
                names = available[use.root]
                mend = _nearest_written(use.root, use.name, names)
                raise UserError(f"{use.root} has no {use.name!r} (column {use.column})", where=where, mend=mend)
            label = use.label
            size = (sizes or {}).get(label)
            if size is not None and not use.fits(size):
                mend = f"its components go from 0 to {size - 1}" if size else "it is one number"
                raise UserError(f"{label} has no {use.brackets} (column {use.column})", where=where, mend=mend)

    def _failure(self, error: Exception, scope: Scope) -> UserError:
        what = f"the expression {self.text!r} can't be computed"
        if isinstance(error, KeyError):
            for root, name in sorted(self.names):
                held = held_in(root, name)
                if held not in scope:
                    return UserError(f"{what}: there is no {held}", where=self._where, mend=nearest(root, scope))
                if name and name not in scope[held]:
                    mend = _nearest_written(root, name, [str(each) for each in scope[held]])
                    return UserError(f"{what}: {root} has no {name!r}", where=self._where, mend=mend)
        mend = "combine vectors of one length, and make one number of them with sum, mean or norm"
        return UserError(f"{what}: {error}", where=self._where, mend=mend)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as the text: code does not pickle."""
        return partial(compile_expression, where=self._where, names=dict(self._choices)), (self.text,)


def compile_expression(
    text: str, *, where: str, names: Mapping[str, Sequence[str]] = MappingProxyType({})
) -> Expression:
    """Read and compile an expression.

    Args:
        text: the expression.
        where: its place, such as ``file.yaml:12 reward.terms.track.expr``, for messages.
        names: task parameter -> the names that it chooses from. ``task.object == 'bowl'`` compares one.

    Raises:
        UserError: it is not an expression, is too long or too deeply nested, or holds something outside the whitelist.
    """
    if len(text) > MOST_CHARACTERS:
        mend = f"at most {MOST_CHARACTERS} are allowed; split it into several terms"
        raise UserError(f"an expression of {len(text)} characters", where=where, mend=mend)
    line = " ".join(text.split())  # YAML's folded texts end in a line break
    if not line:
        raise UserError("the expression is empty", where=where, mend="write one, such as -abs(info.x_velocity)")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python warns of "1if x else 2" and the like, which are refused or fine
            tree = ast.parse(line, mode="eval")
    except SyntaxError as error:
        place = f" at column {error.offset}" if error.offset else ""
        mend = "fix it, and write one expression such as -abs(info.x_velocity - task.velocity)"
        raise UserError(f"{line[:60]!r} is not an expression{place} ({error.msg})", where=where, mend=mend) from None
    except (ValueError, RecursionError, MemoryError):
        raise UserError(
            f"{line[:60]!r} can't be read", where=where, mend="write it shorter, less deeply nested"
        ) from None
    lambda_tree, uses = translate(tree.body, line, where, names)
    code = compile(lambda_tree, "<expression>", "eval")
    of_one, of_rows = (eval(code, {"__builtins__": {}, **functions, **CONSTANTS}) for functions in (FOR_ONE, FOR_ROWS))
    read = frozenset((use.root, use.name) for use in uses)
    return Expression(text, read, where, uses, of_one, of_rows, names)


def _nearest_written(root: str, name: str, names: Collection[str]) -> str:
    """Name what comes nearest to `name` of what an expression can say; where that can't be said, say what to do."""
    closest = close_names(name, names)
    if closest and not _can_be_written(closest[0]):
        return f"{closest[0]!r} is near, but has characters that expressions can't say; give it another name"
    written = [each for each in names if _can_be_written(each)]
    if not written and root in ("obs", "last.obs"):
        return f"the observation has no names here: write {root}[3], or info.NAME"
    return nearest(name, written) if written else f"{root} has no names here"


def _can_be_written(name: str) -> bool:
    return name.isidentifier() and not keyword.iskeyword(name)


def _rows(scope: Scope) -> int:
    """Count the tasks of a scope, for an expression that is the same in all of them."""
    for root in ("action", "obs", "task", "info", "obs.NAME", "last.action", "last.obs", "last.info"):
        values = scope.get(root, ())
        for value in values.values() if isinstance(values, Mapping) else [values]:
            if np.ndim(value):
                return len(value)
    return 1
