"""The transformer encoder: one function of the last steps, however they are laid out, in learning and in acting."""

from __future__ import annotations

import pickle

import cloudpickle
import numpy as np
import pytest
import torch
from torch import nn

from mql.agent.acting import TorchPolicy
from mql.agent.agent import Agent
from mql.agent.transformer import TransformerEncoder
from mql.config.loading import load_config
from mql.config.schema import AgentConfig
from mql.errors import UserError
from mql.learning.contexts import context_plan
from mql.learning.replay import Replay
from mql.types import Context, Episode

OBS, ACTION, WINDOW = 3, 2, 4
ELEMENT = OBS + ACTION + 1


def config_of(**changes: object) -> AgentConfig:
    values = {"context_mode": "window", "context_length": WINDOW, "context_dim": 8, "hidden_sizes": (16,), **changes}
    return AgentConfig(encoder="transformer", **values)  # type: ignore[arg-type]


def encoder_of(**changes: object) -> TransformerEncoder:
    torch.manual_seed(0)
    encoder = TransformerEncoder(ELEMENT, config_of(**changes))
    for parameter in encoder.parameters():  # norms and biases, too, have values that show
        nn.init.normal_(parameter, std=0.5)
    return encoder


def with_pytorch(encoder: TransformerEncoder, elements: torch.Tensor) -> torch.Tensor:
    """z [Z] of one history [T, C] from PyTorch's own layers with the same parameters."""
    placed = [encoder.elements(element) + encoder.places[i - len(elements)] for i, element in enumerate(elements)]
    x = torch.stack([encoder.token, *placed])[None]
    width = encoder.context_dim
    for ours in encoder.layers:
        layer = nn.TransformerEncoderLayer(
            width, ours.heads, dim_feedforward=2 * width, dropout=0.0, batch_first=True, norm_first=True
        )
        attention = layer.self_attn
        zeros = torch.zeros(2 * width)
        for place, values in (
            (attention.in_proj_weight, torch.cat([ours.query.weight, ours.key_value.weight])),
            (attention.in_proj_bias, torch.cat([ours.query.bias, zeros])),
        ):
            place.data.copy_(values)
        for theirs, mine in (
            (attention.out_proj, ours.output),
            (layer.norm1, ours.norm),
            (layer.norm2, ours.feed_norm),
            (layer.linear1, ours.feed[0]),
            (layer.linear2, ours.feed[2]),
        ):
            theirs.load_state_dict(mine.state_dict())
        x = layer(x)
    return torch.tanh(encoder.output(encoder.norm(x[0, -1])))


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("context_dim", [8, 6, 5, 1])  # of 4, 2, 1 and 1 heads
def test_every_history_in_a_batch_is_encoded_as_by_pytorch_alone(
    context_dim: int, layers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mql.agent.transformer.LAYERS", layers)
    encoder = encoder_of(context_dim=context_dim)
    elements, start = torch.randn(WINDOW, 5, ELEMENT), torch.arange(5)  # from a full window to none
    z = encoder(Context(elements, start=start))
    assert z.shape == (5, context_dim)
    for row, first in zip(z, start, strict=True):
        history = elements[first:, int(first)]
        assert torch.allclose(row, with_pytorch(encoder, history), atol=1e-5)
        assert torch.allclose(row, encoder(Context(history[:, None]))[0], atol=1e-5)


@pytest.mark.parametrize("layers", [1, 2])
def test_padding_has_no_effect_and_takes_no_part_in_gradients(layers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mql.agent.transformer.LAYERS", layers)
    encoder = encoder_of()
    elements, start = torch.randn(WINDOW, 3, ELEMENT), torch.tensor([1, 2, 4])
    padding = torch.arange(WINDOW)[:, None] < start
    other = torch.where(padding[:, :, None], 1e3, elements).requires_grad_()
    z = encoder(Context(other, start=start))
    assert torch.equal(z, encoder(Context(elements, start=start)))
    (gradient,) = torch.autograd.grad(z.sum(), other)
    assert not gradient[padding].any() and gradient[~padding].all()


def test_z_is_bounded_and_depends_on_the_order_of_the_steps() -> None:
    encoder = encoder_of()
    elements = torch.randn(WINDOW, 6, ELEMENT)
    z = encoder(Context(100.0 * elements))
    assert z.abs().max() <= 1.0
    assert not torch.allclose(encoder(Context(elements)), encoder(Context(elements.flip(0))), atol=1e-3)


def test_more_elements_than_the_context_length_are_refused() -> None:
    with pytest.raises(ValueError, match="5 elements, but the encoder knows places for 4"):
        encoder_of()(Context(torch.randn(WINDOW + 1, 1, ELEMENT)))


@pytest.mark.parametrize("normalize", [False, True])
def test_acting_encodes_what_learning_encodes(normalize: bool) -> None:
    """After every number of steps, also in the process of a worker, which gets a policy by its pickle."""
    agent = Agent(OBS, ACTION, config_of(normalize=normalize), seed=0)
    rng = np.random.default_rng(0)
    steps = WINDOW + 3
    episode = Episode(
        obs=rng.standard_normal((steps + 1, OBS)).astype(np.float32),
        action=rng.uniform(-1, 1, (steps, ACTION)).astype(np.float32),
        reward=rng.standard_normal(steps).astype(np.float32),
        terminated=False,
        truncated=True,
        task=0,
        seed=0,
    )
    replay = Replay(
        n_tasks=1,
        obs_dim=OBS,
        action_dim=ACTION,
        capacity=steps,
        episode_length=steps,
        context_dim=agent.state_dim,
        scaling=agent.scaling,
    )
    replay.append(episode)
    if normalize:
        agent.scaling.fit(*replay.observations_and_rewards())
    batch = replay.gather(replay.all_rows(), context_plan(agent.config))
    z, next_z = (agent.online.actor_encoder(context) for context in (batch.context, batch.next_context))
    assert len(z) == steps and torch.allclose(z[1:], next_z[:-1], atol=1e-5)
    for policy in (agent.policy(), pickle.loads(cloudpickle.dumps(agent.policy()))):
        context = policy.begin(1)
        for t in range(steps):
            assert np.allclose(context.state[0], z[t].detach(), atol=1e-5)
            action = policy.act(episode.obs[t : t + 1], context)
            known = agent.online.actor(batch.transition.obs[t : t + 1], z[t : t + 1])
            assert np.allclose(action, known.detach(), atol=1e-5)
            policy.observe(context, episode.obs[t : t + 1], episode.action[t : t + 1], episode.reward[t : t + 1])
        assert np.allclose(context.state[0], next_z[-1].detach(), atol=1e-5)


@pytest.mark.parametrize("shared", [True, False])
def test_an_update_trains_every_parameter(shared: bool) -> None:
    agent = Agent(OBS, ACTION, config_of(shared_encoder=shared, policy_delay=1), seed=0)
    assert isinstance(agent.policy(), TorchPolicy)
    rng = np.random.default_rng(0)
    replay = Replay(
        n_tasks=1, obs_dim=OBS, action_dim=ACTION, capacity=8, episode_length=8, context_dim=0, scaling=agent.scaling
    )
    replay.append(
        Episode(
            obs=rng.standard_normal((9, OBS)).astype(np.float32),
            action=rng.uniform(-1, 1, (8, ACTION)).astype(np.float32),
            reward=rng.standard_normal(8).astype(np.float32),
            terminated=False,
            truncated=True,
            task=0,
            seed=0,
        )
    )
    before = {name: tensor.clone() for name, tensor in agent.named_tensors()}
    batch = replay.gather(replay.all_rows(), context_plan(agent.config))
    agent.learner(lr=1e-3).update(batch, generator=torch.Generator().manual_seed(0))
    same = [name for name, tensor in agent.named_tensors() if torch.equal(tensor, before[name])]
    assert not same and any("actor_encoder.layers.0" in name for name in before)


def test_with_a_carried_state_one_line_refuses() -> None:
    with pytest.raises(UserError, match="the encoder transformer has no state to carry") as refusal:
        load_config("point-robot", overrides=["agent.encoder=transformer"])
    assert "set agent.context_mode to window" in str(refusal.value)
    settings = ["agent.encoder=transformer", "agent.context_mode=window"]
    assert load_config("point-robot", overrides=settings).agent.encoder == "transformer"
    assert load_config("point-robot", overrides=["profile=paper", settings[0]]).agent.context_mode == "window"
