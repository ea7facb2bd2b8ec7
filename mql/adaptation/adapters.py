"""The ways to adapt that `adapt.method` chooses from, and how each of them is made ready and begun.

A new one is a file of its own, a line in `ADAPTERS`, and a word in `adapt.method` (`config/schema.py`). One that makes
gradient steps finds them in `tuning.py`; one that tries agents out on the new task and keeps the best, in `rounds.py`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Protocol

import torch

from mql.adaptation import auto, context, finetune, more_training, paper, relabel, search, simulate
from mql.adaptation.meta_training import MetaTraining
from mql.adaptation.playing import NewTask, Process
from mql.adaptation.result import AdaptationResult, distance_moved
from mql.agent.agent import Agent
from mql.config.schema import AdaptConfig
from mql.errors import UserError
from mql.types import JSON


class Adapter(Protocol):
    """One way to adapt: two functions, of a module for example. Neither changes what meta-training left."""

    def prepare(self, trained: MetaTraining, config: AdaptConfig) -> Any:
        """Return what the method needs of the meta-training, computed once for any number of new tasks.

        Raises:
            UserError: it needs something that is not there, such as a family's reward as a function.
        """

    def process(self, trained: MetaTraining, prepared: Any, config: AdaptConfig, new: NewTask) -> Process:
        """Adapt to `new`: a generator (`playing.py`), which asks for at most ``new.episodes`` episodes.

        What it returns is a function of its arguments and of the episodes that it is sent: equal ones give equal
        results, and several tasks may be adapted in any order.
        """


# Beside the choices of `adapt.method`.
ADAPTERS: Mapping[str, Adapter] = MappingProxyType(
    {
        "auto": auto,
        "context": context,
        "search": search,
        "finetune": finetune,
        "continue": more_training,
        "relabel": relabel,
        "simulate": simulate,
        "paper": paper,
    }
)


@dataclass(frozen=True)
class Adaptation:
    """A method that is ready for any number of new tasks; `prepare` makes one."""

    trained: MetaTraining
    config: AdaptConfig
    prepared: Any

    def begin(self, new: NewTask) -> Process:
        """Adapt to `new`: a generator that asks for episodes, is sent them, and returns the result (`playing.py`).

        Raises (when it is advanced):
            ValueError: it learns from the new task's episodes, but there are none.
            UserError: the adapted agent has numbers that are not finite.
        """
        asked, seconds, resumed = 0, 0.0, time.perf_counter()
        transitions = sum(episode.length for episode in new.given)
        process = self._process(new)
        try:
            request = next(process)
            while True:
                seconds += time.perf_counter() - resumed
                episodes = yield request
                asked += len(episodes)
                transitions += sum(episode.length for episode in episodes)
                if asked > new.episodes:
                    raise RuntimeError(f"{self.config.method} asked for {asked} episodes, its budget is {new.episodes}")
                resumed = time.perf_counter()
                request = process.send(episodes)
        except StopIteration as end:
            result: AdaptationResult = end.value
        self._check_finite(result.agent)
        every: dict[str, JSON] = {
            "method": self.config.method,
            "episodes_charged": len(new.given) + asked,
            "new_transitions": transitions,
            "distance_moved": distance_moved(result.agent, self.trained.agent),
            "adapt_seconds": seconds + time.perf_counter() - resumed,
        }
        return replace(result, report={**result.report, **every})

    def _process(self, new: NewTask) -> Process:
        return ADAPTERS[self.config.method].process(self.trained, self.prepared, self.config, new)

    def _check_finite(self, agent: Agent) -> None:
        for name, tensor in agent.named_tensors():
            if not bool(torch.isfinite(tensor).all()):
                what = f"adaptation diverged: {name} is not finite"
                key = "adapt.lr" if self.config.method == "paper" else "adapt.round_lr"
                rate = self.config.lr if self.config.method == "paper" else self.config.round_lr
                mend = f"use a lower {key} than {rate:g}, and look for extreme numbers in the new data"
                raise UserError(what, where=key, mend=mend)


def prepare(trained: MetaTraining, config: AdaptConfig) -> Adaptation:
    """Make ``config.method`` ready for any number of new tasks.

    Raises:
        UserError: the method needs something that this meta-training does not have.
    """
    return Adaptation(trained, config, ADAPTERS[config.method].prepare(trained, config))
