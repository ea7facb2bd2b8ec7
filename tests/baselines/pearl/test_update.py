"""PEARL's update beside a naive one: plain modules, autograd and `torch.optim.Adam`, in the order of algorithm 1."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.distributions import Normal, kl_divergence

from mql.agent.acting import CarryingPolicy, NumpyPolicy
from mql.baselines.pearl.agent import PearlAgent
from mql.baselines.pearl.update import PEARL
from mql.config.schema import AgentConfig, PearlConfig
from mql.types import Batch, Context, Episode, Transition

OBS, ACTION, Z = 3, 2, 4
TASKS, EACH, STEPS = 3, 5, 6


def small_agent(**changes: object) -> PearlAgent:
    config = AgentConfig(algorithm="sac", hidden_sizes=(16, 12), **changes)  # type: ignore[arg-type]
    return PearlAgent(OBS, ACTION, config, PearlConfig(latent_dim=Z), seed=1)


def random_batch(seed: int = 0) -> Batch:
    g = torch.Generator().manual_seed(seed)
    n = TASKS * EACH
    context = Context(torch.randn(STEPS, TASKS, 2 * OBS + ACTION + 1, generator=g), start=torch.tensor([0, 2, 0]))
    transition = Transition(
        obs=torch.randn(n, OBS, generator=g),
        action=torch.rand(n, ACTION, generator=g) * 2 - 1,
        reward=torch.randn(n, generator=g),
        next_obs=torch.randn(n, OBS, generator=g),
        terminated=(torch.rand(n, generator=g) < 0.2).float(),
    )
    return Batch(transition, context, context, torch.ones(n))


class Naive:
    """A belief task by task and factor by factor, three losses, an optimiser for each set of networks."""

    def __init__(self, agent: PearlAgent, *, lr: float, kl_weight: float) -> None:
        self.config, self.kl_weight, self.updates = agent.config, kl_weight, 0
        self.online, self.target = copy.deepcopy(agent.online), copy.deepcopy(agent.target)
        nets = self.online
        self.sets = {
            "encoder": list(nets.inference.parameters()),
            "critic": list(nets.critic.parameters()),
            "actor": list(nets.actor.parameters()),
            "temperature": [nets.log_temperature],
        }
        self.adam = {name: torch.optim.Adam(parameters, lr=lr) for name, parameters in self.sets.items()}

    def belief(self, context: Context) -> tuple[torch.Tensor, torch.Tensor]:
        means, variances = [], []
        assert context.start is not None
        for task in range(TASKS):
            precision, weighted = torch.zeros(Z), torch.zeros(Z)
            for x in context.elements[int(context.start[task]) :, task]:
                for layer in self.online.inference.hidden:
                    x = torch.relu(layer(x))
                out = self.online.inference.output(x)
                variance = F.softplus(out[Z:]) + 1e-6
                precision, weighted = precision + 1 / variance, weighted + out[:Z] / variance
            means.append(weighted / precision)
            variances.append(1 / precision)
        return torch.stack(means), torch.stack(variances)

    def q(self, nets: Any, k: int, obs: torch.Tensor, action: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        x = torch.cat([obs, action, z], dim=1)
        *between, (weight, bias) = zip(nets.critic.weights, nets.critic.biases, strict=True)
        for w, b in between:
            x = x @ w[k] + b[k]
            x = torch.relu(F.layer_norm(x, x.shape[1:]) if self.config.layer_norm else x)
        return (x @ weight[k] + bias[k])[:, 0]

    def act(self, obs: torch.Tensor, z: torch.Tensor, g: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        x = torch.cat([obs, z], dim=1)
        for layer in self.online.actor.hidden:
            x = torch.relu(layer(x))
        mean, std = self.online.actor.output(x), (-5.0 + 3.5 * (1.0 + torch.tanh(self.online.actor.spread(x)))).exp()
        u = mean + std * torch.randn(mean.shape, generator=g)
        action = torch.tanh(u)
        return action, (Normal(mean, std).log_prob(u) - torch.log(1.0 - action**2)).sum(1)

    def step(self, loss: torch.Tensor, *names: str) -> None:
        parameters = [p for name in names for p in self.sets[name]]
        for p, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
            p.grad = gradient
        for name in names:
            self.adam[name].step()

    def update(self, batch: Batch, g: torch.Generator) -> None:
        t, c = batch.transition, self.config
        mean, variance = self.belief(batch.context)
        z = mean + variance.sqrt() * torch.randn(TASKS, Z, generator=g)
        z = torch.cat([row.expand(EACH, Z) for row in z])
        fixed = z.detach()
        with torch.no_grad():
            alpha = self.online.log_temperature.exp()
            action, log_prob = self.act(t.next_obs, fixed, g)
            value = torch.minimum(*(self.q(self.target, k, t.next_obs, action, fixed) for k in range(2)))
            goal = t.reward + c.discount * (1 - t.terminated) * (value - alpha * log_prob)
        errors = sum(((self.q(self.online, k, t.obs, t.action, z) - goal) ** 2).mean() for k in range(2))
        prior = Normal(torch.zeros(Z), torch.ones(Z))
        divergence = kl_divergence(Normal(mean, variance.sqrt()), prior).sum(1).mean()
        self.step(errors + self.kl_weight * divergence, "encoder", "critic")
        self.updates += 1
        if self.updates % c.policy_delay:
            return
        action, log_prob = self.act(t.obs, fixed, g)
        value = torch.minimum(*(self.q(self.online, k, t.obs, action, fixed) for k in range(2)))
        self.step((alpha * log_prob - value).mean(), "actor")
        self.step(-self.online.log_temperature.exp() * (log_prob.detach() - ACTION).mean(), "temperature")
        with torch.no_grad():
            for old, new in zip(self.target.critic.parameters(), self.online.critic.parameters(), strict=True):
                old += c.tau * (new - old)


@pytest.mark.parametrize(("layer_norm", "policy_delay"), [(True, 1), (False, 2)])
def test_updates_are_those_of_a_naive_implementation(layer_norm: bool, policy_delay: int) -> None:
    agent = small_agent(layer_norm=layer_norm, policy_delay=policy_delay)
    learner, naive = PEARL(agent, lr=3e-3), Naive(agent, lr=3e-3, kl_weight=0.3)
    learner.kl_weight = 0.3
    ours, theirs = (torch.Generator().manual_seed(5) for _ in range(2))
    for seed in range(6):
        learner.update(random_batch(seed), generator=ours)
        naive.update(random_batch(seed), theirs)
    for name, parameter in naive.online.named_parameters():
        assert torch.allclose(agent.online.get_parameter(name), parameter, atol=2e-5), name
    for name, parameter in naive.target.critic.named_parameters():
        assert torch.allclose(agent.target.critic.get_parameter(name), parameter, atol=2e-5), name


def test_only_the_critics_loss_trains_the_encoder() -> None:
    agent = small_agent(policy_delay=2)
    parts = agent.online.parts()
    assert {id(p) for p in agent.online.inference.parameters()} <= {id(p) for p in parts["critic"]}
    before = [p.clone() for p in agent.online.inference.parameters()]
    learner = PEARL(agent, lr=1e-3)
    learner.update(random_batch(), generator=torch.Generator().manual_seed(0))  # the first: critics alone
    assert any(not torch.equal(p, old) for p, old in zip(agent.online.inference.parameters(), before, strict=True))


def test_a_heavy_divergence_leaves_the_prior() -> None:
    losses = []
    for weight in (0.0, 100.0):
        learner = PEARL(small_agent(), lr=1e-2)
        learner.kl_weight = weight
        g = torch.Generator().manual_seed(0)
        losses.append([float(learner.update(random_batch(), generator=g)["kl"]) for _ in range(100)])
    assert losses[1][-1] < 0.1 * losses[1][0] and losses[0][-1] > 3.0 * losses[1][-1]


def episode(steps: int, seed: int) -> Episode:
    rng = np.random.default_rng(seed)
    return Episode(
        obs=rng.standard_normal((steps + 1, OBS)).astype(np.float32),
        action=rng.uniform(-1, 1, (steps, ACTION)).astype(np.float32),
        reward=rng.standard_normal(steps).astype(np.float32),
        terminated=False,
        truncated=True,
        task=0,
        seed=seed,
    )


def test_a_belief_is_made_of_all_transitions_of_all_episodes() -> None:
    agent, seen = small_agent(reward_scale=2.0), [episode(4, 0), episode(2, 1)]
    rows = [(e.obs[t], e.action[t], 2.0 * e.reward[t : t + 1], e.obs[t + 1]) for e in seen for t in range(e.length)]
    elements = torch.from_numpy(np.stack([np.concatenate(row) for row in rows]))[:, None]
    belief, expected = agent.belief(seen), agent.online.inference(Context(elements))
    assert torch.allclose(belief.mean, expected.mean, atol=1e-6)
    assert torch.allclose(belief.variance, expected.variance, atol=1e-6)
    nothing = agent.belief([])
    assert (nothing.mean == 0.0).all() and (nothing.variance == 1.0).all()


def test_it_acts_in_numpy_by_the_z_that_it_knows_from_the_first_step_to_the_last() -> None:
    agent, z = small_agent(), np.array([0.5, -1.0, 2.0, 0.1])
    policy = agent.knowing(z).policy()
    assert isinstance(agent.policy(), NumpyPolicy) and isinstance(policy, CarryingPolicy)
    context = policy.begin(2)
    for step in range(3):
        obs = np.random.default_rng(step).standard_normal((2, OBS)).astype(np.float32)
        action = policy.act(obs, context)
        known = torch.from_numpy(np.repeat(z[None], 2, axis=0).astype(np.float32))
        with torch.no_grad():
            mean, _ = agent.online.actor.distribution(torch.from_numpy(obs), known)
        assert np.allclose(action, torch.tanh(mean).numpy(), atol=1e-6)
        policy.observe(context, obs, action, np.zeros(2, np.float32))
    assert agent.carried is None
