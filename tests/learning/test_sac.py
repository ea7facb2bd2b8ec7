"""SAC's densities and losses by hand, and its updates beside those of a naive implementation."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.distributions import Independent, Normal, TanhTransform, TransformedDistribution

from mql.agent.acting import NumpyPolicy
from mql.agent.agent import Agent
from mql.config.schema import AgentConfig
from mql.learning.sac import SAC, SACNetworks, actor_loss, log_probability, temperature_loss
from mql.learning.td3 import goal_of
from mql.types import Batch, Context, Transition

OBS, ACTION, Z = 3, 2, 4


def small_agent(**changes: object) -> Agent:
    config = AgentConfig(algorithm="sac", hidden_sizes=(16, 16), context_dim=Z, **changes)  # type: ignore[arg-type]
    return Agent(OBS, ACTION, config, seed=1)


def random_batch(weights: torch.Tensor | None = None, *, seed: int = 0) -> Batch:
    g = torch.Generator().manual_seed(seed)
    elements = torch.randn(5, 6, OBS + ACTION + 1, generator=g)
    return Batch(
        transition=Transition(
            obs=torch.randn(12, OBS, generator=g),
            action=torch.rand(12, ACTION, generator=g) * 2 - 1,
            reward=torch.randn(12, generator=g),
            next_obs=torch.randn(12, OBS, generator=g),
            terminated=(torch.rand(12, generator=g) < 0.2).float(),
        ),
        context=Context(elements, torch.tensor([[2, 3]]).expand(6, -1)),
        next_context=Context(elements, torch.tensor([[3, 4]]).expand(6, -1)),
        weights=torch.ones(12) if weights is None else weights,
    )


def updated(agent: Agent, *, updates: int = 1, lr: float = 1e-3) -> SAC:
    learner = SAC(agent, lr=lr)
    g = torch.Generator().manual_seed(0)
    for seed in range(updates):
        learner.update(random_batch(seed=seed), generator=g)
    return learner


def tensors(agent: Agent) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in agent.named_tensors()}


def test_log_probability_is_that_of_torch_distributions() -> None:
    torch.manual_seed(0)
    mean, log_std = torch.randn(200, 3, dtype=torch.float64), torch.randn(200, 3, dtype=torch.float64) - 1.0
    policy = TransformedDistribution(
        Independent(Normal(mean, log_std.exp()), 1),
        [TanhTransform(cache_size=1)],  # type: ignore[no-untyped-call]
    )
    action = policy.rsample()
    u = torch.atanh(action)
    assert torch.allclose(log_probability(u, mean, log_std), policy.log_prob(action), rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_log_probability_is_exact_where_the_tanh_is_flat(dtype: torch.dtype) -> None:
    """At u = 20 and beyond, 1 - tanh(u)^2 is 0 in floating point; its logarithm is 2 log 2 - 2 |u|."""
    u = torch.tensor([-1000.0, -30.0, -1.0, 0.0, 1.0, 20.0, 300.0], dtype=dtype)[:, None]
    mean, log_std = torch.zeros_like(u).requires_grad_(), torch.full_like(u, math.log(2.0)).requires_grad_()
    expected = [
        -0.5 * (x / 2) ** 2
        - math.log(2.0)
        - 0.5 * math.log(2 * math.pi)
        + 2 * (abs(x) + math.log1p(math.exp(-2 * abs(x))) - math.log(2.0))
        for x in u[:, 0].tolist()
    ]
    found = log_probability(u, mean, log_std)
    assert torch.allclose(found, torch.tensor(expected, dtype=dtype), rtol=1e-6)
    found.sum().backward()  # type: ignore[no-untyped-call]
    assert mean.grad is not None and mean.grad.isfinite().all()
    assert log_std.grad is not None and log_std.grad.isfinite().all()


def test_the_density_of_actions_integrates_to_one() -> None:
    action = (torch.arange(200_000, dtype=torch.float64) + 0.5) / 100_000 - 1.0
    for mean, log_std in ((0.3, -0.5), (-1.0, -1.0)):
        at = [torch.full((200_000, 1), value, dtype=torch.float64) for value in (mean, log_std)]
        density = log_probability(torch.atanh(action)[:, None], *at).exp()
        assert float(density.mean()) * 2.0 == pytest.approx(1.0, abs=1e-4)


def test_target_takes_the_smaller_value_and_adds_entropy_unless_terminated() -> None:
    values = torch.tensor([[10.0, 5.0], [8.0, 9.0]])
    zeros = torch.zeros(2, 1)
    goal = goal_of(
        lambda obs, action, z: values,
        Transition(zeros, zeros, torch.tensor([1.0, 1.0]), zeros, torch.tensor([0.0, 1.0])),
        zeros,
        zeros,
        discount=0.9,
        entropy=0.5 * torch.tensor([-2.0, 3.0]),
    )
    assert torch.allclose(goal.values, torch.tensor([1.0 + 0.9 * (8.0 + 1.0), 1.0]))


def test_actor_loss_weighs_entropy_against_the_smaller_value() -> None:
    loss = actor_loss(
        torch.tensor([[1.0, 4.0], [2.0, 3.0]]),
        torch.tensor([-2.0, 6.0]),
        torch.tensor([1.0, 0.5]),
        temperature=torch.tensor(0.5),
    )
    # (1 * (-1 - 1) + 0.5 * (3 - 3)) / 2
    assert loss.item() == pytest.approx(-1.0)


def test_temperature_loss_and_its_gradient() -> None:
    log_temperature = torch.tensor(math.log(0.5), requires_grad=True)
    loss = temperature_loss(log_temperature, torch.tensor([4.0, 1.0]), torch.tensor([1.0, 0.5]), target_entropy=-2.0)
    # log pi + target: 2 and -1; -0.5 * (2 - 0.5) / 2. The entropies -4 and -1 are too low on average: alpha must rise.
    assert loss.item() == pytest.approx(-0.375)
    assert torch.autograd.grad(loss, log_temperature)[0].item() == pytest.approx(-0.375)


def test_the_policy_acts_by_its_mean_in_numpy_and_stays_current() -> None:
    agent = small_agent(policy_delay=1)
    policy = agent.policy()
    assert isinstance(policy, NumpyPolicy)
    obs = np.random.default_rng(0).standard_normal((5, OBS)).astype(np.float32)
    before = agent.act(obs, policy.begin(5))
    updated(agent, lr=1e-2)
    acted = agent.act(obs, policy.begin(5))
    assert not np.allclose(acted, before)
    with torch.no_grad():
        mean, _ = agent.online.actor.distribution(torch.from_numpy(obs), torch.zeros(5, Z))
        assert np.allclose(acted, torch.tanh(mean), atol=1e-6)
        assert np.allclose(acted, agent.online.actor.act(torch.from_numpy(obs), torch.zeros(5, Z)), atol=1e-6)


def test_samples_are_of_the_distribution_that_they_are_scored_by() -> None:
    actor = small_agent().online.actor
    obs, z = torch.ones(20_000, OBS), torch.zeros(20_000, Z)
    with torch.no_grad():
        mean, log_std = (x[0] for x in actor.distribution(obs, z))
        action, log_prob = actor.sample(obs, z, generator=torch.Generator().manual_seed(0))
        u = torch.atanh(action.double())
        assert torch.allclose(u.mean(dim=0).float(), mean, atol=0.01)
        assert torch.allclose(u.std(dim=0).float(), log_std.exp(), rtol=0.03)
        expected = log_probability(u, mean.double().expand_as(u), log_std.double().expand_as(u))
        assert torch.allclose(log_prob.double(), expected, atol=1e-3)
        wild = actor.distribution(torch.randn(100, OBS) * 1e6, z[:100])[1]
        assert wild.min() >= -5.0 and wild.max() <= 2.0


def test_policy_and_targets_move_every_policy_delay_updates_only() -> None:
    agent = small_agent(policy_delay=3, shared_encoder=False)
    learner, before = SAC(agent, lr=1e-3), tensors(agent)
    g = torch.Generator().manual_seed(0)
    for update in (1, 2, 3):
        learner.update(random_batch(seed=update), generator=g)
        moved = {name for name, tensor in agent.named_tensors() if not torch.equal(tensor, before[name])}
        critics = {name for name in before if name.startswith("online.critic")}
        if update < 3:
            assert moved == critics
        else:  # all but the targets that nothing reads
            unread = {n for n in before if n.startswith(("target.actor", "target.log_temperature", "scaling."))}
            assert moved == before.keys() - unread


def test_targets_are_a_polyak_average() -> None:
    agent = small_agent(policy_delay=1, tau=0.25)
    before = [p.clone() for p in agent.target.critic.parameters()]
    updated(agent, lr=1e-2)
    for old, new, online in zip(
        before, agent.target.critic.parameters(), agent.online.critic.parameters(), strict=True
    ):
        assert torch.allclose(new, 0.75 * old + 0.25 * online, atol=1e-7)


def test_zero_weight_hides_a_transition() -> None:
    """What a transition with weight 0 says, however wild, changes nothing, the temperature included."""
    weights = torch.ones(12)
    weights[3] = 0.0
    found = []
    for reward, obs in ((0.0, 0.0), (1e4, 3.0)):
        agent = small_agent(policy_delay=1)
        batch = random_batch(weights)
        batch.transition.reward[3] = reward
        batch.transition.obs[3] = obs
        SAC(agent, lr=1e-3).update(batch, generator=torch.Generator().manual_seed(3))
        found.append(tensors(agent))
    assert all(torch.allclose(tensor, found[1][name], atol=1e-7) for name, tensor in found[0].items())


class Naive:
    """SAC as on the paper's page: ordinary modules, `torch.optim.Adam`, the penalty as a term of the loss."""

    def __init__(self, agent: Agent, *, lr: float, anchor: Agent, proximal_coef: float) -> None:
        self.config, self.coef, self.updates = agent.config, proximal_coef, 0
        self.online, self.target = copy.deepcopy(agent.online), copy.deepcopy(agent.target)
        self.parts = self.online.parts()
        self.anchor = {p: q.detach() for p, q in zip(self.online.parameters(), anchor.online.parameters(), strict=True)}
        self.adam = {name: torch.optim.Adam(parameters, lr=lr) for name, parameters in self.parts.items()}

    def q(self, nets: SACNetworks, k: int, obs: torch.Tensor, action: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        x = torch.cat([obs, action, z], dim=1)
        *between, (weight, bias) = zip(nets.critic.weights, nets.critic.biases, strict=True)
        for w, b in between:
            x = x @ w[k] + b[k]
            x = torch.relu(F.layer_norm(x, x.shape[1:]) if self.config.layer_norm else x)
        return (x @ weight[k] + bias[k])[:, 0]

    def sample(self, obs: torch.Tensor, z: torch.Tensor, g: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        actor = self.online.actor
        x = torch.cat([obs, z], dim=1)
        for layer in actor.hidden:
            x = torch.relu(layer(x))
        mean, std = actor.output(x), (-5.0 + 3.5 * (1.0 + torch.tanh(actor.spread(x)))).exp()
        u = mean + std * torch.randn(mean.shape, generator=g)
        action = torch.tanh(u)
        return action, (Normal(mean, std).log_prob(u) - torch.log(1.0 - action**2)).sum(1)

    def encode(self, encoder: torch.nn.Module, context: Context) -> torch.Tensor:
        assert context.read is not None
        states = torch.cat([torch.zeros(1, context.elements.shape[1], Z), encoder.gru(context.elements)[0]])
        return torch.stack([states[int(k), s] for s, ks in enumerate(context.read) for k in ks])

    def step(self, part: str, loss: torch.Tensor) -> None:
        for p in self.parts[part]:
            loss = loss + self.coef / 2 * (p - self.anchor[p]).square().sum()
        for p, gradient in zip(self.parts[part], torch.autograd.grad(loss, self.parts[part]), strict=True):
            p.grad = gradient
        self.adam[part].step()

    def update(self, batch: Batch, g: torch.Generator) -> None:
        t, c, w = batch.transition, self.config, batch.weights
        with torch.no_grad():
            alpha = self.online.log_temperature.exp()
            action, log_prob = self.sample(t.next_obs, self.encode(self.online.actor_encoder, batch.next_context), g)
            z = self.encode(self.target.critic_encoder, batch.next_context)
            value = torch.minimum(*(self.q(self.target, k, t.next_obs, action, z) for k in range(2)))
            goal = t.reward + c.discount * (1 - t.terminated) * (value - alpha * log_prob)
        z = self.encode(self.online.critic_encoder, batch.context)
        errors = [self.q(self.online, k, t.obs, t.action, z) - goal for k in range(2)]
        self.step("critic", sum((w * e**2).mean() for e in errors))  # type: ignore[arg-type]
        self.updates += 1
        if self.updates % c.policy_delay:
            return
        z_actor = z = z.detach()
        if not c.shared_encoder:
            z_actor = self.encode(self.online.actor_encoder, batch.context)
            z = self.encode(self.online.critic_encoder, batch.context).detach()
        action, log_prob = self.sample(t.obs, z_actor, g)
        value = torch.minimum(*(self.q(self.online, k, t.obs, action, z) for k in range(2)))
        self.step("actor", (w * (alpha * log_prob - value)).mean())
        too_low = (w * (log_prob.detach() - ACTION)).mean()
        self.step("temperature", -self.online.log_temperature.exp() * too_low)
        with torch.no_grad():
            for name in ("critic_encoder", "critic"):
                pairs = zip(
                    getattr(self.target, name).parameters(), getattr(self.online, name).parameters(), strict=True
                )
                for p, q in pairs:
                    p.copy_((1 - c.tau) * p + c.tau * q)


@pytest.mark.parametrize("kernels", [True, False], ids=["kernels", "plain"])
@pytest.mark.parametrize("layer_norm", [True, False])
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("proximal_coef", [0.0, 0.7])
def test_updates_are_those_of_a_naive_implementation(
    monkeypatch: pytest.MonkeyPatch, *, kernels: bool, layer_norm: bool, shared: bool, proximal_coef: float
) -> None:
    if not kernels:
        for module in ("mql.kernels.gru", "mql.kernels.layers"):
            monkeypatch.setattr(f"{module}.kernels_for", lambda *_: None)
    meta = small_agent(layer_norm=layer_norm, shared_encoder=shared, tau=0.1)
    agent = meta.copy()
    naive = Naive(agent, lr=1e-3, anchor=meta, proximal_coef=proximal_coef)
    learner = SAC(agent, lr=1e-3, anchor=meta)
    learner.proximal_coef = proximal_coef
    ours, theirs = (torch.Generator().manual_seed(0) for _ in range(2))
    for seed in range(6):
        batch = random_batch(torch.rand(12, generator=torch.Generator().manual_seed(seed)), seed=seed)
        learner.update(batch, generator=ours)
        naive.update(batch, theirs)
    for mine, expected in ((agent.online, naive.online), (agent.target, naive.target)):
        for (name, p), q in zip(mine.named_parameters(), expected.parameters(), strict=True):
            assert torch.allclose(p, q, atol=2e-5), (name, float((p - q).detach().abs().max()))
    for p, q in zip(agent.online.parameters(), meta.online.parameters(), strict=True):
        assert (p - q).detach().abs().max() > 1e-4


@pytest.mark.parametrize(("bias", "sharp"), [(-1.0, True), (0.4, False)], ids=["sharp", "wide"])
def test_entropy_moves_to_its_target(bias: float, *, sharp: bool) -> None:
    """The temperature rises while the policy is sharper than wanted, or falls, and the entropy follows to about -A."""
    agent = small_agent(policy_delay=1)
    with torch.no_grad():
        agent.online.actor.spread.bias.fill_(bias)
    learner, g = SAC(agent, lr=1e-2), torch.Generator().manual_seed(0)
    found = [learner.update(random_batch(seed=update % 20), generator=g) for update in range(200)]
    entropy, temperature = ([float(losses[name]) for losses in found] for name in ("entropy", "temperature"))
    assert (entropy[0] < -ACTION) == sharp
    assert (temperature[10] > temperature[0]) == sharp
    assert abs(np.mean(entropy[-50:]) + ACTION) < abs(np.mean(entropy[:3]) + ACTION) / 2


def test_temperature_and_its_optimiser_are_saved() -> None:
    first = updated(small_agent(policy_delay=1), updates=3)
    saved = tensors(first.agent)
    assert saved["online.log_temperature"].item() != pytest.approx(math.log(0.01), abs=1e-5)
    second_agent = small_agent(policy_delay=1)
    second_agent.load_tensors(saved)
    second = SAC(second_agent, lr=1e-3)
    second.load_optimizer_tensors({name: t.clone() for name, t in first.optimizer_tensors().items()})
    second.updates = first.updates
    for learner in (first, second):
        learner.update(random_batch(seed=9), generator=torch.Generator().manual_seed(9))
    assert all(torch.equal(t, dict(second_agent.named_tensors())[name]) for name, t in first.agent.named_tensors())
    assert float(first.optimizer_tensors()["adam.temperature.0.step"]) == 4


def test_an_update_leaves_no_gradients_behind() -> None:
    agent = small_agent(policy_delay=1)
    updated(agent)
    assert all(p.grad is None for p in agent.online.parameters())
    assert all(p.grad_fn is None and not p.requires_grad for p in agent.target.parameters())
