"""The context encoder: one function whether it reads windows, segments or single steps."""

from __future__ import annotations

import pickle
import typing
from pathlib import Path

import cloudpickle
import numpy as np
import pytest
import torch

from mql.agent.acting import TorchPolicy
from mql.agent.agent import Agent
from mql.agent.encoders import GRUEncoder, NoEncoder
from mql.agent.networks import Networks, TwinCritic
from mql.agent.protocols import find
from mql.config.agent import EncoderChoice
from mql.config.loading import load_config, read_resolved
from mql.config.schema import ALGORITHMS, ENCODERS, AgentConfig, Config
from mql.errors import UserError
from mql.learning.td3 import TD3
from mql.types import Batch, Context, Transition


@pytest.mark.parametrize("n", [2, 20])
def test_reading_states_equals_stepping(n: int) -> None:
    """The state that acting carries is the one that training reads."""
    agent = Agent(3, 1, AgentConfig(hidden_sizes=(8,), context_dim=3), seed=0)
    elements = torch.randn(4, n, 5)
    context = agent.begin(n)
    stepped = [torch.from_numpy(context.state)]
    for row in elements.numpy():
        agent.observe(context, row[:, :3], row[:, 3:4], row[:, 4])
        stepped.append(torch.from_numpy(context.state))
    read = torch.arange(5).expand(n, -1)
    z = agent.online.actor_encoder(Context(elements, read)).view(n, 5, 3)
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


def test_making_an_agent_leaves_all_other_random_streams_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also the GPU's, which `torch.manual_seed` would seed anew."""
    reseeded: list[int] = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", reseeded.append)
    before = torch.get_rng_state()
    agents = [Agent(3, 2, AgentConfig(hidden_sizes=(8,)), seed=seed) for seed in (0, 0, 1)]
    assert torch.equal(before, torch.get_rng_state()) and not reseeded
    weights = [agent.online.actor.output.weight for agent in agents]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])


def test_buffers_are_saved_and_loaded() -> None:
    """A normaliser's statistics, say; but not what a module declares as not to be saved."""
    made, fresh = (Agent(3, 2, AgentConfig(hidden_sizes=(8,)), seed=seed) for seed in (0, 1))
    for agent in (made, fresh):
        for networks in (agent.online, agent.target):
            networks.actor.register_buffer("mean", torch.zeros(3))
            networks.actor.register_buffer("scratch", torch.zeros(3), persistent=False)
    made.online.actor.mean += 2.0
    tensors = {name: tensor.clone() for name, tensor in made.named_tensors()}
    assert tensors["online.actor.mean"].tolist() == [2.0] * 3 and "online.actor.scratch" not in tensors
    fresh.load_tensors(tensors)
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in fresh.named_tensors())
    assert torch.equal(made.copy().online.actor.mean, made.online.actor.mean)
    with pytest.raises(ValueError, match=r"online.actor.mean has shape \(2,\), not \(3,\)"):
        fresh.load_tensors({**tensors, "online.actor.mean": torch.zeros(2)})


@pytest.mark.parametrize("mode", ["carry", "window"])
def test_modules_that_are_not_known_act_through_torch_as_in_numpy(mode: str) -> None:
    """Also after a pickle's way to a worker process, which does not carry the whole agent along."""
    config = AgentConfig(hidden_sizes=(8,), context_dim=4, context_mode=mode, context_length=3)  # type: ignore[arg-type]
    agent = Agent(3, 2, config, seed=0)
    known = agent.policy()
    window = 3 if mode == "window" else 0
    general = TorchPolicy(agent.online.actor, agent.online.actor_encoder, elements=agent.elements, window=window)
    data = cloudpickle.dumps(general)
    learned = sum(p.numel() for m in (agent.online.actor, agent.online.actor_encoder) for p in m.parameters())
    assert len(data) < 4 * learned + 20_000
    rng = np.random.default_rng(0)
    contexts = [(policy, policy.begin(5)) for policy in (known, general, pickle.loads(data))]
    for _ in range(5):
        obs, reward = rng.standard_normal((5, 3)).astype(np.float32), rng.standard_normal(5).astype(np.float32)
        actions = [policy.act(obs, context) for policy, context in contexts]
        assert all(np.allclose(action, actions[0], atol=1e-6) for action in actions)
        for policy, context in contexts:
            policy.observe(context, obs, actions[0], reward)


class LastElement(torch.nn.Module):
    """An encoder of one's own: the last element seen, for windows only."""

    def __init__(self, element_dim: int, config: AgentConfig) -> None:
        super().__init__()
        self.context_dim = config.context_dim
        self.linear = torch.nn.Linear(element_dim, config.context_dim)

    def forward(self, context: Context) -> torch.Tensor:
        elements = context.elements
        if not len(elements):
            return elements.new_zeros(elements.shape[1], self.context_dim)
        z = self.linear(elements[-1])
        return z if context.start is None else z * (context.start < len(elements))[:, None]


def test_an_encoder_of_ones_own_learns_and_acts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A class and a row in the table are all that it takes."""
    choice = EncoderChoice(f"{__name__}:LastElement", carries=False)
    monkeypatch.setattr("mql.agent.encoders.ENCODERS", {"gru": choice})
    config = AgentConfig(hidden_sizes=(8,), context_dim=4, context_mode="window", context_length=3, policy_delay=1)
    agent = Agent(3, 2, config, seed=0)
    before = agent.online.actor_encoder.linear.weight.detach().clone()
    elements = torch.randn(3, 6, 6)
    transition = Transition(torch.randn(6, 3), torch.randn(6, 2), torch.randn(6), torch.randn(6, 3), torch.zeros(6))
    batch = Batch(transition, Context(elements), Context(elements), torch.ones(6))
    agent.learner(lr=1e-3).update(batch, generator=torch.Generator().manual_seed(0))
    assert not torch.equal(before, agent.online.actor_encoder.linear.weight)
    context = agent.begin(2)
    assert isinstance(context.policy, TorchPolicy)
    obs = np.ones((2, 3), dtype=np.float32)
    agent.observe(context, obs, agent.act(obs, context), np.ones(2, dtype=np.float32))
    assert context.state.shape == (2, 4) and context.state.any()


def test_every_choice_of_an_encoder_and_an_algorithm_stands_where_its_table_says() -> None:
    fields = AgentConfig.model_fields
    assert set(ENCODERS) == set(typing.get_args(fields["encoder"].annotation))
    assert set(ALGORITHMS) == set(typing.get_args(fields["algorithm"].annotation))
    for place in (*(choice.place for choice in ENCODERS.values()), *ALGORITHMS.values()):
        assert callable(find(place))


def test_an_encoder_without_a_state_is_not_asked_to_carry_it(monkeypatch: pytest.MonkeyPatch) -> None:
    choice = EncoderChoice("mql.agent.encoders:GRUEncoder", carries=False)
    monkeypatch.setattr("mql.config.schema.ENCODERS", {"gru": choice})
    assert Config(family="point-robot", agent=AgentConfig(context_mode="window")).agent.encoder == "gru"
    with pytest.raises(ValueError, match=r"the encoder gru has no state to carry.*set agent.context_mode to window"):
        Config(family="point-robot")


@pytest.mark.parametrize("name", ENCODERS)
def test_padding_changes_nothing_for_any_encoder(name: str) -> None:
    """A window that is padded at its beginning is the shorter window; one of padding alone, an empty history."""
    encoder = find(ENCODERS[name].place)(5, AgentConfig(context_dim=4, context_length=6))
    elements, start = torch.randn(6, 3, 5), torch.tensor([0, 4, 6])
    padded, other = elements.clone(), elements.clone()
    for sequence, first in enumerate(start.tolist()):
        padded[:first, sequence] = 0.0
    z = encoder(Context(padded, start=start))
    assert z.shape == (3, 4) and encoder.context_dim == 4
    assert torch.allclose(z, encoder(Context(other, start=start)), atol=1e-6)
    for sequence, first in enumerate(start.tolist()):
        alone = encoder(Context(elements[first:, sequence : sequence + 1]))
        assert torch.allclose(z[sequence], alone[0], atol=1e-6)


@pytest.mark.parametrize(("owners", "stands"), [(0, "in none"), (2, "in actor and critic")])
def test_a_parameter_that_is_not_in_exactly_one_part_is_refused(
    monkeypatch: pytest.MonkeyPatch, owners: int, stands: str
) -> None:
    """One in no part would never be learned, and nothing else would say so."""

    class WithHead(Networks):
        def __init__(self, obs_dim: int, action_dim: int, config: AgentConfig) -> None:
            super().__init__(obs_dim, action_dim, config)
            self.head = torch.nn.Linear(obs_dim, 1, bias=False)

        def parts(self) -> dict[str, list[torch.nn.Parameter]]:
            parts = super().parts()
            return {n: [*own, *([self.head.weight] if i < owners else [])] for i, (n, own) in enumerate(parts.items())}

    monkeypatch.setattr(TD3, "networks", WithHead)
    with pytest.raises(ValueError, match=rf"WithHead.parts\(\) .* head.weight stands {stands}"):
        Agent(3, 2, AgentConfig(hidden_sizes=(8,), context_dim=4), seed=0)


def test_saved_configurations_of_earlier_versions_mean_float32(tmp_path: Path) -> None:
    """Their `precision: auto` was not resolved; a new file must not say it."""
    path = tmp_path / "config.yaml"
    path.write_text("family: point-robot\nagent: {precision: auto}\n")
    assert read_resolved(path).agent.precision == "float32"
    with pytest.raises(UserError, match="'float32' or 'bfloat16'"):
        load_config(str(path))
