"""Runs of a study in parallel: one process for each, as many at a time as the cores carry, here or on a cluster."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Protocol

from mql.errors import UserError
from mql.files import user_errors
from mql.study.cells import Cell
from mql.study.folder import StudyDir
from mql.study.one_run import FINISHED, MISTAKE, SAVING_SECONDS
from mql.threads import VARIABLES

POLL_SECONDS = 0.5
MOST_LOSSES = 10  # machines that a run may lose before it counts as failed
_BOOT = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); import mql.study.one_run as one; sys.exit(one.main())"
_LOG_END = 20_000  # bytes of a log's end that are looked through for what went wrong


class Stopped(Exception):
    """Ctrl-C or SIGTERM; all runs that were at work have been saved."""


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def workers_for(cells: Sequence[Cell]) -> int:
    """Return how many runs the cores carry at a time, each with the threads that its configuration says."""
    threads = max(cell.config.threads for cell in cells)
    return max(1, min(cores() // threads, len(cells)))


class Process(Protocol):
    """The process of a run, wherever it is."""

    @property
    def returncode(self) -> int | None:
        """Its exit status; None: it has not ended, as far as is known."""
        ...

    @property
    def lost(self) -> str | None:
        """How its machine was lost, with it; None: it was not."""
        ...

    def poll(self) -> int | None:
        """Look whether it has ended, and return its exit status."""
        ...

    def terminate(self) -> None:
        """Ask it to save and end."""
        ...

    def kill(self) -> None:
        """End it at once, and wait until it has."""
        ...

    def close(self) -> None:
        """Close the connection to it, which has ended."""
        ...


# Starts the process of a run: what it is to make, as `one_run.open_run` takes it, and where its output goes.
Launch = Callable[[Cell, Mapping[str, Any], Path], Process]


@dataclass
class _Work:
    """A process and the run that it makes."""

    cell: Cell
    process: Process
    log: Path
    begun: int = 0  # bytes of the log before this process


@dataclass
class Watched:
    """What happens, for whoever shows it."""

    on_change: Callable[[Sequence[Cell]], None]  # a run has begun or ended; those that are at work
    on_moment: Callable[[Sequence[Cell]], None]  # half a second has gone by
    on_failure: Callable[[Cell, str], None]
    on_loss: Callable[[Cell, str], None]  # a machine was lost, and its run goes on elsewhere
    failed: list[Cell] = field(default_factory=list)


def run_cells(
    folder: StudyDir,
    cells: Sequence[Cell],
    *,
    workers: int,
    trust: bool,
    command: Sequence[str],
    watched: Watched,
    launch: Launch | None = None,
) -> None:
    """Make the runs, one after the other as workers are free; one that fails is noted, and the others go on.

    Args:
        launch: starts their processes; None: here.

    Raises:
        Stopped: Ctrl-C or SIGTERM.
        UserError: a process can't be started, or the study's folder can't be written.
    """
    waiting, at_work, losses = list(cells), list[_Work](), Counter[str]()
    try:
        while waiting or at_work:
            while waiting and len(at_work) < workers:
                cell = waiting.pop(0)
                at_work.append(_started(folder, cell, trust=trust, command=command, launch=launch or LocalProcess))
                watched.on_change([work.cell for work in at_work])
            ended = [work for work in at_work if work.process.poll() is not None or work.process.lost]
            for work in ended:
                at_work.remove(work)
                losses[work.cell.label] += work.process.lost is not None
                if work.process.lost is not None and losses[work.cell.label] < MOST_LOSSES:
                    work.process.close()
                    watched.on_loss(work.cell, work.process.lost)
                    waiting.insert(0, work.cell)
                    continue
                error = work.process.lost or _outcome(work)
                folder.note(work.cell, error)
                if error is not None:
                    watched.failed.append(work.cell)
                    watched.on_failure(work.cell, error)
            if ended:
                watched.on_change([work.cell for work in at_work])
                continue
            watched.on_moment([work.cell for work in at_work])
            time.sleep(POLL_SECONDS)
    except KeyboardInterrupt:
        raise Stopped from None
    finally:
        _stop(at_work)


def _started(folder: StudyDir, cell: Cell, *, trust: bool, command: Sequence[str], launch: Launch) -> _Work:
    """Start the process of a run."""
    path = folder.path / cell.place
    log = path.with_name(path.name + ".log")
    wanted = {
        "run_dir": str(path),
        "config": cell.config.model_dump(mode="json"),
        "definition": None if cell.definition is None else [str(cell.definition[0]), cell.definition[1]],
        # What a run keeps of a definition has the same bytes, so it may do what the original may.
        "trust": trust or cell.definition is not None,
        "command": list(command),
    }
    with user_errors(log):
        log.parent.mkdir(parents=True, exist_ok=True)
        begun = log.stat().st_size if log.exists() else 0
    return _Work(cell, launch(cell, wanted, log), log, begun)


class LocalProcess:
    """A run's process on this machine."""

    lost = None

    def __init__(self, cell: Cell, wanted: Mapping[str, Any], log: Path) -> None:
        self._process = start_process(wanted, log, cell.config.threads)
        self.poll, self.terminate = self._process.poll, self._process.terminate

    @property
    def returncode(self) -> int | None:
        """Its exit status."""
        return self._process.returncode

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """Close its standard input."""
        close_input(self._process)


def start_process(wanted: Mapping[str, Any], log: Path, threads: int) -> subprocess.Popen[bytes]:
    """Start a process that makes a run, and ends when its standard input is closed.

    Raises:
        UserError: it can't be started, or the log can't be written.
    """
    with user_errors(log), log.open("ab") as written:
        process = _process(written, dict.fromkeys(VARIABLES, str(threads)))
    assert process.stdin is not None
    with suppress(BrokenPipeError):  # it died at once; how is found out by who waits for it
        process.stdin.write(json.dumps(wanted).encode() + b"\n")
        process.stdin.flush()  # and stays open: the process ends when it closes
    return process


def _process(log: IO[bytes], variables: dict[str, str]) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            # -P: nothing is imported from the folder we stand in, before our own path is there.
            [sys.executable, "-P", "-c", _BOOT, json.dumps([part or os.getcwd() for part in sys.path])],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env={**os.environ, **variables},
            start_new_session=True,  # Ctrl-C is for this process, which tells the others
        )
    except OSError as error:
        what = f"a process could not start ({error.strerror})"
        raise UserError(what, mend="use fewer workers, or close other programs") from None


def _outcome(work: _Work) -> str | None:
    """Return what went wrong in a run whose process has ended, in a line; None: it is finished."""
    work.process.close()
    code = work.process.returncode
    assert code is not None
    if code == FINISHED:
        return None
    lines = _said(work)
    if code == MISTAKE and lines and lines[-1].startswith("error: "):
        return lines[-1].removeprefix("error: ")
    how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
    last = f", after: {lines[-1][:300]}" if lines else ""
    return f"its process ended with {how}{last} (see {work.log})"


def _said(work: _Work) -> list[str]:
    """Return the last lines that a run's process printed."""
    with user_errors(work.log), work.log.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        file.seek(max(work.begun, end - _LOG_END))
        text = file.read().decode("utf-8", "replace")
    return [line for line in text.splitlines() if line.strip()]


def _stop(at_work: Sequence[_Work]) -> None:
    """Ask the processes to save their runs and end; another Ctrl-C, or too long a time, ends them at once."""
    for work in at_work:
        if _runs(work):
            work.process.terminate()
    end = time.monotonic() + SAVING_SECONDS
    try:
        while any(_runs(work) for work in at_work) and time.monotonic() < end:
            time.sleep(0.05)
    except KeyboardInterrupt:
        pass
    for work in at_work:
        if _runs(work):
            work.process.kill()
        work.process.close()


def _runs(work: _Work) -> bool:
    return work.process.poll() is None and work.process.lost is None


def close_input(process: subprocess.Popen[bytes]) -> None:
    """Close a process's standard input."""
    if process.stdin is not None:
        with suppress(BrokenPipeError):
            process.stdin.close()
