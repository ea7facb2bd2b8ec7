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

from mql.tasks.definitions.expressions.functions import Rows, ShapeError, as_array, chain


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
        "norm": lambda value: np.sqrt(np.add.reduce(np.atleast_1d(value * value), axis=-1, keepdims=True)),
        "where": np.where,
    }
)
