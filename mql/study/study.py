"""A study as an object: run it, open it, look at its runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from mql.api.run import Run, open_run
from mql.api.training import notes_on
from mql.collecting.workforce import check_ray
from mql.errors import UserError
from mql.plain_text import counted
from mql.study.cells import Cell, cells_of, check_cells
from mql.study.file import FILE, StudyFile, read_study
from mql.study.folder import CellState, StudyDir, is_study, status
from mql.study.population import check_population
from mql.study.progress import Progress
from mql.study.running import Launch, Watched, run_cells, workers_for
from mql.types import JSON

STUDIES = Path("studies")


class Study:
    """A study in its folder, finished or not; `run_study` and `open_study` return one."""

    def __init__(self, folder: StudyDir, file: StudyFile, cells: Sequence[Cell]) -> None:
        self._folder, self._file, self._cells = folder, file, tuple(cells)

    def __repr__(self) -> str:
        return f"mql.Study({str(self.path)!r})"

    @property
    def path(self) -> Path:
        """Its folder."""
        return self._folder.path

    @property
    def name(self) -> str:
        """Its name."""
        return self._file.name

    @property
    def cells(self) -> tuple[Cell, ...]:
        """Its runs, in the order in which they are made, whether they exist or not."""
        return self._cells

    @property
    def states(self) -> list[CellState]:
        """Where each run stands."""
        return self._folder.states(self._cells)

    def summary(self) -> dict[str, JSON]:
        """Return what `mql study --json` prints."""
        return status(self.name, self.path, self.states)

    def run(
        self,
        *,
        seed: int | None = None,
        family: str | None = None,
        method: str | None = None,
        variant: str | None = None,
    ) -> Run:
        """Open one run; what only one choice is there for need not be named.

        Raises:
            UserError: no run, or several, are meant, or it has not begun.
        """
        wanted = {"family": family, "method": method, "variant": variant, "seed": seed}
        found = [
            cell
            for cell in self._cells
            if all(value is None or getattr(cell, key) == value for key, value in wanted.items())
        ]
        if len(found) != 1:
            given = ", ".join(f"{key}={value}" for key, value in wanted.items() if value is not None)
            mend = "name family, method, variant and seed of one run"
            raise UserError(f"{len(found)} runs of the study have {given}", where=str(self.path), mend=mend)
        return open_run(self.path / found[0].place)

    def make(
        self,
        *,
        workers: int | None = None,
        population: int | None = None,
        cluster: str | None = None,
        trust: bool = False,
        check: bool = True,
        progress: bool = False,
        command: Sequence[str] = (),
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Make all runs that are not finished; those that fail are noted, and the others go on.

        The study must be open for that: `prepare` opened it.

        Args:
            workers: runs at the same time; None: as the file says, or as many as the cores carry.
            population: runs that share a process; None: as the file says.
            cluster: address of a Ray cluster to make them on; None: here.

        Raises:
            Stopped: Ctrl-C or SIGTERM; the runs at work were saved.
            UserError: a process can't be started, the folder can't be written, or the cluster can't be reached.
        """
        self._folder.check_writable()
        for name, given in (("workers", workers), ("population", population)):
            if given is not None and (isinstance(given, bool) or not isinstance(given, int) or given < 1):
                raise UserError(f"{name} is {given!r}", where=name, mend="give a whole number of at least 1, or None")
        states = self.states
        left = [cell for cell, one in zip(self._cells, states, strict=True) if one.state != "finished"]
        with ExitStack() as opened:
            launch, carried = None, 0
            if cluster is not None and left:
                launch, carried = self._on_cluster(cluster, opened)
            population = population or self._file.population
            workers = workers or self._file.workers
            check_population(left, population, workers=workers, cluster=cluster is not None)
            workers = workers or carried or workers_for(self._cells, population)
            workers = min(workers, max(len(left), 1))
            if left:
                check_cells(left, workers=workers, trust=trust, check=check, here=cluster is None)
            for cell in left:
                self._folder.note(cell, None)
            shown = None
            if progress:
                at_a_time = f"{workers} at a time, {left[0].config.threads if left else 1} thread each"
                at_a_time += f", up to {population} in a process" if population > 1 else ""
                say(f"{self.name}: {counted(len(self._cells), 'run')}, {len(left)} to make, {at_a_time} | {self.path}")
                for line in dict.fromkeys(line for cell in left for line in notes_on(cell.config, cell.given)):
                    say(f"note: {line}")
                shown = opened.enter_context(Progress(self._folder, self._cells, self.states, workers=workers))

            def changed(at_work: Sequence[Cell]) -> None:
                begun = {cell.label for cell in at_work}  # a process takes a moment until its run is there
                states = [
                    replace(one, state="running", error=None) if cell.label in begun else one
                    for cell, one in zip(self._cells, self.states, strict=True)
                ]
                self._folder.write_status(self.name, states)
                if shown:
                    shown.changed(states)

            def moment(at_work: Sequence[Cell]) -> None:
                if shown:
                    shown.look(at_work)

            def failed(cell: Cell, error: str) -> None:
                (shown.note if shown else say)(f"failed: {cell.label}: {error}")

            def moved(cell: Cell, how: str) -> None:
                (shown.note if shown else say)(f"goes on elsewhere: {cell.label}: {how}")

            opened.callback(changed, ())
            watched = Watched(changed, moment, failed, moved)
            run_cells(
                self._folder,
                left,
                workers=workers,
                trust=trust,
                command=command,
                watched=watched,
                launch=launch,
                population=population,
            )

    def _on_cluster(self, address: str, opened: ExitStack) -> tuple[Launch, int]:
        """Return what starts runs on a cluster, and how many it carries at a time."""
        check_ray("--cluster")
        from mql.study.on_cluster import ClusterLauncher, cores_of

        launcher = ClusterLauncher(address, self._folder.path)
        opened.callback(launcher.close)
        return launcher, max(1, launcher.cores // max(cores_of(cell.config) for cell in self._cells))

    def close(self) -> None:
        """Give the right to run it back."""
        self._folder.close()


def run_study(
    file: str | os.PathLike[str],
    *,
    directory: str | os.PathLike[str] | None = None,
    workers: int | None = None,
    population: int | None = None,
    cluster: str | None = None,
    resume: bool = False,
    trust: bool = False,
    check: bool = True,
    progress: bool = False,
) -> Study:
    """Make all runs of a study, and return it: what `mql study` does.

    Args:
        file: the study's YAML file (docs/studies.md), or the folder of a study that has begun.
        directory: its folder; None: ``studies/NAME``.
        workers: runs at the same time; None: as the file says, or as many as the cores carry.
        population: runs that share a process (docs/gpu.md); None: as the file says.
        cluster: address of a Ray cluster to make them on (docs/cluster.md); None: this machine.
        resume: go on with a study that has begun: finished runs stay, others go on from their last checkpoints.
        trust: the Python of definitions may be run.
        check: do the cheap checks of `mql tasks check` first, for families that are not this package's own.
        progress: show on standard error how it goes.

    Raises:
        UserError: what the caller can fix, in one line. Runs that fail raise nothing: see `Study.states`.
        Stopped: Ctrl-C or SIGTERM; the runs at work were saved.
    """
    from mql.api.display import say

    study = prepare(file, directory=directory, resume=resume)
    try:
        study.make(
            workers=workers,
            population=population,
            cluster=cluster,
            trust=trust,
            check=check,
            progress=progress,
            command=["python", *sys.argv],
            say=say,
        )
    finally:
        study.close()
    return study


def open_study(path: str | os.PathLike[str]) -> Study:
    """Open a study by its folder, finished or not, to look at it.

    Raises:
        UserError: it is not the folder of a study.
    """
    folder = Path(os.path.abspath(path))
    if not is_study(folder):
        mend = f"give a folder that mql study made (it contains {FILE})"
        raise UserError("the folder is not that of a study", where=str(folder), mend=mend)
    file = read_study(folder / FILE)
    return Study(StudyDir(folder), file, cells_of(file))


def look_at(file: str | os.PathLike[str], *, directory: str | os.PathLike[str] | None = None) -> Study:
    """Return a study as its file describes it, with what there is of its runs; nothing is written.

    Raises:
        UserError: the file is wrong.
    """
    study, path = _read(Path(file), directory)
    return Study(StudyDir(path), study, cells_of(study))


def prepare(
    file: str | os.PathLike[str], *, directory: str | os.PathLike[str] | None = None, resume: bool = False
) -> Study:
    """Read a study's file, check it against what there is of it, and open its folder for running it.

    Raises:
        UserError: the file is wrong, does not fit the runs that there are, or the folder can't be had.
    """
    study, path = _read(Path(file), directory)
    cells = cells_of(study)
    folder = StudyDir.open(path, resume=resume)
    try:
        folder.check_unchanged(cells)
        folder.write_file(study)
        return Study(folder, study, cells)
    except BaseException:
        folder.close()
        raise


def _read(file: Path, directory: str | os.PathLike[str] | None) -> tuple[StudyFile, Path]:
    if is_study(file):
        if directory is not None and Path(directory).resolve() != file.resolve():
            mend = "leave one of them out"
            raise UserError(f"{file} is a study's folder, and another one is given", where="--dir", mend=mend)
        return read_study(file / FILE), Path(os.path.abspath(file))
    study = read_study(file)
    return study, Path(os.path.abspath(STUDIES / study.name if directory is None else directory))
