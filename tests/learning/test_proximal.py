"""The proximal step to the targets: its strength by hand, Adam with it beside a plain twin, and TD3's option."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from naive_td3 import Naive
from pydantic import ValidationError

from mql.agent.agent import Agent
from mql.agent.parameter_vector import ParameterVector
from mql.config.loading import load_experiment
from mql.config.q_learning import QLearningConfig
from mql.config.schema import AgentConfig
from mql.errors import UserError
from mql.learning.optimizer import Adam
from mql.learning.proximal import kappa_of, pull_of
from mql.learning.td3 import TD3
from mql.learning.trainer import Trainer
from mql.tasks import registry
from mql.types import Batch, Context, Transition


def vector(*values: float) -> ParameterVector:
    return ParameterVector([torch.nn.Parameter(torch.tensor(values, dtype=torch.float64))])


def test_auto_gives_the_published_strength() -> None:
    assert QLearningConfig(lr=2.5e-4).published_c == pytest.approx(0.025)
    assert QLearningConfig(lr=2.5e-4, target_every=8000).published_c == pytest.approx(0.2), "DQN Pro on Atari"
    assert QLearningConfig(lr=6.25e-5, target_every=8000).published_c == pytest.approx(0.05), "Rainbow Pro on Atari"
    assert kappa_of(2.5e-4, 0.2, 2000) == pytest.approx(2.5)
    assert kappa_of(2.5e-4, 0.0, 2000) == 0.0 == pull_of(2.5e-4, math.inf)


@pytest.mark.parametrize(("slope", "after"), [(0.0, 0.8), (2.0, 0.7), (-2.0, 0.9)])
def test_the_pull_and_then_adams_first_step(slope: float, after: float) -> None:
    """w 1, theta 0, lr .1, c .5: pulled to .8, from where Adam's first step has the length of lr."""
    parameters = vector(1.0)
    theta = torch.zeros(1, dtype=torch.float64)
    loss = slope * parameters.parameters[0].sum()
    Adam(parameters).step(loss, lr=0.1, toward=theta, pull=pull_of(0.1, 0.5))
    assert parameters.data.item() == pytest.approx(after, abs=1e-8)


def test_several_steps_are_those_of_adam_by_hand_with_the_gradient_of_before_the_pull() -> None:
    rng = np.random.default_rng(0)
    w, theta, scale = rng.normal(size=5), rng.normal(size=5), rng.uniform(0.5, 2.0, 5)
    parameters = vector(*w)
    adam = Adam(parameters, eps=1e-3)
    lr, c, m, v = 0.05, 0.2, np.zeros(5), np.zeros(5)
    for t in range(1, 8):
        loss = 0.5 * (torch.from_numpy(scale) * parameters.parameters[0].square()).sum()
        adam.step(loss, lr=lr, toward=torch.from_numpy(theta), pull=pull_of(lr, c))
        g = scale * w
        w = w + lr / c * (theta - w)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        w = w - lr * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-3)
        np.testing.assert_allclose(parameters.data.numpy(), w, rtol=0, atol=1e-12)


def test_moments_that_were_forgotten_make_the_next_step_a_first_one() -> None:
    parameters = vector(1.0, -2.0)
    adam = Adam(parameters)
    for _ in range(3):
        adam.step(parameters.parameters[0].square().sum(), lr=0.1)
    adam.clear()
    before = parameters.data.clone()
    adam.step(parameters.parameters[0].square().sum(), lr=0.1)
    assert torch.allclose(parameters.data, before - 0.1 * before.sign(), atol=1e-8)


def batch(seed: int) -> Batch:
    g, rows = torch.Generator().manual_seed(seed), 6
    elements = torch.randn(5, rows, 6, generator=g)
    return Batch(
        transition=Transition(
            obs=torch.randn(2 * rows, 3, generator=g),
            action=torch.rand(2 * rows, 2, generator=g) * 2 - 1,
            reward=torch.randn(2 * rows, generator=g),
            next_obs=torch.randn(2 * rows, 3, generator=g),
            terminated=(torch.rand(2 * rows, generator=g) < 0.2).float(),
        ),
        context=Context(elements, torch.tensor([[2, 3]]).expand(rows, -1)),
        next_context=Context(elements, torch.tensor([[3, 4]]).expand(rows, -1)),
        weights=torch.ones(2 * rows),
    )


class PulledNaive(Naive):
    """The plain twin of TD3, every part of which is pulled to its targets before its step."""

    def step(self, adam: torch.optim.Adam, loss: torch.Tensor, parameters: list[torch.nn.Parameter]) -> None:
        part = "critic" if parameters is self.critic else "actor"
        gradients = torch.autograd.grad(loss, parameters)
        with torch.no_grad():
            for p, theta, gradient in zip(parameters, self.target.parts()[part], gradients, strict=True):
                p.add_(1e-2 / 0.04 * (theta - p))
                p.grad = gradient
        adam.step()


@pytest.mark.parametrize("shared", [True, False])
def test_td3_is_pulled_in_every_part(shared: bool) -> None:
    config = AgentConfig(hidden_sizes=(16, 16), context_dim=4, shared_encoder=shared, tau=0.1, context_mode="window")
    agent = Agent(3, 2, config, seed=1)
    twin, learner = PulledNaive(agent, lr=1e-2), TD3(agent, lr=1e-2)
    learner.proximal_c = 0.04
    noise, same_noise = (torch.Generator().manual_seed(3) for _ in range(2))
    for seed in range(4):
        learner.update(batch(seed), generator=noise)
        twin.update(batch(seed), same_noise)
    for ours, theirs in zip(agent.online.parameters(), twin.online.parameters(), strict=True):
        assert torch.allclose(ours, theirs, atol=2e-5)


def test_td3_without_a_pull_keeps_every_bit_and_one_without_end_is_none() -> None:
    found = []
    for c in (None, 0.0, math.inf):
        agent = Agent(3, 2, AgentConfig(hidden_sizes=(16,), context_dim=4, policy_delay=1), seed=1)
        learner = TD3(agent, lr=1e-2)
        if c is not None:
            learner.proximal_c = c
        for seed in range(3):
            learner.update(batch(seed), generator=torch.Generator().manual_seed(seed))
        found.append([tensor.clone() for _, tensor in agent.named_tensors()])
    assert all(torch.equal(a, b) and torch.equal(a, c) for a, b, c in zip(*found, strict=True))


def test_the_key_reaches_training_by_td3_only() -> None:
    for algorithm, c in (("td3", 0.5), ("sac", 0.0)):
        settings = ("agent.proximal_c=0.5", f"agent.algorithm={algorithm}", "train.replay_capacity=20000")
        config, _, _ = load_experiment("point-robot", overrides=settings)
        assert Trainer(config, registry.load("point-robot")).learner.proximal_c == c


def test_a_configuration_that_goes_beyond_the_targets_is_refused() -> None:
    with pytest.raises((UserError, ValidationError), match=r"agent\.proximal_c is 0\.0001, below agent\.lr"):
        load_experiment("point-robot", overrides=("agent.proximal_c=1e-4",))
