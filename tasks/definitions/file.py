"""Reads a task definition: YAML that is in order, with the line of every key, and the files that it names.

Nothing is built, and no Python of the definition is run. What can be told without the model is told here: values, names
of task parameters, splits, expressions, and files that are missing or lie outside the definition's folder.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from mql.config.findings import first_finding, locate, shown, too_short, wish
from mql.config.marked_yaml import MarkedYaml, Wanted, place, read_marked
from mql.config.parts import Mistake
from mql.errors import UserError, nearest
from mql.robots import registry as robots
from mql.robots.mjcf.files import MOST_BYTES, mjcf_files
from mql.robots.mjcf.source import COLLECTIONS, find_mjcf, is_file, is_model, is_spec
from mql.robots.spec_yaml import ROBOT
from mql.tasks.definitions.drawn import check_start
from mql.tasks.definitions.expressions.compiled import compile_expression
from mql.tasks.definitions.schema import MOST_NUMBERS, SCHEMA, Definition
from mql.tasks.distributions import UNBOUNDED, Distribution, Value, ends_of, from_spec
from mql.tasks.name_choice import NameChoice, plain_name
from mql.tasks.physics.fields import Change, allowed_range
from mql.tasks.scenes.built_in import built_in
from mql.tasks.splits import LIKE, N_TASKS

DEFINITION = Wanted("definition", f"schema: {SCHEMA}")
_KIND = SCHEMA.rpartition("/")[0] + "/"


@dataclass(frozen=True)
class DefinitionFile:
    """A definition that has been read and found in order.

    Args:
        path: the YAML file, as an absolute path.
        folder: its folder, which all its files lie in.
        definition: what it says.
        digest: hexadecimal SHA-256 of the YAML and of every file that it names, also of a named robot's.
        files: those files, the YAML first.
    """

    path: Path
    folder: Path
    definition: Definition = field(repr=False)
    digest: str
    files: tuple[Path, ...]
    _shown: str = field(repr=False)
    _lines: Mapping[str, int] = field(repr=False)

    def where(self, key: str) -> str:
        """Say where a dotted key stands, such as ``file.yaml:12 parameters.mass.value.low``.

        The line is that of the nearest key above where the key itself isn't there; entries of a list count from 0.
        """
        return _place(self._shown, self._lines, key)

    def distribution(self, name: str) -> Distribution:
        """Return what the training tasks draw a parameter from (the split's own `override` comes before it)."""
        return from_spec(
            self.definition.parameters[name].value, where=self.where(f"parameters.{name}.value"), names=True
        )

    def sources(self, split: str) -> dict[str, Distribution]:
        """Return what each parameter of a split's tasks is drawn from."""
        drawn = {name: self.distribution(name) for name in self.definition.parameters}
        for name, spec in self.definition.splits[split].override.items():  # type: ignore[index]
            drawn[name] = from_spec(spec, where=self.where(f"splits.{split}.override.{name}"), names=True)
        return drawn

    def names(self, name: str) -> NameChoice | None:
        """Return all names that a parameter has in any split, in the family's order; None: it is no name."""
        drawn = [self.distribution(name), *(self.sources(split)[name] for split in self.definition.splits)]
        texts = [text for source in drawn if isinstance(source, NameChoice) for text in source.options]
        return NameChoice(tuple(dict.fromkeys(texts))) if texts else None

    @property
    def choices(self) -> dict[str, tuple[str, ...]]:
        """Parameters of names -> their names."""
        return {name: names.options for name in self.definition.parameters if (names := self.names(name))}

    def bounds(self, name: str) -> tuple[float, float]:
        """Return the lowest and highest value of a parameter: what physics allows within what the definition says."""
        spec = self.definition.parameters[name]
        low, high = physical_bounds(spec.apply)
        given_low, given_high = spec.bounds or (None, None)
        return (
            low if given_low is None else max(low, given_low),
            high if given_high is None else min(high, given_high),
        )


def read_definition(path: Path) -> DefinitionFile:
    """Read a definition file.

    Raises:
        UserError: anything in it is out of order; one line with file, line, key and fix.
    """
    marked = read_marked(path, DEFINITION)
    _check_schema(marked)
    try:
        definition = Definition.model_validate(marked.data)
    except ValidationError as error:
        raise _user_error(error, Definition, lambda key: _place(str(path), marked.lines, key)) from None
    folder = path.parent.resolve()
    files = (folder / path.name, *_named_files(definition, folder, marked))
    file = DefinitionFile(
        path=folder / path.name,
        folder=folder,
        definition=definition,
        digest=_digest(files, folder, _facts_elsewhere(definition, folder, marked)),
        files=files,
        _shown=str(path),
        _lines=marked.lines,
    )
    _check_parameters(file)
    _check_splits(file)
    _check_expressions(file)
    _check_numbers(file)
    if definition.start is not None:
        sources = {name: file.distribution(name) for name in definition.parameters}
        check_start(definition.start, sources, file.where)
    return file


def _place(shown: str, lines: Mapping[str, int], key: str) -> str:
    """Say where a key stands; an entry that may stand alone has no number where it does."""
    alone = key.startswith("terminate.0") and "terminate.0" not in lines
    return place(shown, lines, key.replace("terminate.0", "terminate", 1) if alone else key)


def _user_error(error: ValidationError, model: type[BaseModel], where: Callable[[str], str]) -> UserError:
    """Turn the first finding into a UserError; a misspelt key counts first, since it makes others.

    Args:
        error: what pydantic raised.
        model: what was validated.
        where: says where a dotted key stands.
    """
    first = first_finding(error)
    key, name, names, field, kind = locate(first, model)
    name = name or "the definition"
    if first["type"] == "mistake":
        context = first["ctx"]
        key = ".".join(part for part in (key, context["key"]) if part)
        return UserError(context["what"], where=where(key), mend=context["mend"])
    if first["type"] == "extra_forbidden":
        return UserError(f"unknown key {name!r}", where=where(key), mend=nearest(name, names))
    short = too_short(first, key)
    if short is not None:
        return UserError(f"{short.rpartition('.')[2]} has too few values", where=where(short), mend="give all of them")
    if first["type"] == "missing":
        meaning = f" ({field.description})" if field is not None and field.description else ""
        return UserError(f"{name} is missing", where=where(key), mend=f"add a line '{name}: ...'{meaning}")
    return UserError(f"{name} is {shown(first['input'])}", where=where(key), mend=_mend(first, field, kind))


def _mend(first: ErrorDetails, field: FieldInfo | None, kind: Any) -> str:
    if first["type"] == "string_pattern_mismatch" and field is not None:
        return f"it must be as follows: {field.description}"
    return wish(first, kind)


def physical_bounds(changes: Iterable[Change]) -> tuple[float, float]:
    """Return the lowest and highest value that physics allows a parameter with these changes."""
    ranges = [allowed_range(change.field, change.op) for change in changes]
    return max((low for low, _ in ranges), default=-math.inf), min((high for _, high in ranges), default=math.inf)


def _check_schema(marked: MarkedYaml) -> None:
    given = marked.data.get("schema")
    if given == SCHEMA:
        return
    if isinstance(given, str) and given.startswith(_KIND):
        mend = f"this version of mql reads {SCHEMA}"
    else:
        mend = f"a definition says 'schema: {SCHEMA}'"
    what = f"schema is {shown(given)}" if "schema" in marked.data else "schema is missing"
    raise UserError(what, where=marked.where("schema"), mend=mend)


def _check_parameters(file: DefinitionFile) -> None:
    for name, spec in file.definition.parameters.items():
        distribution = file.distribution(name)
        if isinstance(distribution, NameChoice):
            for key in ("apply", "bounds"):
                if getattr(spec, key):
                    what = f"{name} is one of names, and {key} is for numbers"
                    mend = f"leave {key} out; an environment gets names by kwargs, expressions compare them"
                    raise UserError(what, where=file.where(f"parameters.{name}.{key}"), mend=mend)
            continue
        low, high = file.bounds(name)
        if not low <= high:
            mend = f"physics allows {_range(*physical_bounds(spec.apply))}"
            raise UserError(
                f"no value of {name!r} is allowed", where=file.where(f"parameters.{name}.bounds"), mend=mend
            )
        _check_range(file, name, distribution, f"parameters.{name}.value")
        for n, change in enumerate(spec.apply):
            try:
                change.components(distribution.size)
            except Mistake as mistake:
                context = mistake.context or {}
                key = f"parameters.{name}.apply.{n}.{context['key']}".rstrip(".")
                raise UserError(context["what"], where=file.where(key), mend=context["mend"]) from None


def _check_range(file: DefinitionFile, name: str, distribution: Distribution, key: str) -> None:
    low, high = file.bounds(name)
    lowest, highest = min(ends_of(distribution)[0]), max(ends_of(distribution)[1])
    if low <= lowest and highest <= high:
        return
    end = "low" if lowest < low else "high"
    drawn = _range(lowest, highest)
    endless = math.isinf(lowest) or math.isinf(highest)
    mend = f"give values {_range(low, high)}{UNBOUNDED if endless else ''}"
    raise UserError(f"{name} is drawn {drawn}", where=file.where(f"{key}.{end}"), mend=mend)


def _range(low: float, high: float) -> str:
    if math.isinf(low) and math.isinf(high):
        return "without limits"
    if math.isinf(high):
        return f"from {low:g} on"
    return f"up to {high:g}" if math.isinf(low) else f"from {low:g} to {high:g}"


def _check_splits(file: DefinitionFile) -> None:
    parameters, splits = file.definition.parameters, file.definition.splits
    derived = sum(N_TASKS for name, like in LIKE.items() if name not in splits and like[0] in splits)
    numbers = sum(file.distribution(name).size or 1 for name in parameters)
    numbers *= sum(spec.n for spec in splits.values()) + derived
    if numbers > MOST_NUMBERS:
        mend = f"fewer tasks, or smaller vectors: at most {MOST_NUMBERS:,} in all"
        raise UserError(f"the splits' tasks are {numbers:,} numbers", where=file.where("splits"), mend=mend)
    for split, spec in splits.items():
        for name in spec.override:
            key = f"splits.{split}.override.{name}"
            if name not in parameters:
                raise UserError(f"unknown parameter {name!r}", where=file.where(key), mend=nearest(name, parameters))
            own, override = file.distribution(name), file.sources(split)[name]
            if own.size != override.size:
                mend = f"give it a size of {own.size}" if own.size else f"{name} is one number; leave the size out"
                raise UserError(f"the override has size {override.size or 1}", where=file.where(key), mend=mend)
            if isinstance(own, NameChoice) != isinstance(override, NameChoice):
                mend = f"draw {name} from {'names' if isinstance(own, NameChoice) else 'numbers'}"
                raise UserError(f"{name} is drawn from names and from numbers", where=file.where(key), mend=mend)
            if not isinstance(own, NameChoice):
                _check_range(file, name, override, key)
    seen: dict[tuple[object, ...], str] = {}
    for split, spec in splits.items():
        # Drawn as `TaskFamily` draws them, so that these are the tasks.
        rng = np.random.default_rng(spec.seed)
        sources = file.sources(split).values()
        for values in [tuple(source.sample(rng) for source in sources) for _ in range(spec.n)]:
            owner = seen.setdefault(tuple(plain_name(value) for value in values), split)
            if owner != split:
                shared = ", ".join(f"{name} {_short(value)}" for name, value in zip(parameters, values, strict=True))
                mend = "give them other seeds, or a parameter with more values"
                what = f"splits {owner} and {split} share the task {shared}"
                raise UserError(what, where=file.where(f"splits.{split}"), mend=mend)


def _short(value: Value) -> str:
    return f"({', '.join(f'{part:.4g}' for part in value)})" if isinstance(value, tuple) else f"{value:.4g}"


def _check_numbers(file: DefinitionFile) -> None:
    """Refuse a parameter of names where ``task.NAME`` stands for a number: in starts, schedules, noise and the like."""
    names = file.choices

    def walk(value: object, key: str) -> None:
        if key == "env.kwargs":
            return
        if isinstance(value, str) and value.startswith("task.") and value.removeprefix("task.") in names:
            what = f"{value} is a name, and a number is due"
            raise UserError(what, where=file.where(key), mend="draw that parameter from numbers")
        inner = (
            value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, tuple | list) else ()
        )
        for part, each in inner:
            walk(each, f"{key}.{part}".removeprefix("."))

    if names:
        walk(file.definition.model_dump(by_alias=True), "")


def _check_expressions(file: DefinitionFile) -> None:
    definition = file.definition
    sizes = {f"task.{name}": file.distribution(name).size or 0 for name in definition.parameters}
    names = file.choices
    for key, text in definition.expressions().items():
        expression = compile_expression(text, where=file.where(key), names=names)
        expression.check_names({"task": definition.parameters}, where=file.where(key), sizes=sizes)


def _named_files(definition: Definition, folder: Path, marked: MarkedYaml) -> tuple[Path, ...]:
    """Find the files that a definition names, and those that they name. All must lie in its folder."""
    env = definition.env
    found: dict[Path, None] = {}
    if env.python is not None:
        found[_inside(env.python.rpartition(":")[0], folder, marked.where("env.python"))] = None
    for key, name in (("mjcf", env.mjcf), ("robot", env.robot), ("scene", env.scene)):
        if name is None or (key != "mjcf" and not is_file(name)):
            continue
        path = _inside(name, folder, marked.where(f"env.{key}"))
        if key == "robot" and not is_model(name):
            found[path] = None
            model = read_marked(path, ROBOT).data.get("mjcf")
            if not isinstance(model, str) or model.startswith(COLLECTIONS):  # not the definition's own
                continue
            path = path.parent / model
        found |= dict.fromkeys(mjcf_files(path, folder))
    return tuple(found)


def _facts_elsewhere(definition: Definition, folder: Path, marked: MarkedYaml) -> Iterator[tuple[str, bytes]]:
    """Yield what a definition names that is not its own, such as a robot of a collection, as (name, data).

    Raises:
        UserError: it is not on this machine.
    """
    env = definition.env
    source = None
    try:
        if env.robot is not None and not is_file(env.robot):
            spec = robots.load(env.robot)
            yield "robot", json.dumps(spec.describe(), sort_keys=True).encode()
            source = spec.mjcf_source()
        elif env.robot is not None and is_spec(env.robot):
            model = read_marked(folder / env.robot, ROBOT).data.get("mjcf")
            if isinstance(model, str) and model.startswith(COLLECTIONS):
                source = find_mjcf(model, None)
        if source is not None:
            yield from contents(mjcf_files(source.path, source.folder), source.folder)
    except UserError as error:
        raise UserError(error.what, where=error.where or marked.where("env.robot"), mend=error.mend) from None
    if env.scene is not None and not is_file(env.scene):
        scenes = built_in("scene")
        if env.scene in scenes:  # else composing names the nearest
            yield from contents([scenes[env.scene]], scenes[env.scene].parent)


def _inside(name: str, folder: Path, where: str) -> Path:
    if os.path.isabs(name):
        raise UserError(
            f"{name!r} is an absolute path", where=where, mend=f"copy it into {folder} and name it from there"
        )
    path = folder / name
    try:
        inside = path.resolve().is_relative_to(folder)
    except (OSError, RuntimeError, ValueError):
        inside = False
    if not inside:
        mend = f"copy it into {folder}; a definition reads nothing outside its folder"
        raise UserError(f"{name!r} lies outside the definition's folder", where=where, mend=mend)
    if not os.path.isfile(path):
        raise UserError(f"the file {name!r} is missing", where=where, mend=f"put it at {path}, or fix the path")
    if os.path.getsize(path) > MOST_BYTES:
        raise UserError(f"the file {name!r} is larger than 100 MB", where=where, mend="make it smaller")
    return path


def _digest(files: Sequence[Path], folder: Path, elsewhere: Iterable[tuple[str, bytes]]) -> str:
    """Hash the files' bytes and names, but for the first one's name: the definition may be renamed."""
    whole = hashlib.sha256()
    for n, (name, data) in enumerate(itertools.chain(contents(files, folder), elsewhere)):
        whole.update(f"{name if n else ''}\0{len(data)}\0".encode() + data)
    return whole.hexdigest()


def contents(files: Iterable[Path], folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yield each file's name from `folder`, and its bytes."""
    for path in files:
        try:
            yield os.path.relpath(path, folder), path.read_bytes()
        except OSError as error:
            raise UserError(f"cannot read the file ({error})", where=str(path), mend="check its permissions") from None
