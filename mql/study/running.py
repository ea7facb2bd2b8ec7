"""Runs of a study in parallel: as many at a time as the cores carry, each in a process of its own or with others."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mql.files import user_errors
from mql.study.cells import Cell
from mql.study.folder import StudyDir
from mql.study.one_run import FINISHED, MISTAKE, SAVING_SECONDS
from mql.study.population import next_group
from mql.study.processes import LocalProcess, Process, SharedProcess, Wanted

POLL_SECONDS = 0.5
MOST_LOSSES = 10  # machines that a run may lose before it counts as failed
_LOG_END = 20_000  # bytes of a log's end that are looked through for what went wrong


class Stopped(Exception):
    """Ctrl-C or SIGTERM; all runs that were at work have been saved."""


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def workers_for(cells: Sequence[Cell], population: int = 1) -> int:
    """Return how many runs the cores carry at a time, each with the threads that its configuration says.

    One process may have all the runs that are to share one (`population`), whatever the cores are.
    """
    threads = max(cell.config.threads for cell in cells)
    return max(1, min(max(cores() // threads, population), len(cells)))


# Starts the process of a run: what it is to make, as `one_run.open_run` takes it, and where its output goes.
Launch = Callable[[Cell, Wanted, Path], Process]


@dataclass(frozen=True)
class _Run:
    """A run that a process makes, and its log."""

    cell: Cell
    log: Path
    begun: int  # bytes of the log before this process


@dataclass
class _Work:
    """A process and the runs that it makes; `ended`: the numbers of those that have."""

    process: Process
    runs: Sequence[_Run]
    ended: set[int] = field(default_factory=set)

    @property
    def over(self) -> bool:
        """Whether the process has ended, or is lost."""
        return self.process.poll() is not None or self.process.lost is not None

    @property
    def under_way(self) -> list[Cell]:
        """The runs that have not ended."""
        return [run.cell for number, run in enumerate(self.runs) if number not in self.ended]

    def newly_ended(self) -> list[_Run]:
        """Return the runs that have ended since the last time; all of them, where the process has."""
        over = self.over
        new = [n for n in range(len(self.runs)) if n not in self.ended and (over or self.status_of(n) is not None)]
        self.ended.update(new)
        return [self.runs[number] for number in new]

    def status_of(self, number: int) -> int | None:
        """Return a run's exit status; None: it is at work."""
        shared = self.process
        return shared.status_of(number) if isinstance(shared, SharedProcess) else shared.returncode


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
    population: int = 1,
) -> None:
    """Make the runs, one after the other as workers are free; one that fails is noted, and the others go on.

    Args:
        workers: runs at the same time. A process has its room for all of its runs until the last one has ended.
        launch: starts their processes; None: here.
        population: runs of a process (`mql.study.population`).

    Raises:
        Stopped: Ctrl-C or SIGTERM.
        UserError: a process can't be started, or the study's folder can't be written.
    """
    waiting, at_work, losses = list(cells), list[_Work](), Counter[str]()

    def under_way() -> list[Cell]:
        return [cell for work in at_work for cell in work.under_way]

    try:
        while waiting or at_work:
            while waiting and (room := workers - sum(len(work.runs) for work in at_work)) > 0:
                group = next_group(waiting, population, room=room)
                waiting = [cell for cell in waiting if all(cell is not other for other in group)]
                at_work.append(_started(folder, group, trust=trust, command=command, launch=launch))
                watched.on_change(under_way())
            ended = [(work, run) for work in at_work for run in work.newly_ended()]
            for work in [work for work in at_work if len(work.ended) == len(work.runs) and work.over]:
                at_work.remove(work)
                work.process.close()
            for work, run in ended:
                losses[run.cell.label] += work.process.lost is not None
                if work.process.lost is not None and losses[run.cell.label] < MOST_LOSSES:
                    watched.on_loss(run.cell, work.process.lost)
                    waiting.insert(0, run.cell)
                    continue
                error = work.process.lost or _outcome(work, run)
                folder.note(run.cell, error)
                if error is not None:
                    watched.failed.append(run.cell)
                    watched.on_failure(run.cell, error)
            if ended:
                watched.on_change(under_way())
                continue
            watched.on_moment(under_way())
            time.sleep(POLL_SECONDS)
    except KeyboardInterrupt:
        raise Stopped from None
    finally:
        _stop(at_work)


def _started(
    folder: StudyDir, cells: Sequence[Cell], *, trust: bool, command: Sequence[str], launch: Launch | None
) -> _Work:
    """Start the process of a run, or of several."""
    wanted: list[Wanted] = []
    runs = []
    for cell in cells:
        path = folder.path / cell.place
        log = path.with_name(path.name + ".log")
        wanted.append(
            {
                "run_dir": str(path),
                "config": cell.config.model_dump(mode="json"),
                "definition": None if cell.definition is None else [str(cell.definition[0]), cell.definition[1]],
                # What a run keeps of a definition has the same bytes, so it may do what the original may.
                "trust": trust or cell.definition is not None,
                "command": list(command),
            }
        )
        with user_errors(log):
            log.parent.mkdir(parents=True, exist_ok=True)
            runs.append(_Run(cell, log, log.stat().st_size if log.exists() else 0))
    if len(runs) > 1:
        return _Work(SharedProcess(wanted, [run.log for run in runs]), runs)
    return _Work((launch or LocalProcess)(cells[0], wanted[0], runs[0].log), runs)


def _outcome(work: _Work, run: _Run) -> str | None:
    """Return what went wrong in a run that has ended, in a line; None: it is finished."""
    code = work.status_of(work.runs.index(run))
    assert code is not None
    if code == FINISHED:
        return None
    lines = _said(run)
    if code == MISTAKE and (said := [line for line in lines if line.startswith("error: ")]):
        return said[-1].removeprefix("error: ")
    how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
    last = f", after: {lines[-1][:300]}" if lines else ""
    return f"its process ended with {how}{last} (see {run.log})"


def _said(run: _Run) -> list[str]:
    """Return the last lines that were printed while a run was made."""
    with user_errors(run.log), run.log.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        file.seek(max(run.begun, end - _LOG_END))
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
