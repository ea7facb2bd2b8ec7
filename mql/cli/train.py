"""`mql train`: a new run, or an old one that goes on."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self

import torch
import typer

from mql.cli.families import check_unchanged, copy_of, family_of
from mql.cli.progress import Progress, header
from mql.cli.tables import print_evaluation, print_json
from mql.config.loading import is_path, load_experiment, override
from mql.config.schema import Config
from mql.errors import UserError
from mql.kernels.loading import status
from mql.learning.replay_size import ReplaySize
from mql.learning.trainer import replay_size
from mql.runs.available_memory import available_memory
from mql.runs.definition import digest_entry, kept_definition
from mql.runs.naming import default_run_path
from mql.runs.run_dir import RunDir
from mql.runs.tracking import Tracker, open_tracker
from mql.tasks import registry
from mql.tasks.definitions.family import check_trust, load_definition
from mql.tasks.definitions.file import read_definition
from mql.tasks.family import TaskFamily
from mql.tasks.fault import EpisodeFault
from mql.threads import keep_freed_memory, limit_threads
from mql.training.learning import Learning
from mql.training.loop import Diverged, Interrupted
from mql.training.methods import meta_train
from mql.types import JSON

Record = Mapping[str, JSON]


def train(
    target: str,
    *,
    settings: Sequence[str],
    run_dir: Path | None,
    seed: int | None,
    resume: bool,
    checkpoint: int | None,
    trust: bool,
    as_json: bool,
) -> None:
    """Do what `mql train` does; the arguments are the command's."""
    keep_freed_memory()
    if resume:
        if run_dir is None:
            raise UserError("--resume needs a run to continue", mend="add --run-dir DIR")
        run, config, definition = _open(target, run_dir, settings, seed, checkpoint)
    else:
        if checkpoint is not None:
            raise UserError("--checkpoint needs a run to continue", where="--checkpoint", mend="add --resume")
        config, definition = load_experiment(target, overrides=settings, seed=seed, families=registry.names())
        if run_dir is None:
            experiment = Path(target).stem if is_path(target) else None
            path = default_run_path(config, datetime.now(), settings=settings, experiment=experiment)
        run = create_run(config, run_dir or path, definition=definition, trust=trust, numbered=run_dir is None)
    with run:
        if definition is not None:  # the run's copy has the same bytes, so it may do what the original may
            check_trust(read_definition(definition), given=trust)
        family = family_of(run, trust=trust or definition is not None)
        if checkpoint is None and _complete(run, config):
            unchanged = "" if config == run.config else " and stays as it is"
            _say(f"{_shown(run.path)} is finished{unchanged}; to train longer, set a larger train.env_steps")
            last: Record = run.summary
        else:
            if resume:
                run.update_config(config, checkpoint=checkpoint)
            last = _train(config, family, run, resume=resume, trust=trust)
    result = last_evaluation(last, run.path)
    if as_json:
        print_json(result)
    else:
        print_evaluation(result)
        _say(f"written to {_shown(run.path)}; next: mql evaluate {_shown(run.path)}")


def create_run(
    config: Config,
    path: Path,
    *,
    definition: Path | None = None,
    trust: bool = False,
    replace: bool = False,
    numbered: bool = False,
) -> RunDir:
    """Make the run directory of a new run, after a check of all that would only fail later.

    Args:
        config: the resolved configuration.
        path: where the run is to be.
        definition: the file that defines the family, where it is not one of a name.
        trust: the definition's Python may be run.
        replace: remove an earlier run of this name.
        numbered: where the name is taken, add a number.

    Raises:
        UserError: a family, split or device that does not exist, more memory than the machine has, a folder in the way.
    """
    family = registry.load(config.family) if definition is None else load_definition(definition, trust=trust)
    family.tasks(config.evaluate.split)
    check_device(config)
    check_memory(config, family)
    tasks = {split: [task.to_json() for task in family.tasks(split)] for split in family.splits}
    command = ["mql", *sys.argv[1:]]
    copy = None if definition is None else copy_of(definition)
    return RunDir.create(
        path, config=config, tasks=tasks, command=command, definition=copy, replace=replace, numbered=numbered
    )


def check_device(config: Config) -> None:
    """Refuse a device that PyTorch does not see."""
    if config.device == "cuda" and not torch.cuda.is_available():
        mend = "set device to cpu, or install PyTorch for this machine's GPU"
        raise UserError("PyTorch sees no CUDA device", where="device", mend=mend)


def last_evaluation(record: Record, path: Path) -> dict[str, JSON]:
    """Give a record of evaluations.jsonl the form of `mql evaluate --json`, with the run directory beside it."""
    result = dict(record)
    seconds = result.pop("adapt_seconds")
    result["tasks"] = [{**row, "adapt_seconds": s} for row, s in zip(record["tasks"], seconds, strict=True)]
    return {**result, **digest_entry(path), "run_dir": str(path)}


class Display:
    """Shows a run on standard error and mirrors its records to a tracker: a `Watcher`, and a context manager."""

    def __init__(self, run: RunDir, config: Config) -> None:
        self._path, self._config = run.path, config
        self._progress: Progress | None = None
        self._tracker: Tracker | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._progress:
            self._progress.close()
        if self._tracker:
            self._tracker.close()

    def on_start(self, learning: Learning) -> None:
        """Write the header, start the progress bar and open the tracker."""
        config = self._config
        line = header(
            family=config.family,
            profile=config.profile,
            seed=config.seed,
            threads=config.threads,
            device=f"{config.device} ({config.agent.precision}, {'no ' if status().reason else ''}compiled kernels)",
            replay_bytes=learning.replay_bytes,
            run_path=_shown(self._path),
        )
        _say(line.replace("replay up to", f"replay up to {config.train.replay_capacity:,} transitions,"))
        self._progress = Progress(
            config.train.env_steps,
            learning.updates_after(config.train.env_steps),
            env_steps=learning.env_steps,
            updates=learning.updates,
        )
        self._progress.__enter__()
        self._tracker = open_tracker(
            config.tracking, run_path=self._path, config=config.model_dump(mode="json"), warn=self._progress.note
        )

    def on_iteration(self, record: Record) -> None:
        """Move the bar on."""
        assert self._progress and self._tracker
        self._progress.update(record)
        for fault in record.get("faults", ()):
            self._progress.note(f"an episode was dropped: {fault}")
        self._tracker.log(record)
        if record["env_steps"] >= self._config.train.env_steps:
            self._progress.note(
                f"training is done; evaluating and adapting on up to {self._config.evaluate.final_tasks} tasks"
            )

    def on_task(self, done: int, tasks: int) -> None:
        """Say how far an evaluation is."""
        assert self._progress
        self._progress.evaluating(done, tasks)

    def on_evaluation(self, record: Record) -> None:
        """Show the latest mean returns."""
        assert self._progress and self._tracker
        summary = record["summary"]
        adapted, by_chance = (values["mean"] if values else None for values in (summary["adapted"], summary["random"]))
        self._progress.evaluated(zero_shot=summary["zero_shot"]["mean"], adapted=adapted, random=by_chance)
        self._tracker.log({"env_steps": record["env_steps"], "evaluation": record["summary"]})


def _open(
    target: str, path: Path, settings: Sequence[str], seed: int | None, checkpoint: int | None
) -> tuple[RunDir, Config, Path | None]:
    """Open the run to go on with; return its configuration as `settings` change it, and the definition file named.

    The configuration has been checked, and nothing has been written.
    """
    run = RunDir.open_for_resume(path)
    try:
        old, kept = run.config, kept_definition(run.path)
        # A definition's name is known to its own run only.
        (family, definition) = _named(target, [*registry.names(), *([] if kept is None else [old.family])])
        if family != old.family:
            mend = f"run mql train {old.family}, or choose another --run-dir"
            raise UserError(f"the run's family is {old.family}, not {family}", where=str(path), mend=mend)
        if kept is not None and definition is not None:
            mend = (
                f"start a new run, or continue with the run's own copy: mql train {old.family} --run-dir ... --resume"
            )
            check_unchanged(kept, definition, mend=mend)
        new = override(old, [*settings, *([] if seed is None else [f"seed={seed}"])])
        check_device(new)
        run.check_config(new, checkpoint=checkpoint)
    except BaseException:
        run.close()
        raise
    return run, new, definition


def _named(target: str, families: Sequence[str]) -> tuple[str, Path | None]:
    """Return the family that a command line names, and the file that defines it."""
    config, definition = load_experiment(target, families=families)
    return config.family, definition


def _complete(run: RunDir, config: Config) -> bool:
    """Whether the run has come to the end that `config` sets."""
    return run.finished and int(run.summary["env_steps"]) >= config.train.env_steps


def _train(config: Config, family: TaskFamily, run: RunDir, *, resume: bool, trust: bool) -> Record:
    limit_threads(config.threads)
    again = f"mql train {config.family} --run-dir {shlex.quote(_shown(run.path))} --resume{' --trust' if trust else ''}"
    display = Display(run, config)
    try:
        with display:
            return meta_train(config, family, run, resume=resume, watchers=(display,))
    except Interrupted as stop:
        _say(f"stopped and saved after {stop.env_steps:,} env steps; to continue: {again}")
        raise typer.Exit(130) from None
    except KeyboardInterrupt:
        _say(f"stopped immediately; to continue from the last checkpoint: {again}")
        raise typer.Exit(130) from None
    except Diverged as error:
        mend = f"start a new run with a lower agent.lr than {config.agent.lr:g}; this one's checkpoints are kept"
        raise UserError(f"training diverged, {error}", where=_shown(run.path), mend=mend) from error
    except EpisodeFault as error:
        mend = "fix the environment or its tasks; this run's checkpoints are kept"
        raise UserError(f"no episode could be finished, {error}", where=_shown(run.path), mend=mend) from error


def check_memory(config: Config, family: TaskFamily) -> None:
    """Refuse a replay that does not fit into the memory that is left: the machine's, the container's or the GPU's."""
    size = replay_size(config, family)
    needs = [(size.nbytes, available_memory("cpu"))]
    if config.device == "cuda":
        needs = [(size.device_bytes, available_memory("cuda")), (size.nbytes - size.device_bytes, needs[0][1])]
    for needed, there in needs:
        if needed > there.nbytes:
            what = f"the full replay of {size.n_tasks * size.rows:,} rows needs {_gigabytes(needed)}"
            left = f"{_gigabytes(there.nbytes)} are free {there.where}"
            raise UserError(what, where="train.replay_capacity", mend=f"{left}; {_mend(size, there.nbytes / needed)}")


def _mend(size: ReplaySize, fraction: float) -> str:
    """Say what makes a replay as small as this fraction of its bytes."""
    if replace(size, capacity=1).nbytes > fraction * size.nbytes:
        tasks = f"one episode of {size.episode_length:,} steps of each of {size.n_tasks:,} training tasks"
        return f"it holds at least {tasks}, so free some memory or train on fewer tasks"
    return f"set it to at most {float(f'{0.98 * fraction * size.capacity:.1e}'):,.0f}"


def _gigabytes(nbytes: float) -> str:
    return f"{nbytes / 1e9:,.1f} GB"


def _shown(path: Path) -> str:
    """Name a path as briefly as the working directory allows."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
