"""What pydantic finds wrong in data that a person wrote: which finding counts, and the key that it is about."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

_LONGEST = 60  # characters of a value in a message


class Located(NamedTuple):
    """Where a finding is.

    Args:
        key: its dotted key, without what pydantic adds itself.
        name: the key's last part; "" for the whole.
        names: the names that are valid in that part's place; empty where it is an entry of a mapping or a list.
        field: the field that the part names, or that holds the entry; None where there is no such field.
    """

    key: str
    name: str
    names: tuple[str, ...]
    field: FieldInfo | None


def first_finding(error: ValidationError) -> ErrorDetails:
    """Return the finding to tell. Where a key is misspelt, the right one only seems to be missing: that comes first."""
    return min(error.errors(include_url=False), key=lambda one: one["type"] != "extra_forbidden")


def locate(finding: ErrorDetails, model: type[BaseModel]) -> Located:
    """Follow a finding's location through the model that was validated."""
    kind: Any = model
    keys: list[str] = []
    names: dict[str, FieldInfo] = {}
    field: FieldInfo | None = None
    for part in (str(part) for part in finding["loc"] if part != "[key]"):
        kind = _bare(kind)
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            names = {info.alias or name: info for name, info in kind.model_fields.items()}
            field = names.get(part)
            kind = field.annotation if field is not None else None
        else:
            kind, names = _entry(kind), {}
            if kind is None:  # the rest says which choice of a union was tried
                break
        keys.append(part)
    return Located(".".join(keys), keys[-1] if keys else "", tuple(names), field)


def shown(value: object) -> str:
    """Write a value as YAML would say it, cut where it is long."""
    text = "null" if value is None else str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."


def _bare(annotation: Any) -> Any:
    """Look into Annotated and into what may be None; of other unions nothing is known."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _bare(arguments[0])
    if origin in (typing.Union, types.UnionType):
        choices = [choice for choice in arguments if choice is not type(None)]
        return _bare(choices[0]) if len(choices) == 1 else None
    return annotation


def _entry(kind: Any) -> Any:
    """Return what the entries of a mapping or a list are; None where it is neither."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if not (isinstance(origin, type) and issubclass(origin, Mapping | Sequence)):
        return None
    return arguments[1] if issubclass(origin, Mapping) else arguments[0]
