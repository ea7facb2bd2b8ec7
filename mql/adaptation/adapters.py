"""The ways to adapt that `adapt.method` chooses from.

A new one is a file of its own, a line in `ADAPTERS`, and a word in `adapt.method` (`config/schema.py`). One that makes
gradient steps finds the new episodes as batches in `new_data.py`; ``agent.copy().learner(lr=config.lr)`` learns from
them, and a pull needs ``anchor=agent`` and a ``proximal_coef``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Protocol

import torch

from mql.adaptation import context, paper
from mql.adaptation.result import AdaptationResult
from mql.agent.agent import Agent
from mql.config.schema import AdaptConfig
from mql.errors import UserError
from mql.learning.replay import Replay
from mql.threads import side_by_side
from mql.types import Episode


class Adapter(Protocol):
    """One way to adapt: two functions, of a module for example. Neither changes the agent."""

    def prepare(self, agent: Agent, replay: Replay, config: AdaptConfig) -> Any:
        """Return what the method needs of the meta-training data (not None), computed once for any number of tasks."""

    def adapt(
        self, agent: Agent, meta: Any, episodes: Sequence[Episode], config: AdaptConfig, *, seed: int
    ) -> AdaptationResult:
        """Adapt `agent` to the task that `episodes` come from; `meta` is what `prepare` gave.

        A pure function of its arguments: equal ones give equal results, and several tasks may be adapted in any order.
        """


# Beside the choices of `adapt.method`.
ADAPTERS: Mapping[str, Adapter] = MappingProxyType({"paper": paper, "context": context})


def prepare(agent: Agent, replay: Replay, config: AdaptConfig) -> Any:
    """Return what ``config.method`` needs of the meta-training data, computed once for any number of new tasks."""
    return ADAPTERS[config.method].prepare(agent, replay, config)


def adapt(agent: Agent, meta: Any, episodes: Sequence[Episode], config: AdaptConfig, *, seed: int) -> AdaptationResult:
    """Adapt `agent` by ``config.method`` to the task that `episodes` come from; `agent` stays as it is.

    Args:
        agent: the meta-trained agent.
        meta: from `prepare` with the same agent and method.
        episodes: the new task's data, collected with `agent`.
        seed: of all random draws.

    Raises:
        ValueError: there is no new data.
        UserError: the adapted agent has numbers that are not finite.
    """
    if not episodes:
        raise ValueError("adaptation needs at least one episode of the new task")
    adapted = ADAPTERS[config.method].adapt(agent, meta, episodes, config, seed=seed)
    for name, tensor in adapted.agent.named_tensors():
        if not bool(torch.isfinite(tensor).all()):
            what = f"adaptation diverged: {name} is not finite"
            mend = f"use a lower adapt.lr than {config.lr:g}, and look for extreme numbers in the new data"
            raise UserError(what, where="adapt.lr", mend=mend)
    return adapted


def adapt_all(
    agent: Agent,
    meta: Any,
    data: Sequence[Sequence[Episode]],
    config: AdaptConfig,
    *,
    seeds: Sequence[int],
    threads: int = 1,
) -> Iterator[AdaptationResult]:
    """Yield for each task, in order, what `adapt` gives with its episodes in `data` and its seed in `seeds`.

    `threads` tasks are adapted at the same time, each with one thread; equal results for any number of them.
    """

    def one(task: tuple[Sequence[Episode], int]) -> AdaptationResult:
        return adapt(agent, meta, task[0], config, seed=task[1])

    return side_by_side(one, list(zip(data, seeds, strict=True)), threads=threads)
