"""`mql data`: check, convert and draw episodes that were recorded elsewhere, or that a run has stored."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mql.api.families import find_family
from mql.cli.results import tell
from mql.cli.tables import print_json
from mql.cli.task_argument import task_parameters
from mql.data.checking import check as findings_in
from mql.data.findings import Finding
from mql.data.fitting import fit
from mql.data.logged import LoggedEpisode
from mql.data.reading import read
from mql.data.writing import write
from mql.errors import UserError, nearest
from mql.files import user_errors
from mql.plain_text import counted
from mql.report.logged import draw_logged
from mql.runs.run_dir import RunDir
from mql.tasks.family import TaskFamily

_PICTURES = (".png", ".pdf", ".svg")
_MOST_LINES = 60  # of findings in one file, for people


def check(
    files: Sequence[str],
    *,
    family: str | None,
    columns: Path | None,
    task: Sequence[str],
    max_mb: int,
    trust: bool,
    as_json: bool,
) -> int:
    """Do what `mql data check` does; return the exit status, 2 where a file has an error.

    Raises:
        UserError: there is no such family, or the column map or the task can't be read.
    """
    known = None if family is None else find_family(family, trust=trust)
    given = _task(task, known)
    rows = [_checked(file, known, columns, given, max_mb) for file in files]
    errors = sum(each["level"] == "error" for row in rows for each in row["findings"])
    warnings = sum(each["level"] == "warning" for row in rows for each in row["findings"])
    if as_json:
        print_json({"family": family, "files": rows, "errors": errors, "warnings": warnings})
    else:
        for row in rows:
            _print_checked(row)
        tell(f"{counted(errors, 'error')}, {counted(warnings, 'warning')}")
    return 2 if errors else 0


def convert(
    source: str, *, out: Path, columns: Path | None, checkpoint: int | None, max_mb: int, as_json: bool
) -> None:
    """Do what `mql data convert` does.

    Raises:
        UserError: the source can't be read, or the file can't be written.
    """
    if out.exists() and os.path.exists(source) and os.path.samefile(out, source):
        raise UserError("the file would replace its source", where=str(out), mend="give it another name")
    logged = logged_in(source, columns=columns, max_mb=max_mb, checkpoint=checkpoint)
    write(out, logged)
    steps = sum(episode.length for episode in logged)
    if as_json:
        print_json({"file": str(out), "episodes": len(logged), "steps": steps})
    else:
        tell(f"{counted(len(logged), 'episode')}, {counted(steps, 'step')}")
        tell(f"written: {out}")


def show(
    source: str,
    *,
    out: Path,
    episode: str | None,
    family: str | None,
    columns: Path | None,
    max_mb: int,
    trust: bool,
) -> None:
    """Do what `mql data show` does.

    Raises:
        UserError: the source can't be read, has no such episode, or the picture can't be written.
    """
    if out.suffix.lower() not in _PICTURES:
        mend = "give a name that ends in .png, .pdf or .svg"
        raise UserError(f"can't draw to {str(out)!r}", where="--out", mend=mend)
    known = None if family is None else find_family(family, trust=trust)
    logged = logged_in(source, columns=columns, max_mb=max_mb)
    names = [each.name for each in logged]
    if episode is not None and episode not in names:
        raise UserError(f"there is no episode {episode!r}", where=source, mend=nearest(episode, names))
    chosen = logged[0 if episode is None else names.index(episode)]
    step = None
    title = f"{Path(source).name}, episode {chosen.name}"
    if known is not None:
        fitted, step = fit(known, [chosen]), known.control_timestep
        first = fitted.episodes[0]
        chosen = LoggedEpisode(first.action, first.obs, first.reward, file=chosen.file, name=chosen.name)
        title += f", as {known.name} gets it"
    with user_errors(out):
        draw_logged(out, chosen, title=title, step=step)
    tell(f"written: {out}")


def logged_in(
    source: str, *, columns: Path | None = None, max_mb: int = 2048, checkpoint: int | None = None
) -> list[LoggedEpisode]:
    """Return the episodes of a file or data set, or those that a run has stored.

    Raises:
        UserError: they can't be read.
    """
    path = Path(source)
    if (path / "environment.json").is_file() and (path / "config.yaml").is_file():
        if columns is not None:
            mend = "leave it out: a run's episodes are in the family's own form"
            raise UserError("a run has no columns to be named", where="--columns", mend=mend)
        return _of_run(RunDir.open_readonly(path), checkpoint)
    if checkpoint is not None:
        raise UserError(f"{source} is no run, and has no checkpoints", where="--checkpoint", mend="leave it out")
    return read(source, columns=columns, max_bytes=max_mb * 1024**2)


def _of_run(run: RunDir, checkpoint: int | None) -> list[LoggedEpisode]:
    saved = run.load_checkpoint(checkpoint)
    tasks = run.tasks["train"]
    logged = [
        LoggedEpisode(
            action=episode.action,
            obs=episode.obs,
            reward=episode.reward,
            terminated=episode.terminated,
            truncated=episode.truncated,
            success=episode.success,
            task=tasks[episode.task],
            file=str(run.path),
            name=str(number),
        )
        for number, episode in saved.episodes
        if number >= saved.first_live_episode
    ]
    if not logged:
        raise UserError("the run has stored no episodes", where=str(run.path), mend="train it further")
    return logged


def _checked(
    file: str, family: TaskFamily | None, columns: Path | None, task: Mapping[str, object] | str | None, max_mb: int
) -> dict[str, Any]:
    """Return what is known of a file as plain data: sizes, and findings."""
    row: dict[str, Any] = {"file": file, "episodes": 0, "steps": 0, "obs": None, "action": None, "step_seconds": None}
    try:
        logged = logged_in(file, columns=columns, max_mb=max_mb)
    except UserError as error:
        found = [Finding("error", error.what, error.mend, error.where or file)]
    else:
        found = findings_in(logged, family, task=task)
        row |= _sizes(logged)
    return row | {"findings": [{**each.to_json(), "line": str(each)} for each in found]}


def _sizes(logged: Sequence[LoggedEpisode]) -> dict[str, Any]:
    first = logged[0]
    steps = [np.diff(each.time) for each in logged if each.time is not None and np.isfinite(each.time).all()]
    return {
        "episodes": len(logged),
        "steps": sum(each.length for each in logged),
        "obs": None if first.obs is None else int(first.obs.shape[1]),
        "action": int(first.action.shape[1]),
        "step_seconds": float(np.median(np.concatenate(steps))) if steps else None,
    }


def _print_checked(row: Mapping[str, Any]) -> None:
    if row["episodes"]:
        obs = "no observations" if row["obs"] is None else f"obs {row['obs']}"
        rate = "" if row["step_seconds"] is None else f", a row every {row['step_seconds']:.4g} s"
        length = f"{counted(row['episodes'], 'episode')}, {counted(row['steps'], 'step')}"
        tell(f"{row['file']}: {length}, {obs}, action {row['action']}{rate}")
    lines = [each["line"] for each in row["findings"]]
    for line in lines[:_MOST_LINES]:
        tell(line)
    if len(lines) > _MOST_LINES:
        tell(f"... and {len(lines) - _MOST_LINES} more (--json lists all)")


def _task(given: Sequence[str], family: TaskFamily | None) -> Mapping[str, object] | str | None:
    """Return what stands behind --task: some parameters, or a listed task."""
    if not given:
        return None
    if family is None:
        raise UserError("a task is given, and no family", where="--task", mend="add --family NAME")
    if len(given) == 1 and "=" not in given[0] and ":" in given[0]:
        family.task(given[0])
        return given[0]
    return task_parameters(given)
