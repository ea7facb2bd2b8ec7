"""A learned model of the reward, against rewards that the simulator gives to the same motion in the other task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from small_runs import meta_trained

from mql.adaptation.adapters import prepare
from mql.adaptation.meta_training import MetaTraining
from mql.adaptation.playing import NewTask, carry_out, simulated
from mql.adaptation.reward_model import RewardModel, fit_reward
from mql.adaptation.rewards import LEAST_R2
from mql.agent.agent import Agent
from mql.collecting.exploration import random_actions
from mql.collecting.rollout import collect
from mql.config.schema import AdaptConfig, AgentConfig
from mql.errors import UserError
from mql.tasks import registry
from mql.tasks.family import Task
from mql.types import Episode

FAMILY = registry.load("point-robot")
TASK = FAMILY.tasks("test")[0]
SMALL = {"hidden_sizes": (8,), "context_dim": 4, "segment_length": 4, "burn_in": 4}


def agent() -> Agent:
    return Agent(FAMILY.obs_dim, FAMILY.action_dim, AgentConfig.model_validate(SMALL), seed=0)


def played(tasks: Sequence[Task], first: int = 0) -> list[Episode]:
    """One episode of each task with random actions; equal `first` gives equal motions, whatever the tasks are."""
    rngs = [np.random.default_rng(first + place) for place in range(len(tasks))]
    resets = range(first, first + len(tasks))
    return collect(agent(), FAMILY, tasks, list(resets), explorer=random_actions(FAMILY), rng=rngs)


def fitted(episodes: Sequence[Episode]) -> RewardModel:
    model = fit_reward(episodes, seed=0)
    assert model is not None
    return model


def r2(truth: np.ndarray, found: np.ndarray) -> float:
    return 1.0 - float(np.square(truth - found).mean() / truth.var())


def test_near_episodes_get_the_rewards_of_the_new_task() -> None:
    model = fitted(played([TASK] * 40))
    assert model.r2 > LEAST_R2
    old = played(FAMILY.tasks("train")[:20], first=100)
    truth = {episode.obs.tobytes(): episode.reward for episode in played([TASK] * 20, first=100)}
    changed = model.relabelled(old)
    assert len(changed) >= 3
    known = np.concatenate([truth[episode.obs.tobytes()] for episode in changed])
    assert r2(known, np.concatenate([episode.reward for episode in changed])) > LEAST_R2
    before = {episode.obs.tobytes(): episode.reward for episode in old}
    assert r2(known, np.concatenate([before[episode.obs.tobytes()] for episode in changed])) < 0.5


def test_no_reward_is_beyond_those_that_were_seen() -> None:
    new = played([TASK] * 3)
    rewards = np.concatenate([episode.reward for episode in new])
    for episode in fitted(new).relabelled(played(FAMILY.tasks("train")[:20], first=100)):
        assert rewards.min() <= episode.reward.min() and episode.reward.max() <= rewards.max()


def test_what_lies_elsewhere_is_left_out() -> None:
    new = played([TASK] * 5)
    model = fitted(new)
    assert model.near(new[0])
    assert not model.near(replace(new[0], obs=new[0].obs + 3.0))
    assert not model.near(replace(new[0], action=new[0].action + 5.0))


def test_what_never_changed_in_the_new_task_may_not_differ() -> None:
    """The place of an object, say: nothing tells what another one would be worth."""

    def with_object(episode: Episode, place: float) -> Episode:
        return replace(episode, obs=np.pad(episode.obs, ((0, 0), (0, 1)), constant_values=place))

    new = [with_object(episode, 0.3) for episode in played([TASK] * 5)]
    model = fitted(new)
    assert model.near(new[0]) and not model.near(with_object(played([TASK])[0], 0.301))


def test_rewards_that_nothing_observed_explains_are_told() -> None:
    rng = np.random.default_rng(0)
    new = [replace(one, reward=rng.normal(size=one.length).astype(np.float32)) for one in played([TASK] * 5)]
    assert fitted(new).r2 < 0.3


def test_whole_episodes_are_held_out() -> None:
    """A reward that only the episode tells: its own other rows would give it away."""
    rng = np.random.default_rng(1)
    episodes = []
    for value in rng.normal(size=8):
        place = np.full((41, 1), rng.normal()) + 1e-3 * rng.normal(size=(41, 1))
        shape = (np.zeros((40, 1), np.float32), np.full(40, value, np.float32))
        episodes.append(Episode(place.astype(np.float32), *shape, False, True, 0, 0))
    assert fitted(episodes).r2 < 0.5


def test_of_a_single_episode_stretches_are_held_out() -> None:
    """A walk that never comes back: rows drawn at random would have neighbours in time, stretches have none."""
    obs = np.linspace(0.0, 6.0, 201, dtype=np.float32)[:, None]
    reward = np.sin(4.0 * obs[:-1, 0])
    one = Episode(obs, np.zeros((200, 1), np.float32), reward, False, True, 0, 0)
    assert fitted([one]).r2 < 0.5


def test_too_few_transitions_or_rewards_that_never_change_give_no_model() -> None:
    [episode] = played([TASK])
    short = Episode(episode.obs[:6], episode.action[:5], episode.reward[:5], False, True, 0, 0)
    assert fit_reward([short], seed=0) is None
    assert fit_reward([replace(episode, reward=np.zeros_like(episode.reward))], seed=0) is None


def trained() -> MetaTraining:
    """Two episodes of random actions of each of 10 tasks."""
    own, tasks = agent(), FAMILY.tasks("train")[:10]
    episodes = [replace(each, task=each.task % len(tasks)) for each in played([*tasks, *tasks], first=100)]
    return meta_trained(own, FAMILY, episodes, n_tasks=len(tasks))


def report(method: str, given: Sequence[Episode], **settings: Any) -> dict[str, Any]:
    """Of an adaptation that is given random episodes, and plays two of its own."""
    small = {"adaptation_episodes": 2, "round_updates": 1, "round_batch_size": 16, "gate": False}
    adaptation = prepare(trained(), AdaptConfig.model_validate({"method": method, **small, **settings}))
    new = NewTask(adaptation.config.adaptation_episodes, 0, given=given)
    return dict(carry_out(adaptation.begin(new), simulated(FAMILY, TASK, seed=1)).report)


def test_without_a_function_the_reward_is_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    given = played([TASK] * 40)
    assert report("relabel", given)["reward"] == "found"
    monkeypatch.setattr(type(FAMILY), "reward", lambda *_: None)
    told = report("relabel", given)
    assert (
        told["reward"] == "learned"
        and told["reward_r2"] > LEAST_R2
        and told["old_episodes"] >= 10
        and told["distance_moved"] > 0
    )
    assert "found_task" not in told


def test_rewards_that_no_model_explains_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    given = [replace(one, reward=rng.normal(size=one.length).astype(np.float32)) for one in played([TASK] * 40)]
    monkeypatch.setattr(type(FAMILY), "reward", lambda *_: None)
    told = report("relabel", given, adaptation_episodes=0, accept_unseen=True)
    assert told["rounds"] == [] and told["distance_moved"] == 0.0


def test_auto_learns_a_reward_only_after_the_new_episodes_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    given = played([TASK] * 40)
    # What can't be tried out is not borrowed: given episodes are learned from.
    assert report("auto", given, gate_margin=0.0)["by"][0] == "relabel"
    assert report("auto", given, adaptation_episodes=0, gate=True)["by"] == ["relabel"]
    monkeypatch.setattr(type(FAMILY), "reward", lambda *_: None)
    # A margin that nothing reaches: all is rolled back, and each way has its turn.
    told = report("auto", given, gate=True, gate_margin=1e9, adaptation_episodes=6)
    assert told["by"][:2] == ["finetune", "relabel"] and told["reward"] == "learned"


def test_a_reward_that_no_function_says_can_not_be_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(FAMILY), "reward", lambda *_: None)
    with pytest.raises(UserError, match=r"adapt\.reward"):
        report("relabel", [], reward="known")
    assert report("auto", [], reward="known")["by"][0] == "finetune"
