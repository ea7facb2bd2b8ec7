"""The half of a `Learning` that evaluates, for methods that are measured by what their agent plays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from mql.adaptation.adapters import Adaptation
from mql.agent.agent import Agent
from mql.config.schema import AdaptConfig, Config
from mql.evaluation.held_out import TaskResult
from mql.tasks.family import Task, TaskFamily
from mql.training.learning import Learning
from mql.training.records import evaluate_in_training, measure_agent
from mql.types import JSON


class _WithAgent(Learning, Protocol):
    """What `MeasuredByAgent` is mixed into."""

    @property
    def config(self) -> Config:
        """The run's."""

    @property
    def family(self) -> TaskFamily:
        """What it learns."""

    @property
    def agent(self) -> Agent:
        """The policy of now, without exploration noise."""

    def adaptation(self, config: AdaptConfig) -> Adaptation | None:
        """See `MeasuredByAgent`."""


class MeasuredByAgent:
    """``evaluate`` and ``measure`` of a `Learning` by its ``agent``, ``config`` and ``family``."""

    def adaptation(self, config: AdaptConfig) -> Adaptation | None:
        """Return what `agent` adapts by; None: it does not adapt."""
        del config
        return None

    def evaluate(
        self: _WithAgent, *, final: bool, with_random: bool, on_task: Callable[[int, int], None] | None = None
    ) -> dict[str, JSON]:
        """Evaluate on held-out tasks; see `Learning`."""
        return evaluate_in_training(
            self, self.config, self.family, final=final, with_random=with_random, on_task=on_task
        )

    def measure(
        self: _WithAgent,
        tasks: Sequence[Task],
        *,
        config: Config,
        split: str,
        adapt: bool,
        with_random: bool = False,
        on_task: Callable[[int, TaskResult], None] | None = None,
    ) -> list[TaskResult]:
        """Evaluate the agent on the first tasks of a split, zero-shot and adapted; see `Learning`.

        Raises:
            EpisodeFault: no task could be evaluated.
        """
        return measure_agent(
            self.agent,
            self.family,
            tasks,
            config=config,
            split=split,
            adaptation=self.adaptation(config.adapt) if adapt else None,
            with_random=with_random,
            on_task=on_task,
        )
