"""The frame of rounds: collect with the best agent so far, learn, try out, keep what is better.

Every episode of the new task is charged to the budget, those of trying out as well, and all are learned from. An agent
is kept only if it does better than the one before in deterministic episodes from the same starts, by more than chance
would give (`gate.py`). So an adaptation that does not help leaves the meta-trained agent as it was, bit for bit.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from mql.adaptation.gate import Gate
from mql.adaptation.meta_training import MetaTraining
from mql.adaptation.playing import NewTask, Process, Request
from mql.adaptation.result import AdaptationResult, not_finite
from mql.adaptation.tuning import Candidate
from mql.config.schema import AdaptConfig
from mql.types import JSON, Episode

UNTRIED = (1, 3, 5, 10, 20, 40)  # episodes after which a round begins where nothing is tried out


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
    trained: MetaTraining, improver: Improver, config: AdaptConfig, new: NewTask, gate: Gate
) -> Process:
    """Spend the budget in rounds from the meta-trained agent on, and return the best agent with all reports."""
    start = Candidate(trained.agent.copy(), trained.moments)
    outcome = yield from improve(start, improver, config, new, gate)
    return AdaptationResult(outcome.best.agent, {**outcome.report, **improver.report})


def improve(
    start: Candidate, improver: Improver, config: AdaptConfig, new: NewTask, gate: Gate
) -> Generator[Request, Sequence[Episode], Outcome]:
    """Spend the budget of `new` in rounds, from the meta-trained agent `start` on; a part of a `playing.Process`.

    With one episode there is nothing to try out with: what was learned is kept unseen, or nothing is played and learned
    at all.
    """
    if config.gate and gate.starts(new.episodes, familiar=False):
        return (yield from _try_out(start, improver, config, new, gate))
    # Who gives episodes and lets none be played wants them to be learned from.
    if not config.gate or config.accept_unseen or (new.given and not new.episodes):
        ends = unseen_rounds(new.episodes) if not config.gate else [new.episodes]
        return (yield from _keep_unseen(start, improver, config, new, ends=ends))
    return Outcome(start, list(new.given), [])


def unseen_rounds(budget: int) -> list[int]:
    """Return after how many episodes of the budget there is a round each, where nothing is tried out."""
    return [*(end for end in UNTRIED if end < budget), budget]


def _try_out(
    start: Candidate, improver: Improver, config: AdaptConfig, new: NewTask, gate: Gate
) -> Generator[Request, Sequence[Episode], Outcome]:
    """Try out what each round makes.

    The first round learns from the meta-trained agent's own episodes; each later one collects about half as many as
    were played before. Where there was nothing to try, more episodes may tell more.
    """
    best = current = start  # the agent that is kept, and the one that the next round goes on from
    measured = list((yield Request(best.agent, (0,))))
    familiar = gate.is_familiar(measured[0].episode_return)
    tried = gate.starts(new.episodes, familiar=familiar)
    if tried > 1:
        measured += yield Request(best.agent, range(1, tried))
    episodes, spent, next_start = [*new.given, *measured], tried, tried
    rows: list[JSON] = []
    played: list[Episode] = []
    least, turn = 0, 0  # least: episodes that the round has to collect
    while (spare := new.episodes - spent - tried) >= least:
        if turn:
            collect = max(min(spent // 2, spare), least)
            if spare - collect < tried:  # too little for another round
                collect = spare
            if collect:
                starts = range(next_start, next_start + collect)
                episodes += yield Request(current.agent, starts, config.exploration_noise)
                next_start, spent = starts.stop, spent + collect
        candidate = improver.propose(current, episodes, turn)
        turn += 1
        if candidate is None:
            least = 1
            continue
        wrong = not_finite(candidate.agent)
        if wrong is not None:  # nothing to try out; another rate, or more episodes, may do better
            least = 1
            rows.append(_diverged(episodes, wrong))
            continue
        least, played, accepted = 0, [], False
        for place in range(tried):
            played += yield Request(candidate.agent, (place,))
            worse = gate.rejects(_returns(measured[: place + 1]), _returns(played), familiar=familiar)
            if worse or _gives_up_success(measured[place], played[place]):
                break
        else:
            accepted = gate.keeps(_returns(measured), _returns(played), familiar=familiar)
        episodes, spent = [*episodes, *played], spent + len(played)
        before, after = _returns(measured[: len(played)]), _returns(played)
        before_and_after: dict[str, JSON] = {"before": float(before.mean()), "after": float(after.mean())}
        rows.append({"episodes": len(episodes), **before_and_after, "accepted": accepted})
        if accepted:
            best, measured = candidate, played
        current = candidate if config.rollback == "end" else best
    return Outcome(best, episodes, rows)


def _keep_unseen(
    start: Candidate, improver: Improver, config: AdaptConfig, new: NewTask, *, ends: Sequence[int]
) -> Generator[Request, Sequence[Episode], Outcome]:
    """Learn after so many episodes as `ends` says, and keep what comes out; the first ones are played without noise."""
    best, episodes, spent = start, list(new.given), 0
    rows: list[JSON] = []
    for turn, end in enumerate(ends):
        if end > spent:
            episodes += yield Request(best.agent, range(spent, end), config.exploration_noise if turn else 0.0)
            spent = end
        candidate = improver.propose(best, episodes, turn)
        if candidate is None:
            continue
        wrong = not_finite(candidate.agent)
        if wrong is not None:
            rows.append(_diverged(episodes, wrong))
            continue
        best = candidate
        rows.append({"episodes": len(episodes), "before": None, "after": None, "accepted": True})
    return Outcome(best, episodes, rows)


def _diverged(episodes: Sequence[Episode], wrong: str) -> dict[str, JSON]:
    """Return the row of a round whose agent is not kept, because `wrong` in it is not finite."""
    return {"episodes": len(episodes), "before": None, "after": None, "accepted": False, "not_finite": wrong}


def _gives_up_success(before: Episode, after: Episode) -> bool:
    """Tell whether the task was solved `before` and is not `after`, whatever the returns: those say little about it."""
    return bool(before.success) and after.success is False


def _returns(episodes: Sequence[Episode]) -> np.ndarray:
    return np.array([episode.episode_return for episode in episodes])
