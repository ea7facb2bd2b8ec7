"""`mql evaluate` and `mql adapt`: what a run's agent does on tasks it was not trained on."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
from rich.console import Console
from rich.progress import Progress

from mql.adaptation.adapters import prepare
from mql.cli.families import family_of
from mql.cli.tables import print_evaluation, print_json, print_protocol, print_task_rows
from mql.cli.train import check_device
from mql.config.loading import override, parse_overrides
from mql.config.schema import Config
from mql.errors import UserError
from mql.evaluation import held_out
from mql.files import TEMPORARY, sync_folder, to_json, user_errors, write_file
from mql.learning.trainer import Trainer
from mql.runs.definition import digest_entry
from mql.runs.run_dir import RunDir
from mql.seeding import generator
from mql.tasks.family import Task, TaskFamily
from mql.threads import keep_freed_memory, limit_threads
from mql.training.meta_q_learning import evaluation_record, load_trainer
from mql.types import JSON

# Keys and sections that a finished training leaves open.
CHANGEABLE = ("adapt.", "evaluate.", "threads", "collect.", "device")


@dataclass(frozen=True)
class LoadedRun:
    """A run's configuration (as changed for this command), family, and agent with its replay."""

    config: Config
    family: TaskFamily
    trainer: Trainer


def evaluate(
    path: Path,
    *,
    split: str | None,
    tasks: int | None,
    adaptation_episodes: int | None,
    episodes: int | None,
    adapting: bool,
    checkpoint: int | None,
    settings: Sequence[str],
    trust: bool,
    as_json: bool,
) -> None:
    """Do what `mql evaluate` does; the arguments are the command's."""
    run, config = _open(path, settings, adaptation_episodes=adaptation_episodes, episodes=episodes)
    family = family_of(run, trust=trust)
    split = config.evaluate.split if split is None else split
    listed = family.tasks(split)
    chosen = listed[: config.evaluate.final_tasks] if tasks is None else _first(listed, tasks, split)
    loaded = _load(run, config, family, checkpoint)
    with _bar("evaluating", len(chosen) if adapting else None) as advance:
        record = evaluation_record(
            config,
            family,
            chosen,
            loaded.trainer.agent,
            loaded.trainer if adapting else None,
            split=split,
            with_random=True,
            on_task=advance,
        )
    record |= {"env_steps": loaded.trainer.env_steps, **digest_entry(run.path)}
    print_json(record) if as_json else print_evaluation(record)


def evaluate_by_protocol(
    path: Path,
    *,
    protocol: str,
    split: str | None,
    tasks: int | None,
    adaptation_episodes: int | None,
    episodes: int | None,
    adapting: bool,
    checkpoint: int | None,
    settings: Sequence[str],
    trust: bool,
    as_json: bool,
) -> None:
    """Do what `mql evaluate --protocol` does; the arguments are the command's."""
    if protocol != "meta-world":
        raise UserError(f"there is no protocol {protocol!r}", where="--protocol", mend="use meta-world")
    from mql.evaluation import meta_world_protocol as meta_world

    run, config = _open(path, settings, adaptation_episodes=None, episodes=None)
    family = family_of(run, trust=trust)
    split = config.evaluate.split if split is None else split
    listed = meta_world.protocol_tasks(family, split)
    chosen = listed if tasks is None else _first(listed, tasks, split)
    loaded = _load(run, config, family, checkpoint)
    agent = loaded.trainer.agent
    with _bar("evaluating", len(chosen)) as advance:
        record = meta_world.official_evaluation(
            agent,
            prepare(agent, loaded.trainer.replay, config.adapt) if adapting else None,
            family,
            config.adapt,
            tasks=chosen,
            seed=int(generator(config.seed, "evaluate", split).integers(2**31)),
            adaptation_episodes=adaptation_episodes or meta_world.ADAPTATION_EPISODES,
            evaluation_episodes=episodes or meta_world.EVALUATION_EPISODES,
            threads=config.threads,
            workers=config.workers,
            on_goals=lambda done: advance(done - 1),
        )
    record |= {"split": split, "env_steps": loaded.trainer.env_steps, **digest_entry(run.path)}
    print_json(record) if as_json else print_protocol(record)


def adapt(
    path: Path,
    *,
    given: Sequence[str],
    adaptation_episodes: int | None,
    episodes: int | None,
    out: Path | None,
    checkpoint: int | None,
    settings: Sequence[str],
    trust: bool,
    as_json: bool,
) -> None:
    """Do what `mql adapt` does; the arguments are the command's."""
    run, config = _open(path, settings, adaptation_episodes=adaptation_episodes, episodes=episodes)
    family = family_of(run, trust=trust)
    task = family.task(_task_parameters(given))
    if out is not None:
        _check_free(out)
    loaded = _load(run, config, family, checkpoint)
    with _bar("adapting", None):
        result = adapt_to(loaded, task)
    facts = {"in_training_range": task.in_training_range, "env_steps": loaded.trainer.env_steps}
    row = {**result.to_json(), **facts, **digest_entry(run.path)}
    if out is not None:
        _write(out, result, {"run": str(run.path), "seed": config.seed, **row}, config)
    print_json(row) if as_json else print_task_rows([row])
    if not task.in_training_range:
        print("note: the task is outside the range of the training tasks", file=sys.stderr)


def adapt_to(loaded: LoadedRun, task: Task) -> held_out.TaskResult:
    """Adapt a run's agent to one task, and evaluate it before and after; the result holds the adapted agent."""
    config, agent = loaded.config, loaded.trainer.agent
    return held_out.evaluate(
        agent,
        loaded.family,
        [task],
        evaluation_episodes=config.evaluate.evaluation_episodes,
        seed=int(generator(config.seed, "evaluate", task.split).integers(2**31)),
        meta=prepare(agent, loaded.trainer.replay, config.adapt),
        config=config.adapt,
        threads=config.threads,
        workers=config.workers,
        keep_agents=True,
    )[0]


def _first(listed: list[Task], tasks: int, split: str) -> list[Task]:
    if tasks > len(listed):
        raise UserError(f"{split} has {len(listed)} tasks, not {tasks}", where="--tasks", mend="ask for fewer")
    return listed[:tasks]


def _open(
    path: Path, settings: Sequence[str], *, adaptation_episodes: int | None, episodes: int | None
) -> tuple[RunDir, Config]:
    """Open a run for reading, and change what its configuration says about adaptation and evaluation."""
    keep_freed_memory()
    for key in parse_overrides(settings):
        if not key.startswith(CHANGEABLE):
            mend = "only adapt.*, evaluate.*, threads, collect.* and device can be changed now"
            raise UserError(f"{key} was fixed when the agent was trained", where=f"--set {key}", mend=mend)
    run = RunDir.open_readonly(path)
    counts = {"adapt.adaptation_episodes": adaptation_episodes, "evaluate.evaluation_episodes": episodes}
    more = [f"{key}={count}" for key, count in counts.items() if count is not None]
    config = override(run.config, [*settings, *more])
    check_device(config)
    return run, config


def _load(run: RunDir, config: Config, family: TaskFamily, checkpoint: int | None) -> LoadedRun:
    if run.tasks["train"] != [task.to_json() for task in family.tasks("train")]:
        mend = "use the version of mql that trained it (see environment.json)"
        raise UserError(
            f"the training tasks of {family.name} are no longer those of the run", where=str(run.path), mend=mend
        )
    limit_threads(config.threads)
    return LoadedRun(config, family, load_trainer(run, family, config, env_steps=checkpoint))


def _task_parameters(given: Sequence[str]) -> dict[str, object]:
    """Read ``name=value`` texts: a number, or numbers with commas between them for a vector."""
    parameters: dict[str, object] = {}
    for text in given:
        name, equals, value = text.partition("=")
        name = name.strip()
        if not equals or not name:
            raise UserError(f"--task {text!r} has no '='", mend="write it as --task NAME=VALUE")
        if name in parameters:
            raise UserError(f"task parameter {name!r} is given twice", where="--task", mend="give it once")
        try:
            numbers = [float(part) for part in value.split(",")]
        except ValueError:
            mend = "give a number, or numbers separated by commas"
            raise UserError(f"{value!r} is not a number", where=f"--task {name}", mend=mend) from None
        parameters[name] = numbers if "," in value else numbers[0]
    return parameters


def _check_free(out: Path) -> None:
    with user_errors(out):
        if os.path.lexists(out) and not (out.is_dir() and not any(out.iterdir())):
            raise UserError("the path already exists", where=str(out), mend="choose another --out")


def _write(out: Path, result: held_out.TaskResult, row: Mapping[str, JSON], config: Config) -> None:
    """Write ``agent.safetensors`` and ``adaptation.json`` into a new folder, which appears when it is complete."""
    assert result.agent is not None and result.report is not None
    out = Path(os.path.abspath(out))
    tensors = {name: tensor.cpu().contiguous() for name, tensor in result.agent.named_tensors()}
    sizes = {"obs_dim": result.agent.obs_dim, "action_dim": result.agent.action_dim}
    facts = {
        "family": config.family,
        **row,
        "agent": {**sizes, "config": config.agent.model_dump(mode="json")},
        "adapt": config.adapt.model_dump(mode="json"),
        "report": dict(result.report),
    }
    unfinished = out.with_name(out.name + TEMPORARY)
    with user_errors(out):
        try:
            out.parent.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir()
            write_file(unfinished / "agent.safetensors", safetensors.torch.save(tensors))
            write_file(unfinished / "adaptation.json", to_json(facts, indent=1))
            sync_folder(unfinished)
            os.rename(unfinished, out)
            sync_folder(out.parent)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise


@contextmanager
def _bar(what: str, total: int | None) -> Iterator[_Advance]:
    """Show on a terminal how many tasks are done; nothing elsewhere."""
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(what, total=total)
        yield _Advance(progress, int(task))


class _Advance:
    def __init__(self, progress: Progress, task: int) -> None:
        self._progress, self._task = progress, task

    def __call__(self, index: int) -> None:
        self._progress.update(self._progress.task_ids[self._task], completed=index + 1)
