"""What RL^2 remembers and how it acts: one step by hand, and the policy of numpy beside PyTorch's own GRU."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch

from mql.agent.robot_policy import RobotPolicy
from mql.baselines.rl2.acting import RecurrentPolicy
from mql.baselines.rl2.agent import RL2Agent
from mql.collecting.rollout import collect
from mql.config.rl2 import RL2Config
from mql.tasks import registry
from mql.types import Episode, FloatArray

FAMILY = registry.load("point-robot")


def agent_of() -> RL2Agent:
    agent = RL2Agent(FAMILY.obs_dim, FAMILY.action_dim, RL2Config(state_dim=6), seed=1)
    with torch.no_grad():
        agent.online.actor.weight.mul_(50.0)
    agent.scaling.shift.copy_(torch.tensor([0.1, -0.2, 0.0, 0.0, -0.5]))
    agent.scaling.scale.copy_(torch.tensor([2.0, 0.5, 1.0, 1.0, 3.0]))
    agent.scaling.fitted.fill_(True)
    return agent


def test_one_step_by_hand() -> None:
    """One unit, one observation, one action: gates r and u, candidate n, and the tanh of the state's multiple."""

    def column(*gates: float) -> FloatArray:
        return np.array([gates], np.float32)

    w_ih = np.concatenate([column(0.5, -1.0, 2.0), column(1.0, 0.0, 0.0), column(0.0, 1.0, 0.0), column(0.0, 0.0, 1.0)])
    gru = [w_ih, column(0.3, 0.6, -0.9), column(0.1, 0.0, 0.2)[0], column(0.0, -0.2, 0.4)[0]]
    policy = RecurrentPolicy(gru, (np.array([[1.5]], np.float32), np.array([0.25], np.float32)))
    context = policy.begin(1)
    assert context.state.tolist() == [[0.0, 0.0, 0.0, 1.0]]  # no state, no action, no reward, and an episode begins
    context.state = np.array([[0.8, -0.4, 0.7, 0.0]], np.float32)

    def sigmoid(x: float) -> float:
        return float(1.0 / (1.0 + np.exp(-x)))

    obs, h, action, reward, first = 2.0, 0.8, -0.4, 0.7, 0.0
    r = sigmoid(0.5 * obs + 1.0 * action + 0.1 + 0.3 * h)
    u = sigmoid(-1.0 * obs + 1.0 * reward + 0.6 * h - 0.2)
    n = np.tanh(2.0 * obs + 1.0 * first + 0.2 + r * (-0.9 * h + 0.4))
    after = n + u * (h - n)
    seen = np.array([[obs]], np.float32)
    np.testing.assert_allclose(policy.act(seen, context), [[np.tanh(1.5 * after + 0.25)]], rtol=1e-6)
    policy.observe(context, seen, np.array([[0.9]], np.float32), np.array([-3.0], np.float32))
    np.testing.assert_allclose(context.state, [[after, 0.9, -3.0, 0.0]], rtol=1e-6)


def by_hand(agent: RL2Agent, trial: list[Episode]) -> list[FloatArray]:
    """Actions in the episodes of a trial: inputs written down step by step, through PyTorch's GRU in one go."""
    rows, action, reward = [], np.zeros(2), 0.0
    shift, scale = agent.scaling.shift.numpy(), agent.scaling.scale.numpy()
    for episode in trial:
        for t in range(episode.length):
            obs = (episode.obs[t] - shift[:2]) * scale[:2]
            rows.append([*obs, *action, reward, float(t == 0)])
            action, reward = episode.action[t], (episode.reward[t] - shift[-1]) * scale[-1]
    with torch.no_grad():
        states, _ = agent.online.gru(torch.tensor(np.array(rows), dtype=torch.float32)[:, None])
        actions = torch.tanh(agent.online.actor(states))[:, 0].numpy()
    return np.split(actions, np.cumsum([episode.length for episode in trial])[:-1])


def test_the_memory_is_kept_over_the_episodes_of_a_trial() -> None:
    agent, task = agent_of(), FAMILY.tasks("train")[0]
    tensors = {name: tensor.clone() for name, tensor in agent.named_tensors()}
    trial: list[Episode] = []
    acting = agent
    for seed in range(3):
        trial += collect(acting, FAMILY, [task], [seed])
        acting = acting.after(trial[-1])
    for episode, expected in zip(trial, by_hand(agent, trial), strict=True):
        np.testing.assert_allclose(episode.action, expected, atol=1e-5)
    fresh = by_hand(agent, trial[2:])[0]
    assert np.abs(fresh - trial[2].action).max() > 1e-3  # it would act in another way without the first two
    assert agent.carried is None
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in agent.named_tensors())
    assert not any(name.startswith("target.") for name in tensors)


def test_an_agent_in_the_middle_of_a_trial_comes_back_from_its_tensors_and_from_a_pickle() -> None:
    agent = agent_of()
    [episode] = collect(agent, FAMILY, FAMILY.tasks("train")[:1], [0])
    inside = agent.after(episode)
    again = agent_of()
    again.load_tensors(dict(inside.named_tensors()))
    [one] = collect(inside, FAMILY, FAMILY.tasks("train")[:1], [1])
    for other in (again, inside.copy(), pickle.loads(pickle.dumps(inside))):
        np.testing.assert_array_equal(collect(other, FAMILY, FAMILY.tasks("train")[:1], [1])[0].action, one.action)
    again.load_tensors({name: t for name, t in inside.named_tensors() if not name.startswith("carried.")})
    np.testing.assert_array_equal(collect(again, FAMILY, FAMILY.tasks("train")[:1], [0])[0].action, episode.action)
    with pytest.raises(ValueError, match="the carried context has shapes"):
        RL2Agent(2, 2, RL2Config(state_dim=7), seed=0).load_tensors(dict(inside.named_tensors()))


def test_the_policy_of_a_robot_acts_as_in_collection() -> None:
    agent = agent_of()
    [episode] = collect(agent, FAMILY, FAMILY.tasks("train")[:1], [0])
    policy = RobotPolicy(agent)
    for t in range(episode.length):
        action = policy.act(episode.obs[t], None if t == 0 else float(episode.reward[t - 1]))
        np.testing.assert_allclose(action, episode.action[t], atol=1e-6)
