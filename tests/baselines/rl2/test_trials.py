"""Trials as they are collected: what is learned from is what was seen, drawn and done; a fault leaves its trial out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from mql.baselines.rl2 import trials as module
from mql.baselines.rl2.agent import RL2Agent
from mql.baselines.rl2.trials import Collected, collect_trials, sequences_of
from mql.config.rl2 import RL2Config
from mql.tasks import registry
from mql.tasks.family import TaskFamily
from mql.tasks.fault import EpisodeFault
from mql.types import Episode

FAMILY = registry.load("point-robot")


def agent_of(family: TaskFamily = FAMILY) -> RL2Agent:
    agent = RL2Agent(family.obs_dim, family.action_dim, RL2Config(state_dim=6), seed=1)
    with torch.no_grad():
        agent.online.actor.weight.mul_(50.0)
    return agent


def collected(agent: RL2Agent, family: TaskFamily = FAMILY, *, n: int = 4, workers: int = 1) -> Collected:
    tasks = family.tasks("train")[:n]
    return collect_trials(agent, family, tasks, episodes=3, seed=5, iteration=2, policy_version=0, workers=workers)


def same(one: Collected, other: Collected) -> bool:
    pairs = zip(one.played, other.played, strict=True)
    return all(np.array_equal(a.obs, b.obs) and np.array_equal(a.action, b.action) for a, b in pairs)


@pytest.mark.parametrize("name", ["point-robot", pytest.param("hopper-params", marks=pytest.mark.slow)])
def test_the_networks_find_the_actions_again_from_what_is_learned_from(name: str) -> None:
    """Of episodes that end early, too (a hopper falls): a trial's steps follow each other without a gap."""
    family = registry.load(name)
    agent = agent_of(family)
    found = collected(agent, family)
    whole = sequences_of(agent, found.trials)
    with torch.no_grad():
        outputs = agent.online(whole.inputs)
        done = (outputs.mean + agent.online.log_std.exp() * whole.noise).clamp(-1.0, 1.0)
    for place, trial in enumerate(found.trials):
        episodes = [turn.episode for turn in trial]
        steps = sum(episode.length for episode in episodes)
        assert [episode.task for episode in episodes] == [FAMILY.tasks("train")[place].index] * 3
        assert len({episode.seed for episode in episodes}) == 3
        assert whole.valid[:, place].tolist() == [True] * steps + [False] * (len(whole.valid) - steps)
        actions = np.concatenate([episode.action for episode in episodes])
        np.testing.assert_allclose(done[:steps, place].numpy(), actions, atol=2e-5)
        rewards = np.concatenate([episode.reward for episode in episodes])
        np.testing.assert_array_equal(whole.reward[:steps, place].numpy(), rewards)
    assert whole.noise[whole.valid].std() == pytest.approx(1.0, abs=0.1)


def test_workers_change_no_bit_and_another_iteration_is_another_draw() -> None:
    agent = agent_of()
    one = collected(agent, n=5)
    assert same(one, collected(agent, n=5, workers=3))
    tasks = FAMILY.tasks("train")[:5]
    other = collect_trials(agent, FAMILY, tasks, episodes=3, seed=5, iteration=3, policy_version=0, workers=1)
    assert not same(one, other)


def test_a_trial_with_an_episode_that_failed_is_left_out_and_the_others_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    agent, calls = agent_of(), 0
    real = module.collect_each

    def failing(*arguments: Any, **more: Any) -> Sequence[Episode | EpisodeFault]:
        nonlocal calls
        calls += 1
        outcomes = list(real(*arguments, **more))
        if calls == 2:
            outcomes[1] = EpisodeFault("the world broke")
        return outcomes

    whole = collected(agent)
    monkeypatch.setattr(module, "collect_each", failing)
    found = collected(agent)
    assert [str(fault) for fault in found.faults] == ["the world broke"]
    assert [trial[0].episode.task for trial in found.trials] == [
        FAMILY.tasks("train")[place].index for place in (0, 2, 3)
    ]
    assert len(found.played) == 4 + 3 + 3 and found.episodes(-1) == [trial[2].episode for trial in found.trials]
    for mine, place in zip(found.trials, (0, 2, 3), strict=True):
        np.testing.assert_array_equal(mine[1].episode.obs, whole.trials[place][1].episode.obs)
    monkeypatch.setattr(
        module, "collect_each", lambda agent, family, tasks, *_, **__: [EpisodeFault("gone")] * len(tasks)
    )
    with pytest.raises(EpisodeFault, match="gone"):
        collected(agent)
