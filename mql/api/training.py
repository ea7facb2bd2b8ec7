"""A training that is about to begin or to continue: all that would fail only later is checked first."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self

import torch

from mql.api.checking import check_before_training
from mql.api.continuing import how_it_goes_on
from mql.api.display import Display, Record, Remarks, say, shown
from mql.api.families import (
    FROM_PYTHON,
    FamilySource,
    as_trained_on,
    check_same_tasks,
    check_unchanged,
    copy_of,
    source_of,
)
from mql.api.forking import Fork, ForkRequest
from mql.api.mirror import Mirror
from mql.api.plan import check_memory, check_plan
from mql.api.possible import check_suits
from mql.api.recorded import prior_of
from mql.collecting.workforce import workers
from mql.config.idle_keys import idle_keys
from mql.config.loading import Overrides, flat, has_published_values, is_path, load_experiment, override, with_values
from mql.config.methods import METHODS
from mql.config.schema import Config
from mql.config.yaml_text import Layer
from mql.errors import UserError
from mql.runs.definition import digest_entry, kept_definition
from mql.runs.fork import Parent
from mql.runs.naming import default_run_path
from mql.runs.prior_files import files_of
from mql.runs.run_dir import RunDir
from mql.tasks import registry
from mql.tasks.definitions.family import check_trust, load_definition
from mql.tasks.definitions.file import read_definition
from mql.tasks.disturbances.family import remarks
from mql.tasks.family import TaskFamily
from mql.tasks.fault import EpisodeFault
from mql.threads import keep_freed_memory, limit_threads
from mql.training.divergence import Diverged
from mql.training.loop import Watcher
from mql.training.methods import meta_train
from mql.types import JSON, OnCluster


@dataclass(frozen=True)
class Job:
    """A run that is open for writing, and all that its training needs; a context manager, which closes the run.

    ``resume``: it has a checkpoint already, from an earlier time or as a fork; ``checkpoint`` is the earlier one to go
    on from (None: the newest).
    """

    run: RunDir
    config: Config
    source: FamilySource
    resume: bool = False
    checkpoint: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.run.close()

    @property
    def family(self) -> TaskFamily:
        """The family that is trained on."""
        return self.source.family

    @property
    def complete(self) -> bool:
        """Whether there is nothing left to do: the run has come to the end that ``config`` sets."""
        if self.checkpoint is not None or not self.run.finished:
            return False
        return self.run.complete_until >= self.config.train.env_steps

    def finish(self, *, progress: bool) -> None:
        """Train, if there is something left to do; with `progress`, standard error shows how it goes."""
        if not self.complete:
            with Display(self.run, self.config) if progress else nullcontext() as display:
                self.train(display)

    def train(self, display: Display | None = None) -> Record:
        """Train, and return the last evaluation: a line of evaluations.jsonl.

        Raises:
            Interrupted: Ctrl-C or SIGTERM; the run was saved.
            UserError: the run directory can't be written, training diverged, or no episode could be finished.
        """
        limit_threads(self.config.threads)
        mirror = Mirror(self.run, self.config, say=display.note if display else say)
        watchers: tuple[Watcher, ...] = (display or Remarks(), mirror)
        where = shown(self.run.path)
        if display:
            for remark in remarks(self.family):
                display.note(f"note: {remark}")
        for line in how_it_goes_on(self.run, self.config) if self.resume else ():
            (display.note if display else say)(line)
        try:
            return meta_train(
                self.config,
                self.family,
                self.run,
                resume=self.resume,
                checkpoint=self.checkpoint,
                watchers=watchers,
            )
        except Diverged as error:
            key = METHODS[self.config.method].rate
            raise error.of_run(where, key, flat(self.config)[key]) from error
        except EpisodeFault as error:
            mend = "fix the environment or its tasks; this run's checkpoints are kept"
            raise UserError(f"no episode could be finished, {error}", where=where, mend=mend) from error
        finally:
            mirror.close()


def open_job(
    target: str | os.PathLike[str] | TaskFamily | None,
    *,
    run_dir: Path | None,
    seed: int | None,
    settings: Overrides,
    method: str | None = None,
    resume: bool = False,
    checkpoint: int | None = None,
    start_from: str | os.PathLike[str] | None = None,
    keep_replay: bool | None = None,
    trust: bool = False,
    check: bool = True,
    command: Sequence[str] = (),
) -> Job:
    """Make a new run directory, or open one to go on with it.

    Args:
        target: a family's name, the path of a YAML file that defines one or describes an experiment, or a family; None,
            with `start_from`: the family and all settings of that run.
        run_dir: None: a new one below ``runs/``, named after family, settings, seed and time.
        seed: of all random numbers; None: as the settings say.
        settings: ``key=value`` texts, or values by key.
        method: how it is learned; None: as the settings say.
        resume: go on with the run in `run_dir`.
        checkpoint: with `resume`, the one to go on from; later ones are deleted when training begins.
        start_from: a run, or ``RUN@STEPS``, whose agent the new run starts from.
        keep_replay: take its stored episodes, too; None: where they are of the same family and tasks.
        trust: a definition's Python may be run.
        check: a family that is not this package's own is checked before a new run begins.
        command: for the record; by default this process's.

    Raises:
        UserError: anything that would not work, in one line; nothing has been written then.
    """
    keep_freed_memory()
    if resume:
        if run_dir is None:
            raise UserError("there is no run to continue", mend="give its run_dir")
        if start_from is not None:
            what = "--from begins a new run, and --resume goes on with an old one"
            raise UserError(what, mend="give only one of them")
        if target is None:
            raise UserError("no family is named", mend=f"write mql train FAMILY --run-dir {run_dir} --resume")
        settings = with_values(settings, {"seed": seed, "method": method})
        return _reopen(target, run_dir, settings, checkpoint, trust=trust)
    request = ForkRequest.of(target, settings, None if start_from is None else str(start_from))
    target, settings = request.target, request.settings
    given = target if isinstance(target, TaskFamily) else None
    name = given.name if given else str(target)
    config, definition, said = load_experiment(
        name,
        overrides=settings,
        seed=seed,
        method=method,
        families=None if given or request.definition else registry.names(),
        environments=registry.environments(),
        inherited=request.inherited,
    )
    definition = definition or request.definition
    fork = None
    if config.start_from is not None:
        fork = Fork(Parent.open(config.start_from), keep_replay)
        config = fork.settled(config, said)
    elif keep_replay is not None:
        raise UserError("there is no replay to keep", where="--keep-replay", mend="add --from RUN")
    for line in notes_on(config, said):
        say(f"note: {line}")
    if given is not None and config.family != given.name:
        what = f"the family is {given.name}, but the settings say {config.family}"
        raise UserError(what, where="family", mend="leave the setting 'family' out")
    if run_dir is None:
        experiment = Path(name).stem if given is None and is_path(name) else None
        path = default_run_path(config, datetime.now(), settings=settings, experiment=experiment)
    run = create_run(
        config,
        run_dir or path,
        definition=definition,
        given=given,
        trust=trust,
        check=check,
        fork=fork,
        numbered=run_dir is None,
        command=command,
        said=said,
    )
    try:
        if definition is not None:  # the run's copy has the same bytes, so it may do what the original may
            check_trust(read_definition(definition), given=trust)
        source = source_of(run, given=given, trust=trust or definition is not None)
        _ = source.family  # what is wrong with it is found now
        return Job(run, config, source, resume=fork is not None)
    except BaseException:
        run.close()
        raise


def notes_on(config: Config, said: Layer) -> list[str]:
    """Return what is worth saying of a configuration before a run begins; `said` is what the user gave himself."""
    notes = []
    if config.profile == "paper" and not has_published_values(config.family):
        notes.append(f"there are no published values for {config.family}; profile paper: what all published ones share")
    return [*notes, *idle_keys(config, said)]


def create_run(
    config: Config,
    path: Path,
    *,
    definition: Path | None = None,
    given: TaskFamily | None = None,
    trust: bool = False,
    check: bool = True,
    fork: Fork | None = None,
    replace: bool = False,
    numbered: bool = False,
    command: Sequence[str] = (),
    said: Layer | None = None,
) -> RunDir:
    """Make the run directory of a new run, after a check of all that would only fail later.

    Args:
        config: the resolved configuration.
        path: where the run is to be.
        definition: the file that defines the family, where it is not one of a name.
        given: the family, where the caller has it as an object.
        trust: the definition's Python may be run.
        check: do the cheap checks of a family that is not this package's own.
        fork: the start from another run's agent.
        replace: remove an earlier run of this name.
        numbered: where the name is taken, add a number.
        command: for the record; by default this process's.
        said: what the user gave himself, for messages.

    Raises:
        UserError: a family, split or device that does not exist, more memory than the machine has, a folder in the
            way, a family that fails a check.
    """
    family = given
    if family is None:
        family = registry.load(config.family) if definition is None else load_definition(definition, trust=trust)
    harder = as_trained_on(family, config)
    check_suits(config, harder)
    check_device(config)
    check_workforce(config)
    copy = None if definition is None else copy_of(definition)
    prior = None if fork is None else fork.prior(config, copy)
    if prior is None:
        prior = prior_of(config, harder)
    if METHODS[config.method].replay:
        check_memory(config, harder, prior)
    check_plan(config, harder, said)
    if check:
        check_before_training(family, definition, processes=config.workers)
    from_python = {} if given is None or _has_name(given) else FROM_PYTHON
    fork = None if fork is None else fork.check(config, family, harder, copy)
    return RunDir.create(
        path,
        config=config,
        tasks={split: [task.to_json() for task in family.tasks(split)] for split in family.split_names},
        command=command or ["python", *sys.argv],
        definition=copy,
        facts=from_python if fork is None else {**from_python, **fork.facts()},
        prior=files_of(prior),
        begins_with={} if fork is None else fork.begins_with(),
        replace=replace,
        numbered=numbered,
    )


def check_device(config: Config) -> None:
    """Refuse a device that PyTorch does not see."""
    if config.device == "cuda" and not torch.cuda.is_available():
        mend = "set device to cpu, or install PyTorch for this machine's GPU"
        raise UserError("PyTorch sees no CUDA device", where="device", mend=mend)


def check_workforce(config: Config) -> None:
    """Refuse a cluster that can't be reached."""
    if isinstance(config.workforce, OnCluster):
        workers(config.workforce)  # connects, and places none yet


def last_evaluation(record: Record, path: Path) -> dict[str, JSON]:
    """Give a record of evaluations.jsonl the form of `mql train --json`: with the run directory beside it."""
    result = dict(record)
    if "tasks" in record and "adapt_seconds" in record:  # another method's evaluations may have other keys
        seconds = result.pop("adapt_seconds")
        result["tasks"] = [{**row, "adapt_seconds": s} for row, s in zip(record["tasks"], seconds, strict=True)]
    return {**result, **digest_entry(path), "run_dir": str(path)}


def _reopen(
    target: str | os.PathLike[str] | TaskFamily,
    path: Path,
    settings: Overrides,
    checkpoint: int | None,
    *,
    trust: bool,
) -> Job:
    """Open a run to go on with it, as `settings` change it."""
    run = RunDir.open_for_resume(path)
    try:
        old, kept = run.config, kept_definition(run.path)
        given = target if isinstance(target, TaskFamily) else None
        if given is not None:
            name, definition = given.name, None
        else:  # a definition's name is known to its own run only
            known = registry.names() if kept is None else [*registry.names(), old.family]
            experiment = load_experiment(str(target), families=known, environments=registry.environments())
            name, definition = experiment.config.family, experiment.definition
        if name != old.family:
            mend = f"run mql train {old.family}, or choose another --run-dir"
            raise UserError(f"the run's family is {old.family}, not {name}", where=str(path), mend=mend)
        if kept is not None and definition is not None:
            again = f"mql train {old.family} --run-dir ... --resume"
            check_unchanged(kept, definition, mend=f"start a new run, or continue with the run's own copy: {again}")
        new = override(old, settings)
        check_device(new)
        check_workforce(new)
        run.check_config(new, checkpoint=checkpoint)
        if definition is not None:  # the run's copy has the same bytes, so it may do what the original may
            check_trust(read_definition(definition), given=trust)
        source = source_of(run, given=given, trust=trust or definition is not None)
        check_same_tasks(run, source.family)
        return Job(run, new, source, resume=True, checkpoint=checkpoint)
    except BaseException:
        run.close()
        raise


def _has_name(family: TaskFamily) -> bool:
    """Whether every process finds a family that was given as an object under its name."""
    return registry.is_built_in(family.name) and registry.load(family.name) is family
