"""The loop that drives a method: iterate, evaluate, save; and going on where a run stopped.

It knows a method by `mql.training.learning.Learning` alone. Evaluations, metrics, checkpoints, stopping and going on
are written here once, for all of them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import torch

from mql.config.schema import Config, TrainConfig
from mql.errors import UserError
from mql.runs.run_dir import RunDir
from mql.stopping import GivenUp, LeftOff
from mql.tasks.fault import EpisodeFault
from mql.training.divergence import Diverged, Sizes, check, not_finite_in, sizes_of
from mql.training.learning import Iteration, Learning, misfit, restore
from mql.training.stopping import StopRequests, stop_requests
from mql.types import JSON, Episode, NotFinite


class Watcher(Protocol):
    """What a caller may watch a run with; a record is what goes into the run directory."""

    def on_start(self, learning: Learning) -> None:
        """Training is about to begin, or to go on from a checkpoint."""

    def on_iteration(self, record: Mapping[str, JSON]) -> None:
        """One line of metrics.jsonl."""

    def on_task(self, done: int, tasks: int) -> None:
        """An evaluation has finished `done` of its `tasks` tasks: 0 when it begins."""

    def on_evaluation(self, record: Mapping[str, JSON]) -> None:
        """One line of evaluations.jsonl."""


SLOW_SECONDS = 2.0  # an iteration that takes longer may be left off, if somebody asks to stop


class Interrupted(Exception):
    """Ctrl-C, SIGTERM or the like asked to stop; the run was saved after `env_steps` and can be resumed."""

    def __init__(self, env_steps: int) -> None:
        super().__init__(f"stopped after {env_steps} environment steps")
        self.env_steps = env_steps


@dataclass(frozen=True)
class _Standing:
    """How things stand between two iterations, as a checkpoint has it; tensors are copies where they may change."""

    env_steps: int
    first_live_episode: int
    tensors: Mapping[str, torch.Tensor]
    state: Mapping[str, JSON]

    @classmethod
    def of(cls, learning: Learning) -> _Standing:
        return cls(learning.env_steps, learning.first_live_episode, learning.tensors(), learning.counters())

    def kept(self) -> _Standing:
        """Return it with copies of the tensors."""
        copies = {name: tensor.detach().clone() for name, tensor in self.tensors.items()}
        return _Standing(self.env_steps, self.first_live_episode, copies, self.state)


def train(
    learning: Learning,
    settings: TrainConfig,
    run: RunDir,
    *,
    resume: bool = False,
    checkpoint: int | None = None,
    config: Config | None = None,
    watchers: tuple[Watcher, ...] = (),
) -> dict[str, JSON]:
    """Train until ``settings.env_steps`` and return the last evaluation.

    Args:
        learning: the method, in its first state.
        settings: ``env_steps``, ``evaluate_every`` and ``checkpoint_every`` count here.
        run: open for writing; with `resume`, opened for that, and everything newer than its newest checkpoint is
            cut off first (a run without a checkpoint starts over).
        checkpoint: with `resume`, env steps of an earlier checkpoint to go on from; later ones are deleted.
        config: with `resume`, the run's configuration from now on; None: as it is. A checkpoint that can't be read, or
            does not fit, leaves the run directory as it was.
        watchers: told of each iteration and evaluation.

    Raises:
        Interrupted: a signal asked to stop (`mql.training.stopping`); the run was saved.
        UserError: the run directory can't be written or read.
        Diverged: a number of an iteration's metrics is not finite, or what would be saved is not valid; nothing of it
            is saved.
        EpisodeFault: not one episode of an iteration, or not one task of an evaluation, could be finished; the run was
            saved.
    """
    earlier_seconds = 0.0
    evaluated = 0  # env steps at the last evaluation
    if resume:
        saved = run.load_checkpoint(checkpoint) if run.checkpoints() or checkpoint is not None else None
        if saved is not None:
            restore(learning, saved)
            try:
                earlier_seconds, evaluated = float(saved.state["wall_seconds"]), int(saved.state["evaluated"])
            except (KeyError, TypeError, ValueError) as error:
                raise misfit(saved, error) from error
        run.cut_back(saved, config)
    sizes: Sizes = sizes_of(saved.tensors) if resume and saved is not None else {}
    begun = time.perf_counter() - earlier_seconds
    fresh: list[Episode] = []  # episodes that are in no checkpoint yet

    def last_good() -> int | None:
        return max(run.checkpoints(), default=None)

    def save(standing: _Standing | None = None) -> None:
        nonlocal sizes
        now = standing or _Standing.of(learning)
        if now.env_steps in run.checkpoints():
            return
        sizes = check(now.tensors, env_steps=now.env_steps, good=last_good(), before=sizes)
        run.save_checkpoint(
            now.env_steps,
            tensors=now.tensors,
            state={**now.state, "evaluated": evaluated, "wall_seconds": time.perf_counter() - begun},
            episodes=fresh,
            first_live_episode=now.first_live_episode,
        )
        fresh.clear()

    def evaluate(*, final: bool) -> dict[str, JSON]:
        # What random actions get does not change while training goes on: the first evaluation and the last one say it.
        try:
            with requests.evaluating(), diagnosing():
                record = learning.evaluate(final=final, with_random=final or evaluated == 0, on_task=tell_of_task)
        except (LeftOff, GivenUp):
            save()
            raise Interrupted(learning.env_steps) from None
        record |= {"env_steps": learning.env_steps, "updates": learning.updates}
        record["wall_seconds"] = time.perf_counter() - begun
        run.append_evaluation(record)
        for watcher in watchers:
            watcher.on_evaluation(record)
        return record

    def iterate(standing: _Standing | None) -> Iteration:
        """Do one iteration; `standing` is how things stand before it, where it may take long."""
        try:
            with requests.iterating(), diagnosing():
                return learning.iterate()
        except LeftOff:
            if standing is not None and (standing.env_steps or run.checkpoints()):
                save(standing)
            raise Interrupted(max(run.checkpoints(), default=0)) from None

    def tell_of_task(done: int, tasks: int) -> None:
        for watcher in watchers:
            watcher.on_task(done, tasks)
        stop_if_asked()

    @contextmanager
    def diagnosing() -> Iterator[None]:
        """Tell an exception that numbers which are no longer finite have led to from all others."""
        try:
            yield
        except (EpisodeFault, GivenUp, Diverged):
            raise
        except NotFinite as error:
            raise Diverged(str(error), env_steps=learning.env_steps, good=last_good()) from error
        except (ValueError, ArithmeticError, RuntimeError, UserError) as error:
            name = not_finite_in(learning.tensors())
            if name is None:
                raise
            what = f"{name} is not finite"
            raise Diverged(what, env_steps=learning.env_steps, good=last_good()) from error

    def stop_if_asked() -> None:
        if requests.asked:
            save()
            raise Interrupted(learning.env_steps)

    for watcher in watchers:
        watcher.on_start(learning)
    requests: StopRequests
    with stop_requests() as requests:
        slow = False  # whether the last iteration took long
        while learning.env_steps < settings.env_steps:
            # An evaluation comes before the iteration after it, not after the one before: so a run that is made longer
            # makes the one that was due at its old end, and one that was interrupted in it makes it again.
            if _crosses(evaluated, learning.env_steps, settings.evaluate_every):
                evaluate(final=False)
                evaluated = learning.env_steps
            before, started = (learning.env_steps, learning.updates), time.perf_counter()
            try:
                # (The first updates make an iteration long, whatever the random steps before took.)
                iteration = iterate(_Standing.of(learning).kept() if slow or not learning.updates else None)
            except GivenUp as stop:
                # Collecting takes too long for a stop, as where an environment hangs. What was not yet begun to be
                # learned from is played again by the run that goes on; else that goes on from the last checkpoint.
                if stop.unchanged and (learning.env_steps, learning.updates) == before:
                    save()
                raise Interrupted(run.checkpoints()[-1] if run.checkpoints() else 0) from None
            except EpisodeFault:
                save()
                stop_if_asked()  # what asks this process to stop may have ended processes that play its episodes
                raise
            slow = time.perf_counter() - started > SLOW_SECONDS
            fresh.extend(iteration.episodes)
            for name, value in iteration.metrics.items():
                if isinstance(value, float) and not math.isfinite(value):
                    raise Diverged(f"{name} is {value}", env_steps=learning.env_steps, good=last_good())
            record = _metrics(learning, iteration, before, time.perf_counter() - begun)
            if changes := run.changes_of_others():
                record["remark"] = "; ".join([*filter(None, [record.get("remark")]), *changes])
            run.append_metrics(record)
            at_end = learning.env_steps >= settings.env_steps
            if at_end or _crosses(before[0], learning.env_steps, settings.checkpoint_every):
                save()
            for watcher in watchers:  # what they meet, such as a terminal that has closed, costs nothing any more
                watcher.on_iteration(record)
            stop_if_asked()
        last = evaluate(final=True)
        run.mark_finished(last)
    return last


def _metrics(learning: Learning, iteration: Iteration, before: tuple[int, int], wall_seconds: float) -> dict[str, JSON]:
    """Return a line of metrics.jsonl; `before` are the env steps and updates before the iteration."""
    seconds = iteration.collect_seconds + iteration.update_seconds
    return {
        "env_steps": learning.env_steps,
        "updates": learning.updates,
        "iteration": learning.iterations,
        **iteration.metrics,
        "wall_seconds": wall_seconds,
        "collect_seconds": iteration.collect_seconds,
        "update_seconds": iteration.update_seconds,
        "env_steps_per_s": (learning.env_steps - before[0]) / max(seconds, 1e-9),
        "updates_per_s": (learning.updates - before[1]) / max(iteration.update_seconds, 1e-9),
    }


def _crosses(before: int, after: int, every: int) -> bool:
    """Whether a multiple of `every` lies in (before, after]."""
    return after // every > before // every
