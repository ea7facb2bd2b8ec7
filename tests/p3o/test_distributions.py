"""Both kinds of policies: values by hand, PyTorch's distributions beside them, and frequencies of what is drawn."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import distributions

from mql.p3o.distributions import ActionDistribution, Categorical, Gaussian

KINDS = [Gaussian(3), Categorical(4)]


def reference(kind: ActionDistribution, numbers: torch.Tensor) -> distributions.Distribution:
    if isinstance(kind, Categorical):
        return distributions.Categorical(logits=numbers)
    mean, log_std = numbers[..., : kind.head_dim], numbers[..., kind.head_dim :]
    return distributions.Independent(distributions.Normal(mean, log_std.exp()), 1)


@pytest.mark.parametrize("kind", KINDS)
def test_density_entropy_and_divergence_are_those_of_torch(kind: ActionDistribution) -> None:
    generator = torch.Generator().manual_seed(0)
    shape = (2, 5, 7, kind.head_dim + kind.free_dim)
    numbers, other = torch.randn(shape, generator=generator, dtype=torch.float64).unbind()
    one, two = reference(kind, numbers), reference(kind, other)
    action = two.sample()
    torch.testing.assert_close(kind.log_prob(numbers, action), one.log_prob(action))
    torch.testing.assert_close(kind.entropy(numbers), one.entropy())
    torch.testing.assert_close(kind.kl(numbers, other), distributions.kl_divergence(one, two))
    torch.testing.assert_close(kind.kl(other, numbers), distributions.kl_divergence(two, one))
    assert not kind.kl(numbers, numbers).any()


def test_divergences_by_hand() -> None:
    pi, beta = (torch.tensor(each, dtype=torch.float64).log() for each in ([0.5, 0.5], [0.9, 0.1]))
    assert float(Categorical(2).kl(pi, beta)) == pytest.approx(0.5108, abs=5e-5)
    assert float(Categorical(2).kl(beta, pi)) == pytest.approx(0.3681, abs=5e-5)
    narrow, wide = torch.tensor([0.0, 0.0]), torch.tensor([1.0, math.log(2.0)])
    assert float(Gaussian(1).kl(narrow, wide)) == pytest.approx(0.4431, abs=5e-5)
    assert float(Gaussian(1).kl(wide, narrow)) == pytest.approx(1.3069, abs=5e-5)


def test_drawn_actions_have_the_policys_mean_and_spread() -> None:
    kind, rng = Gaussian(2), np.random.default_rng(0)
    numbers = np.array([1.0, -2.0, math.log(0.5), math.log(3.0)], np.float32)
    drawn = kind.draws.sample(np.tile(numbers, (20_000, 1)), kind.draws.noise(rng, (20_000,)))
    assert drawn.shape == (20_000, 2) and drawn.dtype == np.float32
    np.testing.assert_allclose(drawn.mean(axis=0), [1.0, -2.0], atol=0.07)
    np.testing.assert_allclose(drawn.std(axis=0), [0.5, 3.0], atol=0.05)


def test_drawn_actions_have_the_policys_frequencies() -> None:
    kind, rng = Categorical(3), np.random.default_rng(0)
    numbers = np.log(np.array([0.2, 0.5, 0.3], np.float32))
    drawn = kind.draws.sample(np.tile(numbers, (20_000, 1)), kind.draws.noise(rng, (20_000,)))
    assert drawn.dtype == np.int64
    np.testing.assert_allclose(np.bincount(drawn) / 20_000, [0.2, 0.5, 0.3], atol=0.01)
    unlikely = np.array([[0.0, -200.0, 0.0], [-200.0, 0.0, -200.0]], np.float32)
    ends = kind.draws.sample(unlikely, np.array([1.0 - 2**-24, 0.0], np.float32))
    assert ends.tolist() == [2, 1]  # (never beyond the last one, never one of probability 0)


def test_environments_get_clipped_actions_and_the_density_is_that_of_the_drawn_ones() -> None:
    kind = Gaussian(2, low=np.array([-0.4, -2.0], np.float32), high=np.array([0.4, 2.0], np.float32))
    drawn = np.array([[0.5, 1.0], [-0.1, -7.0]], np.float32)
    np.testing.assert_array_equal(kind.draws.sent(drawn), np.array([[0.4, 1.0], [-0.1, -2.0]], np.float32))
    numbers = torch.zeros(2, 4)
    assert float(kind.log_prob(numbers, torch.from_numpy(drawn))[1]) == pytest.approx(-24.505 - math.log(2 * math.pi))
    assert Categorical(3).draws.sent(np.array([2, 0])).tolist() == [2, 0]
