"""What lanes play is the same to the last bit, however many processes play them, and acts as the networks say."""

from __future__ import annotations

import sys
from subprocess import run

import numpy as np
import pytest
import torch

from mql.config.loading import load_config
from mql.p3o.agent import P3OAgent
from mql.p3o.distributions import ActionDistribution, Categorical, Gaussian
from mql.p3o.learning import P3OLearning
from mql.tasks import registry

SMALL = ["p3o.lanes=5", "p3o.steps=6", "p3o.segments=8", "p3o.off_policy_after=30", "p3o.hidden_sizes=[8]"]


def learning(name: str, workers: int) -> P3OLearning:
    overrides = [*SMALL, f"collect.workers={workers}", "train.env_steps=1000"]
    return P3OLearning(load_config(name, overrides=overrides, method="p3o"), registry.load(name))


@pytest.mark.parametrize("name", ["Pendulum-v1", "CartPole-v1"])
def test_workers_change_no_bit(name: str) -> None:
    one, several = learning(name, 1), learning(name, 2)
    try:
        for _ in range(3):
            mine, others = one.iterate().metrics, several.iterate().metrics
            assert mine == others
        found, expected = several.tensors(), one.tensors()
        assert found.keys() == expected.keys()
        assert all(torch.equal(tensor, expected[key]) for key, tensor in found.items())
    finally:
        several.lanes.close()


@pytest.mark.parametrize("kind", [Gaussian(3), Categorical(4)])
@pytest.mark.parametrize("normalize", [True, False])
def test_numpy_says_what_the_networks_say(kind: ActionDistribution, normalize: bool) -> None:
    agent = P3OAgent(5, kind, normalize=normalize, seed=0)
    obs = np.random.default_rng(0).normal(2.0, 3.0, (7, 5)).astype(np.float32)
    agent.take_up(torch.from_numpy(obs))
    with torch.no_grad():
        agent.parameters.data.add_(torch.linspace(-0.2, 0.2, len(agent.parameters.data)))
        expected = agent.networks.numbers(agent.normalized(torch.from_numpy(100.0 * obs)))
    np.testing.assert_allclose(agent.policy().numbers(100.0 * obs), expected, rtol=1e-5, atol=1e-6)


def test_workers_play_without_pytorch() -> None:
    told = "import sys, mql.p3o.playing; print('torch' in sys.modules)"
    assert run([sys.executable, "-c", told], capture_output=True, text=True, check=True).stdout == "False\n"
