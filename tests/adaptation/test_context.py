"""The context that goes on over the episodes of a new task: against the modules themselves, stepped by hand."""

from __future__ import annotations

import json
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mql.adaptation.adapters import prepare
from mql.adaptation.meta_training import MetaTraining
from mql.adaptation.playing import NewTask, Request, carry_out, in_environment, nobody, simulated
from mql.adaptation.result import AdaptationResult
from mql.agent.agent import Agent
from mql.agent.robot_policy import RobotPolicy, load_policy
from mql.collecting.rollout import collect
from mql.config.loading import load_config
from mql.config.schema import AdaptConfig, AgentConfig
from mql.errors import UserError
from mql.evaluation.held_out import evaluate
from mql.learning.replay import Replay
from mql.tasks import registry
from mql.types import Context, Episode

FAMILY = registry.load("point-robot")
TASK = FAMILY.tasks("test")[0]
EPISODES = 3
CARRIED = AdaptConfig(method="context", carry_episodes=True, adaptation_episodes=EPISODES)

by_encoder = pytest.mark.parametrize(
    "settings",
    [
        {"context_mode": "carry"},
        {"context_mode": "window", "context_length": 5, "shared_encoder": False},
        {"context_mode": "window", "context_length": 50},  # longer than two episodes: the first one stays in it
        {"context_mode": "window", "context_length": 5, "encoder": "transformer"},
    ],
)


def agent_of(**settings: Any) -> Agent:
    """One that scales what it sees."""
    config = AgentConfig(hidden_sizes=(32,), context_dim=8, normalize=True, **settings)
    agent = Agent(FAMILY.obs_dim, FAMILY.action_dim, config, seed=2)
    generator = torch.Generator().manual_seed(0)
    agent.scaling.fit(
        3.0 * torch.randn(100, FAMILY.obs_dim, generator=generator) + 1.0, torch.randn(100, generator=generator)
    )
    return agent


def meta_training(agent: Agent) -> MetaTraining:
    replay = Replay(
        n_tasks=1,
        obs_dim=agent.obs_dim,
        action_dim=agent.action_dim,
        capacity=100,
        episode_length=FAMILY.episode_length,
        context_dim=agent.state_dim,
    )
    return MetaTraining(agent, replay, FAMILY)


def adapted(agent: Agent, *, given: Sequence[Episode] = (), episodes: int = EPISODES) -> tuple[Any, list[Episode]]:
    """Return the result, and the episodes that were played."""
    play = simulated(FAMILY, TASK, seed=1)
    played: list[Episode] = []

    def record(request: Request) -> Sequence[Episode]:
        assert request.noise == 0.0 and len(request.starts) == 1
        played.extend(play(request))
        return played[-1:]

    process = prepare(meta_training(agent), CARRIED).begin(NewTask(episodes, 0, given))
    return carry_out(process, record), played


def by_hand(agent: Agent, before: Sequence[Episode], episode: Episode) -> np.ndarray:
    """Return the actions [T, A] that the modules give in `episode`, with every step before it in their context."""
    window = agent.config.context_length if agent.config.context_mode == "window" else 0

    def elements(of: Episode) -> torch.Tensor:
        rows = np.concatenate([of.obs[:-1], of.action, of.reward[:, None]], axis=1)
        return (torch.from_numpy(rows) - agent.scaling.shift) * agent.scaling.scale

    whole = torch.cat([elements(one) for one in (*before, episode)])
    first = len(whole) - episode.length
    actions = []
    with torch.no_grad():
        for t in range(episode.length):
            seen = whole[max(0, first + t - window) if window else 0 : first + t]
            z = agent.online.actor_encoder(Context(seen[:, None]))
            obs = torch.from_numpy(episode.obs[t : t + 1])
            actions.append(agent.online.actor.act(agent.scaling.obs(obs), z)[0].numpy())
    return np.stack(actions)


def close(actions: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(actions, expected, rtol=0, atol=1e-5)


def same_actions(one: Agent | RobotPolicy, other: Agent | RobotPolicy) -> bool:
    """Whether two act alike in an episode, bit for bit."""
    policies = [each if isinstance(each, RobotPolicy) else RobotPolicy(each) for each in (one, other)]
    obs = np.random.default_rng(0).standard_normal((7, FAMILY.obs_dim)).astype(np.float32)
    walks = []
    for policy in policies:
        policy.reset()
        walks.append([policy.act(row, None if t == 0 else 0.1 * t) for t, row in enumerate(obs)])
    return np.array_equal(walks[0], walks[1])


@by_encoder
def test_the_budget_s_episodes_are_one_history_and_every_evaluation_episode_begins_at_its_end(
    settings: dict[str, Any],
) -> None:
    agent = agent_of(**settings)
    result, played = adapted(agent)
    assert len(played) == result.report["episodes_charged"] == EPISODES
    for number, episode in enumerate(played):
        close(episode.action, by_hand(agent, played[:number], episode))
    assert len({episode.seed for episode in played}) == EPISODES

    later = collect(result.agent, FAMILY, [TASK] * 2, [11, 12])
    for episode in later:  # the second one knows nothing of the first one
        close(episode.action, by_hand(agent, played, episode))
    [alone] = collect(agent, FAMILY, [TASK], [11])
    assert np.abs(alone.action - later[0].action).max() > 1e-3, "what it remembers changes what it does"


@by_encoder
def test_the_meta_trained_agent_is_untouched_and_nothing_is_learned(settings: dict[str, Any]) -> None:
    agent, untouched = agent_of(**settings), agent_of(**settings)
    result, _ = adapted(agent)
    assert agent.carried is None and same_actions(agent, untouched) and not same_actions(agent, result.agent)
    parameters = dict(agent.named_tensors())
    own = dict(result.agent.named_tensors())
    assert own.keys() - parameters.keys() == {"carried.state", "carried.elements"}
    assert all(torch.equal(own[name], tensor) for name, tensor in parameters.items())
    assert result.report["distance_moved"] == 0.0


@by_encoder
def test_given_episodes_make_the_context_that_playing_them_makes(settings: dict[str, Any]) -> None:
    agent = agent_of(**settings)
    played_result, played = adapted(agent)
    process = prepare(meta_training(agent), CARRIED).begin(NewTask(0, 0, played))
    given: AdaptationResult = carry_out(process, nobody)
    assert same_actions(given.agent, played_result.agent)
    assert given.report["episodes_charged"] == EPISODES
    two, last = adapted(agent, given=played[:2], episodes=1)
    close(last[0].action, by_hand(agent, played[:2], last[0]))
    assert two.report["episodes_charged"] == EPISODES


@by_encoder
def test_it_comes_back_from_a_folder_and_from_a_pickle_and_acts_alike_bit_for_bit(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    result, _ = adapted(agent_of(**settings))
    result.agent.save(tmp_path / "carried")
    assert same_actions(result.agent, load_policy(tmp_path / "carried"))
    assert json.loads((tmp_path / "carried" / "agent.json").read_text())["format_version"] == 2
    agent_of(**settings).save(tmp_path / "plain")
    assert json.loads((tmp_path / "plain" / "agent.json").read_text())["format_version"] == 1
    assert Agent.load(tmp_path / "plain").carried is None

    obs = np.ones((2, FAMILY.obs_dim), np.float32)
    policy = result.agent.policy()
    sent = pickle.loads(pickle.dumps(policy))  # what a worker process acts with
    assert np.array_equal(*(each.act(obs, each.begin(2)) for each in (policy, sent)))


def test_another_agent_s_context_is_refused_and_one_without_takes_it_away() -> None:
    result, _ = adapted(agent_of(context_mode="carry"))
    tensors = dict(result.agent.named_tensors())
    wrong = {**tensors, "carried.state": torch.zeros(3)}
    with pytest.raises(ValueError, match="carried context"):
        agent_of().load_tensors(wrong)
    again = result.agent.copy()
    again.load_tensors(dict(agent_of().named_tensors()))
    assert again.carried is None and same_actions(again, agent_of())


def test_an_evaluation_pairs_it_with_the_agent_that_knows_nothing_from_the_same_resets() -> None:
    agent = agent_of(context_mode="carry")
    tasks = FAMILY.tasks("test")[:2]
    adaptation = prepare(meta_training(agent), CARRIED)
    results = evaluate(agent, FAMILY, tasks, evaluation_episodes=2, seed=0, adaptation=adaptation, keep_agents=True)
    plain = evaluate(agent, FAMILY, tasks, evaluation_episodes=2, seed=0)
    for result, without in zip(results, plain, strict=True):
        assert result.adapted is not None and result.agent is not None
        assert [e.seed for e in result.adapted] == [e.seed for e in result.zero_shot]
        for one, other in zip(result.zero_shot, without.zero_shot, strict=True):
            assert np.array_equal(one.action, other.action)
        for before, after in zip(result.zero_shot, result.adapted, strict=True):
            assert np.array_equal(before.obs[0], after.obs[0])
        row = result.to_json()
        assert row["episodes_charged"] == EPISODES and row["carry_episodes"] is True and row["accepted"] is None
    assert not same_actions(results[0].agent, results[1].agent)  # type: ignore[arg-type]


def test_an_environment_of_the_caller_s_own_is_one_history_too() -> None:
    agent = agent_of(context_mode="carry")
    with FAMILY.make(TASK) as environment:
        play = in_environment(environment, FAMILY, seed=1)
        played: list[Episode] = []
        process = prepare(meta_training(agent), CARRIED).begin(NewTask(2, 0))

        def record(request: Request) -> Sequence[Episode]:
            played.extend(play(request))
            return played[-1:]

        carry_out(process, record)
    close(played[1].action, by_hand(agent, played[:1], played[1]))


@pytest.mark.parametrize("settings", [CARRIED.model_copy(update={"carry_episodes": False}), CARRIED])
def test_without_episodes_or_without_the_key_the_context_starts_empty(settings: AdaptConfig) -> None:
    agent = agent_of()
    result = carry_out(prepare(meta_training(agent), settings).begin(NewTask(0, 0)), nobody)
    assert result.agent.carried is None and same_actions(agent, result.agent)


def test_an_agent_without_a_context_has_none_to_go_on_with() -> None:
    settings = ["adapt.method=context", "adapt.carry_episodes=true", "agent.use_context=false"]
    with pytest.raises(UserError, match=r"adapt\.carry_episodes is true, but agent\.use_context is false"):
        load_config("point-robot", overrides=settings)
