"""One YAML text as layers of values, each with the line it stands at.

A layer maps dotted keys such as ``train.env_steps`` to a value and the place where it was given. An experiment's text
makes one layer, and one more for each profile that its block ``profiles: {paper: {...}}`` names.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from mql.config import PROFILES, Config
from mql.errors import UserError, nearest

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
    loader = None
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if node is None:
            raise UserError("the file is empty", where=file, mend="write at least a line 'family: NAME'")
        return _read_experiment(loader, node, file)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{file}:{mark.line + 1}" if mark else file
        problem = error.problem or error.context or "cannot be parsed"
        raise UserError(f"not valid YAML: {problem}", where=where, mend="mend the syntax of that line") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"not valid YAML: {error}", where=file, mend="mend the syntax") from None
    finally:
        if loader is not None:
            loader.dispose()


def _read_experiment(loader: yaml.SafeLoader, node: yaml.Node, file: str) -> tuple[Layer, dict[str, Layer]]:
    layer: Layer = {}
    profiles: dict[str, Layer] = {}
    entries = list(_entries(loader, node, file, ""))
    for name, value, where in entries:
        if name == "schema":
            text = loader.construct_object(value, deep=True)
            if str(text).startswith(DEFINITION_SCHEMA):
                mend = "give an experiment file or a family's name (see 'mql tasks list')"
                raise UserError("family definitions are not supported yet", where=where, mend=mend)
    for name, value, where in entries:
        if name == "profiles":
            for profile, block, place in _entries(loader, value, file, "profiles."):
                if profile not in PROFILES:
                    raise UserError(f"unknown profile {profile!r}", where=place, mend=nearest(profile, PROFILES))
                profiles[profile] = {}
                for inner in _entries(loader, block, file, f"profiles.{profile}."):
                    _read_entry(loader, inner, file, f"profiles.{profile}.", profiles[profile])
        else:
            _read_entry(loader, (name, value, where), file, "", layer)
    return layer, profiles


Entry = tuple[str, yaml.Node, str]


def _read_entry(loader: yaml.SafeLoader, entry: Entry, file: str, prefix: str, layer: Layer) -> None:
    """Put one top-level value or the values of one section into `layer`."""
    name, node, where = entry
    if prefix and name in ("family", "profile"):
        raise UserError(f"{name!r} cannot depend on the profile", where=where, mend="move it to the top of the file")
    if name not in SECTIONS:
        check_key(name, None, where)
        layer[name] = Given(loader.construct_object(node, deep=True), where)
        return
    for key, value, place in _entries(loader, node, file, f"{prefix}{name}."):
        check_key(key, name, place)
        layer[f"{name}.{key}"] = Given(loader.construct_object(value, deep=True), place)


def _entries(loader: yaml.SafeLoader, node: yaml.Node, file: str, prefix: str) -> Iterator[Entry]:
    """Yield (name, value node, place) of a mapping; an empty one is written as nothing at all."""
    if isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null":
        return
    line = node.start_mark.line + 1
    if not isinstance(node, yaml.MappingNode):
        if not prefix:
            raise UserError("not a mapping", where=f"{file}:{line}", mend="write lines such as 'family: NAME'")
        where = f"{file}:{line} {prefix[:-1]}"
        raise UserError(f"{prefix[:-1]!r} is a section", where=where, mend="indent its 'key: value' lines below it")
    seen: dict[str, int] = {}
    for key_node, value in node.value:
        name, line = str(key_node.value), key_node.start_mark.line + 1
        where = f"{file}:{line} {prefix}{name}"
        if not isinstance(key_node, yaml.ScalarNode):
            raise UserError("a key is not a word", where=f"{file}:{line}", mend="write 'key: value'")
        if name in seen:
            mend = f"line {seen[name]} gives it already; delete one"
            raise UserError(f"the key {name!r} stands twice", where=where, mend=mend)
        seen[name] = line
        yield name, value, where


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
