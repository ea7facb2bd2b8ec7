"""Spaces of any Gymnasium environment as the agent needs them: observations in one row, actions in [-1, 1].

Shapes: O observation, A action.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from mql.errors import UserError, nearest
from mql.tasks.wrapped.answers import BadAnswer

_CHOICES = (spaces.Discrete, spaces.MultiDiscrete)
Array = npt.NDArray[np.float64]
Control: TypeAlias = Callable[[Array], npt.NDArray[Any]]

MOST_OF_A_PICTURE = 4096  # numbers: a larger picture needs a network that sees pictures
MOST_CHOICES = 1024  # of a Discrete space, each a number of its own
ENDLESS = 1e30  # a bound beyond it is as good as none; some packages write the largest float32


@dataclass(frozen=True)
class _Leaf:
    """A part of an observation: where it stands, and what is there."""

    path: tuple[str | int, ...]
    space: spaces.Space[Any]
    size: int
    one_of_some: bool = False  # choices, which are shown as numbers of which one is 1

    @property
    def name(self) -> str:
        return ".".join(map(str, self.path))

    def read(self, seen: Any) -> Array:
        for key in self.path:
            try:
                seen = seen[key]
            except (LookupError, TypeError):
                raise BadAnswer(f"gave no {self.name!r} in the observation") from None
        try:
            if seen is None:  # which NumPy reads as NaN
                raise TypeError
            given = np.asarray(seen)
            if given.dtype.kind not in "fiubO":  # texts, dates and complex numbers would be made fit
                raise TypeError
            values = np.asarray(given, np.float64).reshape(-1)
        except (TypeError, ValueError):
            raise BadAnswer(f"gave {self._what()} as {type(seen).__name__}, not as numbers") from None
        if self.one_of_some:
            values = self._one_hot(values)
        if values.size != self.size:
            raise BadAnswer(f"gave {self._what()} of {values.size} numbers, not {self.size}")
        return values

    def _one_hot(self, values: Array) -> Array:
        counts = np.reshape(self.space.n if isinstance(self.space, spaces.Discrete) else self.space.nvec, -1)  # type: ignore[attr-defined]
        starts = np.broadcast_to(np.reshape(self.space.start, -1), counts.shape)  # type: ignore[attr-defined]
        if values.size != counts.size:
            raise BadAnswer(f"gave {self._what()} of {values.size} numbers, not {counts.size}")
        shown = []
        for value, count, start in zip(values, counts, starts, strict=True):
            row = np.arange(count) == value - start
            if not row.any():
                raise BadAnswer(f"gave {value:g} in {self._what()}, which is none of {start} to {start + count - 1}")
            shown.append(row)
        return np.concatenate(shown).astype(np.float64)

    def _what(self) -> str:
        return f"{self.name!r} of the observation" if self.path else "an observation"


class FlatObservation:
    """A space's observations as one row of numbers [O].

    Dicts and tuples are walked through, at any depth, in their space's order; arrays are flattened; one of n choices
    (Discrete, MultiDiscrete) becomes n numbers, of which one is 1.

    Args:
        space: of the environment.
        keys: those of a Dict that are seen, in this order; () for all.
        where: for messages.
        option: what `keys` is called where the user writes it.

    Raises:
        UserError: an unknown key, or a part of the observation that is no numbers, or a large picture.
    """

    def __init__(
        self, space: spaces.Space[Any], keys: tuple[str, ...], *, where: str, option: str = "observed"
    ) -> None:
        if not isinstance(space, spaces.Space):
            raise _of_another_package("observations", space, where)
        if keys and not isinstance(space, spaces.Dict):
            what = f"{option} names keys, but the observation is not a Dict"
            raise UserError(what, where=where, mend="leave it out")
        for key in keys:
            if key not in space.spaces:  # type: ignore[attr-defined]
                raise UserError(f"no {key!r} in the observation", where=where, mend=nearest(key, space.spaces))  # type: ignore[attr-defined]
        mend = f"leave it out by naming the others in {option}" if isinstance(space, spaces.Dict) else "wrap it"
        chosen = [((key,), space[key]) for key in keys] if keys else [((), space)]  # type: ignore[index]
        self._leaves = [
            _Leaf(path, inner, _size(path, inner, where, mend), isinstance(inner, _CHOICES))
            for start, part in chosen
            for path, inner in _walked(start, part)
        ]
        self.size = sum(leaf.size for leaf in self._leaves)
        # Of what it consists: outermost key -> numbers, in their order; "" where there are no keys.
        self.widths: dict[str, int] = {}
        for leaf in self._leaves:
            outer = leaf.path[0] if leaf.path and isinstance(leaf.path[0], str) else ""
            self.widths[outer] = self.widths.get(outer, 0) + leaf.size
        if not self.size:
            raise UserError(f"observations of {_short(space)} hold no numbers", where=where, mend="wrap it")

    def __call__(self, seen: Any) -> Array:
        """Return an observation as [O] float64.

        Raises:
            BadAnswer: it is not in the space.
        """
        if len(self._leaves) == 1:
            return self._leaves[0].read(seen).copy()
        return np.concatenate([leaf.read(seen) for leaf in self._leaves])


def flat_parts(space: spaces.Space[Any]) -> dict[str, FlatObservation]:
    """Return how the parts of a Dict observation are read that are numbers, by their keys; nothing of other spaces."""
    parts = {}
    for key in space.spaces if isinstance(space, spaces.Dict) else ():
        with contextlib.suppress(UserError):
            parts[str(key)] = FlatObservation(space, (key,), where="")
    return parts


def action_size(space: spaces.Space[Any], where: str) -> int:
    """Return the number A of components of an action.

    Raises:
        UserError: the space is not a finite Box.
    """
    if not isinstance(space, spaces.Space):
        raise _of_another_package("actions", space, where)
    if not isinstance(space, spaces.Box):
        mend = "wrap it into one with a finite Box: the agent's actions are numbers in [-1, 1], not choices"
        raise UserError(f"actions of {_short(space)}", where=where, mend=mend)
    if not (np.abs(space.low) < ENDLESS).all() or not (np.abs(space.high) < ENDLESS).all():
        mend = "wrap it into one with a finite Box, which says how large actions may be"
        raise UserError(f"actions of {_short(space)}", where=where, mend=mend)
    size = math.prod(space.shape)
    if not size:
        raise UserError(
            f"actions of {_short(space)} have no numbers", where=where, mend="wrap it into a Box of at least one"
        )
    return size


def choice_of(space: spaces.Discrete) -> Control:
    """Return the map of numbers [A], one for each of a space's A choices, to the (first) one with the largest."""
    start = int(space.start)
    return lambda action: np.asarray(start + int(action.argmax()), space.dtype)[()]


def affine_to(space: spaces.Box) -> Control:
    """Return the map of [-1, 1]^A to `space`, a finite Box; the identity, bit for bit, where they are the same.

    Whole numbers are the nearest ones.
    """
    low, high = (np.asarray(end, np.float64).reshape(-1) for end in (space.low, space.high))
    shape, dtype = space.shape, space.dtype
    assert dtype is not None
    if (low == -1.0).all() and (high == 1.0).all() and dtype.kind == "f":
        return lambda action: action.astype(dtype).reshape(shape)
    middle, half = (low + high) / 2.0, (high - low) / 2.0
    if dtype.kind != "f":
        return lambda action: np.rint(middle + half * action).astype(dtype).reshape(shape)
    return lambda action: (middle + half * action).astype(dtype).reshape(shape)


def _walked(path: tuple[str | int, ...], space: Any) -> Iterator[tuple[tuple[str | int, ...], spaces.Space[Any]]]:
    if isinstance(space, spaces.Dict | spaces.Tuple):
        parts = space.spaces.items() if isinstance(space, spaces.Dict) else enumerate(space.spaces)
        for key, part in parts:
            yield from _walked((*path, key), part)
    else:
        yield path, space


def _size(path: tuple[str | int, ...], space: spaces.Space[Any], where: str, mend: str) -> int:
    name = ".".join(map(str, path))
    what = f"{name!r} of the observation is {_short(space)}" if path else f"observations of {_short(space)}"
    if isinstance(space, spaces.Box):
        size = math.prod(space.shape)
        if len(space.shape) > 1 and space.dtype == np.uint8 and size > MOST_OF_A_PICTURE:
            raise UserError(
                f"{what}, a picture of {size} numbers", where=where, mend=f"{mend}; the agent sees no pictures"
            )
        return size
    if isinstance(space, spaces.MultiBinary):
        return math.prod(space.shape)
    if isinstance(space, spaces.Discrete | spaces.MultiDiscrete):
        size = int(np.sum(space.n if isinstance(space, spaces.Discrete) else space.nvec))
        if size > MOST_CHOICES:
            raise UserError(f"{what}, {size} choices", where=where, mend=f"{mend}; {MOST_CHOICES} are the most")
        return size
    raise UserError(f"{what}, not numbers", where=where, mend=mend)


def _of_another_package(what: str, space: Any, where: str) -> UserError:
    package = type(space).__module__.partition(".")[0]
    if package == "gym":
        mend = "the environment is one of the older package gym: make it with shimmy's GymV21Environment-v0"
        return UserError(f"{what} of gym's {_short(space)}", where=where, mend=mend)
    mend = "give a Gymnasium environment: observation_space and action_space are spaces of gymnasium"
    return UserError(f"{what} of {_short(space)}", where=where, mend=mend)


def _short(space: Any) -> str:
    """Write a space in at most 100 characters: some name every element's bounds."""
    text = " ".join(str(space).split())
    return text if len(text) <= 100 else f"{text[:96]} ..."
