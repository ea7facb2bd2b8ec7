"""The loop that drives a method: iterate, evaluate, save; and going on where a run stopped.

It knows a method by `mql.training.learning.Learning` alone. Evaluations, metrics, checkpoints, stopping and going on
are written here once, for all of them.
"""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Protocol

from mql.config.schema import Config, TrainConfig
from mql.errors import UserError
from mql.runs.run_dir import RunDir
from mql.stopping import GivenUp, give_up, go_on
from mql.tasks.fault import EpisodeFault
from mql.training.divergence import Diverged, Sizes, check, not_finite_in, sizes_of
from mql.training.learning import Iteration, Learning, restore
from mql.types import JSON, Episode, NotFinite

PATIENCE = 4.0  # s after a request to stop that episodes in worker processes have to end; then they are given up


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


class Interrupted(Exception):
    """Ctrl-C or SIGTERM asked to stop; the run was saved after `env_steps` and can be resumed."""

    def __init__(self, env_steps: int) -> None:
        super().__init__(f"stopped after {env_steps} environment steps")
        self.env_steps = env_steps


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
        Interrupted: Ctrl-C or SIGTERM; the run was saved.
        UserError: the run directory can't be written or read.
        Diverged: a number of an iteration's metrics is not finite, or what would be saved is not sound; nothing of it
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
            earlier_seconds, evaluated = float(saved.state["wall_seconds"]), int(saved.state["evaluated"])
        run.cut_back(saved, config)
    sizes: Sizes = sizes_of(saved.tensors) if resume and saved is not None else {}
    begun = time.perf_counter() - earlier_seconds
    fresh: list[Episode] = []  # episodes that are in no checkpoint yet

    def last_good() -> int | None:
        return max(run.checkpoints(), default=None)

    def save() -> None:
        nonlocal sizes
        if learning.env_steps in run.checkpoints():
            return
        tensors = learning.tensors()
        sizes = check(tensors, env_steps=learning.env_steps, good=last_good(), before=sizes)
        run.save_checkpoint(
            learning.env_steps,
            tensors=tensors,
            state={**learning.counters(), "evaluated": evaluated, "wall_seconds": time.perf_counter() - begun},
            episodes=fresh,
            first_live_episode=learning.first_live_episode,
        )
        fresh.clear()

    def evaluate(*, final: bool) -> dict[str, JSON]:
        # What random actions get does not change while training goes on: the first evaluation and the last one say it.
        try:
            with diagnosing():
                record = learning.evaluate(final=final, with_random=final or evaluated == 0, on_task=tell_of_task)
        except GivenUp:
            save()
            raise Interrupted(learning.env_steps) from None
        record |= {"env_steps": learning.env_steps, "updates": learning.updates}
        record["wall_seconds"] = time.perf_counter() - begun
        run.append_evaluation(record)
        for watcher in watchers:
            watcher.on_evaluation(record)
        return record

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
        if stop_requested():
            save()
            raise Interrupted(learning.env_steps)

    for watcher in watchers:
        watcher.on_start(learning)
    with _stop_requests() as stop_requested:
        while learning.env_steps < settings.env_steps:
            # An evaluation comes before the iteration after it, not after the one before: so a run that is made longer
            # makes the one that was due at its old end, and one that was interrupted in it makes it again.
            if _crosses(evaluated, learning.env_steps, settings.evaluate_every):
                evaluate(final=False)
                evaluated = learning.env_steps
            before = learning.env_steps, learning.updates
            try:
                with diagnosing():
                    iteration = learning.iterate()
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
            fresh.extend(iteration.episodes)
            for name, value in iteration.metrics.items():
                if isinstance(value, float) and not math.isfinite(value):
                    raise Diverged(f"{name} is {value}", env_steps=learning.env_steps, good=last_good())
            record = _metrics(learning, iteration, before, time.perf_counter() - begun)
            run.append_metrics(record)
            for watcher in watchers:
                watcher.on_iteration(record)
            at_end = learning.env_steps >= settings.env_steps
            if at_end or _crosses(before[0], learning.env_steps, settings.checkpoint_every):
                save()
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


@contextmanager
def _stop_requests() -> Iterator[Callable[[], bool]]:
    """Within this block a first Ctrl-C, and any SIGTERM, asks the loop to save and stop.

    A second Ctrl-C stops at once, as usual. A second SIGTERM does not: what ends jobs may send it to a process and to
    its group, so that it comes twice, and SIGKILL follows anyway where saving takes too long.
    """
    requested = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield requested.is_set  # signals reach the main thread only
        return

    previous = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def ask(signum: int, frame: FrameType | None) -> None:
        requested.set()
        give_up(within=PATIENCE)
        if signum == signal.SIGINT:
            signal.signal(signum, previous[signal.SIGINT])

    for number in previous:
        signal.signal(number, ask)
    try:
        yield requested.is_set
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        go_on()
