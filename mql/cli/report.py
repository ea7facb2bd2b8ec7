"""`mql report`: one page of HTML about runs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from mql.cli.results import tell, tell_aside
from mql.cli.tables import print_json
from mql.errors import UserError
from mql.report.page.drawing.canvas import Pictures
from mql.report.page.facts import Place, Record, RunFacts, find_runs, read_facts
from mql.report.page.groups import group_runs
from mql.report.page.page import build, check_target, read_films, write, write_tables
from mql.study.file import FILE, place_of, read_study
from mql.study.folder import is_study

MOST_LOOKED = 4  # runs that are loaded: the first one of each group, and no more than these


def report(
    paths: Sequence[Path],
    *,
    out: Path,
    figures: Path | None,
    with_figures: bool,
    films: Path | None,
    compute: bool,
    trust: bool,
    as_json: bool,
) -> None:
    """Do what `mql report` does; the arguments are the command's."""
    begin = time.perf_counter()
    check_target(out)
    shown, notes = read_films(films) if films else ([], [])
    runs, cells, unread = _runs(paths)
    notes += unread
    if compute:
        notes += _look(runs, trust=trust)
    else:
        notes.append("Contexts and weights of stored data that no evaluation recorded: left out by --no-compute.")
    # Of one run the page alone, quickly; of several, what a paper needs, too.
    folder = figures or (out.with_name(f"{out.stem}_files") if with_figures and len(runs) > 1 else None)
    if folder is not None:
        _make(folder)
    pictures = Pictures(folder)
    page = build(
        runs, version=str(import_module("mql").__version__), pictures=pictures, cells=cells, films=shown, notes=notes
    )
    write(out, page)
    files = [] if folder is None else [*pictures.files, *write_tables(folder, page)]
    if not as_json:
        for family, sentence in page.sentences.items():
            tell(f"{family}: {sentence}")
        tell(f"written: {out}" + (f", and figures and tables in {folder}" if folder else ""))
        return
    print_json(
        {
            "report": str(out),
            "files": [str(path) for path in files],
            "sentences": page.sentences,
            "runs": [_run_data(run, page.groups) for run in runs],
            "results": page.rows,
            "improvements": page.improvements,
            "against": page.against,
            "across_families": page.across,
            "notes": [*notes, *(f"{run.name}: {note}" for run in runs for note in (*run.notes, *run.looked.notes))],
            "report_seconds": time.perf_counter() - begin,
        }
    )


def _runs(paths: Sequence[Path]) -> tuple[list[RunFacts], list[Record], list[str]]:
    """Read all runs that the paths are or hold; one that can't be read is a note where there are others.

    Raises:
        UserError: a path is no run and holds none, or no run can be read.
    """
    found: dict[Path, Place | None] = {}
    cells: list[Record] = []
    notes: list[str] = []
    for path in paths:
        if is_study(path):
            of_study, said = _of_study(path)
            found |= of_study
            notes += said
            continue
        folders, more = find_runs(path)
        found |= {folder.resolve(): None for folder in folders if folder.resolve() not in found}
        cells += more
    folders = list(found)
    names = _names(folders)
    runs = []
    failure: UserError | None = None
    for folder, name in zip(folders, names, strict=True):
        try:
            runs.append(read_facts(folder, name=name))
            runs[-1].place = found[folder]
        except UserError as error:
            failure = error
            notes.append(f"{name} is left out: {error}")
    if not runs:
        what, mend = "there is a study of adaptation, but no run", "give its runs, too"
        raise failure or UserError(what, where=str(paths[0]), mend=mend)
    return runs, cells, notes


def _of_study(path: Path) -> tuple[dict[Path, Place | None], list[str]]:
    """Return the runs of a study that have begun, and notes on the others.

    Raises:
        UserError: none has begun.
    """
    study = read_study(path / FILE)
    begun: dict[Path, Place | None] = {}
    waiting = 0
    for family, method, variant, seed in study.places():
        folder = (path / place_of(family, method, variant.name, seed)).resolve()
        if (folder / "environment.json").is_file():
            begun[folder] = Place(study.name, family, method, variant.name, study.reference)
        else:
            waiting += 1
    if not begun:
        raise UserError(
            "no run of the study has begun", where=str(path), mend=f"make them with mql study {path} --resume"
        )
    notes = [f"{study.name}: {waiting} of {waiting + len(begun)} runs have not begun."] if waiting else []
    others = [folder for folder in find_runs(path)[0] if folder.resolve() not in begun]
    if others:
        notes.append(
            f"{study.name}: {len(others)} runs in its folder are no longer in its file, and are left out here."
        )
    return begun, notes


def _names(folders: Sequence[Path]) -> list[str]:
    """Return the folders' names; with those above them where two are the same."""
    for depth in range(1, 5):
        names = ["/".join(folder.parts[-depth:]) for folder in folders]
        if len(set(names)) == len(names):
            return names
    return [str(folder) for folder in folders]


def _look(runs: Sequence[RunFacts], *, trust: bool) -> list[str]:
    """Load the first run of each group, a few at most, and return a note where others are left out."""
    from mql.api.looking import look

    groups = group_runs(runs)
    chosen = [group.runs[0] for group in groups][:MOST_LOOKED]
    for run in chosen:
        if len(runs) > 1:
            tell_aside(f"loading {run.name}")
        run.looked = look(run, trust=trust)
    if len(chosen) == len(runs):
        return []
    names = ", ".join(run.name for run in chosen)
    return [f"Contexts and computed weights are of {names} only; a report of another run shows its own."]


def _make(folder: Path) -> None:
    from mql.files import user_errors

    with user_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)


def _run_data(run: RunFacts, groups: Sequence[Any]) -> Record:
    return {
        "path": str(run.path),
        "name": run.name,
        "family": run.family,
        "group": next(group.label for group in groups if run in group.runs),
        "method": run.method,
        "seed": run.seed,
        "finished": run.finished,
        "env_steps": run.env_steps,
        "evaluations": len(run.evaluations) + len(run.other),
    }
