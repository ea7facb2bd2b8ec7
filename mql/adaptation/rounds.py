"""The frame of rounds: collect with the best agent so far, learn, try out, keep what is better.

Every episode of the new task is charged to the budget, those of trying out as well, and all are learned from. An agent
is kept only if it does better than the one before in a few deterministic episodes from the same starts, by more than
chance would give: an adaptation that does not pay leaves the meta-trained agent as it was, bit for bit.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np

from mql.adaptation.meta_training import MetaTraining
from mql.adaptation.playing import NewTask, Process, Request
from mql.adaptation.result import AdaptationResult
from mql.adaptation.tuning import Candidate
from mql.config.schema import AdaptConfig
from mql.types import JSON, Episode

UNTRIED = (1, 3, 5, 10, 20, 40)  # episodes after which a round begins where nothing is tried out
TRIED_OUT = ((8, 2), (2, 1))  # from this budget on, so many episodes of each agent that is tried out


class Improver(Protocol):
    """What makes another agent of the best one so far."""

    @property
    def report(self) -> Mapping[str, JSON]:
        """What it has to say of its proposals, beside the rounds."""
        ...

    def propose(self, best: Candidate, episodes: Sequence[Episode], turn: int) -> Candidate | None:
        """Return another candidate, having seen all `episodes` of the new task so far; None: there is none to try."""
        ...


@dataclass(frozen=True)
class Round:
    """One round: `collect` episodes with exploration, then learning, then `tried` episodes of what was learned."""

    collect: int
    tried: int


@dataclass(frozen=True)
class Plan:
    """How a budget is spent: `first` deterministic episodes of the meta-trained agent, then rounds."""

    first: int
    rounds: tuple[Round, ...]


@dataclass(frozen=True)
class Outcome:
    """The best agent, all episodes of the new task, and how it went: a row of figures for each round."""

    best: Candidate
    episodes: Sequence[Episode]
    rounds: Sequence[JSON]

    @property
    def report(self) -> dict[str, JSON]:
        """Of an adaptation in rounds: whether anything was kept, and the rounds."""
        return {"accepted": any(one["accepted"] for one in self.rounds), "rounds": list(self.rounds)}


def adapt_in_rounds(
    trained: MetaTraining, improver: Improver, config: AdaptConfig, new: NewTask, *, return_noise: float
) -> Process:
    """Spend the budget in rounds from the meta-trained agent on, and return the best agent with all reports."""
    start = Candidate(trained.agent.copy(), trained.moments)
    outcome = yield from improve(start, improver, config, new, return_noise=return_noise)
    return AdaptationResult(outcome.best.agent, {**outcome.report, **improver.report})


def plan_of(budget: int, *, gate: bool = True, accept_unseen: bool = False) -> Plan:
    """Share out a budget of episodes.

    The first round learns from the meta-trained agent's episodes alone; each later one collects about half as many as
    were played before. With one episode there is nothing to try out with: what was learned is kept unseen, or nothing
    is played and learned at all.
    """
    tried = next((count for least, count in TRIED_OUT if budget >= least), 0)
    if not gate:
        ends = [end for end in UNTRIED if end < budget] + [budget]
        return Plan(ends[0], (Round(0, 0), *(Round(end - before, 0) for before, end in pairwise(ends))))
    if not tried:
        return Plan(budget, (Round(0, 0),)) if accept_unseen else Plan(0, ())
    rounds, spent = [Round(0, tried)], 2 * tried
    while budget - spent >= tried:
        left = budget - spent
        collect = min(spent // 2, left - tried)
        if left - tried - collect < tried:  # too little for another round
            collect = left - tried
        rounds.append(Round(collect, tried))
        spent += collect + tried
    return Plan(tried, tuple(rounds))


def improve(
    start: Candidate, improver: Improver, config: AdaptConfig, new: NewTask, *, return_noise: float
) -> Generator[Request, Sequence[Episode], Outcome]:
    """Spend the budget of `new` in rounds; a part of a `playing.Process`.

    Args:
        start: the meta-trained agent.
        return_noise: standard deviation of the return of one episode, where nothing changes but chance.
    """
    # Who gives episodes and lets none be played wants them to be learned from.
    unseen = config.accept_unseen or (bool(new.given) and not new.episodes)
    plan = plan_of(new.episodes, gate=config.gate, accept_unseen=unseen)
    episodes, best, next_start = list(new.given), start, plan.first
    measured: np.ndarray = np.zeros(0)
    if plan.first:
        played = yield Request(best.agent, range(plan.first))
        episodes += played
        measured = _returns(played)
    rows: list[JSON] = []
    for turn, one in enumerate(plan.rounds):
        if one.collect:
            starts = range(next_start, next_start + one.collect)
            episodes += yield Request(best.agent, starts, config.exploration_noise)
            next_start = starts.stop
        candidate = improver.propose(best, episodes, turn)
        if candidate is None:
            break
        row: dict[str, JSON] = {"episodes": len(episodes), "before": _mean(measured)}
        if one.tried:
            played = yield Request(candidate.agent, range(one.tried))
            episodes += played
            returns = _returns(played)
            accepted = pays(measured, returns, return_noise, margin=config.gate_margin)
            row |= {"episodes": len(episodes), "after": _mean(returns), "accepted": accepted}
            if accepted:
                best, measured = candidate, returns
        else:
            row |= {"after": None, "accepted": True}
            best = candidate
        rows.append(row)
    return Outcome(best, episodes, rows)


def pays(before: np.ndarray, after: np.ndarray, noise: float, *, margin: float) -> bool:
    """Tell whether returns `after` [n] are better than `before` [n], of the same starts, by more than chance gives.

    The mean difference has to be larger than `margin` standard errors: those that `noise`, the standard deviation of a
    single return, leads to, or those of the paired differences where these vary more.
    """
    difference = after - before
    error = noise * np.sqrt(2.0 / len(difference))
    if len(difference) > 1:
        error = max(error, float(difference.std(ddof=1)) / np.sqrt(len(difference)))
    return bool(difference.mean() > margin * error)


def _returns(episodes: Sequence[Episode]) -> np.ndarray:
    return np.array([episode.episode_return for episode in episodes])


def _mean(returns: np.ndarray) -> float | None:
    return float(returns.mean()) if len(returns) else None
