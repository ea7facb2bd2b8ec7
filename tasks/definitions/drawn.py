"""Numbers that a definition draws for each episode: a number, a distribution, or what the task says, as task.NAME."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mql.errors import UserError, nearest
from mql.tasks.definitions.episode_schema import StartSpec
from mql.tasks.distributions import Distribution, Fixed, Value, ends_of, from_spec
from mql.tasks.family import Array

TASK = "task."  # what a value begins with that is the value of a task parameter


@dataclass(frozen=True)
class Drawn:
    """Some numbers, drawn one after another.

    Args:
        parts: where they come from: distributions, and task parameters by their names.
        key: the dotted key of the definition that says so.
    """

    parts: tuple[Distribution | str, ...]
    key: str

    @classmethod
    def of(cls, given: Any, key: str, where: str) -> Drawn:
        """Read what stands in a definition: one value or a list of them.

        Raises:
            UserError: a distribution is out of order.
        """
        listed = given if isinstance(given, list | tuple) else (given,)
        return cls(tuple(_part(each, where) for each in listed), key)

    @property
    def parameters(self) -> tuple[str, ...]:
        """The task parameters whose values it takes."""
        return tuple(part for part in self.parts if isinstance(part, str))

    def draw(self, rng: np.random.Generator, parameters: Mapping[str, Value]) -> Array:
        """Return the numbers of one episode, [D]."""
        values = [parameters[part] if isinstance(part, str) else part.sample(rng) for part in self.parts]
        return np.concatenate([np.atleast_1d(np.asarray(value, np.float64)) for value in values])

    def ends(self, parameters: Mapping[str, Sequence[Distribution]]) -> tuple[Array, Array]:
        """Return the lowest and the highest that each number can be, [D]; `parameters` -> what tasks draw them from."""
        lows, highs = [], []
        for part in self.parts:
            sources = parameters[part] if isinstance(part, str) else (part,)
            pairs = np.array([ends_of(source) for source in sources])  # [sources, 2, D]
            lows.append(pairs[:, 0].min(axis=0))
            highs.append(pairs[:, 1].max(axis=0))
        return np.concatenate(lows), np.concatenate(highs)

    def check(self, width: int, parameters: Mapping[str, Distribution], where: str) -> None:
        """Refuse the names of no task parameters, and another number of numbers than `width`.

        Raises:
            UserError: one of these.
        """
        found = 0
        for part in self.parts:
            if isinstance(part, str) and part not in parameters:
                raise UserError(f"there is no task parameter {part!r}", where=where, mend=nearest(part, parameters))
            found += (parameters[part] if isinstance(part, str) else part).size or 1
        if found != width:
            wanted = "one number" if width == 1 else f"{width} numbers, such as [0.4, 0.0, 0.02]"
            raise UserError(f"these are {found} number{'s' if found > 1 else ''}", where=where, mend=f"give {wanted}")


def check_start(spec: StartSpec, parameters: Mapping[str, Distribution], where: Callable[[str], str]) -> None:
    """Refuse what can be told to be wrong in ``start`` without the model.

    Args:
        spec: what it says.
        parameters: the task parameters -> what they are drawn from.
        where: says where a dotted key stands.

    Raises:
        UserError: a distribution out of order, the name of no task parameter, or a wrong number of numbers.
    """
    for key, given, width in drawables(spec):
        Drawn.of(given, key, where(key)).check(width, parameters, where(key))


def drawables(spec: StartSpec) -> Iterator[tuple[str, Any, int]]:
    """Yield what ``start`` draws: the dotted key, what stands there, and how many numbers that must be."""
    yield from ((f"start.joints.{name}", value, 1) for name, value in spec.joints.items())
    for name, body in spec.bodies.items():
        for key, width in (("pos", 3), ("yaw", 1)):
            value = getattr(body, key)
            if value is not None:
                yield f"start.bodies.{name}.{key}", value, width


def _part(given: Any, where: str) -> Distribution | str:
    if isinstance(given, Mapping):
        return from_spec(given, where=where)
    return given.removeprefix(TASK) if isinstance(given, str) else Fixed(given)
