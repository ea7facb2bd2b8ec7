"""Sends metrics to a tracking service beside the run's own files.

The run's metrics.jsonl is the truth; a sink only mirrors it. So a sink never raises and never makes training wait:
Weights & Biases is imported, started and written to in a thread of its own, offline unless it is logged in, and the
first failure switches it off with one warning.
"""

from __future__ import annotations

import importlib
import json
import math
import os
import queue
import sys
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Protocol

from mql.errors import missing_package
from mql.files import write_atomic

Warn = Callable[[str], None]

QUEUE_LENGTH = 10_000  # records that wait for a slow service before the sink is given up
CLOSE_TIMEOUT = 30.0  # seconds that the end of training waits for the last records


class Tracker(Protocol):
    """A metric sink."""

    def log(self, record: Mapping[str, Any]) -> None:
        """Take one record: numbers, or mappings of numbers; ``env_steps`` is its place in the run."""

    def close(self) -> None:
        """Hand over what is left and end. Closing again does nothing."""


def open_tracker(
    kind: Literal["none", "wandb"],
    *,
    run_path: Path,
    config: Mapping[str, Any],
    warn: Warn | None = None,
) -> Tracker:
    """Open the sink that the configuration names.

    Args:
        kind: ``config.tracking``.
        run_path: the run directory: its name is the run's name, and the sink's own files go below it.
        config: the resolved configuration as plain data, shown beside the metrics.
        warn: takes the one line said when the sink fails; standard error when None.
    """
    if kind == "none":
        return NoTracker()
    return WandbTracker(run_path=run_path, config=config, warn=warn or _warn_on_stderr)


class NoTracker:
    """Drops everything."""

    def log(self, record: Mapping[str, Any]) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class WandbTracker:
    """Mirrors metrics to Weights & Biases: online where it is logged in, else offline below the run directory.

    ``WANDB_MODE`` (online, offline, disabled) overrides that choice. A resumed run goes on under the same id, behind
    its last row: what was handed over is counted in the run directory, and not handed over again.
    """

    def __init__(self, *, run_path: Path, config: Mapping[str, Any], warn: Warn) -> None:
        self._run_path, self._config, self._warn = run_path, dict(config), warn
        self._records: queue.Queue[dict[str, float] | None] = queue.Queue(QUEUE_LENGTH)
        self._off = threading.Event()
        self._closed = False
        # A daemon: a service that hangs can't keep a finished training alive.
        self._thread = threading.Thread(target=self._run, name="mql-wandb", daemon=True)
        self._thread.start()

    def log(self, record: Mapping[str, Any]) -> None:
        """Queue one record; what is not a number (lists, text, null) is left out."""
        if self._off.is_set() or self._closed:
            return
        try:
            self._records.put_nowait(dict(_numbers(record)))
        except queue.Full:
            self._switch_off(f"{QUEUE_LENGTH} records wait for it")

    def close(self, timeout_seconds: float = CLOSE_TIMEOUT) -> None:
        """Wait until the last records are handed over, at most `timeout_seconds`."""
        if self._closed:
            return
        self._closed = True
        if not self._off.is_set():
            try:
                self._records.put(None, timeout=timeout_seconds)
                self._thread.join(timeout_seconds)
            except queue.Full:
                pass
            if self._thread.is_alive():
                self._switch_off(f"it did not end within {timeout_seconds:g} s")

    def _run(self) -> None:
        try:
            run = self._start()
            place = _Place(self._run_path / "wandb" / "handed_over.json")
            while (record := self._records.get()) is not None and not self._off.is_set():
                if place.is_new(record):
                    run.log(record, step=place.row, commit=True)
                    place.passed(record)
            run.finish()
        except ModuleNotFoundError as error:
            self._switch_off(str(missing_package(error.name or "wandb")))
        except BaseException as error:  # wandb ends some failures with SystemExit
            self._switch_off(f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")

    def _start(self) -> Any:
        wandb = importlib.import_module("wandb")
        mode = os.environ.get("WANDB_MODE")
        if not mode:
            # Without a key and a terminal an online start fails; with a terminal it would ask, behind the progress bar.
            mode = "online" if wandb.login(prompt=False) else "offline"
        run = wandb.init(
            project="mql",
            name=self._run_path.name,
            id=self._run_id(),
            resume="allow",
            dir=str(self._run_path),
            mode=mode,
            config=self._config,
            settings=wandb.Settings(
                console="off",
                silent=True,  # it would write between progress lines
                disable_git=True,
                save_code=False,
                x_disable_meta=True,
                x_disable_stats=True,
                init_timeout=20,
            ),
        )
        run.define_metric("env_steps")
        run.define_metric("*", step_metric="env_steps")
        return run

    def _run_id(self) -> str:
        """Return the id kept in the run directory: a resumed run has the same one, a new run of that name has not."""
        path = self._run_path / "wandb" / "run_id.txt"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(uuid.uuid4().hex[:12], encoding="utf-8")
        return path.read_text(encoding="utf-8").strip()

    def _switch_off(self, reason: str) -> None:
        if not self._off.is_set():
            self._off.set()
            self._warn(
                f"tracking with wandb is now off ({reason}); training continues, and metrics.jsonl has everything"
            )


class _Place:
    """How far a run's records were handed over, kept in a file: Weights & Biases forgets it offline.

    A run that goes on makes some records again, those behind its checkpoint and the evaluation that was due there.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        known: dict[str, int] = {}
        if path.exists():
            known = json.loads(path.read_text(encoding="utf-8"))
        self.row = known.pop("row", 0)  # of the next record
        self._env_steps = known  # of the last record of each kind

    def is_new(self, record: Mapping[str, float]) -> bool:
        """Tell whether a record lies behind all of its kind."""
        return record.get("env_steps", math.inf) > self._env_steps.get(_kind(record), -1)

    def passed(self, record: Mapping[str, float]) -> None:
        """Note that a record was handed over."""
        self.row += 1
        if "env_steps" in record:
            self._env_steps[_kind(record)] = int(record["env_steps"])
        write_atomic(self._path, json.dumps({"row": self.row, **self._env_steps}).encode())


def _kind(record: Mapping[str, float]) -> str:
    return "evaluation" if any(name.startswith("evaluation") for name in record) else "iteration"


def _numbers(record: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    for key, value in record.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{prefix}{key}/")
        elif isinstance(value, (bool, int, float)):
            yield f"{prefix}{key}", value


def _warn_on_stderr(line: str) -> None:
    print(f"warning: {line}", file=sys.stderr, flush=True)
