"""Reading configurations: layers of precedence, and messages that name the place.

Later layers win: defaults < profile < ``configs/<family>.yaml`` < what the method sets < the user's file < ``--set``.
A file's block for the chosen profile (``profiles: {paper: {...}}``) comes right after the file's other keys. What a
file of ``configs/`` says of ``agent``, ``train`` and ``adapt`` outside such a block was chosen for the `fast` profile,
and stays out of another.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Literal, NamedTuple

import yaml
from pydantic import ValidationError

from mql.config.allowed_values import allowed
from mql.config.findings import shown
from mql.config.marked_yaml import read_yaml
from mql.config.methods import METHODS
from mql.config.schema import BEFORE, PROFILES, Config
from mql.config.yaml_text import (
    EXPERIMENT,
    FIELDS,
    SECTIONS,
    Given,
    Layer,
    check_key,
    definition_name,
    read_text,
    split_key,
)
from mql.errors import UserError, nearest

SUFFIXES = (".yaml", ".yml")
PATHS = ("train.prior_data", "train.prior_columns", "train.replay_on_disk")  # keys whose values are paths
TUNED = ("agent.", "train.", "adapt.")  # sections of a packaged experiment that are the fast profile's


# Settings that win over all files: the ``key=value`` texts of ``--set``, or from Python a mapping of keys to values.
Overrides = Sequence[str] | Mapping[str, Any]


class Experiment(NamedTuple):
    """A resolved configuration, the file that defines its family (None: the family is known by its name), and what the
    user has given himself, in files and settings.
    """

    config: Config
    definition: Path | None
    given: Layer


def load_config(
    target: str,
    *,
    overrides: Overrides = (),
    seed: int | None = None,
    method: str | None = None,
    families: Sequence[str] | None = None,
    environments: Sequence[str] = (),
) -> Config:
    """Resolve the configuration of an experiment; see `load_experiment`."""
    return load_experiment(
        target, overrides=overrides, seed=seed, method=method, families=families, environments=environments
    ).config


def load_experiment(
    target: str,
    *,
    overrides: Overrides = (),
    seed: int | None = None,
    method: str | None = None,
    families: Sequence[str] | None = None,
    environments: Sequence[str] = (),
    inherited: Callable[[str], Mapping[str, Any]] | None = None,
) -> Experiment:
    """Resolve the configuration of an experiment, and find the file that defines its family.

    Args:
        target: a family's name, or the path of a YAML file (ends in .yaml or .yml, or holds a path separator). A file
            is an experiment or, with ``schema: mql.task_family/...``, a family's definition, which gets the default
            experiment. An experiment names its family or, as a path that starts at its own folder, a definition.
        overrides: ``key=value`` texts of ``--set``, of which a later one wins; or values by key.
        seed: ``--seed``, which wins over all else.
        method: ``--method``, likewise.
        families: the known family names, for the check of the name; None: names are not checked.
        environments: other names that will do.
        inherited: gives what the run that ``start_from`` names says by key; it comes right before the user's own.

    Raises:
        UserError: unknown key, wrong type or range, unreadable file, unknown family, values that do not agree.
    """
    user, user_profiles = _read_target(target)
    for layer in (user, *user_profiles.values()):
        layer.update(from_folder(layer, Path(target).parent))
    last = parse_overrides(overrides)
    if seed is not None:
        last["seed"] = Given(seed, "--seed")
    if method is not None:
        last["method"] = Given(method, "--method")
    chosen = {**user, **last}
    if "family" not in chosen:
        raise UserError("no family is named", where=target, mend="add a line 'family: NAME' (see 'mql tasks list')")
    chosen["family"], definition = _definition(target, chosen["family"])
    for layer in (user, last):
        if "family" in layer:
            layer["family"] = chosen["family"]
    family = _checked("family", chosen["family"])
    if families is not None and definition is None and family not in (*families, *environments):
        is_file = chosen["family"].where is None and Path(target).exists()
        mend = (
            "a configuration's file name ends in .yaml"
            if is_file
            else nearest(family, families, others=environments, listed_by="'mql tasks list'")
        )
        raise UserError(f"unknown family {family!r}", where=chosen["family"].where, mend=mend)
    packaged, packaged_profiles = _read_packaged(family)
    untuned = {key: given for key, given in packaged.items() if not key.startswith(TUNED)}
    origin = chosen.get("start_from", Given(None, None)).value
    parents: Layer = {}
    if inherited is not None and isinstance(origin, str):
        parents = {key: Given(value, None) for key, value in inherited(origin).items()}
    profile = _checked("profile", {**packaged, **parents, **chosen}.get("profile", Given("fast", None)))
    method = _checked("method", {**packaged, **parents, **chosen}.get("method", Given("mql", None)))
    said = {**user, **user_profiles.get(profile, {}), **last}

    def layers_of(profile: str, *last: Layer) -> tuple[Layer, ...]:
        return (
            _flat(PROFILES[profile], where=None),
            packaged if profile == "fast" else untuned,
            packaged_profiles.get(profile, {}),
            {key: value for key, value in parents.items() if key != "family"},
            _set_by(method),
            user,
            user_profiles.get(profile, {}),
            *last,
        )

    layers = layers_of(profile, last)
    config = _resolve(*layers)
    for other in user_profiles.keys() - {profile}:
        _check_block(user_profiles[other], *layers_of(other))
    follows = {key: value for key, value in METHODS[method].follows.items() if key not in said}
    if follows:
        config = _resolve(*layers, {key: Given(value(config), None) for key, value in follows.items()})
    return Experiment(config, definition, said)


def has_published_values(family: str) -> bool:
    """Whether the experiments that the `paper` profile follows have values for this family, or one that it varies."""
    return "paper" in _read_packaged(family)[1]


def override(config: Config, overrides: Overrides) -> Config:
    """Apply ``--set`` texts, or values by key, to a resolved configuration. Raises UserError as `load_config` does."""
    layer = parse_overrides(overrides)
    method = _checked("method", layer["method"]) if "method" in layer else config.method
    changed = {} if method == config.method else _set_by(method)
    return _resolve(_flat(config.model_dump(), where=None), changed, layer)


def read_resolved(path: Path) -> Config:
    """Read a configuration that `to_yaml` wrote, now or in an earlier version: what it lacks is as it was then."""
    layer, _ = read_text(read_yaml(path, EXPERIMENT), str(path))
    if "family" not in layer:
        raise UserError("no family is named", where=str(path), mend="restore the file from a copy")
    precision = layer.get("agent.precision")
    if precision is not None and precision.value == "auto":  # of earlier versions, which did not resolve it
        layer["agent.precision"] = precision._replace(value="float32")
    return _resolve({key: Given(value, None) for key, value in BEFORE.items()}, layer)


def to_yaml(config: Config) -> str:
    """Write all values of a configuration as YAML that `read_resolved` and `load_config` read back."""
    return yaml.dump(config.model_dump(mode="json"), Dumper=_Dumper, sort_keys=False, width=120)


def flat(config: Config) -> dict[str, Any]:
    """Return all values by their dotted keys, such as ``train.env_steps``."""
    return {key: value for key, (value, _) in _flat(config.model_dump(), where=None).items()}


def parse_overrides(overrides: Overrides) -> Layer:
    """Read values by key, or ``key=value`` texts with values in YAML, so that lists and numbers work as in a file.

    A value by key may be a `Given`, which knows where it stands.
    """
    if isinstance(overrides, Mapping):
        return {key: _with_place(key, value) for key, value in overrides.items()}
    if isinstance(overrides, str):
        raise UserError(
            "the settings are one text", where="settings", mend="give values by key, {'section.key': value}"
        )
    layer: Layer = {}
    for text in overrides:
        key, equals, value = text.partition("=")
        key = key.strip()
        where = f"--set {key}"
        if not equals or not key:
            raise UserError(f"--set {text!r} has no '='", mend="write it as --set section.key=value")
        _checked_key(key, where)
        try:
            layer[key] = Given(yaml.safe_load(value), where)
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise UserError(f"{value!r} is not a value", where=where, mend=f"quote it, or fix it ({error})") from None
    return layer


def with_values(overrides: Overrides, values: Mapping[str, Any]) -> Overrides:
    """Add values by key to overrides, whichever form these have; None stands for no value."""
    given = {key: value for key, value in values.items() if value is not None}
    if isinstance(overrides, Mapping):
        return {**overrides, **given}
    return [*overrides, *(f"{key}={json.dumps(value)}" for key, value in given.items())]


def _with_place(key: str, value: Any) -> Given:
    given = value if isinstance(value, Given) else Given(_plain(value), f"settings, {key}")
    _checked_key(key, given.where or f"settings, {key}")
    return given


def _checked_key(key: str, where: str) -> str:
    """Refuse a key that does not exist; return `where`."""
    if key in SECTIONS:
        value = "=VALUE" if where.startswith("--set") else ""
        mend = f"set one of its keys, such as {next(name for name in FIELDS if name.startswith(f'{key}.'))}{value}"
        raise UserError(f"{key!r} is a section", where=where, mend=mend)
    section, name = split_key(str(key))
    check_key(name, section, where)
    return where


def _plain(value: Any) -> Any:
    """Return a value as a file would give it: a list for a tuple, Python's numbers for numpy's."""
    value = value.tolist() if hasattr(value, "tolist") else value
    return list(value) if isinstance(value, tuple) else value


def is_path(target: str) -> bool:
    """Tell whether a target is the path of a file, and not a family's name."""
    return target.endswith(SUFFIXES) or "/" in target or "\\" in target


def _read_target(target: str) -> tuple[Layer, dict[str, Layer]]:
    if not is_path(target):
        return {"family": Given(target, None)}, {}
    text = read_yaml(Path(target), EXPERIMENT)
    if definition_name(text, target) is not None:
        return {"family": Given(os.path.abspath(target), target)}, {}
    return read_text(text, target)


def from_folder(layer: Layer, folder: Path) -> Layer:
    """Return the values of a file that are paths, which start at its own folder, as paths from here."""

    def path(value: Any) -> Any:
        return str(folder / value) if isinstance(value, str) and value and ":" not in value else value

    return {
        key: given._replace(value=[*map(path, given.value)] if isinstance(given.value, list) else path(given.value))
        for key, given in layer.items()
        if key in PATHS
    }


def _definition(target: str, given: Given) -> tuple[Given, Path | None]:
    """Return the family's name, and the file that defines it where a path stands in its place."""
    value = given.value
    if not isinstance(value, str) or not (value.endswith(SUFFIXES) or os.path.isabs(value)):
        return given, None
    in_file = is_path(target) and not (given.where or "").startswith("--set")
    path = Path(target).parent / value if in_file else Path(value)
    try:
        name = definition_name(read_yaml(path, EXPERIMENT), str(path))
    except UserError as error:
        where = given.where if error.where == str(path) else error.where
        raise UserError(error.what, where=where, mend=error.mend) from None
    if name is None:
        mend = "give a file with 'schema: mql.task_family/1'"
        raise UserError(f"{value} does not define a family", where=given.where, mend=mend)
    return name, path


def _read_packaged(family: str) -> tuple[Layer, dict[str, Layer]]:
    """Read ``configs/<family>.yaml``, or the one whose name is the longest beginning of the family's, or nothing.

    So a variant (``fetch-push-sparse``) has the experiment of its family (``fetch-push``) unless it has its own.
    """
    parts = family.split("-")
    for n in range(len(parts), 0, -1):
        name = "-".join(parts[:n])
        source = resources.files("mql.configs") / f"{name}.yaml"
        if source.is_file():
            layer, profiles = read_text(source.read_text(encoding="utf-8"), f"configs/{name}.yaml")
            return {**layer, "family": Given(family, None)}, profiles
    return {}, {}


def _flat(tree: Mapping[str, Any], where: str | None, prefix: str = "") -> Layer:
    """Turn sections within a mapping into dotted keys."""
    layer: Layer = {}
    for name, value in tree.items():
        if prefix + name in SECTIONS:
            layer |= _flat(value, where, f"{prefix}{name}.")
        else:
            layer[prefix + name] = Given(value, where)
    return layer


def _resolve(*layers: Layer) -> Config:
    """Lay later layers over earlier ones, validate the result, and settle what it leaves to the program."""
    given: Layer = {}
    for layer in layers:
        for key in layer:
            given.pop(key, None)  # so that the order of `given` is the order in which its values were given
        given.update(layer)
    tree: dict[str, Any] = {}
    for key, (value, _) in given.items():
        *sections, name = key.split(".")
        inner = tree
        for section in sections:
            inner = inner.setdefault(section, {})
        inner[name] = value
    try:
        return Config.model_validate(tree).resolved()
    except ValidationError as error:
        raise _user_error(error, given) from None


def _check_block(block: Layer, *layers: Layer) -> None:
    """Refuse what a block says of a profile that is not chosen, though it will fail only when that is.

    What the file says for all profiles was made for the chosen one, and is judged with it.
    """
    try:
        _resolve(*layers)
    except UserError as error:
        if error.where in [given.where for given in block.values()]:
            raise


def _checked(key: Literal["family", "profile", "method"], given: Given) -> str:
    """Check one of the values that decide which layers there are."""
    fixed = _set_by(given.value) if key == "method" and given.value in tuple(METHODS) else {}
    checked: str = getattr(_resolve({"family": Given("any", None)}, fixed, {key: given}), key)
    return checked


def _set_by(method: str) -> Layer:
    """Return what a method fixes, and what it begins from, as a layer."""
    choice = METHODS[method]
    return {key: Given(value, None) for key, value in {**choice.sets, **choice.fixed}.items()}


def _user_error(error: ValidationError, given: Layer) -> UserError:
    first = error.errors(include_url=False)[0]
    if first["type"] == "conflict":
        context = first["ctx"]
        keys = context["keys"]
        places = [place for key, (_, place) in given.items() if key in keys and place]
        return UserError(context["what"], where=places[-1] if places else keys[0], mend=context["mend"])
    location = [str(part) for part in first["loc"]]
    key = next(key for n in range(1, len(location) + 1) if (key := ".".join(location[:n])) in FIELDS)
    value = given[key].value if key in given else None
    where = given[key].where if key in given else None
    return UserError(f"{key} is {shown(value)}", where=where, mend=f"it must be {allowed(FIELDS[key])}")


class _Dumper(yaml.SafeDumper):
    """Writes lists on one line."""


_Dumper.add_representer(
    list, lambda dumper, value: dumper.represent_sequence("tag:yaml.org,2002:seq", value, flow_style=True)
)
