"""The frame of rounds: how a budget is spent, what is kept, and that nothing is lost where nothing pays."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from mql.adaptation.gate import Gate, gate_of
from mql.adaptation.meta_training import MetaTraining
from mql.adaptation.playing import NewTask, Request
from mql.adaptation.rounds import Outcome, improve
from mql.adaptation.tuning import Candidate
from mql.config.schema import AdaptConfig
from mql.learning.replay import Replay
from mql.types import JSON, Episode


def episode(gain: float) -> Episode:
    reward = np.array([gain], np.float32)
    return Episode(np.zeros((2, 1), np.float32), np.zeros((1, 1), np.float32), reward, False, True, 0, 0)


def candidate(value: float) -> Candidate:
    """An agent whose return is a number."""
    return Candidate(cast("Any", SimpleNamespace(value=value, named_tensors=dict)), {})


class Proposes:
    """Proposes candidates of the given values, one after another, and keeps what it was shown."""

    report: Mapping[str, JSON] = {}

    def __init__(self, *values: float | None) -> None:
        self.values, self.shown = list(values), []  # type: list[float | None], list[tuple[float, int]]

    def propose(self, best: Candidate, episodes: Sequence[Episode], turn: int) -> Candidate | None:
        self.shown.append((cast("Any", best.agent).value, len(episodes)))
        value = self.values[turn] if turn < len(self.values) else None
        return None if value is None else candidate(value)


STRANGE = Gate(noise=0.0, familiar_from=math.inf, margin=0.0)  # whatever the return
FAMILIAR = Gate(noise=0.0, familiar_from=-math.inf, margin=0.0)


def spend(budget: int, improver: Proposes, gate_: Gate = FAMILIAR, **settings: Any) -> tuple[Outcome, list[Request]]:
    """Spend a budget on a task whose returns are the agents' values, at every start."""
    process = improve(candidate(0.0), improver, AdaptConfig(**settings), NewTask(budget, 0), gate_)
    asked: list[Request] = []
    try:
        request = next(process)
        while True:
            asked.append(request)
            request = process.send([episode(cast("Any", request.agent).value) for _ in request.starts])
    except StopIteration as end:
        return end.value, asked


@pytest.mark.parametrize("value", [1.0, -1.0], ids=["all are kept", "all are rolled back"])
@pytest.mark.parametrize("gate", [FAMILIAR, STRANGE, None], ids=["familiar", "strange", "no gate"])
@pytest.mark.parametrize("budget", range(60))
def test_a_budget_is_never_overspent_and_nothing_that_would_do_for_a_round_is_left(
    budget: int, gate: Gate | None, value: float
) -> None:
    improver = Proposes(*(value * turn for turn in range(1, 61)))
    outcome, asked = spend(budget, improver, gate or FAMILIAR, gate=gate is not None)
    spent = sum(len(request.starts) for request in asked)
    assert spent == len(outcome.episodes) <= budget
    if gate is None:
        assert spent == budget
    elif budget < 2:
        assert spent == 0
    else:
        assert budget - spent < (2 if budget >= (4 if gate is FAMILIAR else 8) else 1)


def test_what_is_worse_is_rolled_back_and_what_is_better_is_gone_on_from() -> None:
    improver = Proposes(-1.0, 2.0, 1.5, 3.0)
    outcome, asked = spend(14, improver)
    assert [row["accepted"] for row in outcome.rounds] == [False, True, False, True]
    assert [(row["before"], row["after"]) for row in outcome.rounds] == [
        (0.0, -1.0),
        (0.0, 2.0),
        (2.0, 1.5),
        (2.0, 3.0),
    ]
    assert [value for value, _ in improver.shown] == [0.0, 0.0, 2.0, 2.0]
    assert cast("Any", outcome.best.agent).value == 3.0 and outcome.report["accepted"]
    assert sum(len(request.starts) for request in asked) == len(outcome.episodes) == 14
    # Candidates are tried out without noise from the starts that the first agent had, one after another: what is worse
    # from the first of them plays no second one.
    quiet = [(cast("Any", each.agent).value, tuple(each.starts)) for each in asked if each.noise == 0.0]
    assert quiet == [
        (0.0, (0,)),
        (0.0, (1,)),
        (-1.0, (0,)),
        (2.0, (0,)),
        (2.0, (1,)),
        (1.5, (0,)),
        (3.0, (0,)),
        (3.0, (1,)),
    ]
    noisy = [start for request in asked if request.noise for start in request.starts]
    assert noisy and not {0, 1} & set(noisy) and len(set(noisy)) == len(noisy)


def test_rounds_may_go_on_from_what_did_worse_and_the_best_of_all_is_kept() -> None:
    improver = Proposes(-1.0, 2.0, -3.0, 1.5)
    outcome, asked = spend(18, improver, STRANGE, rollback="end")
    assert [value for value, _ in improver.shown] == [0.0, -1.0, 2.0, -3.0]
    assert [row["accepted"] for row in outcome.rounds] == [False, True, False, False]
    assert cast("Any", outcome.best.agent).value == 2.0
    assert [cast("Any", request.agent).value for request in asked if request.noise] == [-1.0, 2.0, -3.0]


def test_what_is_better_from_one_start_only_is_rolled_back() -> None:
    process = improve(candidate(0.0), Proposes(1.0), AdaptConfig(), NewTask(4, 0), FAMILIAR)
    assert tuple(next(process).starts) == (0,)
    assert tuple(process.send([episode(0.0)]).starts) == (1,)
    assert tuple(process.send([episode(0.0)]).starts) == (0,)
    assert tuple(process.send([episode(9.0)]).starts) == (1,)
    with pytest.raises(StopIteration) as end:
        process.send([episode(-0.1)])
    assert end.value.value.report["accepted"] is False


def test_where_nothing_pays_the_agent_is_the_one_it_was() -> None:
    start = candidate(0.0)
    improver = Proposes(-1.0, 0.0, -0.1)
    process = improve(start, improver, AdaptConfig(), NewTask(5, 0), FAMILIAR)
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


def test_where_there_is_nothing_to_try_more_episodes_are_collected() -> None:
    improver = Proposes(None, None, 3.0)
    outcome, _ = spend(20, improver)
    assert [count for _, count in improver.shown[:3]] == [2, 3, 4] and outcome.rounds[0]["accepted"]
    outcome, asked = spend(20, Proposes(None))
    assert outcome.rounds == [] and len(outcome.episodes) == 18 == sum(len(each.starts) for each in asked)
    improver = Proposes(None, None, 3.0)
    outcome, _ = spend(5, improver, gate=False)
    assert cast("Any", outcome.best.agent).value == 3.0 and len(outcome.episodes) == 5


@pytest.mark.parametrize("familiar", [True, False])
@pytest.mark.parametrize(
    ("before", "after", "kept"), [(True, True, 1), (True, False, 0), (False, False, 1), (None, None, 1)]
)
def test_what_solved_the_task_is_not_given_up_for_a_higher_return(
    familiar: bool, before: bool | None, after: bool | None, kept: int
) -> None:
    process = improve(candidate(0.0), Proposes(5.0), AdaptConfig(), NewTask(2, 0), FAMILIAR if familiar else STRANGE)
    next(process)
    process.send([replace(episode(0.0), success=before)])
    with pytest.raises(StopIteration) as end:
        process.send([replace(episode(5.0), success=after)])
    assert end.value.value.report["accepted"] is bool(kept)


def test_the_first_episode_says_whether_a_task_is_strange_whatever_comes_later() -> None:
    """From 0 to 1.2 crosses the line at 1; what is better by 0.3 is kept after it as before."""
    gate = Gate(noise=1.0, familiar_from=1.0, margin=0.1)
    outcome, asked = spend(7, Proposes(1.2, 1.5), gate)
    assert [row["accepted"] for row in outcome.rounds[:2]] == [True, True]
    assert all(tuple(request.starts) == (0,) for request in asked if not request.noise)  # one start each to the end


def test_in_a_strange_task_one_start_is_enough_for_a_small_budget_and_the_mean_decides() -> None:
    outcome, asked = spend(5, Proposes(-1.0, 2.0, 1.5), STRANGE)
    assert [row["accepted"] for row in outcome.rounds] == [False, True, False]
    assert [tuple(request.starts) for request in asked if not request.noise] == [(0,)] * 4
    process = improve(candidate(0.0), Proposes(1.0), AdaptConfig(), NewTask(8, 0), STRANGE)
    next(process)
    for value in (0.0, 0.0, 9.0):
        process.send([episode(value)])
    process.send([episode(-0.1)])  # worse from the second start, better on average: another round begins
    process.close()


def test_in_a_strange_task_a_loss_beyond_chance_ends_the_trial() -> None:
    noisy = replace(STRANGE, noise=1.0)  # one start: an error of sqrt(2)
    outcome, asked = spend(8, Proposes(-1.5, -1.25), noisy)
    assert [(row["before"], row["after"]) for row in outcome.rounds[:2]] == [(0.0, -1.5), (0.0, -1.25)]
    tried = [cast("Any", request.agent).value for request in asked if not request.noise]
    assert tried == [0.0, 0.0, -1.5, -1.25, -1.25]


def keeps(before: Sequence[float], after: Sequence[float], **figures: float) -> bool:
    given = {"noise": 0.0, "familiar_from": math.inf, "margin": 1.0} | figures
    gate = Gate(**given)
    return gate.keeps(np.array(before), np.array(after), familiar=gate.is_familiar(before[0]))


def test_a_gain_counts_only_beyond_chance() -> None:
    # By the noise of returns: the standard error of the difference of two means of two is the noise itself.
    assert not keeps([0, 0], [0.9, 0.9], noise=1.0)
    assert keeps([0, 0], [1.1, 1.1], noise=1.0)
    assert not keeps([0, 0], [1.1, 1.1], noise=1.0, margin=2.0)
    # By the pairs' own spread: mean 1, standard deviation sqrt(18), standard error 3.
    assert not keeps([0, 0], [-2.0, 4.0])
    assert keeps([0, 0], [-2.0, 4.0], margin=0.3)
    assert not keeps([0, 0], [0, 0], margin=0.0)


def test_in_a_familiar_task_every_start_has_to_be_better() -> None:
    assert not keeps([0, 0], [-0.1, 50.0], margin=0.0, familiar_from=0.0)
    assert keeps([0, 0], [0.1, 50.0], margin=0.0, familiar_from=0.0)
    assert keeps([0, 0], [-0.1, 50.0], margin=0.0, familiar_from=0.1)


def test_what_is_familiar_is_what_training_tasks_gave() -> None:
    """The newest four episodes of each of ten tasks count: of returns 0 to 39, a quarter falls below 9.75."""
    replay = Replay(n_tasks=10, obs_dim=1, action_dim=1, capacity=100, episode_length=1, context_dim=0)
    for value in (*[-1e6] * 30, *range(40)):
        task = 0 if value < 0 else int(value) % 10
        replay.append(replace(episode(float(value)), task=task))
    gate = gate_of(MetaTraining(cast("Any", None), replay), AdaptConfig(gate_margin=0.2))
    assert gate.familiar_from == pytest.approx(9.75) and gate.margin == 0.2
    assert gate.noise == pytest.approx(np.std([0, 10, 20, 30], ddof=1))  # within a task
    assert not gate.is_familiar(9.7) and gate.is_familiar(9.8)
    assert [gate.starts(budget, familiar=True) for budget in (1, 2, 4)] == [0, 1, 2]
    assert [gate.starts(budget, familiar=False) for budget in (1, 2, 7, 8)] == [0, 1, 1, 2]


def test_too_small_a_gain_is_left_out() -> None:
    noisy = replace(STRANGE, noise=1.0, margin=1.0)  # one episode each: an error of sqrt(2)
    outcome, _ = spend(2, Proposes(1.0), noisy)
    assert cast("Any", outcome.best.agent).value == 0.0
    outcome, _ = spend(2, Proposes(1.5), noisy)
    assert cast("Any", outcome.best.agent).value == 1.5
