"""The ways to adapt that `adapt.method` chooses from, and how each of them is made ready and begun.

A new one is a file of its own, a line in `ADAPTERS`, and a word in `adapt.method` (`config/schema.py`). One that makes
gradient steps finds them in `tuning.py`; one that tries agents out on the new task and keeps the best, in `rounds.py`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np

from mql.adaptation import auto, context, finetune, more_training, paper, relabel, search, simulate
from mql.adaptation.meta_training import MetaTraining
from mql.adaptation.playing import NewTask, Process
from mql.adaptation.result import AdaptationResult, distance_moved, not_finite
from mql.agent.agent import Agent
from mql.config.schema import AdaptConfig
from mql.errors import told
from mql.tasks.fault import EpisodeFault
from mql.types import JSON, Episode

LOOKED_AT = 100  # observations of the last episode in which the adapted policy is looked at


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

        What can't be learned from ends no evaluation: the result is then the meta-trained agent, and its report says
        under ``failed`` what went wrong.

        Raises (when it is advanced):
            UserError: it learns from the new task's episodes, but there are none.
        """
        asked, seconds, resumed = 0, 0.0, time.perf_counter()
        transitions, seen = sum(episode.length for episode in new.given), list(new.given[-1:])
        process = self._process(new)
        try:
            request = next(process)
            while True:
                seconds += time.perf_counter() - resumed
                episodes = yield request  # where `carry_out` may throw, too
                asked += len(episodes)
                transitions += sum(episode.length for episode in episodes)
                seen = list(episodes[-1:]) or seen
                if asked > new.episodes:
                    raise RuntimeError(f"{self.config.method} asked for {asked} episodes, its budget is {new.episodes}")
                resumed = time.perf_counter()
                request = process.send(episodes)
        except StopIteration as end:
            result = self._checked(end.value, seen)
        except (ValueError, ArithmeticError, EpisodeFault) as error:  # of numbers, or of a training task's simulator
            resumed = time.perf_counter()
            result = self._failed(told(error))
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

    def _checked(self, result: AdaptationResult, seen: Sequence[Episode]) -> AdaptationResult:
        """Return a result, or that of a failure where its agent is not finite, or does not act in what was `seen`.

        It is one, too, where not one of its rounds had a finite agent to try out.
        """
        rounds: Sequence[Mapping[str, JSON]] = result.report.get("rounds") or [{}]
        wrong = not_finite(result.agent) or (rounds[0].get("not_finite") if all(map(_no_numbers, rounds)) else None)
        if wrong is None and not acts(result.agent, seen):
            wrong = "what the adapted policy computes"
        if wrong is None:
            return result
        paper = self.config.method == "paper"
        key, rate = ("adapt.lr", self.config.lr) if paper else ("adapt.round_lr", self.config.round_lr)
        mend = f"use a lower {key} than {rate:g}, and look for extreme numbers in the new data"
        return self._failed(f"{wrong} is not finite: {mend}")

    def _failed(self, why: str) -> AdaptationResult:
        return AdaptationResult(self.trained.agent.copy(), {"failed": why, "accepted": False})


def _no_numbers(one: Mapping[str, JSON]) -> bool:
    return "not_finite" in one


def acts(agent: Agent, seen: Sequence[Episode]) -> bool:
    """Tell whether the actions of an agent are finite in each of the observations of episodes, as their first one."""
    policy = agent.policy()
    obs = np.concatenate([np.zeros((1, agent.obs_dim), np.float32), *(episode.obs[:LOOKED_AT] for episode in seen)])
    return bool(np.isfinite(policy.act(obs, policy.begin(len(obs)))).all())


def prepare(trained: MetaTraining, config: AdaptConfig) -> Adaptation:
    """Make ``config.method`` ready for any number of new tasks.

    Raises:
        UserError: the method needs something that this meta-training does not have.
    """
    return Adaptation(trained, config, ADAPTERS[config.method].prepare(trained, config))
