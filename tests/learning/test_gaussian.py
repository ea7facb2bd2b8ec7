"""Density, entropy and divergence of diagonal Gaussians: those of torch, and values by hand."""

from __future__ import annotations

import math

import torch
from torch.distributions import Normal, kl_divergence

from mql.learning.gaussian import gaussian_entropy, gaussian_kl, log_probability


def test_density_entropy_and_divergence_are_those_of_torch() -> None:
    generator = torch.Generator().manual_seed(0)
    mean, action, other = (torch.randn(5, 3, 2, generator=generator) for _ in range(3))
    log_std, other_log_std = torch.tensor([-0.5, 0.3]), torch.tensor([0.2, -1.0])
    normal, second = Normal(mean, log_std.exp()), Normal(other, other_log_std.exp())
    torch.testing.assert_close(log_probability(action, mean, log_std), normal.log_prob(action).sum(-1))
    torch.testing.assert_close(gaussian_entropy(log_std), normal.entropy()[0, 0].sum())
    torch.testing.assert_close(gaussian_kl(mean, log_std, other, other_log_std), kl_divergence(normal, second).sum(-1))


def test_the_divergence_by_hand_both_ways_and_dimensions_add() -> None:
    """N(0, 1) and N(1, 2^2): log 2 + 2/8 - 1/2, and -log 2 + 5/2 - 1/2."""
    mean, log_std = torch.zeros(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    other, other_log_std = mean + 1.0, log_std + math.log(2.0)
    there = gaussian_kl(mean, log_std, other, other_log_std)
    back = gaussian_kl(other, other_log_std, mean, log_std)
    assert abs(float(there) - (math.log(2.0) - 0.25)) < 1e-15 and abs(float(there) - 0.4431) < 5e-5
    assert abs(float(back) - (2.0 - math.log(2.0))) < 1e-15 and abs(float(back) - 1.3069) < 5e-5
    twice = gaussian_kl(mean.expand(3), log_std.expand(3), other.expand(3), other_log_std.expand(3))
    assert abs(float(twice) - 3.0 * float(there)) < 1e-15
    assert float(gaussian_kl(other, other_log_std, other, other_log_std)) == 0.0
