"""Says in words which values a field of the configuration takes, for messages and the documents."""

from __future__ import annotations

import types
import typing
from typing import Any, Literal

from pydantic.fields import FieldInfo

from mql.config.disturbances import TASK_NUMBER
from mql.config.section import ADDRESS, LABEL, PATH


def allowed(field: FieldInfo) -> str:
    """Say in words which values a field takes."""
    return _allowed(field.annotation, tuple(field.metadata))


def _allowed(kind: Any, metadata: tuple[Any, ...]) -> str:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        return _allowed(arguments[0], (*arguments[1:], *metadata))
    if origin is Literal:
        return " or ".join(repr(choice) for choice in arguments)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_allowed(choice, metadata) for choice in arguments)
    if origin is tuple and Ellipsis not in arguments:  # the two ends of a range
        return f"[low, high], each {_allowed(arguments[0], ())}"
    if origin is tuple:
        most = next((each.max_length for each in _flat(metadata) if hasattr(each, "max_length")), None)
        end = f", at most {most} of them" if most else ""
        return f"a list [x, ...] where each is {_allowed(arguments[0], ())}{end}"
    if kind is bool:
        return "true or false"
    if kind is type(None):
        return "null"
    if kind is str and (name := _named_number(metadata)):
        return name
    if kind is str and (text := _text(metadata)):
        return text
    if kind is str:
        return "a name of letters, digits, '-', '_' and '.'"
    return " ".join(["a whole number" if kind is int else "a number", *_bounds(metadata)])


def _named_number(metadata: tuple[Any, ...]) -> str | None:
    """Return how a number is written that is the value of a task parameter, or None: a text is no such number."""
    return "task.NAME" if any(getattr(each, "pattern", None) == TASK_NUMBER for each in _flat(metadata)) else None


def _text(metadata: tuple[Any, ...]) -> str | None:
    """Return what a text may be that is no name, or None."""
    texts = {LABEL: "a line of at most 64 characters", PATH: "a path", ADDRESS: "'auto' or HOST:PORT"}
    found = (texts.get(getattr(each, "pattern", "")) for each in _flat(metadata))
    return next((text for text in found if text), None)


def _bounds(metadata: tuple[Any, ...]) -> list[str]:
    """Say the limits that constraints set, the tightest of each kind."""
    constraints = _flat(metadata)

    def limits(name: str) -> list[float]:
        return [getattr(constraint, name) for constraint in constraints if hasattr(constraint, name)]

    low, above, high = limits("ge"), limits("gt"), limits("le")
    if low and high:
        return [f"from {max(low):_} to {min(high):_}"]
    if above and high:
        return [f"above {max(above):_} and at most {min(high):_}"]
    return [f"above {max(above):_}"] if above else [f"of at least {max(low):_}"] if low else []


def _flat(metadata: tuple[Any, ...]) -> list[Any]:
    """Return constraints one by one, those within a field's."""
    return [each for item in metadata for each in (item.metadata if isinstance(item, FieldInfo) else [item])]
