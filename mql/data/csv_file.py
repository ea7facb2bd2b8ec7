"""Reads CSV files: a line of names, then a row for each time step."""

from __future__ import annotations

import csv
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np

from mql.data.logged import Column
from mql.data.table import Budget, Table
from mql.errors import UserError

_MOST_COLUMNS = 10_000
_LONGEST_CELL = 1_000
_DELIMITERS = ",;\t"
_WORDS = {"true": 1.0, "false": 0.0, "": float("nan")}


@dataclass(frozen=True)
class _CsvTable(Table):
    path: Path = Path()
    delimiter: str = ","
    budget: Budget | None = None

    def load(self, names: Sequence[str], texts: Sequence[str] = ()) -> dict[str, Column]:
        assert self.budget is not None
        places = {name: self.names.index(name) for name in dict.fromkeys(names)}
        labels = {name: self.names.index(name) for name in dict.fromkeys(texts)}
        found = {name: array("d") for name in places}
        told: dict[str, list[str]] = {name: [] for name in labels}
        size = 8 * (len(places) + 8 * len(labels))
        with _opened(self.path) as file:
            for line, row in _rows(file, self.delimiter, self.file):
                if line == 1:
                    continue
                if len(row) != len(self.names):
                    what = f"the row has {len(row)} cells, the first line {len(self.names)}"
                    raise UserError(what, where=f"{self.file}:{line}", mend="give every row a cell for each column")
                self.budget.take(size, f"{self.file}:{line}")
                for name, place in places.items():
                    found[name].append(_number(row[place], f"{self.file}:{line} {name}"))
                for name, place in labels.items():
                    told[name].append(row[place].strip())
        loaded: dict[str, Column] = {
            name: np.frombuffer(values, np.float64) for name, values in found.items() if values
        }
        loaded |= {name: np.zeros(0) for name, values in found.items() if not values}
        return loaded | {name: _as_numbers(values) for name, values in told.items()}


def tables(path: Path, budget: Budget) -> Iterator[Table]:
    """Yield the one table of a CSV file.

    Raises:
        UserError: it is no text, or has no line of names.
    """
    with _opened(path) as file:
        try:
            line = file.readline(_MOST_COLUMNS * 100)
        except UnicodeDecodeError as error:
            raise _no_text(error, str(path)) from None
    delimiter = max(_DELIMITERS, key=line.count)
    names = [name.strip() for name in next(csv.reader([line.replace("\0", "")], delimiter=delimiter), [])]
    if not any(names) or len(names) > _MOST_COLUMNS:
        raise UserError("the first line holds no names of columns", where=f"{path}:1", mend="write time,obs_0,action_0")
    if all(_is_number(name) for name in names):
        mend = "put a line of names first, such as time,obs_0,action_0"
        raise UserError("the first line holds numbers, not names", where=f"{path}:1", mend=mend)
    twice = next((name for place, name in enumerate(names) if name in names[:place]), None)
    if twice is not None:
        raise UserError(f"two columns are called {twice!r}", where=f"{path}:1", mend="give each its own name")
    yield _CsvTable(str(path), tuple(names), None, {}, path, delimiter, budget)


def _opened(path: Path) -> TextIO:
    return path.open("r", encoding="utf-8-sig", newline="")


def _rows(file: TextIO, delimiter: str, name: str) -> Iterator[tuple[int, list[str]]]:
    """Yield (line, cells) of all rows that are not empty; the names are line 1."""
    csv.field_size_limit(_LONGEST_CELL * 100)
    reader = csv.reader(file, delimiter=delimiter, strict=True)
    first = True
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            mend = "one row a line; text with commas in quotes"
            raise UserError(f"the row can't be read ({error})", where=f"{name}:{reader.line_num}", mend=mend) from None
        except UnicodeDecodeError as error:
            raise _no_text(error, name) from None
        if row:
            yield (1 if first else reader.line_num), row
            first = False


def _no_text(error: UnicodeDecodeError, name: str) -> UserError:
    return UserError(f"byte {error.start} is not UTF-8 text", where=name, mend="save it as UTF-8")


def _number(cell: str, where: str) -> float:
    text = cell.strip()
    try:
        return float(text)
    except ValueError:
        known = _WORDS.get(text.lower())
    if known is None:
        hint = (
            "write decimal points, not commas" if "," in text else "leave the column out of the column map, or fix it"
        )
        raise UserError(f"{text[:40]!r} is not a number", where=where, mend=hint)
    return known


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _as_numbers(values: Sequence[str]) -> Column:
    """Return labels as numbers where all are, else as texts."""
    if values and all(_is_number(value) for value in values):
        return np.asarray([float(value) for value in values])
    return np.asarray(values, dtype=str)
