"""`auto`: ways in turn, one after another as they are rolled back; and when a training task's context is borrowed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from mql.adaptation.auto import Borrowing, InTurn
from mql.adaptation.rewards import TaskFinder
from mql.adaptation.training_tasks import TrainingTasks
from mql.adaptation.tuning import Candidate
from mql.agent.agent import Agent
from mql.config.schema import AgentConfig
from mql.tasks import registry
from mql.types import JSON, Episode

FAMILY = registry.load("reacher-goal")
TRAIN = FAMILY.tasks("train")


class Way:
    """Proposes `count` candidates, then none."""

    def __init__(self, name: str, count: int = 100) -> None:
        self.name, self.left = name, count
        self.report: Mapping[str, JSON] = {name: True}

    def propose(self, best: Candidate, episodes: Sequence[Episode], turn: int) -> Candidate | None:
        self.left -= 1
        return Candidate(cast("Any", SimpleNamespace(of=self.name)), {}) if self.left >= 0 else None


def played(kept: Sequence[bool], *ways: Way) -> list[str | None]:
    """Whose proposals were asked for, one after another, if `kept` says which were kept."""
    improver, best, names = InTurn({way.name: way for way in ways}), Candidate(cast("Any", None), {}), []
    for turn, keeps in enumerate(kept):
        candidate = improver.propose(best, [], turn)
        names.append(cast("Any", candidate.agent).of if candidate else None)
        if keeps and candidate:
            best = candidate
    assert [name for name in names if name] == improver.report["by"]
    return names


def test_what_is_kept_goes_on_and_what_is_rolled_back_gives_its_turn_away() -> None:
    assert played([False] * 5, Way("a"), Way("b")) == ["a", "b", "a", "b", "a"]
    assert played([True, True, False, True, True], Way("a"), Way("b")) == ["a", "a", "a", "b", "b"]
    assert played([True, True, True], Way("a", 1), Way("b")) == ["a", "b", "b"]
    assert played([False, False, False], Way("a", 1), Way("b", 1)) == ["a", "b", None]
    assert played([True, True], Way("a")) == ["a", "a"]


def borrowed(own: float, *, known: bool) -> tuple[Candidate | None, Mapping[str, JSON]]:
    """Borrow for a new target next to the third training target; the agent's own first return is `own`."""
    rng = np.random.default_rng(0)
    agent = Agent(8, 2, AgentConfig.model_validate({"hidden_sizes": (16,), "context_dim": 4}), seed=0)
    stored = []
    with FAMILY.make(TRAIN[0]) as environment:
        for place in range(6):
            obs = [environment.reset(seed=place)[0]]
            actions = rng.uniform(-0.2, 0.2, (20, 2)).astype(np.float32)
            obs += [environment.step(action)[0] for action in actions]
            seen = np.array(obs, np.float32)
            reward = FAMILY.reward(seen[:-1], seen[1:], actions, TRAIN[place])
            assert reward is not None
            stored.append(Episode(seen, actions, reward.astype(np.float32), False, True, place, 0))
    # The third task's episode stays at its target: as if its agent had solved it.
    here = FAMILY.task({"target": tuple(float(v) for v in stored[2].obs[5, 6:8])})
    still = np.repeat(stored[2].obs[5:6], 21, axis=0)
    at_rest = np.zeros((20, 2), np.float32)
    stored[2] = Episode(
        still, at_rest, cast("Any", FAMILY.reward(still[:-1], still[1:], at_rest, TRAIN[2])), False, True, 2, 0
    )
    tasks = TrainingTasks(np.arange(6), rng.normal(size=(6, 4)).astype(np.float32), stored)
    reward = np.asarray(FAMILY.reward(stored[0].obs[:-1], stored[0].obs[1:], stored[0].action, here), np.float32)
    first = Episode(stored[0].obs, stored[0].action, reward, False, True, 0, 0)
    if own is not None:
        first = Episode(stored[0].obs, stored[0].action, reward + (own - reward.sum()) / 20, False, True, 0, 0)
    improver = Borrowing(tasks, TaskFinder(FAMILY, known=here if known else None, seed=0))
    return improver.propose(Candidate(agent, {}), [first], 0), improver.report


def test_a_context_is_borrowed_where_stored_episodes_are_worth_more() -> None:
    candidate, report = borrowed(-5.0, known=True)
    assert candidate is not None and report["context_of"] == 2
    assert report["stored_return"] == pytest.approx(0.0, abs=1e-4) and report["own_return"] == pytest.approx(-5.0)
    assert borrowed(0.1, known=True)[0] is None  # the agent does better than anything stored


def test_without_a_task_that_the_rewards_tell_nothing_is_borrowed() -> None:
    # Shifted rewards are explained by no target.
    candidate, report = borrowed(-50.0, known=False)
    assert candidate is None and report == {}
