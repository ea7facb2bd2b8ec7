"""What the operators and functions of expressions compute for one environment.

A number is a Python float and a vector a `Vector`; plain `math`, since numpy takes ten times as long.
`mql.tasks.definitions.expressions.rows` has the same names for many environments, so that one compiled expression runs
with either. An error of the domain (the root of -1, a division by 0, an overflow) gives nan or inf as IEEE 754 says,
never an exception, and nan stays nan.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Rows: TypeAlias = npt.NDArray[Any]
Number: TypeAlias = Any  # a float, a truth value, a Vector or Rows: which one is known only when it runs

# The functions that an expression may call: name -> least and most arguments.
ARGUMENTS: Mapping[str, tuple[int, int]] = MappingProxyType(
    {
        **dict.fromkeys(("abs", "sqrt", "exp", "log", "sin", "cos", "tanh", "sum", "mean", "norm"), (1, 1)),
        **dict.fromkeys(("min", "max"), (1, 20)),
        **dict.fromkeys(("clip", "where"), (3, 3)),
        **dict.fromkeys(("atan2", "dot", "cross", "angle_between"), (2, 2)),
        "tolerance": (3, 4),
    }
)
CONSTANTS: Mapping[str, float] = MappingProxyType({"pi": math.pi, "inf": math.inf})
# `tolerance` falls to 0.1 a margin beyond the bounds, along a Gaussian: exp(-x^2 / 2) is 0.1 at x = EDGE.
EDGE = math.sqrt(-2.0 * math.log(0.1))
COMPARE: Mapping[str, Callable[[Any, Any], Any]] = MappingProxyType(
    {name: getattr(operator, name) for name in ("lt", "le", "gt", "ge", "eq", "ne")}
)


class ShapeError(Exception):
    """What an expression combines doesn't fit: vectors of two lengths, a component that isn't there."""


def _lifted(apply: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    return lambda self, other: _paired(apply, self, other)


def _swapped(apply: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    return lambda self, other: _paired(apply, other, self)


class Vector:
    """A few floats that the operators combine one by one; a plain number goes with each of them."""

    __slots__ = ("items",)
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, items: list[Any]) -> None:
        self.items = items

    __add__, __radd__ = _lifted(operator.add), _swapped(operator.add)
    __sub__, __rsub__ = _lifted(operator.sub), _swapped(operator.sub)
    __mul__, __rmul__ = _lifted(operator.mul), _swapped(operator.mul)
    __and__, __rand__ = _lifted(operator.and_), _swapped(operator.and_)
    __or__, __ror__ = _lifted(operator.or_), _swapped(operator.or_)
    __lt__, __le__ = _lifted(operator.lt), _lifted(operator.le)
    __gt__, __ge__ = _lifted(operator.gt), _lifted(operator.ge)
    __eq__, __ne__ = _lifted(operator.eq), _lifted(operator.ne)

    def __neg__(self) -> Vector:
        return Vector([-item for item in self.items])

    def __abs__(self) -> Vector:
        return Vector([abs(item) for item in self.items])


def _paired(apply: Callable[[Any, Any], Any], left: Number, right: Number) -> Vector:
    """Apply a function to the components of vectors, a plain number (or a vector of one) going with each."""
    if left.__class__ is not Vector:
        return Vector([apply(left, item) for item in right.items])
    if right.__class__ is not Vector:
        return Vector([apply(item, right) for item in left.items])
    first, second = left.items, right.items
    if len(first) != len(second):
        if 1 not in (len(first), len(second)):
            raise ShapeError(f"vectors of {len(first)} and {len(second)} components meet")
        first, second = (first * len(second), second) if len(first) == 1 else (first, second * len(first))
    return Vector(list(map(apply, first, second)))


def _plain_one(apply: Callable[[float], float], by_numpy: np.ufunc) -> Callable[[Number], Number]:
    """Apply a function of a float; where Python raises an error of the domain, take numpy's nan or inf."""

    def applied(value: Number) -> Number:
        if value.__class__ is Vector:
            return Vector([applied(item) for item in value.items])
        try:
            return apply(value)
        except (ValueError, ArithmeticError):
            return _by_numpy(by_numpy, value)

    return applied


def _plain_two(apply: Callable[[float, float], float], by_numpy: np.ufunc) -> Callable[[Number, Number], Number]:
    """The same with a function of two floats."""

    def applied(left: Number, right: Number) -> Number:
        if left.__class__ is Vector or right.__class__ is Vector:
            return _paired(applied, left, right)
        try:
            return apply(left, right)
        except (ValueError, ArithmeticError):
            return _by_numpy(by_numpy, left, right)

    return applied


def _by_numpy(function: np.ufunc, *values: float) -> float:
    with np.errstate(all="ignore"):
        return float(function(*values))


def _load(value: Any) -> Number:
    """Turn what the scope holds into a float or a Vector; the frequent kinds come first."""
    kind = value.__class__
    if kind is float:
        return value
    if kind is np.ndarray:
        return _vector(value)
    if isinstance(value, float | int | np.generic):
        return float(value)
    if kind is tuple and value:
        try:
            return Vector([float(item) for item in value])
        except (TypeError, ValueError):
            raise ShapeError(f"{str(value)[:40]!r} is not a vector of numbers") from None
    return _vector(as_array(value))


def _vector(array: Rows) -> Number:
    if array.ndim == 0:
        return float(array)
    if array.ndim != 1 or not array.size:
        raise ShapeError(f"an array of shape {array.shape} is neither a number nor a vector")
    return Vector(array.tolist() if array.dtype.kind == "f" else as_array(array).tolist())


def as_array(value: Any) -> Rows:
    try:
        return np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise ShapeError(f"{str(value)[:40]!r} is not a number") from None


def _component(value: Any, index: int) -> float:
    try:
        return float(value[index])
    except (IndexError, TypeError, ValueError, KeyError):
        raise ShapeError(f"there is no component {index}") from None


def _part(value: Any, start: int | None, stop: int | None) -> Number:
    array = as_array(value)
    if array.ndim != 1:
        raise ShapeError(f"an array of shape {array.shape} has no components to choose from")
    return _vector(array[start:stop])


def _number(value: Number) -> Number:
    """Turn a truth value into 1.0 or 0.0."""
    return Vector([float(item) for item in value.items]) if isinstance(value, Vector) else float(value)


def _smaller(first: float, second: float) -> float:
    return first if first <= second or first != first else second


def _larger(first: float, second: float) -> float:
    return first if first >= second or first != first else second


def _extreme(choose: Callable[[float, float], float]) -> Callable[..., Number]:
    def extreme(*values: Number) -> Number:
        vectors = any(isinstance(value, Vector) for value in values)
        if len(values) == 1:
            values = tuple(values[0].items) if vectors else values
            vectors = False
        result = values[0]
        for value in values[1:]:
            result = _paired(choose, result, value) if vectors else choose(result, value)
        return result

    return extreme


_min, _max = _extreme(_smaller), _extreme(_larger)


def _sum(value: Number) -> float:
    return float(sum(value.items)) if isinstance(value, Vector) else value


def _mean(value: Number) -> float:
    return _sum(value) / len(value.items) if isinstance(value, Vector) else value


def _norm(value: Number) -> float:
    return math.sqrt(sum([item * item for item in value.items])) if isinstance(value, Vector) else abs(value)


def _choose(condition: Number, yes: Number, no: Number) -> Number:
    if Vector not in (condition.__class__, yes.__class__, no.__class__):
        return yes if condition else no
    pairs: Any = _paired(_pair, yes, no) if Vector in (yes.__class__, no.__class__) else (yes, no)
    if condition.__class__ is not Vector:
        return Vector([pair[0] if condition else pair[1] for pair in pairs.items])
    return _paired(lambda test, pair: pair[0] if test else pair[1], condition, pairs)


def _pair(first: float, second: float) -> tuple[float, float]:
    return first, second


def _each(apply: Callable[..., float], *values: Number) -> Number:
    """Apply a function of floats to the components of vectors, numbers (or vectors of one) going with each."""
    widths = {len(value.items) for value in values if value.__class__ is Vector}
    if not widths:
        return apply(*values)
    width = max(widths)
    if widths - {1, width}:
        raise ShapeError(f"vectors of {min(widths - {1})} and {width} components meet")
    columns = [value.items if value.__class__ is Vector else [value] for value in values]
    return Vector([apply(*row) for row in zip(*(each * (width // len(each)) for each in columns), strict=True)])


def _tolerance(value: float, lower: float, upper: float, margin: float = 0.0) -> float:
    if value != value or not (lower <= upper and margin >= 0.0):
        return math.nan
    if lower <= value <= upper:
        return 1.0
    if margin == 0.0:
        return 0.0
    away = ((lower - value) if value < lower else (value - upper)) / margin * EDGE
    return math.exp(-0.5 * away * away)


def _listed(*values: Number) -> Vector:
    items = [value.items if value.__class__ is Vector else [value] for value in values]
    if any(len(each) != 1 for each in items):
        raise ShapeError("a vector stands inside [...], which holds numbers")
    return Vector([float(each[0]) for each in items])


def _components(name: str, *values: Number, width: int | None = None) -> list[list[float]]:
    """Return the components of vectors that must be of one length."""
    items = [value.items if value.__class__ is Vector else [value] for value in values]
    check_widths(name, [len(each) for each in items], width)
    return items


def check_widths(name: str, widths: Sequence[int], width: int | None = None) -> None:
    """Refuse vectors of different lengths, or of others than `width`; raises ShapeError."""
    if len(set(widths)) != 1 or width not in (None, widths[0]):
        needed = f"two vectors of {width}" if width else "two vectors of one length"
        raise ShapeError(f"{name} takes {needed}, not of {' and '.join(map(str, widths))} components")


def _dot(first: Number, second: Number) -> float:
    return float(sum(map(operator.mul, *_components("dot", first, second))))


def _cross(first: Number, second: Number) -> Vector:
    (a, b, c), (x, y, z) = _components("cross", first, second, width=3)
    return Vector([b * z - c * y, c * x - a * z, a * y - b * x])


def _angle_between(first: Number, second: Number) -> float:
    one, other = _components("angle_between", first, second)
    length, other_length = _norm(Vector(one)), _norm(Vector(other))
    if not (0.0 < length < math.inf and 0.0 < other_length < math.inf):
        return math.nan
    units = [(x / length, y / other_length) for x, y in zip(one, other, strict=True)]
    # Exact for small angles, too, where the cosine is 1 but for rounding.
    return 2.0 * math.atan2(_norm(Vector([x - y for x, y in units])), _norm(Vector([x + y for x, y in units])))


def chain(names: Sequence[str], values: Sequence[Number]) -> Number:
    """Compare each value with the next; all must hold."""
    result: Number = True
    for name, left, right in zip(names, values[:-1], values[1:], strict=True):
        result = result & COMPARE[name](left, right)
    return result


FOR_ONE: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        "_load": _load,
        "_component": _component,
        "_part": _part,
        "_number": _number,
        "_chain": chain,
        "_divide": _plain_two(operator.truediv, np.divide),
        "_floor_divide": _plain_two(operator.floordiv, np.floor_divide),
        "_remainder": _plain_two(operator.mod, np.remainder),
        "_square": lambda value: value * value,
        "_power": _plain_two(math.pow, np.power),
        "abs": abs,
        "min": _min,
        "max": _max,
        "clip": lambda value, low, high: _min(_max(value, low), high),
        "sqrt": _plain_one(math.sqrt, np.sqrt),
        "exp": _plain_one(math.exp, np.exp),
        "log": _plain_one(math.log, np.log),
        "sin": _plain_one(math.sin, np.sin),
        "cos": _plain_one(math.cos, np.cos),
        "tanh": _plain_one(math.tanh, np.tanh),
        "sum": _sum,
        "mean": _mean,
        "norm": _norm,
        "where": _choose,
        "atan2": _plain_two(math.atan2, np.arctan2),
        "dot": _dot,
        "cross": _cross,
        "angle_between": _angle_between,
        "tolerance": lambda *values: _each(_tolerance, *values),
        "_list": _listed,
    }
)
