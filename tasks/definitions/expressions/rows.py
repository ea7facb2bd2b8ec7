"""What the operators and functions of expressions compute for many environments side by side.

The names are those of `mql.tasks.definitions.expressions.functions`, and so are the results. A number is [N, 1] and a
vector [N, D], so that numpy pairs the two as it should, and no task's result depends on another's. Warnings about
the domain are the caller's to switch off.

Shapes: N tasks, D components.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from mql.tasks.definitions.expressions.functions import EDGE, Rows, ShapeError, as_array, chain, check_widths


def _load_rows(value: Any) -> Rows:
    """Turn [N] or [N, D] into [N, 1] or [N, D]; a plain number stays one for all tasks."""
    array = as_array(value)
    if array.ndim > 2 or not array.size:
        raise ShapeError(f"an array of shape {array.shape} is neither [N] nor [N, D]")
    # One layout whatever the number of tasks: numpy may round differently where numbers don't lie side by side.
    return np.ascontiguousarray(array if array.ndim == 2 else array.reshape(-1, 1))


def _component_rows(value: Any, index: int) -> Rows:
    array = as_array(value)
    if array.ndim != 2 or not -array.shape[1] <= index < array.shape[1]:
        raise ShapeError(f"there is no component {index}")
    return np.ascontiguousarray(array[:, index]).reshape(-1, 1)


def _part_rows(value: Any, start: int | None, stop: int | None) -> Rows:
    array = as_array(value)
    if array.ndim != 2:
        raise ShapeError(f"an array of shape {array.shape} has no components to choose from")
    return _load_rows(array[:, start:stop])


def _reduced(reduce: Callable[..., Rows]) -> Callable[[Any], Rows]:
    return lambda value: reduce(np.atleast_1d(value), axis=-1, keepdims=True)


def _extreme_rows(choose: np.ufunc) -> Callable[..., Any]:
    def extreme(*values: Any) -> Any:
        result = values[0] if len(values) > 1 else choose.reduce(np.atleast_1d(values[0]), axis=-1, keepdims=True)
        for value in values[1:]:
            result = choose(result, value)
        return result

    return extreme


_min_rows, _max_rows = _extreme_rows(np.minimum), _extreme_rows(np.maximum)


def _norm_rows(value: Any) -> Rows:
    return np.sqrt(np.add.reduce(np.atleast_1d(value * value), axis=-1, keepdims=True))


def _tolerance_rows(value: Any, lower: Any, upper: Any, margin: Any = 0.0) -> Rows:
    away = np.where(value < lower, lower - value, value - upper) / margin * EDGE
    outside = np.where(np.equal(margin, 0.0), 0.0, np.exp(-0.5 * away * away))
    near = np.where((lower <= value) & (value <= upper), 1.0, outside)
    return np.where(np.isnan(value) | ~(np.less_equal(lower, upper) & np.greater_equal(margin, 0.0)), np.nan, near)


def _listed_rows(*values: Any) -> Rows:
    columns = [np.atleast_2d(np.asarray(value, np.float64)) for value in values]
    if any(column.shape[1] != 1 for column in columns):
        raise ShapeError("a vector stands inside [...], which holds numbers")
    return np.concatenate(np.broadcast_arrays(*columns), axis=1)


def _vectors(name: str, *values: Any, width: int | None = None) -> list[Rows]:
    rows = [np.atleast_2d(np.asarray(value, np.float64)) for value in values]
    check_widths(name, [each.shape[1] for each in rows], width)
    return rows


def _dot_rows(first: Any, second: Any) -> Rows:
    one, other = _vectors("dot", first, second)
    return np.asarray(np.add.reduce(one * other, axis=-1, keepdims=True))


def _cross_rows(first: Any, second: Any) -> Rows:
    one, other = _vectors("cross", first, second, width=3)
    after, last = [1, 2, 0], [2, 0, 1]
    return np.ascontiguousarray(one[:, after] * other[:, last] - one[:, last] * other[:, after])


def _angle_rows(first: Any, second: Any) -> Rows:
    one, other = _vectors("angle_between", first, second)
    lengths = [_norm_rows(one), _norm_rows(other)]
    x, y = one / lengths[0], other / lengths[1]
    return np.asarray(2.0 * np.arctan2(_norm_rows(x - y), _norm_rows(x + y)))


FOR_ROWS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        "_load": _load_rows,
        "_component": _component_rows,
        "_part": _part_rows,
        "_number": lambda value: np.asarray(value, dtype=np.float64),
        "_chain": chain,
        "_divide": np.divide,
        "_floor_divide": np.floor_divide,
        "_remainder": np.remainder,
        "_square": np.square,
        "_power": np.power,
        "abs": np.abs,
        "min": _min_rows,
        "max": _max_rows,
        "clip": lambda value, low, high: _min_rows(_max_rows(value, low), high),
        "sqrt": np.sqrt,
        "exp": np.exp,
        "log": np.log,
        "sin": np.sin,
        "cos": np.cos,
        "tanh": np.tanh,
        "sum": _reduced(np.add.reduce),
        "mean": _reduced(np.mean),
        "norm": _norm_rows,
        "where": np.where,
        "atan2": np.arctan2,
        "dot": _dot_rows,
        "cross": _cross_rows,
        "angle_between": _angle_rows,
        "tolerance": _tolerance_rows,
        "_list": _listed_rows,
    }
)
