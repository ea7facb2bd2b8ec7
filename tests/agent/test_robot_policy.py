"""The policy for one robot: it acts, step for step, as the agent does when episodes are collected."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from mql.agent.agent import Agent
from mql.agent.robot_policy import RobotPolicy
from mql.collecting.exploration import explorer_for
from mql.collecting.rollout import collect
from mql.config.schema import AgentConfig
from mql.errors import UserError
from mql.tasks import registry
from mql.tasks.family import TaskFamily

FAMILY = registry.load("point-robot")


def agent_of(family: TaskFamily = FAMILY, **settings: Any) -> Agent:
    config = AgentConfig(hidden_sizes=(32,), context_dim=8, context_length=5, normalize=True, **settings)
    agent = Agent(family.obs_dim, family.action_dim, config, seed=2)
    generator = torch.Generator().manual_seed(0)
    obs = 3.0 * torch.randn(100, family.obs_dim, generator=generator) + 1.0
    agent.scaling.fit(obs, torch.randn(100, generator=generator))
    return agent


@pytest.mark.parametrize(("mode", "encoder"), [("carry", "gru"), ("window", "gru"), ("window", "transformer")])
@pytest.mark.parametrize("name", ["point-robot", "reacher-goal"])
def test_it_acts_as_collecting_does(name: str, mode: str, encoder: str) -> None:
    family = registry.load(name)
    agent, task = agent_of(family, context_mode=mode, encoder=encoder), family.tasks("test")[1]
    [episode] = collect(agent, family, [task], [7])
    policy, environment = RobotPolicy(agent), family.make(task)
    for _ in range(2):  # the second time it must have forgotten the first
        policy.reset()
        obs, _ = environment.reset(seed=7)
        reward = None
        for t in range(episode.length):
            action = policy.act(obs, reward)
            assert action.shape == (family.action_dim,) and action.dtype == np.float32
            np.testing.assert_allclose(action, episode.action[t], rtol=0, atol=1e-6)
            obs, reward, *_ = environment.step(action)
            np.testing.assert_allclose(reward, episode.reward[t], rtol=1e-5, atol=1e-6)
    environment.close()


def test_what_was_really_done_goes_into_the_context() -> None:
    agent = agent_of()
    rng, explorer = np.random.default_rng(0), explorer_for(FAMILY, "white", 0.5)
    [episode] = collect(agent, FAMILY, FAMILY.tasks("train")[:1], [3], explorer=explorer, rng=rng)
    policy, context = RobotPolicy(agent), agent.begin(1)
    policy.act(episode.obs[0])
    for t in range(1, episode.length):
        last = slice(t - 1, t)
        agent.observe(context, episode.obs[last], episode.action[last], episode.reward[last])
        action = policy.act(episode.obs[t], episode.reward[t - 1], last_action=episode.action[t - 1])
        np.testing.assert_array_equal(action, agent.act(episode.obs[t : t + 1], context)[0])


@pytest.mark.parametrize("mode", ["carry", "window"])
def test_the_context_is_the_one_that_the_last_action_was_chosen_with(mode: str) -> None:
    agent = agent_of(context_mode=mode)
    [episode] = collect(agent, FAMILY, FAMILY.tasks("train")[:1], [3])
    policy, context = RobotPolicy(agent), agent.begin(1)
    assert policy.context.shape == (8,) and policy.context.dtype == np.float32 and not policy.context.any()
    policy.act(episode.obs[0])
    assert not policy.context.any()  # nothing was observed yet
    for t in range(1, episode.length):
        last = slice(t - 1, t)
        agent.observe(context, episode.obs[last], episode.action[last], episode.reward[last])
        action = policy.act(episode.obs[t], episode.reward[t - 1])
        np.testing.assert_array_equal(policy.context, context.state[0])
        np.testing.assert_array_equal(action, agent.act(episode.obs[t : t + 1], context)[0])
    assert policy.context.any()
    policy.context[:] = 9.0  # a copy
    np.testing.assert_array_equal(policy.context, context.state[0])
    policy.reset()
    assert not policy.context.any()


def test_a_policy_without_context_has_an_empty_one() -> None:
    policy = RobotPolicy(agent_of(use_context=False))
    policy.act(np.zeros(FAMILY.obs_dim))
    policy.act(np.ones(FAMILY.obs_dim), 1.0)
    assert not policy.context.any()


def test_what_is_handed_in_and_out_is_copied() -> None:
    policy, other = RobotPolicy(agent_of()), RobotPolicy(agent_of())
    obs = np.zeros(FAMILY.obs_dim, dtype=np.float32)
    policy.act(obs)[:] = 9.0
    obs[:] = 9.0
    other.act(np.zeros(FAMILY.obs_dim))
    np.testing.assert_array_equal(policy.act(np.ones(FAMILY.obs_dim), 1.0), other.act(np.ones(FAMILY.obs_dim), 1.0))


def test_mistakes_are_told_in_one_line() -> None:
    policy, obs = RobotPolicy(agent_of()), np.zeros(FAMILY.obs_dim)
    with pytest.raises(UserError, match="an episode begins with a last_reward"):
        policy.act(obs, 1.0)
    with pytest.raises(UserError, match=r"obs has shape \(3,\): give 2 numbers in one row"):
        policy.act(np.zeros(3))
    with pytest.raises(UserError, match="obs holds numbers that are not finite"):
        policy.act(np.full(FAMILY.obs_dim, np.nan))
    with pytest.raises(UserError, match="obs is no row of numbers"):
        policy.act("nothing")  # type: ignore[arg-type]
    policy.act(obs)
    with pytest.raises(UserError, match=r"last_reward is missing: .*reset\(\)"):
        policy.act(obs)
    with pytest.raises(UserError, match="last_reward holds numbers that are not finite"):
        policy.act(obs, float("inf"))
    policy.act(obs, 0.0)  # a mistake changed nothing
