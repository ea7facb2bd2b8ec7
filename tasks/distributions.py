"""Distributions of task parameters: small frozen values that can be drawn from, asked and written down.

A draw is a float, or a tuple of floats where the distribution has a `size`. A vector may have other ends in each of its
components: `Uniform((0.1, -0.2), (0.3, 0.2))` draws x from 0.1 to 0.3 and y from -0.2 to 0.2.

`to_spec` writes a distribution as plain data, e.g. ``{"dist": "uniform", "low": 0.0, "high": 3.0}``, and `from_spec`
reads it back: so a split is reproducible from a file alone, and a run can store what its tasks were drawn from.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any, Protocol, TypeAlias

import numpy as np

from mql.errors import UserError, nearest
from mql.tasks.name_choice import NameChoice

Value: TypeAlias = float | tuple[float, ...]


class Distribution(Protocol):
    """What a task parameter is drawn from."""

    @property
    def size(self) -> int | None:
        """Number of components of a draw; None for a plain number."""
        ...

    @property
    def low(self) -> Value:
        """Lower end of the support: of every component, or a number for each."""
        ...

    @property
    def high(self) -> Value:
        """Upper end of the support: of every component, or a number for each."""
        ...

    def sample(self, rng: np.random.Generator) -> Value:
        """Draw one value."""
        ...

    def contains(self, value: Value) -> bool:
        """Tell whether `value` has the right size and lies in the support (ends included)."""
        ...


@dataclass(frozen=True)
class Uniform:
    """Every value between `low` and `high` equally likely; of a vector these may be a number for each component."""

    low: Value
    high: Value
    size: int | None = None

    def __post_init__(self) -> None:
        ends = _pairs(self, "low", "high")
        _check(self, all(-math.inf < low < high < math.inf for low, high in ends), "low < high")

    def sample(self, rng: np.random.Generator) -> Value:
        """Draw one value."""
        return _draw_each(self.size, (self.low, self.high), rng.uniform)

    def contains(self, value: Value) -> bool:
        """Tell whether each component lies in [low, high]."""
        return _within(self, value)


@dataclass(frozen=True)
class LogUniform:
    """The logarithm is uniform between those of `low` and `high` (both positive): for scales and masses.

    Of a vector these may be a number for each component.
    """

    low: Value
    high: Value
    size: int | None = None

    def __post_init__(self) -> None:
        _check(self, all(0.0 < low < high < math.inf for low, high in _pairs(self, "low", "high")), "0 < low < high")

    def sample(self, rng: np.random.Generator) -> Value:
        """Draw one value; rounding never takes it out of the support."""

        def one(low: float, high: float) -> float:
            return min(max(math.exp(rng.uniform(math.log(low), math.log(high))), low), high)

        return _draw_each(self.size, (self.low, self.high), one)

    def contains(self, value: Value) -> bool:
        """Tell whether each component lies in [low, high]."""
        return _within(self, value)


@dataclass(frozen=True)
class Normal:
    """A Gaussian; its support has no ends, so it contains every finite value.

    Of a vector, mean and std may be a number for each component.
    """

    mean: Value
    std: Value
    size: int | None = None

    def __post_init__(self) -> None:
        right = all(math.isfinite(mean) and 0.0 < std < math.inf for mean, std in _pairs(self, "mean", "std"))
        _check(self, right, "a finite mean and std > 0")

    @property
    def low(self) -> float:
        """Minus infinity."""
        return -math.inf

    @property
    def high(self) -> float:
        """Infinity."""
        return math.inf

    def sample(self, rng: np.random.Generator) -> Value:
        """Draw one value."""
        return _draw_each(self.size, (self.mean, self.std), rng.normal)

    def contains(self, value: Value) -> bool:
        """Tell whether each component is finite."""
        return _within(self, value)


@dataclass(frozen=True)
class Choice:
    """One of a few listed numbers, equally likely."""

    options: tuple[float, ...]
    size: int | None = None

    def __post_init__(self) -> None:
        if any(isinstance(option, str) for option in self.options):
            raise UserError(
                "a choice among names is no choice among numbers", mend="build a NameChoice (mql.tasks.name_choice)"
            )
        object.__setattr__(self, "options", tuple(float(option) for option in self.options))
        finite = all(math.isfinite(option) for option in self.options)
        _check(self, finite and len(self.options) > 0, "at least one finite option")
        _check(self, len(set(self.options)) == len(self.options), "options that differ")

    @property
    def low(self) -> float:
        """Smallest option."""
        return min(self.options)

    @property
    def high(self) -> float:
        """Largest option."""
        return max(self.options)

    def sample(self, rng: np.random.Generator) -> Value:
        """Draw one value."""
        return _draw(self.size, lambda: self.options[int(rng.integers(len(self.options)))])

    def contains(self, value: Value) -> bool:
        """Tell whether each component is one of the options."""
        components = _components(self.size, value)
        return components is not None and all(component in self.options for component in components)


@dataclass(frozen=True)
class Angle:
    """A direction, uniform on the circle, in [0, 2 pi) radians; every finite angle is contained."""

    size: int | None = None

    def __post_init__(self) -> None:
        _check(self, True, "")

    @property
    def low(self) -> float:
        """0 rad."""
        return 0.0

    @property
    def high(self) -> float:
        """2 pi rad."""
        return 2.0 * math.pi

    def sample(self, rng: np.random.Generator) -> Value:
        """Draw one value in radians."""
        return _draw(self.size, lambda: rng.uniform(0.0, 2.0 * math.pi))

    def contains(self, value: Value) -> bool:
        """Tell whether each component is finite: an angle beyond 2 pi names a direction inside."""
        components = _components(self.size, value)
        return components is not None and all(math.isfinite(component) for component in components)


@dataclass(frozen=True)
class Disc:
    """A point (x, y), uniform by area between `inner_radius` and `radius` around the origin."""

    radius: float
    inner_radius: float = 0.0

    def __post_init__(self) -> None:
        _check(self, 0.0 <= self.inner_radius < self.radius < math.inf, "0 <= inner_radius < radius")

    @property
    def size(self) -> int:
        """Two: x and y."""
        return 2

    @property
    def low(self) -> float:
        """Smallest x or y."""
        return -self.radius

    @property
    def high(self) -> float:
        """Largest x or y."""
        return self.radius

    def sample(self, rng: np.random.Generator) -> Value:
        """Draw one point."""
        distance = math.sqrt(rng.uniform(self.inner_radius**2, self.radius**2))
        angle = rng.uniform(0.0, 2.0 * math.pi)
        return (distance * math.cos(angle), distance * math.sin(angle))

    def contains(self, value: Value) -> bool:
        """Tell whether the point lies in the ring, rounding of a drawn point forgiven."""
        components = _components(2, value)
        slack = 1e-12 * self.radius
        return components is not None and self.inner_radius - slack <= math.hypot(*components) <= self.radius + slack


@dataclass(frozen=True)
class Fixed:
    """Always the same value: a number or a tuple of numbers."""

    value: Value

    def __post_init__(self) -> None:
        if isinstance(self.value, list | tuple):
            object.__setattr__(self, "value", tuple(float(component) for component in self.value))
        components = _components(self.size, self.value)
        _check(self, bool(components) and all(map(math.isfinite, components or ())), "a finite value")

    @property
    def size(self) -> int | None:
        """Length of the value."""
        return len(self.value) if isinstance(self.value, tuple) else None

    @property
    def low(self) -> float:
        """Smallest component."""
        return min(_components(self.size, self.value) or ())

    @property
    def high(self) -> float:
        """Largest component."""
        return max(_components(self.size, self.value) or ())

    def sample(self, rng: np.random.Generator) -> Value:
        """Return the value; nothing is drawn from `rng`."""
        return self.value

    def contains(self, value: Value) -> bool:
        """Tell whether `value` is the value."""
        return _components(self.size, value) == _components(self.size, self.value)


UNBOUNDED = "; a distribution without ends, such as normal, can't be used here"


def ends_of(distribution: Distribution) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the lower and the upper end of every component."""
    low, high = (
        end if isinstance(end, tuple) else (end,) * (distribution.size or 1)
        for end in (distribution.low, distribution.high)
    )
    return low, high


# What each kind is called in plain data.
KINDS: dict[str, type[Any]] = {
    "uniform": Uniform,
    "loguniform": LogUniform,
    "normal": Normal,
    "choice": Choice,
    "angle": Angle,
    "disc": Disc,
    "fixed": Fixed,
}


def to_spec(distribution: Distribution) -> dict[str, Any]:
    """Write a distribution as plain data: ``dist`` and its fields, those that are None left out."""
    if isinstance(distribution, NameChoice):
        return {"dist": "choice", "options": list(distribution.options)}
    kind = next(kind for kind, cls in KINDS.items() if type(distribution) is cls)
    values = {field.name: getattr(distribution, field.name) for field in fields(KINDS[kind])}
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
    return {"dist": kind} | {name: value for name, value in plain.items() if value is not None}


def from_spec(spec: Mapping[str, Any], *, where: str | None = None, names: bool = False) -> Distribution:
    """Read a distribution from plain data; with `names`, a choice among texts, too.

    Raises:
        UserError: an unknown kind or field, a missing field, a value of the wrong type, or values out of order.
    """
    given = dict(spec)
    kind = given.pop("dist", None)
    if not isinstance(kind, str) or kind not in KINDS:
        raise UserError(f"unknown distribution {kind!r}", where=where, mend=nearest(str(kind), KINDS))
    known = {field.name: field.default is MISSING for field in fields(KINDS[kind])}
    for name in given:
        if name not in known:
            raise UserError(f"{kind} has no field {name!r}", where=where, mend=nearest(str(name), known))
    missing = [name for name, needed in known.items() if needed and name not in given]
    if missing:
        raise UserError(f"{kind} lacks {missing[0]!r}", where=where, mend="give it")
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
    try:
        if kind == "choice" and any(isinstance(option, str) for option in values["options"]):
            if not names:
                raise UserError("a choice among names where a number is due", mend="give numbers")
            if values.pop("size", None) is not None:
                raise UserError("a choice of names has no size", mend="leave size out")
            return NameChoice(values["options"])
        distribution: Distribution = KINDS[kind](**values)
    except (TypeError, ValueError) as error:
        raise UserError(f"{kind} can't be read from {given}", where=where, mend="give numbers") from error
    except UserError as error:
        raise UserError(error.what, where=where, mend=error.mend) from error
    return distribution


def _check(distribution: Distribution, right: bool, rule: str) -> None:
    kind = type(distribution).__name__.lower()
    if not right:
        raise UserError(f"{kind} distribution is out of order", mend=f"it needs {rule}")
    size = distribution.size
    if size is not None and (isinstance(size, bool) or not isinstance(size, int) or size < 1):
        raise UserError(f"{kind} distribution has size {size!r}", mend="give a whole number of at least 1")


def _pairs(distribution: Uniform | LogUniform | Normal, first: str, second: str) -> list[tuple[float, float]]:
    """Give the two fields one form: numbers, or tuples of one length, which is then the size; return them in pairs."""
    fields = {name: getattr(distribution, name) for name in (first, second)}
    lengths = {len(value) for value in fields.values() if isinstance(value, list | tuple)}
    if not lengths:
        return [(fields[first], fields[second])]
    size, kind = max(lengths), type(distribution).__name__.lower()
    if lengths != {distribution.size or size} or not size:
        mend = f"give {first} and {second} one number for each component, and leave the size out"
        raise UserError(f"{kind} distribution has {first} and {second} of different sizes", mend=mend)
    for name, value in fields.items():
        each = value if isinstance(value, list | tuple) else (value,) * size
        object.__setattr__(distribution, name, tuple(float(number) for number in each))
    object.__setattr__(distribution, "size", size)
    return list(zip(getattr(distribution, first), getattr(distribution, second), strict=True))


def _draw_each(size: int | None, fields: tuple[Value, Value], one: Callable[[float, float], float]) -> Value:
    """Draw a number from two numbers, or one for each component; equal ends of all components stand for themselves."""
    first, second = (value if isinstance(value, tuple) else (value,) * (size or 1) for value in fields)
    drawn = tuple(float(one(a, b)) for a, b in zip(first, second, strict=True))
    return drawn[0] if size is None else drawn


def _draw(size: int | None, one: Callable[[], float]) -> Value:
    return float(one()) if size is None else tuple(float(one()) for _ in range(size))


def _components(size: int | None, value: Value) -> tuple[float, ...] | None:
    """Return the components of `value`, or None where its size is wrong."""
    if size is None:
        return None if isinstance(value, tuple) else (value,)
    return value if isinstance(value, tuple) and len(value) == size else None


def _within(distribution: Uniform | LogUniform | Normal, value: Value) -> bool:
    components = _components(distribution.size, value)
    return components is not None and all(
        math.isfinite(component) and low <= component <= high
        for component, low, high in zip(components, *ends_of(distribution), strict=True)
    )
