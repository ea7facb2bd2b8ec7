"""What pydantic finds wrong in a definition, as one line with file, line, key and mend."""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from mql.errors import UserError, nearest


def user_error(error: ValidationError, model: type[BaseModel], where: Callable[[str], str]) -> UserError:
    """Turn the first finding into a UserError; a misspelt key counts first, since it makes others.

    Args:
        error: what pydantic raised.
        model: what was validated.
        where: says where a dotted key stands.
    """
    found = error.errors(include_url=False)
    first = min(found, key=lambda one: one["type"] != "extra_forbidden")
    location = [str(part) for part in first["loc"] if part != "[key]"]
    key = ".".join(location)
    fields, field = _at(model, location)
    name = location[-1] if location else "the definition"
    if first["type"] == "mistake":
        context = first["ctx"]
        key = ".".join(part for part in (key, context["key"]) if part)
        return UserError(context["what"], where=where(key), mend=context["mend"])
    if first["type"] == "extra_forbidden":
        return UserError(f"unknown key {name!r}", where=where(key), mend=nearest(name, fields))
    if first["type"] == "missing":
        meaning = f" ({field.description})" if field is not None and field.description else ""
        return UserError(f"{name} is missing", where=where(key), mend=f"add a line '{name}: ...'{meaning}")
    return UserError(f"{name} is {_shown(first['input'])}", where=where(key), mend=_mend(first, field))


def _mend(first: ErrorDetails, field: FieldInfo | None) -> str:
    if first["type"] == "string_pattern_mismatch" and field is not None:
        return f"it must be as follows: {field.description}"
    if first["type"] == "model_type":
        return "indent its 'key: value' lines below it"
    text = first["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    if text.startswith("Input should be"):
        return "it must be" + text.removeprefix("Input should be")
    return text[:1].lower() + text[1:]


def _at(model: type[BaseModel], location: list[str]) -> tuple[Mapping[str, FieldInfo], FieldInfo | None]:
    """Follow a location to the names that are valid beside its last part, and to the field that the part names."""
    kind: Any = model
    names: Mapping[str, FieldInfo] = {}
    field: FieldInfo | None = None
    for part in location:
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            names = {info.alias or name: info for name, info in kind.model_fields.items()}
            field = names.get(part)
            kind = _inner(field.annotation) if field is not None else None
        else:
            arguments = typing.get_args(kind)
            names, field = {}, None
            kind = _inner(arguments[-1] if typing.get_origin(kind) is dict else arguments[0]) if arguments else None
    return names, field


def _inner(annotation: Any) -> Any:
    """Look into Optional and Annotated."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _inner(arguments[0])
    if origin in (typing.Union, types.UnionType):
        return _inner(next(choice for choice in arguments if choice is not type(None)))
    return annotation


def _shown(value: object) -> str:
    text = "null" if value is None else str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
