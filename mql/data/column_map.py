"""A column map: which columns of somebody's log are what, and in which units.

It is a YAML file of its own, for every format::

    schema: mql.columns/1
    episode: trial
    time: {column: t, unit: ms}
    obs:
      - {columns: [q1, q2], unit: deg}
      - {column: speed, unit: mm/s}
    action: [{columns: [u1, u2], scale: 0.1}]
    reward: r

A column's values are multiplied by what the unit is in SI units, then by ``scale``, and ``offset`` is added.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, model_validator

from mql.config.findings import first_finding, locate, shown, too_short, wish
from mql.config.marked_yaml import MarkedYaml, Wanted, parse_marked, read_marked
from mql.config.parts import Mistake, Names, Part, Real
from mql.data.units import TIMES, factor
from mql.errors import UserError, nearest
from mql.types import JSON

SCHEMA = "mql.columns/1"
COLUMNS = Wanted("column map", f"schema: {SCHEMA}")


def _known_unit(unit: str) -> str:
    try:
        factor(unit)
    except ValueError as error:
        what, _, mend = str(error).partition("; ")
        raise Mistake(what, mend, "unit") from None
    return unit


def _named(value: object) -> object:
    """A name alone stands for the column of that name."""
    return {"column": value} if isinstance(value, str) else value


def _listed(value: object) -> object:
    return value if isinstance(value, list | tuple) else (value,)


Unit = Annotated[str, BeforeValidator(lambda unit: str(unit) if unit == 1 else unit), AfterValidator(_known_unit)]


class Source(Part):
    """Columns that are read alike: from a unit to SI units."""

    column: str | None = Field(default=None, description="Name of one column.")
    columns: Names | None = Field(default=None, description="Names of several columns, in order.")
    unit: Unit = Field(default="1", description="What the values are in, such as deg, mm or ms.")
    scale: Real = Field(default=1.0, description="Factor after the unit's.")
    offset: Real = Field(default=0.0, description="What is added then.")
    index: tuple[Annotated[int, Field(ge=0)], ...] | None = Field(
        default=None, min_length=1, description="Which entries of a column with several, in order, from 0."
    )

    @model_validator(mode="after")
    def _one_of_both(self) -> Source:
        if (self.column is None) == (self.columns is None):
            raise Mistake("a source has either 'column' or 'columns'", "write {column: NAME}, or {columns: [A, B]}")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """The columns, in order."""
        return self.columns if self.columns is not None else (str(self.column),)

    @property
    def factor(self) -> float:
        """By which values are multiplied."""
        return factor(self.unit) * self.scale


One = Annotated[Source, BeforeValidator(_named)]
Several = Annotated[tuple[One, ...], BeforeValidator(_listed), Field(min_length=1)]


class ColumnMap(Part):
    """What the columns of a log are."""

    schema_: str = Field(default=SCHEMA, alias="schema", description="Always mql.columns/1.")
    episode: str | None = Field(default=None, description="Column with the episode's number or name.")
    time: One | None = Field(default=None, description="Time of a row; in seconds unless a unit says otherwise.")
    obs: Several | None = Field(default=None, description="The observation, its parts in the family's order.")
    next_obs: Several | None = Field(
        default=None, description="Observations after the steps, where obs has none after the last."
    )
    action: Several | None = Field(default=None, description="The action, in [-1, 1] after scaling.")
    reward: One | None = Field(default=None, description="Reward of the action in the same row.")
    terminated: str | None = Field(
        default=None, description="Column that is true where the episode ended by its own rules."
    )
    truncated: str | None = Field(default=None, description="Column that is true where it was cut off.")
    success: str | None = Field(default=None, description="Column that is true where the goal was reached.")
    signals: dict[str, Several] = Field(
        default={}, description="Other columns, such as positions and velocities of joints."
    )
    task: dict[str, Any] = Field(default={}, description="Values of task parameters that hold for the whole file.")

    @model_validator(mode="after")
    def _time_is_time(self) -> ColumnMap:
        if self.time is not None and self.time.unit not in ("1", *TIMES):
            raise Mistake(f"time is in {self.time.unit}", f"choose one of {', '.join(TIMES)}", "time")
        return self

    def sources(self) -> Iterator[tuple[str, Source]]:
        """Yield (key, source) of all that is named."""
        for key in ("obs", "next_obs", "action"):
            for source in getattr(self, key) or ():
                yield key, source
        for key in ("time", "reward"):
            if (source := getattr(self, key)) is not None:
                yield key, source
        for name, several in self.signals.items():
            for source in several:
                yield f"signals.{name}", source


class Columns:
    """A column map and where it comes from.

    Args:
        map: what is named.
        where: gives the place of a dotted key, for messages.
    """

    def __init__(self, known: ColumnMap, where: Callable[[str], str]) -> None:
        self.map, self.where = known, where


def read_columns(path: Path) -> Columns:
    """Read a column map.

    Raises:
        UserError: the file can't be read, is no YAML, or a key or value is wrong; one line with file, line and key.
    """
    return _checked(read_marked(path, COLUMNS))


def parse_columns(text: str, file: str = "columns") -> Columns:
    """Read a column map from a text; as `read_columns`."""
    return _checked(parse_marked(text, file, COLUMNS))


def columns_of(values: Mapping[str, JSON], file: str = "columns") -> Columns:
    """Return a column map from plain values; as `read_columns`."""
    return _checked(MarkedYaml(file, {"schema": SCHEMA, **values}, {}))


def _checked(marked: MarkedYaml) -> Columns:
    marked.check_schema(SCHEMA, "a column map")
    try:
        known = ColumnMap.model_validate(marked.data)
    except ValidationError as error:
        raise _user_error(error, marked.where) from None
    return Columns(known, marked.where)


def _user_error(error: ValidationError, where: Callable[[str], str]) -> UserError:
    """Turn pydantic's first finding into one line with its place."""
    first = first_finding(error)
    key, name, names, field, kind = locate(first, ColumnMap)
    if first["type"] == "mistake":
        context = first["ctx"]
        return UserError(context["what"], where=where(key or context["key"]), mend=context["mend"])
    if first["type"] == "extra_forbidden":
        return UserError(f"unknown key {name!r}", where=where(key), mend=nearest(name, names))
    text = (field.description or "").rstrip(".") if field is not None else ""
    meaning = f" ({text[0].lower()}{text[1:]})" if text else ""
    if (short := too_short(first, key)) is not None:
        return UserError(f"{short} has too few values", where=where(short), mend=f"give all of them{meaning}")
    if first["type"] == "missing":
        return UserError(f"the key {key!r} is missing", where=where(key), mend=f"add it{meaning}")
    return UserError(f"{key} is {shown(first['input'])}", where=where(key), mend=f"{wish(first, kind)}{meaning}")
