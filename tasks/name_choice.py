"""Task parameters that are one of several names, such as which object is to be taken.

A `Name` is a number with a text: calculations and arrays take its place among the names, people and files its text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from mql.errors import UserError

Value = float | tuple[float, ...]  # as of `mql.tasks.distributions`, which knows this module


class Name(float):
    """One of several names, such as ``bowl``: shown and written as text, its place among them where a number is due.

    Args:
        place: counted from 0.
        text: the name.
    """

    text: str

    def __new__(cls, place: float, text: str) -> Self:
        """Build one."""
        name = super().__new__(cls, place)
        name.text = text
        return name

    def __getnewargs__(self) -> tuple[float, str]:  # type: ignore[override]
        """Pickle and copy with the text."""
        return float(self), self.text

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return repr(self.text)

    def __format__(self, spec: str) -> str:
        """Write the text, whatever digits are asked for."""
        return self.text


@dataclass(frozen=True)
class NameChoice:
    """One of a few names, equally likely; in plain data it is a ``choice`` whose options are texts."""

    options: tuple[str, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "options", tuple(self.options))
        for option in self.options:
            if not isinstance(option, str) or not option.isidentifier():
                mend = "give names only: letters, digits and '_', with a letter first"
                raise UserError(f"{option!r} is an option beside names", mend=mend)
        if not self.options or len(set(self.options)) != len(self.options):
            raise UserError("choice distribution is out of order", mend="it needs options that differ")

    @property
    def size(self) -> None:
        """A draw is one name."""
        return None

    @property
    def low(self) -> float:
        """Place of the first name."""
        return 0.0

    @property
    def high(self) -> float:
        """Place of the last name."""
        return len(self.options) - 1.0

    def sample(self, rng: np.random.Generator) -> Name:
        """Draw one name."""
        return self.named(self.options[int(rng.integers(len(self.options)))])

    def contains(self, value: object) -> bool:
        """Tell whether a value is one of the names."""
        return isinstance(value, Name) and value.text in self.options

    def named(self, text: str) -> Name:
        """Return one of the options as a value; ValueError for another text."""
        return Name(self.options.index(text), text)


def plain_name(value: Value) -> float | str | tuple[float, ...]:
    """Return a name's text, and any other value as it is."""
    return value.text if isinstance(value, Name) else value


def plain_value(value: Value) -> float | str | list[float]:
    """Return a value as plain data: a number, a list, or a name's text."""
    return list(value) if isinstance(value, tuple) else plain_name(value)  # type: ignore[return-value]


def common_choice(name: str, sources: Sequence[object], listed: Sequence[Value], *, where: str) -> NameChoice | None:
    """Return all names that a task parameter can have, in one order; None: it is drawn from numbers.

    Args:
        name: of the parameter.
        sources: the distributions that it is drawn from.
        listed: values that are named one by one, besides.
        where: the family, for the message.

    Raises:
        UserError: some of the distributions have names and others numbers.
    """
    choices = [source for source in sources if isinstance(source, NameChoice)]
    if choices and len(choices) < len(sources):
        what = f"task parameter {name!r} is drawn from names and from numbers"
        raise UserError(what, where=where, mend="give all its splits names, or none")
    if not choices:
        return None
    texts = [text for choice in choices for text in choice.options]
    texts += [value.text if isinstance(value, Name) else str(value) for value in listed]
    return NameChoice(tuple(dict.fromkeys(texts)))
