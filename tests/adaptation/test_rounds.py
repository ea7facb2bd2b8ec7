"""The frame of rounds: how a budget is spent, what is kept, and that nothing is lost where nothing pays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from mql.adaptation.playing import NewTask, Request
from mql.adaptation.rounds import Outcome, improve, pays, plan_of
from mql.adaptation.tuning import Candidate
from mql.config.schema import AdaptConfig
from mql.types import JSON, Episode


def episode(gain: float) -> Episode:
    reward = np.array([gain], np.float32)
    return Episode(np.zeros((2, 1), np.float32), np.zeros((1, 1), np.float32), reward, False, True, 0, 0)


def candidate(value: float) -> Candidate:
    """An agent whose return is a number."""
    return Candidate(cast("Any", SimpleNamespace(value=value)), {})


class Proposes:
    """Proposes candidates of the given values, one after another, and keeps what it was shown."""

    report: Mapping[str, JSON] = {}

    def __init__(self, *values: float | None) -> None:
        self.values, self.shown = list(values), []  # type: list[float | None], list[tuple[float, int]]

    def propose(self, best: Candidate, episodes: Sequence[Episode], turn: int) -> Candidate | None:
        self.shown.append((cast("Any", best.agent).value, len(episodes)))
        value = self.values[turn] if turn < len(self.values) else None
        return None if value is None else candidate(value)


def spend(budget: int, improver: Proposes, *, noise: float = 0.0, **settings: Any) -> tuple[Outcome, list[Request]]:
    """Spend a budget on a task whose returns are the agents' values, at every start."""
    config = AdaptConfig(**settings)
    process = improve(candidate(0.0), improver, config, NewTask(budget, 0), return_noise=noise)
    asked: list[Request] = []
    try:
        request = next(process)
        while True:
            asked.append(request)
            request = process.send([episode(cast("Any", request.agent).value) for _ in request.starts])
    except StopIteration as end:
        return end.value, asked


@pytest.mark.parametrize("gate", [True, False])
@pytest.mark.parametrize("budget", range(60))
def test_a_budget_is_spent_to_the_last_episode_and_never_more(budget: int, gate: bool) -> None:
    plan = plan_of(budget, gate=gate, accept_unseen=True)
    assert plan.first + sum(one.collect + one.tried for one in plan.rounds) == budget
    assert all(one.collect >= 0 for one in plan.rounds)
    if gate and budget >= 2:  # whatever is learned is tried out, as often as the agent before
        assert {one.tried for one in plan.rounds} == {plan.first} and plan.first > 0


def test_what_is_worse_is_rolled_back_and_what_is_better_is_gone_on_from() -> None:
    improver = Proposes(-1.0, 2.0, 1.5)
    outcome, asked = spend(5, improver)
    assert cast("Any", outcome.best.agent).value == 2.0
    assert [row["accepted"] for row in outcome.rounds] == [False, True, False]
    assert [(row["before"], row["after"]) for row in outcome.rounds] == [(0.0, -1.0), (0.0, 2.0), (2.0, 1.5)]
    assert [value for value, _ in improver.shown] == [0.0, 0.0, 2.0]
    assert outcome.report["accepted"]
    assert sum(len(request.starts) for request in asked) == len(outcome.episodes) == 5
    # Candidates are tried out without noise from the starts that the first agent had.
    quiet = [request for request in asked if request.noise == 0.0]
    assert len(quiet) == 4 and all(tuple(request.starts) == (0,) for request in quiet)
    [noisy] = [request for request in asked if request.noise]
    assert 0 not in noisy.starts


def test_where_nothing_pays_the_agent_is_the_one_it_was() -> None:
    start = candidate(0.0)
    improver = Proposes(-1.0, 0.0, -0.1)
    process = improve(start, improver, AdaptConfig(), NewTask(5, 0), return_noise=0.0)
    try:
        request = next(process)
        while True:
            request = process.send([episode(cast("Any", request.agent).value) for _ in request.starts])
    except StopIteration as end:
        assert end.value.best is start and end.value.report["accepted"] is False


@pytest.mark.parametrize(("accept", "gate", "kept"), [(False, True, 0.0), (True, True, 3.0), (False, False, 3.0)])
def test_with_one_episode_what_was_learned_is_kept_only_if_that_is_wanted(
    accept: bool, gate: bool, kept: float
) -> None:
    outcome, asked = spend(1, Proposes(3.0), accept_unseen=accept, gate=gate)
    assert cast("Any", outcome.best.agent).value == kept and len(asked) == bool(kept)
    assert [row["after"] for row in outcome.rounds] == ([None] if kept else [])


def test_without_a_proposal_no_further_episode_is_played() -> None:
    outcome, asked = spend(20, Proposes(None))
    assert len(asked) == 1 and len(outcome.episodes) == 2 and outcome.rounds == []


def test_a_gain_counts_only_beyond_chance() -> None:
    before = np.zeros(2)
    # By the noise of returns: the standard error of the difference of two means of two is the noise itself.
    assert not pays(before, np.array([0.9, 0.9]), 1.0, margin=1.0)
    assert pays(before, np.array([1.1, 1.1]), 1.0, margin=1.0)
    assert not pays(before, np.array([1.1, 1.1]), 1.0, margin=2.0)
    # By the pairs' own spread: mean 1, standard deviation sqrt(18), standard error 3.
    assert not pays(before, np.array([-2.0, 4.0]), 0.0, margin=1.0)
    assert pays(before, np.array([-2.0, 4.0]), 0.0, margin=0.3)
    assert not pays(before, before, 0.0, margin=0.0)


def test_too_small_a_gain_is_left_out() -> None:
    outcome, _ = spend(2, Proposes(1.0), noise=1.0, gate_margin=1.0)  # one episode each: an error of sqrt(2)
    assert cast("Any", outcome.best.agent).value == 0.0
    outcome, _ = spend(2, Proposes(1.5), noise=1.0, gate_margin=1.0)
    assert cast("Any", outcome.best.agent).value == 1.5
