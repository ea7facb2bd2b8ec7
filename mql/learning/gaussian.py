"""Diagonal Gaussian policies: the density of an action, entropy, and how far one is from another.

Shapes: A action; all that stands before it is kept.
"""

from __future__ import annotations

import math

import torch


def log_probability(action: torch.Tensor, mean: torch.Tensor, log_std: torch.Tensor) -> torch.Tensor:
    """Log density of actions [..., A] under a diagonal Gaussian, [...]."""
    apart = (action - mean) * torch.exp(-log_std)
    return (-0.5 * apart.square() - log_std - 0.5 * math.log(2.0 * math.pi)).sum(dim=-1)


def gaussian_entropy(log_std: torch.Tensor) -> torch.Tensor:
    """Entropy of diagonal Gaussians with `log_std` [..., A], [...]."""
    return (log_std + 0.5 * math.log(2.0 * math.pi * math.e)).sum(dim=-1)


def gaussian_kl(
    mean: torch.Tensor, log_std: torch.Tensor, other_mean: torch.Tensor, other_log_std: torch.Tensor
) -> torch.Tensor:
    """KL divergence of diagonal Gaussians from others, KL(this || other), exact: [..., A] each to [...]."""
    apart = (mean - other_mean) * torch.exp(-other_log_std)
    wider = log_std - other_log_std
    return (0.5 * ((2.0 * wider).exp() + apart.square() - 1.0) - wider).sum(dim=-1)
