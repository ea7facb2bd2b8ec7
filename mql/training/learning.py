"""What a method that learns from many tasks must offer, so that `mql.training.loop` can drive it.

The loop knows no more of a method than this. It decides when there is an evaluation or a checkpoint and when training
ends; it writes the run directory, and goes on from there. Put together, what it does is::

    learning.restore(...)                          # only where a run goes on
    while learning.env_steps < total:
        record = learning.evaluate(final=False)    # now and then: a line of evaluations.jsonl
        iteration = learning.iterate()             # a line of metrics.jsonl
        save(learning.tensors(), learning.counters(), episodes not yet saved)   # now and then: a checkpoint
    record = learning.evaluate(final=True)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from mql.config.schema import Config
from mql.errors import UserError, told
from mql.evaluation.held_out import TaskResult
from mql.runs.checkpoint import Checkpoint
from mql.tasks.family import Task
from mql.types import JSON, Episode


@dataclass(frozen=True)
class Iteration:
    """What one iteration did.

    ``metrics`` is the method's part of a line of metrics.jsonl: losses, the mean return of what was collected, and so
    on. A number among them that is not finite ends the run. ``episodes`` are new, and a run that goes on needs them;
    empty where a method learns from no old ones. Both durations are in seconds.
    """

    metrics: Mapping[str, JSON]
    episodes: Sequence[Episode]
    collect_seconds: float
    update_seconds: float


class Learning(Protocol):
    """A method in training: a state that `iterate` changes and `evaluate` does not.

    The state at the end of an iteration is `tensors`, `counters` and the episodes that iterations have given, from
    ``first_live_episode`` on. All that follows must depend on nothing else (random numbers come from streams that are
    named by seed and counters), so that a run that was stopped ends as if it had not been.
    """

    @property
    def env_steps(self) -> int:
        """Environment steps collected so far; every iteration adds some."""

    @property
    def updates(self) -> int:
        """Updates made so far."""

    @property
    def iterations(self) -> int:
        """Iterations made so far."""

    @property
    def first_live_episode(self) -> int:
        """Number of the oldest episode that is still learned from; the run directory keeps it and all newer ones."""

    @property
    def replay_bytes(self) -> int:
        """The most memory that stored episodes may take (0: none are stored)."""

    def updates_after(self, env_steps: int) -> int:
        """Return how many updates there will have been after `env_steps`; the time that is left is told from it."""

    def iterate(self) -> Iteration:
        """Collect episodes and learn from them.

        Raises:
            EpisodeFault: not one of the episodes could be finished; the state is as before.
        """

    def evaluate(
        self, *, final: bool, with_random: bool, on_task: Callable[[int, int], None] | None = None
    ) -> dict[str, JSON]:
        """Evaluate on held-out tasks: a line of evaluations.jsonl. It draws from random streams of its own.

        What it returns is plain data with keys of the method's choice. Tables and the line of progress show what
        stands under the keys of docs/run-directory.md (``tasks``, ``summary``, ...), and curves need it:
        ``evaluate_in_training`` (``mql.training.records``) makes it by `measure`.

        Args:
            final: training has ended; otherwise it goes on, and a shorter evaluation will do.
            with_random: what random actions get stands beside it.
            on_task: called with (done, tasks): with 0 first, then as tasks finish. What it raises ends the evaluation.
        """

    def measure(
        self,
        tasks: Sequence[Task],
        *,
        config: Config,
        split: str,
        adapt: bool,
        with_random: bool = False,
        on_task: Callable[[int, TaskResult], None] | None = None,
    ) -> list[TaskResult]:
        """Play evaluation episodes of the first tasks of a split: what `mql evaluate` and `Run.evaluate` ask for.

        Before adaptation (``zero_shot``), and after it (``adapted``; None with `adapt` false, and where the method does
        not adapt) from the same resets. All resets come from ``evaluation_seed`` (``mql.training.records``), so that
        every method, and every training seed, begins its episodes alike.

        Args:
            tasks: in their order in the split, from its first one on.
            config: the run's, as changed for this evaluation in ``adapt``, ``evaluate``, ``collect`` and ``threads``.
            with_random: an episode of random actions of each task stands beside it.
            on_task: called with (index, result) as tasks finish, in order.

        Raises:
            EpisodeFault: no task could be evaluated.
        """

    def tensors(self) -> Mapping[str, torch.Tensor]:
        """All tensors of the state by name, of any dtype and shape: parameters, buffers, optimisers, statistics."""

    def counters(self) -> Mapping[str, JSON]:
        """All else of the state that is no episode. The loop adds ``evaluated`` and ``wall_seconds`` of its own."""

    def restore(
        self,
        tensors: Mapping[str, torch.Tensor],
        counters: Mapping[str, JSON],
        episodes: Iterable[tuple[int, Episode]],
    ) -> None:
        """Take over a state; `episodes` come with their numbers, and begin at or before ``first_live_episode``.

        Raises:
            KeyError: a tensor or counter is missing.
            ValueError: a tensor has another shape.
        """


def restore(learning: Learning, checkpoint: Checkpoint) -> None:
    """Put `learning` into the state that `checkpoint` holds.

    Raises:
        UserError: the checkpoint does not fit the run's configuration, or is damaged.
    """
    try:
        learning.restore(checkpoint.tensors, checkpoint.state, checkpoint.episodes)
    except UserError:
        raise
    except Exception as error:  # what a checkpoint holds may be of any type and shape
        raise misfit(checkpoint, error) from error


def misfit(checkpoint: Checkpoint, error: Exception) -> UserError:
    """Say that a checkpoint is not one of the run's configuration."""
    where = f"{checkpoint.run}/checkpoints/{checkpoint.env_steps}"
    mend = "it was written with other settings or another version; use that version, or another checkpoint"
    return UserError(f"the checkpoint does not fit: {told(error)}", where=where, mend=mend)
