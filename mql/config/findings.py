"""What pydantic finds wrong in data that a person wrote: which finding counts, and the key that it is about."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from mql.plain_text import counted

_LONGEST = 60  # characters of a value in a message
_MOST_BITS = 2048  # of a whole number in a message


class Located(NamedTuple):
    """Where a finding is.

    Args:
        key: its dotted key, without what pydantic adds itself.
        name: the key's last part; "" for the whole.
        names: the names that are valid in that part's place; empty where it is an entry of a mapping or a list.
        field: the field that the part names, or that holds the entry; None where there is no such field.
        kind: the type that the part is to have; None where it is not known.
    """

    key: str
    name: str
    names: tuple[str, ...]
    field: FieldInfo | None
    kind: Any


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
    return Located(".".join(keys), keys[-1] if keys else "", tuple(names), field, _bare(kind))


def wish(finding: ErrorDetails, kind: Any) -> str:
    """Say what a value should be in the words of YAML, where pydantic speaks of tuples, dictionaries and classes.

    Args:
        finding: what is wrong.
        kind: the type that the value is to have, as `locate` found it.
    """
    given = finding["input"]
    if finding["type"] in ("tuple_type", "list_type"):
        entries = typing.get_args(kind)
        if typing.get_origin(kind) is tuple and len(entries) > 1 and entries[-1] is not Ellipsis:
            return f"it must be a list of {len(entries)}: [{', '.join('...' for _ in entries)}]"
        alone = isinstance(given, int | float | str) and not isinstance(given, bool)
        text = f"[{given}]" if alone else "[{...}]" if isinstance(given, Mapping) else "[...]"
        return f"it must be a list, such as {text}"
    if finding["type"] in ("too_long", "too_short"):
        most = finding["type"] == "too_long"
        number = finding["ctx"]["max_length" if most else "min_length"]
        return f"it must have {'at most' if most else 'at least'} {counted(number, 'value')}"
    if finding["type"] in ("dict_type", "model_type"):
        fields = kind.model_fields if isinstance(kind, type) and issubclass(kind, BaseModel) else {}
        named = [info.alias or name for name, info in fields.items() if info.is_required()]
        named = named or [info.alias or name for name, info in fields.items()][:1] or ["NAME"]
        return f"it has keys of its own, such as {{{', '.join(f'{name}: ...' for name in named)}}}"
    text = finding["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    if text.startswith("Input should be"):
        return "it must be" + text.removeprefix("Input should be")
    return text[:1].lower() + text[1:]


def too_short(finding: ErrorDetails, key: str) -> str | None:
    """Return the dotted key of the list that an entry is missing from; None where something else is wrong."""
    whole, _, last = key.rpartition(".")
    return whole if finding["type"] == "missing" and last.isdigit() and whole else None


def shown(value: object) -> str:
    """Write a value as YAML would say it, cut where it is long."""
    if isinstance(value, int) and value.bit_length() > _MOST_BITS:
        return f"a whole number of more than {_MOST_BITS} bits"  # Python does not write very long ones
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
