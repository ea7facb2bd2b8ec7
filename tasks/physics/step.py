"""One change of a parameter, with the rows of the model that it acts on, and the arithmetic of its values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import mujoco
import numpy as np
import numpy.typing as npt

from mql.config.parts import Mistake
from mql.errors import UserError
from mql.tasks.distributions import Value
from mql.tasks.physics.fields import Change
from mql.tasks.physics.targets import rows_of, shape_of, used_columns

Array = npt.NDArray[Any]
Rows = npt.NDArray[np.intp]


@dataclass(frozen=True)
class _Plan:
    """Which elements a value of one size changes, and which component of the value each takes: all [K]."""

    rows: Rows
    columns: Rows  # of the field, from 0
    pick: Rows
    index: tuple[Rows, Rows]  # where these are in an array of rows
    flat: Rows  # and in one of numbers: a row each, or the components of an option


@dataclass(frozen=True, eq=False)
class Step:
    """One change.

    Args:
        parameter: whose value it takes.
        change: what it says.
        rows: of the field's array, those of each name; none for an option.
        used: components of the field that a row uses.
        where: where it stands, for messages.
        each: the value has a number for each row.
    """

    parameter: str
    change: Change
    rows: tuple[tuple[int, ...], ...]
    used: Mapping[int, int]
    where: str
    each: bool
    _shapes: Mapping[int, str] = field(repr=False)
    _plans: dict[int | None, _Plan] = field(default_factory=dict, repr=False)  # made for the size of a value, once

    @classmethod
    def of(
        cls,
        model: mujoco.MjModel,
        parameter: str,
        change: Change,
        key: str,
        where: Callable[[str], str],
        *,
        each: bool = False,
    ) -> Self:
        """Look up in `model` what a change names.

        Raises:
            UserError: it has no such name, or the change can't act there.
        """
        target, names = change.target
        place = where(f"{key}.{target}" if target else f"{key}.field")
        rows = tuple(tuple(rows_of(model, change, name, place)) for name in names)
        all_rows = [row for each in rows for row in each]
        used = {row: used_columns(model, change, row) for row in all_rows}
        shapes = {row: shape_of(model, row) for row in all_rows} if change.field == "geom_size" else {}
        return cls(parameter, change, rows, used, where(key), each, shapes)

    @property
    def all_rows(self) -> list[int]:
        """All rows of all names."""
        return [row for rows in self.rows for row in rows]

    def is_idle(self, model: mujoco.MjModel) -> bool:
        """Whether it scales numbers that are all 0 in `model`."""
        if self.change.op != "scale":
            return False
        array = self.change.kind.array
        values = np.asarray(getattr(model, array)[self.all_rows] if self.rows else getattr(model.opt, array))
        if values.ndim > 1:
            columns = [self.change.kind.column + column for column in self.change.components(None)]
            values = values[:, columns]
        return not values.any()

    def take(self, values: Array, value: Value) -> tuple[Rows, Array, Array]:
        """Change `values`, the field's array, in place; return the rows [K] of what was changed, before and after [K].

        Raises:
            UserError: a value that physics forbids, or that doesn't have as many components as the change needs.
        """
        kind, plan = self.change.kind, self._plan(value)
        numbers = np.asarray(value, dtype=np.float64).reshape(-1)[plan.pick]
        if kind.orientation == "turn":
            return self._turn(values, plan, numbers)
        index = plan.flat if values.ndim == 1 else plan.index
        old = values[index] if kind.sign == 1 else -values[index]
        new = self._combined(old, numbers)
        values[index] = new if kind.sign == 1 else -new
        if kind.increasing and not (values[plan.rows, 0] < values[plan.rows, 1]).all():
            what = f"{self.parameter} makes a range of {self.change.field} that ends before it begins"
            raise UserError(what, where=self.where, mend="keep the first component below the second")
        if kind.orientation:
            lengths = np.linalg.norm(values[plan.rows], axis=1, keepdims=True)
            if not (lengths > 0.0).all():
                raise UserError(f"{self.parameter} is no rotation", where=self.where, mend="give w, x, y, z, not all 0")
            values[plan.rows] /= lengths
        return plan.rows, old, new

    def _turn(self, values: Array, plan: _Plan, numbers: Array) -> tuple[Rows, Array, Array]:
        """Turn the quaternions of the rows by rotation vectors, each in its own frame."""
        rows = np.unique(plan.rows)
        vectors = np.zeros((len(rows), 3))
        vectors[np.searchsorted(rows, plan.rows), plan.columns] = self._combined(np.zeros(len(numbers)), numbers)
        old = values[rows].copy()
        turn = np.zeros(4)
        for row, vector, before in zip(rows, vectors, old, strict=True):
            angle = float(np.linalg.norm(vector))
            mujoco.mju_axisAngle2Quat(turn, vector / angle if angle else vector, angle)
            mujoco.mju_mulQuat(values[row], before, turn)
        return rows, old, values[rows]

    def _combined(self, old: Array, numbers: Array) -> Array:
        op, kind = self.change.op, self.change.kind
        new = numbers if op == "set" else old * numbers if op == "scale" else old + numbers
        if not (new.min() >= kind.low and np.isfinite(new).all()):  # NaN is not, either
            what = f"{self.parameter} makes {self.change.field} {new.min():g}"
            mend = (
                f"physics allows {kind.low:g} {kind.unit} and more" if np.isfinite(kind.low) else "give finite numbers"
            )
            raise UserError(what, where=self.where, mend=mend)
        return np.asarray(new)

    def _plan(self, value: Value) -> _Plan:
        size = len(value) if np.ndim(value) else None  # type: ignore[arg-type]
        if size in self._plans:
            return self._plans[size]
        elements = self._elements(size)
        at_rows, at_columns, pick = (np.array(part, dtype=np.intp) for part in zip(*elements, strict=True))
        index = (at_rows, at_columns + self.change.kind.column)
        self._plans[size] = _Plan(at_rows, at_columns, pick, index, at_rows if self.rows else at_columns)
        return self._plans[size]

    def _elements(self, size: int | None) -> list[tuple[int, int, int]]:
        """Return which elements a value of `size` numbers changes: row, column of the field, number of the value."""
        try:
            columns = self.change.components(None if self.each else size)
        except Mistake as mistake:
            context = mistake.context or {}
            raise UserError(context["what"], where=self.where, mend=context["mend"]) from None
        if self.each:
            return [(row, column, n) for n, row in enumerate(self.all_rows) for column in columns]
        all_of_them = size is None and self.change.index is None and len(columns) > 1  # a scale of all components
        one_for_each = size is not None and self.change.kind.width == 1
        elements = []
        for n, rows in enumerate(self.rows or ((0,),)):
            for row in rows:
                for at, column in enumerate(columns):
                    if column < self.used.get(row, self.change.kind.width):
                        elements.append((row, column, n if one_for_each else at if size is not None else 0))
                    elif not all_of_them:
                        shape, width = self._shapes[row], self.used[row]
                        what = f"the {shape} has {width} size{'s' if width > 1 else ''}, not {column + 1}"
                        raise UserError(what, where=self.where, mend=f"give it {width}, or another index")
        return elements
