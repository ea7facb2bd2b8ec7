"""PEARL's beliefs beside Gaussians multiplied on a grid, PyTorch's divergence, and factors in any order."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import scipy.stats
import torch
from torch.distributions import Normal, kl_divergence

from mql.baselines.pearl.inference import Belief, FactorEncoder, kl_to_prior, product_of_gaussians
from mql.types import Context


def encoder() -> FactorEncoder:
    torch.manual_seed(0)
    return FactorEncoder(4, 3, (16, 16))


def elements(steps: int = 7, tasks: int = 2) -> torch.Tensor:
    return torch.randn(steps, tasks, 4, generator=torch.Generator().manual_seed(1))


def test_a_product_of_gaussians_is_what_their_densities_multiplied_are() -> None:
    means, variances = [0.3, -1.2, 0.8], [0.5, 2.0, 0.1]
    grid = np.linspace(-8, 8, 200_001)
    density = np.prod([scipy.stats.norm(m, v**0.5).pdf(grid) for m, v in zip(means, variances, strict=True)], axis=0)
    density /= np.trapezoid(density, grid)
    mean = np.trapezoid(grid * density, grid)
    variance = np.trapezoid((grid - mean) ** 2 * density, grid)
    present = torch.ones(3, 1, dtype=torch.bool)
    found = product_of_gaussians(torch.tensor(means)[:, None, None], torch.tensor(variances)[:, None, None], present)
    assert found.mean.item() == pytest.approx(mean, rel=1e-5)
    assert found.variance.item() == pytest.approx(variance, rel=1e-5)


def test_absent_factors_count_nothing_and_none_at_all_gives_the_prior() -> None:
    mean, variance = torch.randn(4, 3, 2), torch.rand(4, 3, 2) + 0.1
    present = torch.tensor([[False, True, False], [True, True, False], [False, True, False], [True, True, False]])
    found = product_of_gaussians(mean, variance, present)
    alone = product_of_gaussians(mean[[1, 3], :1], variance[[1, 3], :1], torch.ones(2, 1, dtype=torch.bool))
    assert torch.allclose(found.mean[0], alone.mean[0]) and torch.allclose(found.variance[0], alone.variance[0])
    assert (found.mean[2] == 0.0).all() and (found.variance[2] == 1.0).all()


def test_nothing_seen_is_the_prior_too() -> None:
    belief = encoder()(Context(torch.zeros(0, 2, 4)))
    assert torch.equal(belief.mean, torch.zeros(2, 3)) and torch.equal(belief.variance, torch.ones(2, 3))


def test_the_divergence_is_that_of_torch_distributions() -> None:
    torch.manual_seed(0)
    belief = Belief(torch.randn(5, 4, dtype=torch.float64), torch.rand(5, 4, dtype=torch.float64) + 0.05)
    normal = Normal(belief.mean, belief.variance.sqrt())
    expected = kl_divergence(normal, Normal(torch.zeros(()).double(), torch.ones(()).double())).sum(dim=1)
    assert torch.allclose(kl_to_prior(belief), expected, rtol=1e-12)
    assert kl_to_prior(Belief(torch.zeros(1, 4), torch.ones(1, 4))).item() == 0.0


def test_the_order_of_transitions_does_not_matter() -> None:
    given, order = elements(), torch.tensor([5, 2, 0, 6, 3, 1, 4])
    one, other = encoder()(Context(given)), encoder()(Context(given[order]))
    assert torch.allclose(one.mean, other.mean, atol=1e-6) and torch.allclose(one.variance, other.variance, atol=1e-6)


def test_every_transition_narrows_the_belief() -> None:
    widths = [encoder()(Context(elements()[:steps])).variance for steps in range(1, 8)]
    assert all((after < before).all() for before, after in pairwise(widths))


def test_padding_is_not_looked_at() -> None:
    given = elements()
    wild = given.clone()
    wild[:3, 1] = 1e6
    whole = encoder()(Context(given))
    found = encoder()(Context(wild, start=torch.tensor([0, 3])))
    alone = encoder()(Context(given[3:, 1:]))
    assert torch.allclose(found.mean[0], whole.mean[0], atol=1e-6)
    assert torch.allclose(found.mean[1], alone.mean[0], atol=1e-6)
    assert torch.allclose(found.variance[1], alone.variance[0], atol=1e-6)


def test_samples_have_the_belief_s_mean_and_variance_and_carry_its_gradient() -> None:
    belief = Belief(torch.full((20_000, 1), 0.7, requires_grad=True), torch.full((20_000, 1), 0.25))
    drawn = belief.sample(torch.Generator().manual_seed(0))
    assert drawn.mean().item() == pytest.approx(0.7, abs=0.02) and drawn.std().item() == pytest.approx(0.5, abs=0.01)
    [gradient] = torch.autograd.grad(drawn.sum(), belief.mean)
    assert (gradient == 1.0).all()
