"""The context encoder: one function whether it reads windows, segments or single steps."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mql.agent.agent import Agent
from mql.agent.encoders import GRUEncoder, NoEncoder
from mql.agent.networks import TwinCritic
from mql.config.schema import AgentConfig
from mql.types import Context


@pytest.mark.parametrize("lanes", [2, 20])
def test_reading_states_equals_stepping(lanes: int) -> None:
    """The state that acting carries is the one that training reads."""
    agent = Agent(3, 1, AgentConfig(hidden_sizes=(8,), context_dim=3), seed=0)
    elements = torch.randn(4, lanes, 5)
    context = agent.begin(lanes)
    stepped = [torch.from_numpy(context.state)]
    for row in elements.numpy():
        agent.observe(context, row[:, :3], row[:, 3:4], row[:, 4])
        stepped.append(torch.from_numpy(context.state))
    read = torch.arange(5).expand(lanes, -1)
    z = agent.online.actor_encoder(Context(elements, read)).view(lanes, 5, 3)
    assert torch.allclose(z, torch.stack(stepped, dim=1), atol=1e-6)


def test_what_stands_after_the_read_state_or_before_the_start_has_no_effect() -> None:
    encoder = GRUEncoder(5, AgentConfig(context_dim=3))
    elements = torch.randn(6, 1, 5)
    padded = elements.clone()
    padded[4:] = 1e3
    read = torch.tensor([[4]])
    assert torch.equal(encoder(Context(elements, read)), encoder(Context(padded, read)))
    padded = elements.clone()
    padded[:2] = 1e3
    start = torch.tensor([2])
    late = encoder(Context(padded, start=start))
    assert torch.equal(late, encoder(Context(elements, start=start)))
    assert torch.allclose(late, encoder(Context(elements[2:])), atol=1e-6)


def test_context_blind_encoder_has_no_components() -> None:
    z = NoEncoder()(Context(torch.randn(6, 2, 5), torch.zeros(2, 3, dtype=torch.int64)))
    assert z.shape == (6, 0)


def test_first_critic_is_the_first_of_the_pair() -> None:
    critic = TwinCritic(3, 2, 1, (8, 8), layer_norm=True, dtype=torch.float32)
    obs, action, z = torch.randn(5, 3), torch.randn(5, 2), torch.randn(5, 1)
    both = critic(obs, action, z)
    assert both.shape == (2, 5)
    assert torch.allclose(critic.frozen(obs, action, z, critics=1)[0], both[0], atol=1e-6)
    assert not torch.allclose(both[0], both[1])


def test_acting_is_the_actor_in_float32_however_many_act_side_by_side() -> None:
    """Also with bfloat16 layers, which only updates use: else a paired comparison would compare two precisions."""
    agent = Agent(3, 2, AgentConfig(hidden_sizes=(32, 32), precision="bfloat16"), seed=0)
    obs = np.random.default_rng(0).standard_normal((200, 3)).astype(np.float32)
    together = agent.act(obs, agent.begin(200))
    alone = np.concatenate([agent.act(row[None], agent.begin(1)) for row in obs])
    assert np.allclose(together, alone, atol=1e-6)
    plain = agent.online.actor.act(torch.from_numpy(obs), torch.zeros(200, agent.config.context_dim))
    assert np.allclose(together, plain.detach().numpy(), atol=1e-6)


def test_what_is_learned_while_an_episode_runs_is_acted_on() -> None:
    """The policy acts on the parameters themselves, not on a copy of when the episode began."""
    agent = Agent(3, 2, AgentConfig(hidden_sizes=(8,)), seed=0)
    context = agent.begin(1)
    obs = np.ones((1, 3), dtype=np.float32)
    before = agent.act(obs, context)
    with torch.no_grad():
        for parameter in agent.online.actor.parameters():
            parameter.mul_(2.0)
    assert not np.allclose(before, agent.act(obs, context))
