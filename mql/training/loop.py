"""The meta-training loop: sample tasks, collect, update, evaluate, save; and going on where a run stopped."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Protocol

import torch

from mql.adaptation.adapters import prepare
from mql.agent.agent import Agent
from mql.config.schema import Config
from mql.errors import UserError
from mql.evaluation.held_out import evaluate, summarize_results
from mql.learning.trainer import Iteration, Trainer
from mql.runs.checkpoint import Checkpoint
from mql.runs.run_dir import RunDir
from mql.seeding import generator
from mql.tasks.family import Task, TaskFamily
from mql.tasks.fault import EpisodeFault
from mql.types import JSON, Episode


class Watcher(Protocol):
    """What a caller may watch a run with; a record is what goes into the run directory."""

    def on_start(self, trainer: Trainer) -> None:
        """Training is about to begin, or to go on from a checkpoint."""

    def on_iteration(self, record: Mapping[str, JSON]) -> None:
        """One line of metrics.jsonl."""

    def on_evaluation(self, record: Mapping[str, JSON]) -> None:
        """One line of evaluations.jsonl."""


class Interrupted(Exception):
    """The user asked to stop; the run was saved after `env_steps` and can be resumed."""

    def __init__(self, env_steps: int) -> None:
        super().__init__(f"stopped after {env_steps} environment steps")
        self.env_steps = env_steps


class Diverged(FloatingPointError):
    """A loss is no longer a finite number."""


def meta_train(
    config: Config, family: TaskFamily, run: RunDir, *, resume: bool = False, watchers: tuple[Watcher, ...] = ()
) -> dict[str, JSON]:
    """Meta-train on the family's training tasks and return the last evaluation, made on ``evaluate.final_tasks``.

    Args:
        config: the resolved configuration of `run`.
        run: open for writing; with `resume`, opened for that, and everything newer than its newest checkpoint is
            cut off first (a run without a checkpoint starts over).
        watchers: told of each iteration and evaluation.

    Raises:
        Interrupted: Ctrl-C; the run was saved.
        UserError: the run directory can't be written or read.
        Diverged: a loss is not finite.
        EpisodeFault: not one episode of an iteration, or not one task of an evaluation, could be finished; the run was
            saved.
    """
    torch.set_num_threads(config.threads)
    trainer = Trainer(config, family)
    earlier_seconds = 0.0
    evaluated = 0  # env steps at the last evaluation
    if resume:
        checkpoint = run.load_checkpoint() if run.checkpoints() else None
        if checkpoint is not None:
            restore(trainer, checkpoint)
            earlier_seconds, evaluated = float(checkpoint.state["wall_seconds"]), int(checkpoint.state["evaluated"])
        run.cut_back(checkpoint)
    begun = time.perf_counter() - earlier_seconds

    def save() -> None:
        if trainer.env_steps in run.checkpoints():
            return
        run.save_checkpoint(
            trainer.env_steps,
            tensors=trainer.tensors(),
            state={**trainer.counters(), "evaluated": evaluated, "wall_seconds": time.perf_counter() - begun},
            episodes=fresh,
            first_live_episode=trainer.replay.first_live_episode,
        )
        fresh.clear()

    def report(*, tasks: int, adapt: bool, with_random: bool) -> dict[str, JSON]:
        record = evaluation(
            trainer, tasks=tasks, adapt=adapt, with_random=with_random, on_task=lambda _: stop_if_asked()
        )
        record["wall_seconds"] = time.perf_counter() - begun
        run.append_evaluation(record)
        for watcher in watchers:
            watcher.on_evaluation(record)
        return record

    def stop_if_asked() -> None:
        if stop_requested():
            save()
            raise Interrupted(trainer.env_steps)

    train = config.train
    fresh: list[Episode] = []
    for watcher in watchers:
        watcher.on_start(trainer)
    with _stop_requests() as stop_requested:
        while trainer.env_steps < train.env_steps:
            # An evaluation comes before the iteration after it, not after the one before: so a run that is made longer
            # makes the one that was due at its old end, and one that was interrupted in it makes it again.
            if _crosses(evaluated, trainer.env_steps, train.evaluate_every):
                # What random actions get does not change while training goes on: the first evaluation says it.
                report(
                    tasks=config.evaluate.tasks,
                    adapt=config.evaluate.adapt_while_training,
                    with_random=evaluated == 0,
                )
                evaluated = trainer.env_steps
            before = trainer.env_steps
            try:
                iteration = trainer.iterate()
            except EpisodeFault:
                save()
                raise
            fresh.extend(iteration.episodes)
            record = _metrics(trainer, iteration, time.perf_counter() - begun)
            run.append_metrics(record)
            for watcher in watchers:
                watcher.on_iteration(record)
            if trainer.env_steps >= train.env_steps or _crosses(before, trainer.env_steps, train.checkpoint_every):
                save()
            stop_if_asked()
        last = report(tasks=config.evaluate.final_tasks, adapt=True, with_random=True)
        run.mark_finished(last)
    return last


def evaluation(
    trainer: Trainer,
    *,
    tasks: int,
    adapt: bool,
    with_random: bool = False,
    on_task: Callable[[int], None] | None = None,
) -> dict[str, JSON]:
    """Evaluate the agent in training on the first `tasks` tasks of ``evaluate.split``: a line of evaluations.jsonl.

    Draws from streams of its own: whether and how often a run evaluates does not change what it learns.
    """
    config = trainer.config
    record = evaluation_record(
        config,
        trainer.family,
        trainer.family.tasks(config.evaluate.split)[:tasks],
        trainer.agent,
        trainer if adapt else None,
        split=config.evaluate.split,
        with_random=with_random,
        on_task=on_task,
    )
    record["env_steps"], record["updates"] = trainer.env_steps, trainer.updates
    # The contract of the two jsonl files: what depends on the machine stands at the top.
    record["adapt_seconds"] = [row.pop("adapt_seconds") for row in record["tasks"]]
    return record


def evaluation_record(
    config: Config,
    family: TaskFamily,
    tasks: list[Task],
    agent: Agent,
    trainer: Trainer | None,
    *,
    split: str,
    with_random: bool = False,
    on_task: Callable[[int], None] | None = None,
) -> dict[str, JSON]:
    """Evaluate `agent` on `tasks`, adapted too if `trainer` is there to give its replay: what `mql evaluate` prints.

    With `with_random`, what uniform random actions get stands beside it.
    """
    results = evaluate(
        agent,
        family,
        tasks,
        evaluation_episodes=config.evaluate.evaluation_episodes,
        seed=int(generator(config.seed, "evaluate", split).integers(2**31)),
        meta=prepare(agent, trainer.replay, config.adapt) if trainer else None,
        config=config.adapt if trainer else None,
        with_random=with_random,
        threads=config.threads,
        workers=config.workers,
        on_task=(lambda index, _: on_task(index)) if on_task else None,
    )
    return {
        "family": family.name,
        "split": split,
        "shared_splits": family.shared_splits,
        "seed": config.seed,
        "tasks": [result.to_json() for result in results],
        "summary": summarize_results(results),
    }


def restore(trainer: Trainer, checkpoint: Checkpoint) -> None:
    """Put `trainer` into the state that `checkpoint` holds.

    Raises:
        UserError: the checkpoint does not fit the run's configuration, or is damaged.
    """
    try:
        trainer.restore(checkpoint.tensors, checkpoint.state)
    except (KeyError, ValueError) as error:
        where = f"{checkpoint.run}/checkpoints/{checkpoint.env_steps}"
        mend = "it was written with other settings or another version; use that version, or another checkpoint"
        raise UserError(f"the checkpoint does not fit: {error}", where=where, mend=mend) from error
    for number, episode in checkpoint.episodes:
        trainer.replay.append(episode, number=number)


def load_trainer(run: RunDir, family: TaskFamily, config: Config, *, env_steps: int | None = None) -> Trainer:
    """Load the agent and the replay of a run's checkpoint (by default the newest)."""
    trainer = Trainer(config, family)
    restore(trainer, run.load_checkpoint(env_steps))
    return trainer


def _metrics(trainer: Trainer, iteration: Iteration, wall_seconds: float) -> dict[str, JSON]:
    collected = sum(episode.length for episode in iteration.episodes)
    returns = [episode.episode_return for episode in iteration.episodes]
    for name, value in iteration.losses.items():
        if not abs(value) < float("inf"):
            raise Diverged(f"{name} is {value} after {trainer.env_steps} environment steps")
    return {
        "env_steps": trainer.env_steps,
        "updates": trainer.updates,
        "iteration": trainer.iterations,
        "collected_return": sum(returns) / len(returns),
        **({"faults": [str(fault) for fault in iteration.faults]} if iteration.faults else {}),
        **iteration.losses,
        "wall_seconds": wall_seconds,
        "collect_seconds": iteration.collect_seconds,
        "update_seconds": iteration.update_seconds,
        "env_steps_per_s": collected / max(iteration.collect_seconds + iteration.update_seconds, 1e-9),
        "updates_per_s": iteration.updates / max(iteration.update_seconds, 1e-9),
    }


def _crosses(before: int, after: int, every: int) -> bool:
    """Whether a multiple of `every` lies in (before, after]."""
    return after // every > before // every


@contextmanager
def _stop_requests() -> Iterator[Callable[[], bool]]:
    """Within this block a first Ctrl-C asks the loop to save and stop; a second one stops at once, as usual."""
    requested = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield requested.is_set  # signals reach the main thread only
        return
    previous = signal.getsignal(signal.SIGINT)

    def ask(signum: int, frame: FrameType | None) -> None:
        requested.set()
        signal.signal(signal.SIGINT, previous)

    signal.signal(signal.SIGINT, ask)
    try:
        yield requested.is_set
    finally:
        signal.signal(signal.SIGINT, previous)
