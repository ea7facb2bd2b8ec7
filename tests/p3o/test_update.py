"""P3O's steps beside a plain twin in double precision, and what an iteration does in which order."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import distributions, nn

from mql.agent.parameter_vector import ParameterVector
from mql.config.loading import load_config
from mql.config.p3o import P3OConfig
from mql.errors import UserError
from mql.p3o.agent import P3OAgent
from mql.p3o.distributions import ActionDistribution, Categorical, Gaussian
from mql.p3o.segments import Segments
from mql.p3o.update import P3O, lr_at
from mql.seeding import generator
from tests.p3o.played import played

KINDS = [Gaussian(2), Categorical(3)]
SMALL = P3OConfig(lanes=4, steps=5, segments=6, replay_capacity=100, off_policy_after=20, hidden_sizes=(7, 5), lr=1e-2)


def agent_of(kind: ActionDistribution, *, seed: int = 0) -> P3OAgent:
    """An agent whose policy depends on what it sees, and that has seen something."""
    agent = P3OAgent(3, kind, hidden_sizes=(7, 5), seed=seed)
    with torch.no_grad():
        agent.networks.actor[-1].weight.mul_(50.0)
    agent.take_up(torch.randn(30, 3, generator=torch.Generator().manual_seed(seed)) * 2.0 + 3.0)
    return agent


def doubled(agent: P3OAgent) -> P3OAgent:
    agent.networks.double()
    agent.parameters = ParameterVector(list(agent.networks.parameters()))
    return agent


def in_double(segments: Segments) -> Segments:
    return Segments(**{n: t.double() if t.is_floating_point() else t for n, t in vars(segments).items()})


class Twin:
    """The same equations from the paper, with PyTorch's distributions and optimiser, row by row."""

    def __init__(self, agent: P3OAgent, settings: P3OConfig) -> None:
        kind = agent.distribution
        self.discrete, self.settings = isinstance(kind, Categorical), settings
        sizes = [3, *settings.hidden_sizes]
        self.actor, self.critic = (
            nn.Sequential(nn.Linear(3, 7), nn.Tanh(), nn.Linear(7, 5), nn.Tanh(), nn.Linear(sizes[-1], n)).double()
            for n in (kind.head_dim, 1)
        )
        self.actor.load_state_dict(agent.networks.actor.state_dict())
        self.critic.load_state_dict(agent.networks.critic.state_dict())
        self.free = None if self.discrete else nn.Parameter(agent.networks.free.detach().clone())
        self.parameters = [*self.actor.parameters(), *([] if self.discrete else [self.free]), *self.critic.parameters()]
        self.optimizer = torch.optim.RMSprop(self.parameters, lr=settings.lr, alpha=0.99, eps=1e-5)
        self.mean, self.scale = agent.seen.mean.float(), agent.seen.scale().float()

    def policy(self, head: torch.Tensor, free: torch.Tensor | None) -> distributions.Distribution:
        if self.discrete:
            return distributions.Categorical(logits=head)
        assert free is not None
        return distributions.MultivariateNormal(head, torch.diag_embed((2.0 * free).exp().expand_as(head)))

    def step(self, segments: Segments, *, on_policy: bool, lr: float) -> dict[str, float]:
        log_prob, value, returns, gain, entropy, ratio, kl = [], [], [], [], [], [], []
        finals = list(segments.final)
        for lane in range(len(segments.obs)):
            values = [self.value(o) for o in segments.obs[lane]]
            numbers = [float(each.detach()) for each in values]
            ends = [
                float(self.value(finals.pop(0)).detach()) if segments.truncated[lane, t] else numbers[t + 1]
                for t in range(4)
            ]
            last = [*ends, numbers[5]]
            carried, gains = 0.0, []
            for t in (4, 3, 2, 1, 0):
                over = bool(segments.terminated[lane, t])
                cut = over or bool(segments.truncated[lane, t])
                error = float(segments.reward[lane, t]) - numbers[t] + (0.0 if over else 0.99 * last[t])
                carried = error + (0.0 if cut else 0.99 * 0.95 * carried)
                gains.insert(0, carried)
            for t in range(5):
                pi = self.policy(self.actor(self.seen(segments.obs[lane, t])), self.free)
                kept, dim = segments.numbers[lane, t], 3 if self.discrete else 2
                beta = self.policy(kept[:dim], None if self.discrete else kept[dim:])
                action = segments.action[lane, t]
                log_prob.append(pi.log_prob(action))
                entropy.append(pi.entropy())
                ratio.append(math.exp(float((pi.log_prob(action) - beta.log_prob(action)).detach())))
                both = (pi, beta) if self.settings.kl == "policy_behavior" else (beta, pi)
                kl.append(distributions.kl_divergence(*both))
                value.append(values[t])
                gain.append(gains[t])
                returns.append(gains[t] + numbers[t])
        n = len(ratio)
        squared = sum((r - v) ** 2 for r, v in zip(returns, value, strict=True)) / n
        figures: dict[str, Any]
        if on_policy:
            coef = 0.01 if self.discrete else 0.0
            policy = -sum(a * lp for a, lp in zip(gain, log_prob, strict=True)) / n
            loss = policy - coef * sum(entropy) / n + 0.5 * squared
            figures = {"policy_loss": policy, "value_loss": squared, "entropy": sum(entropy) / n}
        else:
            ess = sum(ratio) ** 2 / (n * sum(r**2 for r in ratio))
            cap = ess if self.settings.ratio_cap == "auto" else self.settings.ratio_cap
            policy = -sum(min(r, cap) * a * lp for r, a, lp in zip(ratio, gain, log_prob, strict=True)) / n
            loss = policy + (1.0 - ess) * sum(kl) / n + 0.5 * squared
            figures = {"off_policy_loss": policy, "off_policy_value_loss": squared, "kl": sum(kl) / n}
            figures |= {"ess": ess, "lambda": 1.0 - ess, "ratio_max": max(ratio)}
        self.optimizer.zero_grad()
        loss.backward()
        norm = math.sqrt(sum(float(p.grad.square().sum()) for p in self.parameters))
        for parameter in self.parameters:
            parameter.grad.mul_(min(1.0, 0.5 / norm))
        self.optimizer.param_groups[0]["lr"] = lr
        self.optimizer.step()
        return {name: float(torch.as_tensor(figure).detach()) for name, figure in figures.items()}

    def seen(self, obs: torch.Tensor) -> torch.Tensor:
        return ((obs - self.mean) * self.scale).clamp(-10.0, 10.0)

    def value(self, obs: torch.Tensor) -> torch.Tensor:
        return self.critic(self.seen(obs))[0]


def same(one: P3OAgent, other: P3OAgent) -> bool:
    return torch.equal(one.parameters.data, other.parameters.data)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("changed", [{}, {"ratio_cap": 0.7}, {"kl": "behavior_policy"}])
def test_steps_are_those_of_a_plain_twin(kind: ActionDistribution, changed: dict[str, Any]) -> None:
    old, settings = agent_of(kind, seed=1), SMALL.model_copy(update=changed)
    agent = doubled(agent_of(kind))
    p3o, twin = P3O(agent, settings, seed=0), Twin(agent, settings)
    for step, on_policy in enumerate((True, False, True, False, False)):
        segments = in_double(played(old, step, ends=0.2))
        lr = 1e-2 / (step + 1)
        found = (p3o.on_policy_step if on_policy else p3o.off_policy_step)(segments, lr=lr)
        expected = twin.step(segments, on_policy=on_policy, lr=lr)
        assert {name: float(value) for name, value in found.items()} == pytest.approx(expected, rel=1e-6)
        if not on_policy:
            assert 1 / 20 < expected["ess"] < 0.95  # so that both terms count
    for one, other in zip([*agent.parameters.parameters], ordered(agent, twin), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-7, atol=1e-9)


def ordered(agent: P3OAgent, twin: Twin) -> list[torch.Tensor]:
    parts = {"actor": twin.actor, "critic": twin.critic}
    names = [name for name, _ in agent.networks.named_parameters()]
    return [
        twin.free if name == "free" else parts[name.split(".")[0]].get_parameter(name.split(".", 1)[1])
        for name in names
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_with_equal_policies_an_off_policy_step_is_a2cs_without_entropy(kind: ActionDistribution) -> None:
    one, other = agent_of(kind), agent_of(kind)
    settings = SMALL.model_copy(update={"entropy_coef": 0.0})
    a2c, p3o = P3O(one, settings, seed=0), P3O(other, settings, seed=0)
    segments = played(one, 0)
    segments = replace(segments, numbers=p3o.estimates(segments).numbers.detach())  # not rounded otherwise
    for step in range(3):
        a2c.on_policy_step(segments, lr=1e-2)
        found = p3o.off_policy_step(segments, lr=1e-2)
        assert same(one, other) and (float(found["ess"]), float(found["lambda"])) == (1.0, 0.0)
        segments = replace(played(one, step + 1), numbers=segments.numbers)
        segments = replace(segments, numbers=p3o.estimates(segments).numbers.detach())


@pytest.mark.parametrize("kind", KINDS)
def test_without_off_policy_steps_it_is_a2c_bit_for_bit(kind: ActionDistribution) -> None:
    """A2C alone, P3O with a replay ratio of 0, and P3O before its replay holds enough."""
    agents = [agent_of(kind) for _ in range(3)]
    plain = P3O(agents[0], SMALL, seed=0)
    a2c = P3O(agents[1], SMALL.model_copy(update={"replay_ratio": 0.0}), seed=0)
    waiting = P3O(agents[2], SMALL.model_copy(update={"off_policy_after": 100}), seed=0)
    for iteration in range(4):
        fresh = [played(agent, iteration) for agent in agents]
        plain.on_policy_step(fresh[0], lr=lr_at(SMALL, iteration / 10))
        agents[0].take_up(fresh[0].obs[:, :-1])
        two = a2c.learn(fresh[1], iteration=iteration, progress=iteration / 10)
        three = waiting.learn(fresh[2], iteration=iteration, progress=iteration / 10)
        assert two == three and two["off_policy_steps"] == 0.0 and "ess" not in two
        assert same(agents[0], agents[1]) and same(agents[0], agents[2])
    assert a2c.replay is None and not [name for name in a2c.tensors() if name.startswith("replay.")]
    waiting.learn(played(agents[2], 4), iteration=4, progress=0.4)
    assert waiting.replay is not None and waiting.replay.transitions == 100
    assert waiting.off_policy_updates == generator(0, "p3o", 4).poisson(2.0) > 0


def test_the_number_of_off_policy_steps_is_drawn_from_a_stream_of_its_own() -> None:
    agent = agent_of(KINDS[0])
    p3o = P3O(agent, SMALL.model_copy(update={"replay_ratio": 1.5}), seed=3)
    total = 0
    for iteration in range(12):
        figures = p3o.learn(played(agent, iteration), iteration=iteration, progress=0.0)
        wanted = int(generator(3, "p3o", iteration).poisson(1.5))
        assert figures["off_policy_steps"] == wanted
        assert ({"ess", "lambda", "kl", "ratio_max", "off_policy_loss"} <= figures.keys()) == (wanted > 0)
        total += wanted
    assert p3o.counters() == {"updates": 12 + total, "off_policy_updates": total}


@pytest.mark.parametrize("kind", KINDS)
def test_it_goes_on_from_its_tensors_bit_for_bit(kind: ActionDistribution) -> None:
    whole, stopped = agent_of(kind), agent_of(kind)
    one, two = P3O(whole, SMALL, seed=0), P3O(stopped, SMALL, seed=0)
    for iteration in range(8):
        if iteration == 4:
            tensors = {name: tensor.clone() for name, tensor in two.tensors().items()}
            stopped = P3OAgent(3, kind, hidden_sizes=(7, 5), seed=9)
            counters, two = two.counters(), P3O(stopped, SMALL, seed=0)
            two.restore(tensors, counters)
        figures = [
            p3o.learn(played(agent, iteration), iteration=iteration, progress=iteration / 8)
            for p3o, agent in ((one, whole), (two, stopped))
        ]
        assert figures[0] == figures[1]
    assert one.counters() == two.counters() and one.off_policy_updates > 4
    assert all(torch.equal(tensor, two.tensors()[name]) for name, tensor in one.tensors().items())


def test_a_state_of_other_networks_is_refused() -> None:
    p3o = P3O(agent_of(KINDS[0]), SMALL, seed=0)
    other = P3O(P3OAgent(3, KINDS[0], hidden_sizes=(7, 6), seed=0), SMALL, seed=0)
    with pytest.raises(ValueError, match=r"networks\.actor\.2\.weight has shape \(6, 7\), not \(5, 7\)"):
        p3o.restore(other.tensors(), other.counters())
    with pytest.raises(KeyError):
        p3o.restore({}, {})


def test_observations_count_after_the_steps_that_they_were_played_for() -> None:
    agent = P3OAgent(3, KINDS[0], hidden_sizes=(7, 5), seed=0)
    p3o, fresh = P3O(agent, SMALL, seed=0), played(agent, 0)
    obs = fresh.obs[:, :-1]
    assert torch.equal(agent.normalized(obs), obs)
    p3o.learn(fresh, iteration=0, progress=0.0)
    inside = agent.normalized(obs).reshape(-1, 3)
    torch.testing.assert_close(inside.mean(0), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(inside.std(0, correction=0), torch.ones(3))
    assert float(agent.normalized(torch.full((3,), 1e6)).max()) == 10.0
    raw = P3OAgent(3, KINDS[0], normalize=False, seed=0)
    P3O(raw, SMALL, seed=0).learn(fresh, iteration=0, progress=0.0)
    assert torch.equal(raw.normalized(obs), obs)


def test_the_step_size_falls_to_zero_in_a_line() -> None:
    assert [lr_at(SMALL, progress) for progress in (0.0, 0.25, 1.0, 1.5)] == [1e-2, 0.75e-2, 0.0, 0.0]
    agent = agent_of(KINDS[0])
    before = agent.parameters.data.clone()
    P3O(agent, SMALL, seed=0).learn(played(agent, 0), iteration=0, progress=1.0)
    assert torch.equal(agent.parameters.data, before)


def test_numbers_that_are_none_are_seen_in_the_figures() -> None:
    agent = agent_of(KINDS[0])
    segments = played(agent, 0)
    segments.numbers[1, 2, 0] = math.nan
    p3o = P3O(agent, SMALL, seed=0)
    figures = p3o.off_policy_step(segments, lr=1e-2)
    assert all(math.isnan(float(figures[name])) for name in ("ess", "lambda", "kl", "off_policy_loss", "ratio_max"))


@pytest.mark.parametrize("after", [0, 1])
def test_one_bad_step_among_good_ones_is_seen_in_the_figures_of_an_iteration(after: int) -> None:
    agent = agent_of(KINDS[0])
    p3o = P3O(agent, SMALL.model_copy(update={"replay_ratio": 4.0}), seed=0)
    assert p3o.replay is not None
    fresh = played(agent, 0)
    numbers = fresh.numbers.clone()
    numbers[0, 0, 0] = math.nan
    figures = p3o.learn(replace(fresh, numbers=numbers), iteration=after, progress=0.0)
    assert figures["off_policy_steps"] > 1 and math.isnan(figures["ess"]) and math.isnan(figures["ratio_max"])


def test_where_no_stored_action_is_possible_any_more_the_policy_is_only_pulled_back() -> None:
    """Means that are 1e3 away: no gradient of -A log pi, the whole one of KL."""
    agent = agent_of(Gaussian(2))
    segments = played(agent, 0)
    p3o = P3O(agent, SMALL, seed=0)
    far = replace(segments, action=segments.action + 1e3)
    far.numbers[..., :2] += 1e3
    figures = p3o.off_policy_step(far, lr=1e-2)
    assert [float(figures[name]) for name in ("ess", "lambda", "off_policy_loss")] == [0.0, 1.0, 0.0]
    assert float(figures["kl"]) > 1e5


def test_networks_begin_as_said() -> None:
    networks = P3OAgent(17, Gaussian(6), seed=0).networks
    for head, gain in ((networks.actor, 0.01), (networks.critic, 1.0)):
        first, second, last = head[0].weight, head[2].weight, head[4].weight
        torch.testing.assert_close(first.T @ first, 2.0 * torch.eye(17), atol=1e-5, rtol=0)
        torch.testing.assert_close(second @ second.T, 2.0 * torch.eye(64), atol=1e-5, rtol=0)
        torch.testing.assert_close(last @ last.T, gain**2 * torch.eye(len(last)), atol=1e-5, rtol=1e-4)
        assert not any(head[place].bias.any() for place in (0, 2, 4))
    assert networks.free is not None and not networks.free.any() and not set(networks.actor) & set(networks.critic)
    assert P3OAgent(4, Categorical(2), seed=0).networks.free is None


def test_first_weights_and_actions_depend_on_the_seed_alone() -> None:
    torch.manual_seed(1)
    one = P3OAgent(3, Gaussian(2), seed=5)
    drawn = torch.rand(1)
    torch.manual_seed(1)
    assert torch.equal(drawn, torch.rand(1))  # the global generator is left alone
    two, other = P3OAgent(3, Gaussian(2), seed=5), P3OAgent(3, Gaussian(2), seed=6)
    assert same(one, two) and not same(one, other)
    obs, noise = np.ones((4, 3), np.float32), Gaussian(2).draws.noise(np.random.default_rng(0), (4,))
    acted = one.act(obs, 3.0 * noise)
    assert np.array_equal(acted.action, two.act(obs, 3.0 * noise).action)
    assert np.abs(acted.action).max() > 1.0 == np.abs(acted.sent).max() and acted.numbers.shape == (4, 4)
    np.testing.assert_allclose(acted.action, acted.numbers[:, :2] + 3.0 * noise, rtol=1e-6)
    np.testing.assert_allclose(
        acted.numbers, one.networks.numbers(one.normalized(torch.from_numpy(obs))).detach(), rtol=1e-5, atol=1e-7
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["p3o.replay_capacity=255"], r"replay_capacity is 255, less than the 256 steps of an iteration"),
        (
            ["p3o.replay_capacity=5000", "p3o.off_policy_after=4993"],
            r"is 4993, but at most 4992 transitions are stored",
        ),
    ],
)
def test_settings_that_do_not_go_together_are_refused(settings: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_config("CartPole-v1", overrides=settings, method="p3o")
    for fine in (
        ["p3o.replay_capacity=5000", "p3o.off_policy_after=4992"],
        ["p3o.replay_capacity=1", "p3o.replay_ratio=0"],
    ):
        config = load_config("CartPole-v1", overrides=fine, method="p3o")
        assert config.p3o.lr == load_config("CartPole-v1", method="p3o").p3o.lr
