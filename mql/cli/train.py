"""`mql train`: a new run, or an old one continued."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import typer

from mql.api.display import Display, Record, say, shown
from mql.api.training import Job, last_evaluation, open_job
from mql.cli.tables import print_evaluation, print_json
from mql.errors import UserError
from mql.training.loop import Interrupted


def train(
    target: str | None,
    *,
    settings: Sequence[str],
    run_dir: Path | None,
    seed: int | None,
    method: str | None,
    resume: bool,
    checkpoint: int | None,
    start_from: str | None,
    keep_replay: bool | None,
    trust: bool,
    check: bool,
    as_json: bool,
) -> None:
    """Do what `mql train` does; the arguments are the command's."""
    if resume and run_dir is None:
        raise UserError("--resume needs a run to continue", mend="add --run-dir DIR")
    if checkpoint is not None and not resume:
        raise UserError("--checkpoint needs a run to continue", where="--checkpoint", mend="add --resume")
    job = open_job(
        target,
        run_dir=run_dir,
        seed=seed,
        settings=settings,
        method=method,
        resume=resume,
        checkpoint=checkpoint,
        start_from=start_from,
        keep_replay=keep_replay,
        trust=trust,
        check=check,
        command=["mql", *sys.argv[1:]],
    )
    with job:
        path = job.run.path
        if job.complete:
            unchanged = "" if job.config == job.run.config else " and stays as it is"
            say(f"{shown(path)} is finished{unchanged}; to train longer, set a larger train.env_steps")
            last: Record = job.run.summary
        else:
            last = _train(job, trust=trust)
    result = last_evaluation(last, path)
    if as_json:
        print_json(result)
    else:
        print_evaluation(result)
        say(f"written to {shown(path)}; next: mql evaluate {shlex.quote(shown(path))}")


def _train(job: Job, *, trust: bool) -> Record:
    path = shlex.quote(shown(job.run.path))
    again = f"mql train {job.config.family} --run-dir {path} --resume{' --trust' if trust else ''}"
    try:
        with Display(job.run, job.config) as display:
            return job.train(display)
    except Interrupted as stop:
        if stop.env_steps >= job.config.train.env_steps:
            say(f"stopped in the final evaluation; the trained agent is saved; to evaluate it: {again}")
        else:
            say(f"stopped and saved after {stop.env_steps:,} env steps; to continue: {again}")
        raise typer.Exit(130) from None
    except KeyboardInterrupt:
        say(f"stopped immediately; to continue from the last checkpoint: {again}")
        raise typer.Exit(130) from None
