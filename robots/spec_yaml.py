"""Reads a robot's YAML: the values, the line of each key, and messages that name both."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pydantic import ValidationError

from mql.config.findings import first_finding, locate, shown, too_short, wish
from mql.config.marked_yaml import Wanted, read_marked
from mql.errors import UserError, nearest
from mql.robots.spec import SCHEMA, RobotSpec

ROBOT = Wanted("robot's spec", f"schema: {SCHEMA}", "a robot's name")


def read_spec(path: Path, menagerie: Path | None = None) -> RobotSpec:
    """Read a robot's YAML file.

    Raises:
        UserError: the file can't be read, is no YAML, or a key or value is wrong; one line with file, line and key.
    """
    marked = read_marked(path, ROBOT)
    if marked.alias is not None:  # facts are to be read where they stand
        mend = "write the values out, one after the other"
        raise UserError("an anchor is used", where=marked.where(marked.alias), mend=mend)
    marked.check_schema(SCHEMA, "a robot's file")
    try:
        spec = RobotSpec.model_validate(marked.data)
    except ValidationError as error:
        raise _user_error(error, marked.where) from None
    places = {key: f"{path}:{line}" for key, line in marked.lines.items()}
    return spec.placed(path.resolve(), places, menagerie)


def _user_error(error: ValidationError, where: Callable[[str], str]) -> UserError:
    """Turn pydantic's first finding into one line with its place."""
    first = first_finding(error)
    if first["type"] == "mistake":
        context = first["ctx"]
        return UserError(context["what"], where=where(context["key"]), mend=context["mend"])
    key, name, names, field, kind = locate(first, RobotSpec)
    if first["type"] == "extra_forbidden":
        return UserError(f"unknown key {name!r}", where=where(key), mend=nearest(name, names))
    meaning = f" ({field.description})" if field is not None and field.description else ""
    short = too_short(first, key)
    if short is not None:
        return UserError(f"{short} has too few values", where=where(short), mend=f"give all of them{meaning}")
    if first["type"] == "missing":
        return UserError(f"the key {key!r} is missing", where=where(key), mend=f"add it{meaning}")
    return UserError(f"{key} is {shown(first['input'])}", where=where(key), mend=f"{wish(first, kind)}{meaning}")
