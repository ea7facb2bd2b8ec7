"""One YAML text as layers of values, each with the line it stands at.

A layer maps dotted keys such as ``train.env_steps`` to a value and the place where it was given. An experiment's text
makes one layer, and one more for each profile that its block ``profiles: {paper: {...}}`` names.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from mql.config.marked_yaml import MarkedYaml, Wanted, parse_marked
from mql.config.schema import PROFILES, Config
from mql.errors import UserError, nearest

EXPERIMENT = Wanted("experiment", "family: NAME", "a family's name")
DEFINITION_SCHEMA = "mql.task_family/"  # a file whose `schema` starts so defines a family instead of an experiment


class Given(NamedTuple):
    """One value, and the place where it was given (`None`: a default of the program)."""

    value: Any
    where: str | None


Layer = dict[str, Given]
Fields = Mapping[str, FieldInfo]

SECTIONS: Mapping[str, Fields] = {
    name: field.annotation.model_fields
    for name, field in Config.model_fields.items()
    if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
}
TOP: Fields = {name: field for name, field in Config.model_fields.items() if name not in SECTIONS}
FIELDS: Fields = {**TOP, **{f"{s}.{name}": field for s, fields in SECTIONS.items() for name, field in fields.items()}}


def read_text(text: str, file: str) -> tuple[Layer, dict[str, Layer]]:
    """Parse one experiment file into its layer and its `profiles` layers."""
    marked = parse_marked(text, file, EXPERIMENT)
    layer: Layer = {}
    profiles: dict[str, Layer] = {}
    for name, value in marked.data.items():
        if name != "profiles":
            _read_entry(marked, "", name, value, layer)
            continue
        for profile, block in _section(marked, name, value):
            key = f"{name}.{profile}"
            if profile not in PROFILES:
                mend = nearest(profile, PROFILES)
                raise UserError(f"unknown profile {profile!r}", where=marked.where(key), mend=mend)
            profiles[profile] = {}
            for inner, given in _section(marked, key, block):
                _read_entry(marked, f"{key}.", inner, given, profiles[profile])
    return layer, profiles


def definition_name(text: str, file: str) -> Given | None:
    """Return the name of the family that a text defines, or None: the text is no definition.

    The definition itself is for `mql.tasks.definitions.file` to judge.
    """
    marked = parse_marked(text, file, EXPERIMENT)
    schema, name = marked.data.get("schema"), marked.data.get("name")
    if not isinstance(schema, str) or not schema.startswith(DEFINITION_SCHEMA):
        return None
    if name is None or name == "" or isinstance(name, dict | list):
        raise UserError("the definition has no name", where=f"{file}:1", mend="add a line 'name: NAME'")
    return Given(str(name), marked.where("name"))


def _read_entry(marked: MarkedYaml, prefix: str, name: str, value: Any, layer: Layer) -> None:
    """Put one top-level value or the values of one section into `layer`; `prefix` is that of a profile, or ""."""
    where = marked.where(prefix + name)
    if prefix and name in ("family", "profile"):
        raise UserError(f"{name!r} cannot depend on the profile", where=where, mend="move it to the top of the file")
    if name not in SECTIONS:
        check_key(name, None, where)
        layer[name] = Given(value, where)
        return
    for key, inner in _section(marked, prefix + name, value):
        place = marked.where(f"{prefix}{name}.{key}")
        check_key(key, name, place)
        layer[f"{name}.{key}"] = Given(inner, place)


def _section(marked: MarkedYaml, key: str, value: Any) -> Iterable[tuple[str, Any]]:
    """Return the (name, value) of a section; an empty one is written as nothing at all."""
    if value is None:
        return ()
    if not isinstance(value, dict):
        mend = "indent its 'key: value' lines below it"
        raise UserError(f"{key!r} is a section", where=marked.where(key), mend=mend)
    return value.items()


def check_key(name: str, section: str | None, where: str) -> None:
    """Refuse a key that does not exist, with the nearest one of its level, or of the same name elsewhere."""
    fields = SECTIONS[section] if section else TOP
    if name in fields:
        return
    if section is None and name in FIELDS:
        outer, _, inner = name.partition(".")
        raise UserError(f"unknown key {name!r}", where=where, mend=f"write {inner!r} indented below a line '{outer}:'")
    same = [key for key in FIELDS if key.rpartition(".")[2] == name.rpartition(".")[2]]
    level = list(fields) + ([] if section else list(SECTIONS))
    if same:
        mend = "did you mean " + " or ".join(repr(key) for key in same) + "?"
    elif difflib.get_close_matches(name, level, n=1, cutoff=0.5):
        mend = nearest(name, level)
    else:
        elsewhere = difflib.get_close_matches(name, FIELDS, n=1, cutoff=0.6)
        mend = nearest(name, elsewhere or level)
    raise UserError(f"unknown key {name!r}", where=where, mend=mend)
