"""A study's folder: its file, its runs, and where each of them stands.

``study.yaml`` is the study's file as it was last run, with absolute paths. ``FAMILY/METHOD/VARIANT/seed-N/`` is an
ordinary run directory, ``seed-N.log`` beside it what its process printed. ``status.json`` says of each run what its
folder says, and the line of those that failed: only that line can't be read anywhere else. ``lock`` is held by the
process that runs the study.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from mql.config.loading import flat
from mql.config.schema import Config
from mql.errors import UserError
from mql.files import read_json, remove_unfinished, to_json, user_errors, write_atomic
from mql.runs.definition import kept_definition
from mql.runs.folder import WriterLock
from mql.runs.listing import last_line, row_of
from mql.runs.run_dir import RunDir
from mql.study.cells import Cell
from mql.study.file import FILE, LOCK, OWN_FILES, STATUS, StudyFile, read_study
from mql.types import JSON

# What may change in a study that has begun: it changes no figure.
CHANGEABLE = ("collect", "tracking", "wandb")

State = Literal["waiting", "running", "stopped", "finished", "failed"]


@dataclass(frozen=True)
class CellState:
    """Where one run of a study stands; ``summary`` and shares of success are of its final evaluation.

    ``error`` is the one line of a run that failed. ``zero_shot``, ``adapted`` and ``random`` are means over tasks.
    """

    family: str
    method: str
    variant: str
    seed: int
    run_dir: str
    state: State
    env_steps: int
    of_env_steps: int
    wall_seconds: float | None = None
    split: str | None = None
    tasks: int | None = None
    zero_shot: float | None = None
    adapted: float | None = None
    random: float | None = None
    zero_shot_success: float | None = None
    adapted_success: float | None = None
    error: str | None = None

    def to_json(self) -> dict[str, JSON]:
        """Return it as `mql study --json` prints it."""
        return asdict(self)


class StudyDir:
    """The folder of a study, open for running it (it then holds the lock until closed) or for looking only."""

    def __init__(self, path: Path, lock: WriterLock | None = None) -> None:
        self.path, self._lock = path, lock
        self._errors: dict[str, str] = _errors(path)

    @classmethod
    def open(cls, path: Path, *, resume: bool) -> StudyDir:
        """Open the folder to run the study in it, making it where it does not exist.

        One in which no run has begun, as where the study was refused, needs no `resume`.

        Raises:
            UserError: it holds something else, or a study that is not to be continued, or another process runs it.
        """
        with user_errors(path):
            there = path.exists() and (not path.is_dir() or any(path.iterdir()))
            is_study = (path / FILE).is_file() or (path / LOCK).is_file()
            begun = is_study and not {LOCK} <= {each.name for each in path.iterdir()} <= set(OWN_FILES)
        if there and not is_study:
            mend = "choose another --dir"
            raise UserError("the folder exists and is no study", where=str(path), mend=mend)
        if begun and not resume:
            mend = "continue it with --resume (in Python: resume=True), or choose another --dir"
            raise UserError("the study's folder already exists", where=str(path), mend=mend)
        with user_errors(path):
            path.mkdir(parents=True, exist_ok=True)
        return cls(path, WriterLock(path / LOCK, of="study", option="--dir"))

    def close(self) -> None:
        """Give the right to run it back."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def check_writable(self) -> None:
        """Refuse to run a study whose folder was opened for looking only."""
        if self._lock is None:
            raise RuntimeError(f"{self.path} is not open for running the study")

    def check_unchanged(self, cells: Sequence[Cell]) -> None:
        """Refuse settings, or definitions, that are not those with which runs of the study were started.

        A run whose folder is damaged is passed over: it will fail when it is its turn, and the others go on.

        Raises:
            UserError: a run was started with others.
        """
        for cell in cells:
            path = self.path / cell.place
            if not (path / "config.yaml").is_file():
                continue
            try:
                config, kept = RunDir.open_readonly(path).config, kept_definition(path)
            except UserError:
                continue
            key = _difference(config, cell.config)
            if key is not None:
                before, after = (flat(each)[key] for each in (config, cell.config))
                what = f"{key} is {after}, but {cell.label} was started with {before}"
                given = cell.given.get(key)
                where = given.where if given is not None and given.where else key
                mend = "leave it as it was, give the runs with other settings a variant's name, or choose another --dir"
                raise UserError(what, where=where, mend=mend)
            if (kept.digest if kept else None) != (cell.definition[1] if cell.definition else None):
                where = str(cell.definition[0]) if cell.definition else str(path)
                mend = "restore it, or choose another --dir"
                raise UserError(f"the definition has changed since {cell.label} was started", where=where, mend=mend)

    def write_file(self, study: StudyFile) -> None:
        """Write the study's file, and remove what killed processes left."""
        with user_errors(self.path):
            write_atomic(self.path / FILE, study.to_yaml().encode())
            for folder in {self.path, *self.path.glob("*/*/*")}:
                if folder.is_dir():
                    remove_unfinished(folder)

    def read_file(self) -> StudyFile:
        """Read the study's file as it was last run.

        Raises:
            UserError: there is none.
        """
        return read_study(self.path / FILE)

    def states(self, cells: Iterable[Cell]) -> list[CellState]:
        """Return where each run stands, as its folder says."""
        return [self.state_of(cell) for cell in cells]

    def state_of(self, cell: Cell) -> CellState:
        """Return where a run stands."""
        path, config = self.path / cell.place, cell.config
        known: dict[str, Any] = {}
        error = self._errors.get(cell.label)
        state: State = "waiting"
        if (path / "environment.json").is_file():
            row = row_of(path)
            state = "running" if row.state == "running" else "stopped"
            known = {"wall_seconds": row.wall_seconds, "env_steps": row.env_steps or 0}
            if row.state == "finished":
                try:
                    known |= _final(path)
                    state, error = "finished", None
                except UserError as damage:
                    error = damage.what
            elif row.state == "damaged":
                error = error or row.why
        if error is not None and state != "running":
            state = "failed"
        return CellState(
            family=cell.family,
            method=cell.method,
            variant=cell.variant,
            seed=cell.seed,
            run_dir=str(path),
            of_env_steps=config.train.env_steps,
            **{"env_steps": 0, **known},
            state=state,
            error=None if state == "running" else error,
        )

    def env_steps_of(self, cell: Cell) -> tuple[int, float]:
        """Return how far a run has come, in env steps and seconds, reading no more than a line."""
        with suppress(UserError):
            record = last_line(self.path / cell.place / "metrics.jsonl") or {}
            return int(record.get("env_steps", 0)), float(record.get("wall_seconds", 0.0))
        return 0, 0.0

    def note(self, cell: Cell, error: str | None) -> None:
        """Remember the line of a run that failed, or that it no longer does."""
        self._errors.pop(cell.label, None)
        if error is not None:
            self._errors[cell.label] = error

    def write_status(self, name: str, states: Sequence[CellState]) -> None:
        """Write ``status.json``."""
        with user_errors(self.path):
            write_atomic(self.path / STATUS, to_json(status(name, self.path, states), indent=1))


def status(name: str, path: Path, states: Sequence[CellState]) -> dict[str, JSON]:
    """Return what `mql study --json` prints: a row for each run, and how many there are in each state."""
    counts = {kind: sum(one.state == kind for one in states) for kind in dict.fromkeys(one.state for one in states)}
    return {
        "study": name,
        "dir": str(path),
        "states": counts,
        "env_steps": sum(one.env_steps for one in states),
        "of_env_steps": sum(one.of_env_steps for one in states),
        "cells": [one.to_json() for one in states],
    }


def is_study(path: Path) -> bool:
    """Tell whether a folder is that of a study."""
    return (path / FILE).is_file()


def _difference(old: Config, new: Config) -> str | None:
    """Return the first key in which configurations differ, other than those that change no figure."""
    before, after = flat(old), flat(new)
    for key in after:
        if key.partition(".")[0] not in CHANGEABLE and before[key] != after[key]:
            return key
    return None


def _final(path: Path) -> dict[str, Any]:
    """Return the figures of a finished run.

    Raises:
        UserError: the record of its end is damaged.
    """
    record: Any = read_json(path / "finished.json")
    rows = record.get("tasks") if isinstance(record, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise UserError("finished.json is damaged", where=str(path), mend="restore it from a copy")
    found = record.get("summary")
    summary: Mapping[str, Any] = found if isinstance(found, dict) else {}
    rows = [row for row in rows if "fault" not in row]
    known: dict[str, Any] = {"split": str(record.get("split")), "tasks": len(rows)}
    for name in ("zero_shot", "adapted", "random"):
        values = summary.get(name)
        known[name] = _number(values.get("mean")) if isinstance(values, dict) else None
    for name in ("zero_shot_success", "adapted_success"):
        shares = [share for row in rows if (share := _number(row.get(name))) is not None]
        known[name] = sum(shares) / len(shares) if shares else None
    return known


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _errors(path: Path) -> dict[str, str]:
    """Return the lines of runs that failed when the study was last run."""
    with suppress(UserError, KeyError, TypeError):
        cells = read_json(path / STATUS)["cells"] if (path / STATUS).is_file() else []
        return {
            f"{one['family']}/{one['method']}/{one['variant']}/seed-{one['seed']}": str(one["error"])
            for one in cells
            if one.get("error")
        }
    return {}
