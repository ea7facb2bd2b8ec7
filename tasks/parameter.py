"""What varies between the tasks of a family, and the reading of a value that a user gives for it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mql.errors import UserError, nearest
from mql.tasks.distributions import Distribution, Value, to_spec
from mql.tasks.name_choice import Name, NameChoice


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One task parameter.

    Args:
        distribution: what the training tasks draw it from.
        unit: the unit of a value, such as ``m/s``; ``1`` for a pure number.
        doc: one line of text.
        hidden: whether the agent must infer it (it is not in the observation).
        bounds: lowest and highest value of a component that the physics can carry out.
        allowed: the only values that make sense, where there are just a few; empty for all within `bounds`.
        observed_start: the first observation depends on it although it is hidden (an object's place, say), which
            `mql tasks check` then accepts.
    """

    distribution: Distribution
    unit: str
    doc: str
    hidden: bool = True
    bounds: tuple[float, float] = (-math.inf, math.inf)
    allowed: tuple[float, ...] = ()
    observed_start: bool = False

    @property
    def width(self) -> int:
        """Number of components of a value."""
        return self.distribution.size or 1

    def read(self, name: str, given: object, *, where: str) -> Value:
        """Turn a value that a user gave into a float, a name, or a tuple of floats for a vector.

        Raises:
            UserError: the wrong type or size, NaN or infinity, or a value that physics forbids.
        """
        size = self.distribution.size
        if isinstance(self.distribution, NameChoice):
            return self._name(self.distribution, name, given, where)
        if size is None:
            return self._component(name, given, where)
        if not isinstance(given, list | tuple | np.ndarray) or len(given) != size:
            raise UserError(
                f"task parameter {name!r} is {given!r}", where=where, mend=f"give {size} numbers in {self.unit}"
            )
        return tuple(self._component(name, component, where) for component in given)

    def _name(self, distribution: NameChoice, name: str, given: object, where: str) -> Name:
        text = given.text if isinstance(given, Name) else given
        if not isinstance(text, str) or text not in distribution.options:
            mend = nearest(str(given), distribution.options)
            raise UserError(f"task parameter {name!r} is {given!r}", where=where, mend=mend)
        return distribution.named(text)

    def to_json(self) -> dict[str, Any]:
        """Return the parameter as plain data; an open end of the bounds is None."""
        return {
            "distribution": to_spec(self.distribution),
            "unit": self.unit,
            "doc": self.doc,
            "hidden": self.hidden,
            "bounds": [bound if math.isfinite(bound) else None for bound in self.bounds],
            "allowed": list(self.allowed) or None,
        }

    def _component(self, name: str, given: object, where: str) -> float:
        number = isinstance(given, int | float | np.integer | np.floating) and not isinstance(given, bool)
        try:
            value = float(given) if number else math.nan  # type: ignore[arg-type]
        except OverflowError:  # a whole number that no float can hold
            value = math.inf
        if not math.isfinite(value):
            raise UserError(
                f"task parameter {name!r} is {given!r}", where=where, mend=f"give a finite number in {self.unit}"
            )
        low, high = self.bounds
        if self.allowed and value not in self.allowed:
            choices = " or ".join(f"{option:g}" for option in self.allowed)
            raise UserError(f"task parameter {name!r} can't be {value:g}", where=where, mend=f"give {choices}")
        if not low <= value <= high:
            raise UserError(
                f"task parameter {name!r} can't be {value:g} {self.unit}",
                where=where,
                mend=f"physics allows {low:g} to {high:g} {self.unit}",
            )
        return value


def missing_values(missing: Sequence[str], parameters: Mapping[str, Parameter], *, where: str) -> UserError:
    """Return the error that names all parameters of a task that were given no value, and their units."""
    if len(missing) == 1:
        only = parameters[missing[0]]
        mend = f"give a value in {only.unit} ({only.doc})"
        return UserError(f"task parameter {missing[0]!r} is missing", where=where, mend=mend)
    named = ", ".join(repr(name) for name in missing[:-1])
    what = f"task parameters {named} and {missing[-1]!r} are missing"
    values = ", ".join(name + _kind_of_value(parameters[name]) for name in missing)
    return UserError(what, where=where, mend=f"give a value for each: {values}; or a listed task, such as test:0")


def _kind_of_value(parameter: Parameter) -> str:
    unit = f"in {parameter.unit}" if parameter.unit != "1" else ""
    numbers = f"{parameter.width} numbers" if parameter.width > 1 else ""
    return f" ({' '.join(filter(None, (numbers, unit)))})" if unit or numbers else ""


def visible_values(
    parameters: Mapping[str, npt.ArrayLike], names: Iterable[str], tasks: int
) -> npt.NDArray[np.float64]:
    """Return the task parameters called `names` one after another, as they stand at the end of an observation: [N, W].

    Args:
        parameters: name -> the value of one task, or the values [N] or [N, size] of `tasks` = N.
        names: which of them are seen; their widths add up to W.
        tasks: N.
    """
    seen = [np.asarray(parameters[name], np.float64).reshape(tasks, -1) for name in names]
    return np.concatenate(seen, axis=1) if seen else np.zeros((tasks, 0))
