"""Relabelled episodes and hidden tasks found from rewards, against the rewards that the simulator itself gives."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from mql.adaptation.rewards import TaskFinder, find_task, relabelled
from mql.agent.agent import Agent
from mql.collecting.exploration import random_actions
from mql.collecting.rollout import collect
from mql.config.schema import AgentConfig
from mql.errors import UserError
from mql.tasks import registry
from mql.tasks.distributions import Normal
from mql.tasks.family import Task, TaskFamily
from mql.types import Episode


def played(family: TaskFamily, tasks: Sequence[Task]) -> list[Episode]:
    """One episode of each task with random actions, all from the same start and with the same actions."""
    agent = Agent(family.obs_dim, family.action_dim, AgentConfig(hidden_sizes=(8,), context_dim=4), seed=0)
    rngs = [np.random.default_rng(0) for _ in tasks]
    return collect(agent, family, tasks, [3] * len(tasks), explorer=random_actions(family), rng=rngs)


@pytest.mark.parametrize(("name", "exact"), [("point-robot", 1e-5), ("reacher-goal", 1e-5), ("cheetah-vel", 1.0)])
def test_relabelled_rewards_are_those_of_the_other_task(name: str, exact: float) -> None:
    """The same motion in another task: only the reward differs, so the simulator says what is right."""
    family = registry.load(name)
    old, new = family.tasks("train")[0], family.tasks("test")[0]
    [stored, truth] = played(family, [old, new])
    assert np.array_equal(stored.action, truth.action) and np.allclose(stored.obs, truth.obs, atol=1e-6)
    [changed] = relabelled([stored], family, new)
    assert np.abs(changed.reward - truth.reward).max() <= exact
    assert np.abs(stored.reward - truth.reward).max() > 0.05
    assert np.array_equal(changed.obs, stored.obs) and changed.task == stored.task
    if name == "cheetah-vel":  # estimated, but right nearly everywhere: what can't be seen cancels
        assert np.mean(np.abs(changed.reward - truth.reward)) < 0.03


@pytest.mark.parametrize("split", ["test", "ood"])
@pytest.mark.parametrize("name", ["point-robot", "reacher-goal", "cheetah-vel"])
def test_a_hidden_task_is_found_from_the_rewards_of_an_episode(name: str, split: str) -> None:
    family = registry.load(name)
    for task in family.tasks(split)[:3]:
        found = find_task(family, played(family, [task]), seed=0)
        assert found is not None and found.r2 > 0.9
        [parameter] = family.parameters
        truth, ours = np.atleast_1d(task.parameters[parameter]), np.atleast_1d(found.task.parameters[parameter])
        assert np.abs(truth - ours).max() < 0.05


def test_what_episodes_told_is_remembered() -> None:
    family = registry.load("point-robot")
    task = family.tasks("test")[0]
    [episode] = played(family, [task])
    finder = TaskFinder(family, known=None, seed=0)
    assert finder.find([]) is None
    first = finder.find([episode])
    assert first is not None and first.explains and finder.find([episode]) is first
    assert finder.find([episode, episode]) is not first  # more episodes may tell more
    known = TaskFinder(family, known=task, seed=0).find([])
    assert known is not None and known.task is task and known.explains


def test_where_the_reward_is_no_number_no_task_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    family = registry.load("point-robot")
    task, real = family.tasks("test")[0], type(family).reward

    def at_the_edge(self: Any, before: Any, after: Any, action: Any, task: Any) -> Any:
        with np.errstate(invalid="ignore"):
            return real(self, before, after, action, task) * (1.0 + 0.0 * np.sqrt(0.9 + task.parameters["goal"][0]))

    episodes = played(family, [task])
    monkeypatch.setattr(type(family), "reward", at_the_edge)
    found = find_task(family, episodes, seed=0)
    assert found is not None and found.r2 > 0.99


def test_a_parameter_without_ends_is_looked_for_around_the_training_tasks() -> None:
    family = registry.load("point-robot")
    spec = replace(family.parameters["goal"], distribution=Normal(0.0, 0.5, size=2), bounds=(-math.inf, math.inf))
    gaussian = replace(family, parameters={"goal": spec})
    task = gaussian.tasks("test")[0]
    found = find_task(gaussian, played(gaussian, [task]), seed=0)
    assert (
        found is not None and np.abs(np.subtract(found.task.parameters["goal"], task.parameters["goal"])).max() < 0.05
    )


def test_a_reward_that_does_not_depend_on_the_task_tells_nothing() -> None:
    family = registry.load("cheetah-faults")
    assert find_task(family, played(family, family.tasks("test")[:1]), seed=0) is None


def test_rewards_of_other_tasks_explain_little() -> None:
    """Rewards that no task of the family gives are not understood."""
    family = registry.load("point-robot")
    [episode] = played(family, family.tasks("test")[:1])
    noise = np.random.default_rng(0).normal(size=episode.length).astype(np.float32)
    strange = Episode(episode.obs, episode.action, noise, False, True, 0, 0)
    found = find_task(family, [strange], seed=0)
    assert found is not None and found.r2 < 0.5


def test_a_family_without_a_reward_function_is_refused() -> None:
    family = registry.load("hand-reach")
    obs, action = np.zeros((3, family.obs_dim), np.float32), np.zeros((2, family.action_dim), np.float32)
    episode = Episode(obs, action, np.zeros(2, np.float32), False, True, 0, 0)
    with pytest.raises(UserError, match="can't say its reward as a function"):
        relabelled([episode], family, family.tasks("test")[0])
