"""One YAML text as layers of values, each with the line it stands at.

A layer maps dotted keys such as ``train.env_steps`` to a value and the place where it was given. An experiment's text
makes one layer, and one more for each profile that its block ``profiles: {paper: {...}}`` names.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from mql.config.marked_yaml import MarkedYaml, Wanted, parse_marked
from mql.config.schema import PROFILES, Config
from mql.errors import UserError, close_names, did_you_mean, nearest

EXPERIMENT = Wanted("experiment", "family: NAME", "a family's name")
DEFINITION_SCHEMA = "mql.task_family/"  # a file whose `schema` starts so defines a family instead of an experiment


class Given(NamedTuple):
    """One value, and the place where it was given (`None`: a default of the program)."""

    value: Any
    where: str | None


Layer = dict[str, Given]
Fields = Mapping[str, FieldInfo]


def _sections(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, type[BaseModel]]]:
    """Yield the dotted name and the class of every section, an outer one before those within it."""
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield prefix + name, field.annotation
            yield from _sections(field.annotation, f"{prefix}{name}.")


MODELS: Mapping[str, type[BaseModel]] = dict(_sections(Config))
# The keys of each section that hold values; one that only holds other sections has none.
SECTIONS: Mapping[str, Fields] = {
    section: {name: field for name, field in model.model_fields.items() if f"{section}.{name}" not in MODELS}
    for section, model in MODELS.items()
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
            _read_entry(marked, "", "", name, value, layer)
            continue
        for profile, block in _section(marked, name, value):
            key = f"{name}.{profile}"
            if profile not in PROFILES:
                mend = nearest(profile, PROFILES)
                raise UserError(f"unknown profile {profile!r}", where=marked.where(key), mend=mend)
            profiles[profile] = {}
            for inner, given in _section(marked, key, block):
                _read_entry(marked, f"{key}.", "", inner, given, profiles[profile])
    return layer, profiles


def read_settings(marked: MarkedYaml, key: str, value: Any) -> Layer:
    """Return the settings in a mapping that stands at the dotted `key` of another kind of file.

    Keys may be nested as in an experiment, or dotted as after ``--set``.
    """
    layer: Layer = {}
    for name, given in _section(marked, key, value):
        section, inner = split_key(name)
        own: Layer = {}
        if name in SECTIONS:
            for below, values in _section(marked, f"{key}.{name}", given):
                _read_entry(marked, f"{key}.", name, below, values, own)
        else:
            where = marked.where(f"{key}.{name}")
            check_key(inner, section, where)
            own[name] = Given(given, where)
        for twice in own.keys() & layer.keys():
            what = f"{twice} is given twice"
            raise UserError(what, where=own[twice].where, mend=f"it is already given at {layer[twice].where}")
        layer |= own
    return layer


def split_key(key: str) -> tuple[str | None, str]:
    """Split a dotted key into the innermost section that it begins with, and the rest."""
    parts = key.split(".")
    for n in range(len(parts) - 1, 0, -1):
        section = ".".join(parts[:n])
        if section in SECTIONS:
            return section, ".".join(parts[n:])
    return None, key


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


def _read_entry(marked: MarkedYaml, prefix: str, section: str, name: str, value: Any, layer: Layer) -> None:
    """Put one value of a section ("": of the top), or all those of a section in it, into `layer`.

    `prefix` is that of a profile, or "".
    """
    key = f"{section}.{name}" if section else name
    where = marked.where(prefix + key)
    if prefix.startswith("profiles.") and key in ("family", "profile", "method", "start_from"):
        raise UserError(f"{key!r} cannot depend on the profile", where=where, mend="move it to the top of the file")
    if key in SECTIONS and "." not in name:
        for inner, given in _section(marked, prefix + key, value):
            _read_entry(marked, prefix, key, str(inner), given, layer)
        return
    check_key(name, section or None, where)
    layer[key] = Given(value, where)


def _section(marked: MarkedYaml, key: str, value: Any) -> Iterable[tuple[str, Any]]:
    """Return the (name, value) of a section; an empty one is written as nothing at all."""
    if value is None:
        return ()
    if not isinstance(value, dict):
        mend = "indent its 'key: value' lines below it"
        raise UserError(f"{key!r} is a section", where=marked.where(key), mend=mend)
    return value.items()


# What other libraries call our keys.
ELSEWHERE_CALLED = {
    "learning_rate": "lr",
    "gamma": "discount",
    "buffer_size": "replay_capacity",
    "total_timesteps": "env_steps",
    "learning_starts": "random_steps",
    "net_arch": "hidden_sizes",
    "target_update_interval": "target_every",
    "n_envs": "lanes",
}


def check_key(name: str, section: str | None, where: str) -> None:
    """Refuse a key that does not exist, with the nearest one of its level, or of the same name elsewhere."""
    fields = SECTIONS[section] if section else TOP
    if name in fields:
        return
    within = [key.removeprefix(f"{section}.") for key in SECTIONS if key.startswith(f"{section}.")]
    if section is None and name in FIELDS:
        outer, _, inner = name.rpartition(".")
        raise UserError(f"unknown key {name!r}", where=where, mend=f"write {inner!r} indented below a line '{outer}:'")
    last = ELSEWHERE_CALLED.get(name.rpartition(".")[2], name.rpartition(".")[2])
    same = [key for key in FIELDS if key.rpartition(".")[2] == last]
    same = [key for key in same if key == f"{section}.{last}"] or same
    level = list(fields) + (within if section else [key for key in SECTIONS if "." not in key])
    if same:
        mend = did_you_mean(map(repr, same))
    elif near := close_names(name, level):
        mend = did_you_mean(map(repr, near))
    else:
        ends = close_names(last, {key.rpartition(".")[2] for key in FIELDS})
        elsewhere = [key for key in FIELDS if key.rpartition(".")[2] in ends[:1]]
        mend = did_you_mean(map(repr, elsewhere)) if elsewhere else nearest(name, level)
    raise UserError(f"unknown key {name!r}", where=where, mend=mend)
