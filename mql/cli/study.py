"""`mql study`: many runs as one experiment."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from mql.api.display import say, shown
from mql.cli.tables import print_json, print_lines, print_rows
from mql.plain_text import counted
from mql.study.folder import CellState
from mql.study.running import Stopped
from mql.study.study import Study, look_at, prepare

SOME_FAILED = 2


def study(
    file: Path,
    *,
    directory: Path | None,
    workers: int | None,
    population: int | None,
    cluster: str | None,
    resume: bool,
    trust: bool,
    check: bool,
    as_json: bool,
) -> int:
    """Do what `mql study` does, and return the exit status; the arguments are the command's."""
    opened = prepare(file, directory=directory, resume=resume)
    status = 0
    try:
        opened.make(
            workers=workers,
            population=population,
            cluster=cluster,
            trust=trust,
            check=check,
            progress=True,
            command=["mql", *sys.argv[1:]],
            say=say,
        )
    except Stopped:
        status = 130
    finally:
        opened.close()
    states = opened.states
    _print(opened, as_json=as_json)
    if status:
        where = "" if directory is None else f" --dir {shlex.quote(str(directory))}"
        where += "" if cluster is None else f" --cluster {shlex.quote(cluster)}"
        say(f"stopped and saved; to continue: mql study {shlex.quote(str(file))}{where} --resume")
        return status
    say(f"next: mql report {shlex.quote(shown(opened.path))}")
    return SOME_FAILED if any(one.state != "finished" for one in states) else 0


def list_study(file: Path, *, directory: Path | None, as_json: bool) -> None:
    """Do what `mql study --list` does."""
    _print(look_at(file, directory=directory), as_json=as_json)


def _print(opened: Study, *, as_json: bool) -> None:
    summary = opened.summary()
    if as_json:
        print_json(summary)
        return
    states = opened.states
    success = any(one.adapted_success is not None or one.zero_shot_success is not None for one in states)
    print_rows(
        (_row(one, success=success) for one in states),
        left=("family", "method", "variant"),
        right=("seed", "state", "env steps", "random", "zero-shot", "adapted", *(("success",) if success else ()), "n"),
    )
    counts = ", ".join(f"{count} {state}" for state, count in summary["states"].items())
    print_lines(f"{opened.name} in {shown(opened.path)}: {counted(len(states), 'run')}, {counts}")
    for one in states:
        if one.error is not None:
            print_lines(f"failed: {one.family}/{one.method}/{one.variant}/seed-{one.seed}: {one.error}")


def _row(one: CellState, *, success: bool) -> tuple[str, ...]:
    env_steps = f"{one.env_steps:,}" + ("" if one.state == "finished" else f" / {one.of_env_steps:,}")
    share = one.zero_shot_success if one.adapted_success is None else one.adapted_success
    return (
        one.family,
        one.method,
        one.variant,
        str(one.seed),
        one.state,
        env_steps,
        *map(_number, (one.random, one.zero_shot, one.adapted)),
        *(("-" if share is None else f"{100 * share:.0f} %",) if success else ()),
        "-" if one.tasks is None else str(one.tasks),
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
