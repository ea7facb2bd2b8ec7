"""A study's YAML file: families, methods, seeds and settings, which are crossed with each other::

schema: mql.study/1
families: [point-robot]
methods: [mql]
seeds: 3
settings: {train.env_steps: 20000}
variants:
  usual: {}
  blind: {agent.use_context: false, for: {methods: [mql]}}
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, field_validator

from mql.config.findings import first_finding, locate, shown, wish
from mql.config.loading import PATHS, SUFFIXES, from_folder, is_path
from mql.config.marked_yaml import MarkedYaml, Wanted, parse_marked, read_yaml
from mql.config.methods import METHODS
from mql.config.parts import Mistake, Names, Part, whole
from mql.config.yaml_text import Layer, read_settings
from mql.errors import UserError, nearest

SCHEMA = "mql.study/1"
STUDY = Wanted("study", f"schema: {SCHEMA}", "")
USUAL = "default"  # the one variant of a study that names none
MOST_SEEDS = 1000
FILE, STATUS, LOCK = OWN_FILES = ("study.yaml", "status.json", "lock")  # in a study's folder, beside its families
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+=-]{0,63}")  # what is fit for a folder's name
# What a study says in other places, by the key that a person would try: the place.
_ELSEWHERE = {"family": "families", "method": "methods", "seed": "seeds"}


def _name(value: str) -> str:
    if not _NAME.fullmatch(value):
        raise Mistake(f"{value!r} is not fit for a folder's name", "use letters, digits, '-', '_' and '.'")
    return value


def _different(seeds: int | tuple[int, ...]) -> int | tuple[int, ...]:
    if isinstance(seeds, tuple):
        for place, seed in enumerate(seeds):
            if seed in seeds[:place]:
                raise Mistake(f"the seed {seed} is named twice", "name it once", str(place))
    return seeds


Seed = Annotated[int, BeforeValidator(whole), Field(ge=0, le=2**63 - 1)]
Count = Annotated[int, BeforeValidator(whole), Field(ge=1, le=MOST_SEEDS)]


class Only(Part):
    """Where a variant holds."""

    families: Names | None = Field(default=None, description="Families of this study; null: all of them.")
    methods: Names | None = Field(default=None, description="Methods of this study; null: all of them.")


class Spec(Part):
    """A study: every family with every method, variant and seed."""

    schema_: str = Field(default=SCHEMA, alias="schema", description="Always mql.study/1.")
    name: Annotated[str, AfterValidator(_name)] | None = Field(
        default=None, description="Its name, and that of its folder; null: that of the file."
    )
    families: Names = Field(description="Names of families, or files that define one or describe an experiment.")
    methods: Names = Field(default=("mql",), description="Values of the key `method`.")
    seeds: Annotated[Count | tuple[Seed, ...], AfterValidator(_different)] = Field(
        description="A list of seeds, or how many: 3 stands for [1, 2, 3]."
    )
    settings: dict[str, Any] | None = Field(default=None, description="Settings of all runs, as in an experiment.")
    variants: dict[str, dict[str, Any] | None] | None = Field(
        default=None,
        min_length=1,
        description="Name -> settings that differ; `for: {families: [...], methods: [...]}` limits where.",
    )
    reference: str | None = Field(
        default=None, description="METHOD or METHOD/VARIANT that the report compares with; null: the first of each."
    )
    workers: Annotated[int, BeforeValidator(whole), Field(ge=1, le=1024)] | None = Field(
        default=None, description="Runs at the same time; null: as many as the cores carry."
    )
    population: Annotated[int, BeforeValidator(whole), Field(ge=1, le=1024)] = Field(
        default=1, description="Runs of one family that share a process."
    )

    @field_validator("methods")
    @classmethod
    def _known(cls, methods: tuple[str, ...]) -> tuple[str, ...]:
        for place, method in enumerate(methods):
            if method not in METHODS:
                raise Mistake(f"unknown method {method!r}", nearest(method, METHODS), str(place))
        return methods


@dataclass(frozen=True)
class Variant:
    """One choice of settings, and where it holds (None: everywhere)."""

    name: str
    settings: Layer
    families: tuple[str, ...] | None
    methods: tuple[str, ...] | None

    def holds(self, family: str, method: str) -> bool:
        """Whether there are runs of it with this family and method."""
        in_family = self.families is None or family in self.families
        return in_family and (self.methods is None or method in self.methods)


@dataclass(frozen=True)
class StudyFile:
    """What a study's file says, checked as far as that goes without families and configurations.

    Attributes:
        families: short name (of a folder) -> a family's name or the path of a file, as seen from here.
        where: gives the place of a dotted key, for messages.
    """

    name: str
    families: Mapping[str, str]
    methods: tuple[str, ...]
    seeds: tuple[int, ...]
    settings: Layer
    variants: tuple[Variant, ...]
    reference: str
    workers: int | None
    population: int
    where: Callable[[str], str]

    def places(self) -> Iterator[tuple[str, str, Variant, int]]:
        """Yield family (its short name), method, variant and seed of every run, in the order of their making.

        Seed by seed: a study that is stopped has all that it compares, as far as it went.
        """
        for seed in self.seeds:
            for family in self.families:
                for method in self.methods:
                    for variant in self.variants:
                        if variant.holds(family, method):
                            yield family, method, variant, seed

    def to_yaml(self) -> str:
        """Write it so that it says the same from any folder: paths are absolute, defaults are written out."""
        data: dict[str, Any] = {
            "schema": SCHEMA,
            "name": self.name,
            "families": [os.path.abspath(t) if is_path(t) else t for t in self.families.values()],
            "methods": list(self.methods),
            "seeds": list(self.seeds),
            "settings": _plain(self.settings),
            "variants": {each.name: _written(each, self.families) for each in self.variants},
            "reference": self.reference,
            "workers": self.workers,
            "population": self.population,
        }
        return yaml.safe_dump(data, sort_keys=False, width=120)


def place_of(family: str, method: str, variant: str, seed: int) -> Path:
    """Return where a run directory is, below the study's folder."""
    return Path(family, method, variant, f"seed-{seed}")


def read_study(path: Path) -> StudyFile:
    """Read a study's file.

    Raises:
        UserError: it can't be read, is no YAML, or a key or value is wrong; one line with file, line and key.
    """
    return parse_study(read_yaml(path, STUDY), path)


def parse_study(text: str, path: Path) -> StudyFile:
    """Read a study from a text that stands, or would stand, at `path`; as `read_study`."""
    marked = parse_marked(text, str(path), STUDY)
    marked.check_schema(SCHEMA, "a study")
    try:
        spec = Spec.model_validate(marked.data)
    except ValidationError as error:
        raise _user_error(error, marked.where) from None
    families = _families(marked, spec, path.parent)
    settings = _settings(marked, "settings", spec.settings, path.parent)
    given = {USUAL: None} if spec.variants is None else spec.variants
    for name in given:
        if twin := next((other for other in given if other < name and other.lower() == name.lower()), None):
            what = f"the variants {twin!r} and {name!r} share a folder where case does not count"
            raise UserError(what, where=marked.where(f"variants.{name}"), mend="rename one of them")
    variants = tuple(_variant(marked, name, values, spec, families, path.parent) for name, values in given.items())
    name = path.stem if spec.name is None else spec.name
    if not _NAME.fullmatch(name):
        raise UserError(f"the study's name would be {name!r}", where=str(path), mend="add a line 'name: NAME'")
    seeds = spec.seeds if isinstance(spec.seeds, tuple) else tuple(range(1, spec.seeds + 1))
    if not seeds:
        raise UserError(
            "there is no seed", where=marked.where("seeds"), mend="give a list such as [1, 2, 3], or a number"
        )
    reference = _reference(marked, spec, variants, families)
    return StudyFile(
        name,
        families,
        spec.methods,
        seeds,
        settings,
        variants,
        reference,
        spec.workers,
        spec.population,
        marked.where,
    )


def _families(marked: MarkedYaml, spec: Spec, folder: Path) -> dict[str, str]:
    """Return short names, and names or paths from here; paths in the file start at its own folder."""
    found: dict[str, str] = {}
    for place, target in enumerate(spec.families):
        where = marked.where(f"families.{place}")
        if is_path(target):
            short, target = Path(target).stem, os.path.join(folder, target)
            if not target.endswith(SUFFIXES):
                raise UserError(f"{target} is not a YAML file", where=where, mend="its name ends in .yaml")
        else:
            short = target
        if not _NAME.fullmatch(short):
            raise UserError(f"{short!r} is not fit for a folder's name", where=where, mend="rename the file")
        if short in OWN_FILES:
            raise UserError(
                f"{short} is a file of the study's own folder", where=where, mend="rename the family's file"
            )
        if short.lower() in map(str.lower, found):
            mend = "rename one of the files: runs stand in folders of these names"
            raise UserError(f"two families are called {short!r}", where=where, mend=mend)
        found[short] = target
    return found


def _settings(marked: MarkedYaml, key: str, values: Mapping[str, Any] | None, folder: Path) -> Layer:
    layer = read_settings(marked, key, dict(values or {}))
    for name, given in layer.items():
        if name in _ELSEWHERE:
            mend = f"list it under '{_ELSEWHERE[name]}', from which every run gets its own"
            raise UserError(f"{name} is no setting of a study", where=given.where, mend=mend)
        if name == "start_from":
            raise UserError("a study's runs start anew", where=given.where, mend="leave start_from out")
    return {**layer, **from_folder(layer, folder)}


def _variant(
    marked: MarkedYaml,
    name: str,
    values: Mapping[str, Any] | None,
    spec: Spec,
    families: Mapping[str, str],
    folder: Path,
) -> Variant:
    key = f"variants.{name}"
    if not _NAME.fullmatch(name) or "." in name:
        mend = "use letters, digits, '-', '_' and '='"
        raise UserError(f"the variant's name {name!r} is not fit for a folder", where=marked.where(key), mend=mend)
    values = dict(values or {})
    try:
        only = Only.model_validate(values.pop("for", None) or {})
    except ValidationError as error:
        raise _user_error(error, lambda below: marked.where(f"{key}.for.{below}".rstrip(".")), Only) from None
    names = {short: short for short in families} | dict(zip(spec.families, families, strict=True))
    own_families = None if only.families is None else tuple(names.get(family, family) for family in only.families)
    for wanted, known, what in ((own_families, families, "family"), (only.methods, spec.methods, "method")):
        for one in wanted or ():
            if one not in known:
                kind = {"family": "families", "method": "methods"}[what]
                where = marked.where(f"{key}.for.{kind}")
                raise UserError(f"the study has no {what} {one!r}", where=where, mend=nearest(one, known))
    return Variant(name, _settings(marked, key, values, folder), own_families, only.methods)


def _reference(marked: MarkedYaml, spec: Spec, variants: tuple[Variant, ...], families: Mapping[str, str]) -> str:
    """Return what is compared with, METHOD/VARIANT: it is run in one of the families, or there would be nothing."""
    known = [
        f"{method}/{variant.name}"
        for method in spec.methods
        for variant in variants
        if any(variant.holds(family, method) for family in families)
    ]
    if spec.reference is None:
        return known[0] if known else f"{spec.methods[0]}/{variants[0].name}"  # (`cells_of` refuses a study of no runs)
    full = spec.reference if "/" in spec.reference else f"{spec.reference}/{variants[0].name}"
    if full not in known:
        where = marked.where("reference")
        raise UserError(f"the study has no {spec.reference!r}", where=where, mend=nearest(full, known))
    return full


def _written(variant: Variant, families: Mapping[str, str]) -> dict[str, Any]:
    only = {"families": variant.families, "methods": variant.methods}
    limits = {key: list(names) for key, names in only.items() if names is not None}
    return {**_plain(variant.settings), **({"for": limits} if limits else {})}


def _plain(layer: Layer) -> dict[str, Any]:
    """Return settings by dotted key, paths as absolute ones."""

    def absolute(value: Any) -> Any:
        return os.path.abspath(value) if isinstance(value, str) and value and ":" not in value else value

    values: dict[str, Any] = {key: given.value for key, given in layer.items()}
    for key in values.keys() & set(PATHS):
        values[key] = [*map(absolute, values[key])] if isinstance(values[key], list) else absolute(values[key])
    return values


def _user_error(error: ValidationError, where: Callable[[str], str], model: type[Part] = Spec) -> UserError:
    """Turn pydantic's first finding into one line with its place."""
    first = first_finding(error)
    key, name, names, field, kind = locate(first, model)
    if first["type"] == "mistake":
        context = first["ctx"]
        return UserError(
            context["what"], where=where(".".join(p for p in (key, context["key"]) if p)), mend=context["mend"]
        )
    if first["type"] == "extra_forbidden":
        return UserError(f"unknown key {name!r}", where=where(key), mend=nearest(name, names))
    text = (field.description or "").rstrip(".") if field is not None else ""
    meaning = f" ({text if text[:2].isupper() else text[:1].lower() + text[1:]})" if text else ""
    if first["type"] == "missing":
        return UserError(f"the key {key!r} is missing", where=where(key), mend=f"add it{meaning}")
    if key.partition(".")[0] == "seeds":
        mend = f"give a list of different whole numbers, or how many there are to be, at most {MOST_SEEDS}"
        return UserError(f"seeds is {shown(first['input'])}", where=where(key), mend=mend)
    return UserError(
        f"{key or 'for'} is {shown(first['input'])}", where=where(key), mend=f"{wish(first, kind)}{meaning}"
    )
