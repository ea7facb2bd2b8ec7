"""What pydantic finds wrong in a definition, as one line with file, line, key and mend."""

from __future__ import annotations

from collections.abc import Callable

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from mql.config.findings import first_finding, locate, shown
from mql.errors import UserError, nearest


def user_error(error: ValidationError, model: type[BaseModel], where: Callable[[str], str]) -> UserError:
    """Turn the first finding into a UserError; a misspelt key counts first, since it makes others.

    Args:
        error: what pydantic raised.
        model: what was validated.
        where: says where a dotted key stands.
    """
    first = first_finding(error)
    key, name, names, field = locate(first, model)
    name = name or "the definition"
    if first["type"] == "mistake":
        context = first["ctx"]
        key = ".".join(part for part in (key, context["key"]) if part)
        return UserError(context["what"], where=where(key), mend=context["mend"])
    if first["type"] == "extra_forbidden":
        return UserError(f"unknown key {name!r}", where=where(key), mend=nearest(name, names))
    if first["type"] == "missing":
        meaning = f" ({field.description})" if field is not None and field.description else ""
        return UserError(f"{name} is missing", where=where(key), mend=f"add a line '{name}: ...'{meaning}")
    return UserError(f"{name} is {shown(first['input'])}", where=where(key), mend=_mend(first, field))


def _mend(first: ErrorDetails, field: FieldInfo | None) -> str:
    if first["type"] == "string_pattern_mismatch" and field is not None:
        return f"it must be as follows: {field.description}"
    if first["type"] == "model_type":
        return "indent its 'key: value' lines below it"
    text = first["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    if text.startswith("Input should be"):
        return "it must be" + text.removeprefix("Input should be")
    return text[:1].lower() + text[1:]
