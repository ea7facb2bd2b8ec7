"""The context encoder: one function whether it reads windows, segments or single steps; the GRU against PyTorch's."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mql.agent import Agent
from mql.config import AgentConfig
from mql.gru import gru_states
from mql.networks import ContextEncoder, TwinCritic
from mql.types import Context


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
@pytest.mark.parametrize(("steps", "rows", "inputs", "size"), [(1, 1, 2, 1), (7, 5, 4, 3), (32, 16, 24, 30)])
def test_gru_agrees_with_pytorch(
    dtype: torch.dtype, tolerance: float, steps: int, rows: int, inputs: int, size: int
) -> None:
    torch.manual_seed(steps)
    gru = torch.nn.GRU(inputs, size).to(dtype)
    elements = torch.randn(steps, rows, inputs, dtype=dtype, requires_grad=True)
    direction = torch.randn(steps, rows, size, dtype=dtype)
    variables = [elements, *gru.parameters()]
    initial = torch.randn(rows, size, dtype=dtype)
    plain, _ = gru(elements, initial[None])
    ours = gru_states(gru, elements, initial)
    assert torch.equal(ours[0], initial.T)
    ours = ours[1:].transpose(1, 2)
    assert (plain - ours).norm() <= tolerance * plain.norm()
    expected = torch.autograd.grad((plain * direction).sum(), variables)
    for a, b in zip(expected, torch.autograd.grad((ours * direction).sum(), variables), strict=True):
        assert (a - b).norm() <= tolerance * a.norm()


def test_reading_states_equals_stepping() -> None:
    torch.manual_seed(0)
    encoder = ContextEncoder(5, 3)
    elements = torch.randn(2, 4, 5)
    state = torch.zeros(2, 3)
    stepped = [state]
    for t in range(4):
        state = encoder.step(elements[:, t], state)
        stepped.append(state)
    z = encoder(Context(elements, torch.arange(5).expand(2, -1))).view(2, 5, 3)
    assert torch.allclose(z, torch.stack(stepped, dim=1), atol=1e-6)


def test_what_stands_after_the_read_state_has_no_effect() -> None:
    encoder = ContextEncoder(5, 3)
    elements = torch.randn(1, 6, 5)
    padded = elements.clone()
    padded[:, 4:] = 1e3
    read = torch.tensor([[4]])
    assert torch.equal(encoder(Context(elements, read)), encoder(Context(padded, read)))


def test_context_blind_encoder_has_no_components() -> None:
    z = ContextEncoder(5, 0)(Context(torch.randn(2, 6, 5), torch.zeros(2, 3, dtype=torch.int64)))
    assert z.shape == (6, 0)


def test_first_critic_is_the_first_of_the_pair() -> None:
    critic = TwinCritic(3, 2, 1, (8, 8), layer_norm=True, dtype=torch.float32)
    obs, action, z = torch.randn(5, 3), torch.randn(5, 2), torch.randn(5, 1)
    both = critic(obs, action, z)
    assert both.shape == (2, 5)
    assert torch.allclose(critic.first(obs, action, z), both[0], atol=1e-6)
    assert not torch.allclose(both[0], both[1])


def test_acting_does_not_depend_on_how_many_act_side_by_side() -> None:
    """Also with bfloat16 layers, which only updates use: else a paired comparison would compare two precisions."""
    agent = Agent(3, 2, AgentConfig(hidden_sizes=(32, 32), precision="bfloat16"), seed=0)
    obs = np.random.default_rng(0).standard_normal((200, 3)).astype(np.float32)
    together = agent.act(obs, agent.begin(200))
    alone = np.concatenate([agent.act(row[None], agent.begin(1)) for row in obs])
    assert np.allclose(together, alone, atol=1e-6)
