"""What a run's folder says, as plain data, however much of it there is.

A run that is unfinished, damaged or of another method gives what can be read; what can't is a note in it. Nothing of
the run is loaded or simulated here (`Looked` is filled by whoever may).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import yaml

from mql.config.loading import flat, to_yaml
from mql.errors import UserError
from mql.files import TEMPORARY, read_json_lines, user_errors
from mql.runs.folder import read_environment, recognise
from mql.runs.logs import EVALUATIONS, METRICS, check_log
from mql.runs.run_dir import RunDir

Record = dict[str, Any]
Given = TypeVar("Given")

DEEPEST = 4  # folders below the one that is given
CELLS = "cells.jsonl"  # of a study of adaptation
FIGURES_OF_A_ROW = ("zero_shot_return", "adapted_return")


@dataclass(frozen=True)
class Contexts:
    """What the context holds at the ends of stored episodes: E of them, of training tasks.

    Attributes:
        z: [E, Z].
        tasks: the training task of each, [E].
    """

    z: npt.NDArray[np.float64]
    tasks: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Looked:
    """What a run's agent and replay say when they are loaded; what could not be found out is a note.

    Attributes:
        units: of parameters, by name; none of a pure number.
        meanings: of parameters, by name.
        contexts: None: the agent has none, or it was not looked at.
        weights: rows like an evaluation's (``parameters``, ``task_weights``, ``normalized_ess``, ``classifier_auc``,
            ``fraction_zero_weight``, ``calibration``), computed for the report.
    """

    units: Mapping[str, str] = field(default_factory=dict)
    meanings: Mapping[str, str] = field(default_factory=dict)
    contexts: Contexts | None = None
    weights: Sequence[Record] = ()
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Place:
    """Which run of a study a run is; ``reference`` is the METHOD/VARIANT that others are compared with."""

    study: str
    family: str
    method: str
    variant: str
    reference: str

    @property
    def is_reference(self) -> bool:
        """Whether it is a run of what others are compared with."""
        return f"{self.method}/{self.variant}" == self.reference


@dataclass
class RunFacts:
    """One run.

    Attributes:
        name: of its folder, as the report calls it.
        config: resolved, by key.
        yaml: the same as text.
        environment: versions, machine, command line.
        tasks: parameters of the tasks of every split.
        metrics: lines of metrics.jsonl.
        evaluations: those lines of evaluations.jsonl that have rows of tasks.
        other: the other ones, of methods that evaluate in their own way.
        finished: it has come to its end; then the last evaluation is the final one.
        notes: what is missing or damaged.
        place: in a study; None: it is of none.
    """

    path: Path
    name: str
    config: dict[str, Any] = field(default_factory=dict)
    yaml: str = ""
    environment: Record = field(default_factory=dict)
    tasks: dict[str, list[Record]] = field(default_factory=dict)
    metrics: list[Record] = field(default_factory=list)
    evaluations: list[Record] = field(default_factory=list)
    other: list[Record] = field(default_factory=list)
    finished: bool = False
    notes: list[str] = field(default_factory=list)
    looked: Looked = field(default_factory=Looked)
    place: Place | None = None

    @property
    def family(self) -> str:
        """The family's name, as far as anything says it."""
        named = [self.config.get("family"), *(record.get("family") for record in self.evaluations)]
        return next((str(name) for name in named if name), "unknown family")

    @property
    def method(self) -> str:
        """The method that trained it."""
        return str(self.config.get("method", "unknown"))

    @property
    def seed(self) -> int | None:
        """Of all its random numbers."""
        seed = self.config.get("seed", self.evaluations[-1].get("seed") if self.evaluations else None)
        return seed if isinstance(seed, int) else None

    @property
    def env_steps(self) -> int:
        """How far training has come."""
        return int(self._most("env_steps"))

    @property
    def wall_seconds(self) -> float:
        """What it has taken, evaluations included."""
        return self._most("wall_seconds")

    def _most(self, key: str) -> float:
        return max(
            (v for r in (*self.metrics, *self.evaluations, *self.other) if (v := numeric(r.get(key)))), default=0.0
        )

    @property
    def result(self) -> Record | None:
        """The last evaluation."""
        return self.evaluations[-1] if self.evaluations else None


def numeric(value: Any) -> float | None:
    """Return a finite number, None for all else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def find_runs(given: Path) -> tuple[list[Path], list[Record]]:
    """Return the run directories that `given` is or holds, and the cells of studies of adaptation that lie there.

    Raises:
        UserError: it is neither a run nor a folder that holds one, or such a study.
    """
    with user_errors(given):
        is_folder, is_run = given.is_dir(), (given / "environment.json").exists()
    if not is_folder or is_run:
        recognise(given)
        return [given], []
    runs, cells = [], []
    with user_errors(given):
        for folder in _folders(given, DEEPEST):
            if folder != given and (folder / "environment.json").is_file() and (folder / EVALUATIONS).exists():
                runs.append(folder)
            if (folder / CELLS).is_file():
                cells += [cell for cell in _lines(folder / CELLS)[0] if isinstance(cell.get("tasks"), list)]
    if not runs and not cells:
        recognise(given)  # its line fits a folder that is something else, such as a saved agent
    return runs, cells


def _folders(folder: Path, depth: int) -> list[Path]:
    """Return `folder` and those below it, in order; what lies in a run is not looked through."""
    found = [folder]
    if depth == 0 or (folder / "environment.json").is_file():
        return found
    for below in sorted(folder.iterdir()):
        if below.is_dir() and not below.is_symlink() and not below.name.startswith(".") and below.suffix != TEMPORARY:
            found += _folders(below, depth - 1)
    return found


def read_facts(path: Path, *, name: str) -> RunFacts:
    """Read what there is of a run.

    Raises:
        UserError: it is not a run directory.
    """
    run = RunDir.open_readonly(path)
    facts = RunFacts(run.path, name)

    def attempt(read: Callable[[], Given], otherwise: Given) -> Given:
        try:
            return read()
        except UserError as error:
            facts.notes.append(str(error))
            return otherwise

    facts.environment = attempt(lambda: read_environment(run.path), {})
    _read_config(facts, run)
    facts.tasks = attempt(lambda: run.tasks, {})
    for file in (METRICS, EVALUATIONS):
        if file == METRICS and not (run.path / file).exists():
            continue  # published results come without
        records, notes = _lines(run.path / file)
        facts.notes += notes
        attempt(partial(check_log, run.path, file), None)
        if file == METRICS:
            facts.metrics = records
        else:
            facts.evaluations = [record for record in map(_usable, records) if record is not None]
            facts.other = [record for record in records if not isinstance(record.get("tasks"), list)]
    facts.finished = run.finished or _has_final_evaluation(facts)
    if facts.finished and not facts.evaluations:
        summary = _usable(attempt(lambda: run.summary, {}))
        facts.evaluations = [summary] if summary else []
    return facts


def _has_final_evaluation(facts: RunFacts) -> bool:
    """Whether the last evaluation is the final one, as of published results, which come without finished.json."""
    target, last = numeric(facts.config.get("train.env_steps")), facts.result
    if target is None or last is None:
        return False
    return bool(last["env_steps"] >= target and last["split"] == facts.config.get("evaluate.split"))


def _read_config(facts: RunFacts, run: RunDir) -> None:
    try:
        facts.config, facts.yaml = flat(run.config), to_yaml(run.config)
        return
    except UserError as error:
        facts.notes.append(str(error))
    try:  # of another version or method: what it says is still worth showing
        text = (run.path / "config.yaml").read_text(encoding="utf-8")
        tree = yaml.safe_load(text)
    except (OSError, ValueError, yaml.YAMLError, RecursionError):
        return
    if isinstance(tree, dict):
        facts.config, facts.yaml = _flat(tree), text


def _flat(tree: Mapping[Any, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in tree.items():
        found |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return found


def _lines(path: Path) -> tuple[list[Record], list[str]]:
    """Return the records of a file of JSON lines, and a note on those that can't be read."""
    try:
        return read_json_lines(path), []
    except UserError as error:
        note = str(error)
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError:
        return [], [note]
    records = []
    for line in lines[:-1]:
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(record, dict):
            records.append(record)
    return records, [f"{note} (the other lines are used)"]


def _usable(record: Record) -> Record | None:
    """Return an evaluation with rows of tasks, each with its returns or with a fault; None: it is none."""
    rows = record.get("tasks")
    if not isinstance(rows, list) or not rows or numeric(record.get("env_steps")) is None:
        return None
    if not all(isinstance(row, dict) and "zero_shot_return" in row for row in rows):
        return None
    return {"split": "unknown", **record, "tasks": [_checked(row) for row in rows]}


def _checked(row: Record) -> Record:
    """Return a row whose returns are finite numbers (the adapted one may be missing), or which has a fault."""
    row = {"parameters": {}, "adapted_return": None, **row}
    wrong = [key for key in FIGURES_OF_A_ROW if row[key] is not None and numeric(row[key]) is None]
    if "fault" not in row and (wrong or row["zero_shot_return"] is None):
        row["fault"] = f"its record has no {(wrong or ['zero_shot_return'])[0]}"
    for key in ("parameters", "zero_shot_final", "adapted_final"):
        row[key] = row[key] if isinstance(row.get(key), Mapping) else {}
    row["rounds"] = row["rounds"] if isinstance(row.get("rounds"), list) else []
    return row
