"""Which task is it? A Gaussian belief about z as a product of one factor for each transition seen (PEARL, section 4).

``q(z | c) ~ product over n of N(z; mean(c_n), variance(c_n))``: the order of transitions does not matter, and every one
makes the belief narrower. Before anything is seen it is the prior N(0, I).

Shapes: S tasks (or trials), T transitions of each, O observation, A action, E = 2 O + A + 1 numbers of a transition
(o, a, r, o'), Z latent variable.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn

from mql.agent.networks import hidden_layers
from mql.types import Context

SMALLEST_VARIANCE = 1e-6  # of a factor: one transition alone must not be certain


@dataclass(frozen=True)
class Belief:
    """A diagonal Gaussian over z for each of S tasks: ``mean`` and ``variance`` [S, Z]."""

    mean: torch.Tensor
    variance: torch.Tensor

    def sample(self, generator: torch.Generator) -> torch.Tensor:
        """Draw a z [S, Z] for each task; it carries gradients."""
        noise = torch.randn(self.mean.shape, generator=generator, device=self.mean.device)
        return self.mean + self.variance.sqrt() * noise


def product_of_gaussians(mean: torch.Tensor, variance: torch.Tensor, present: torch.Tensor) -> Belief:
    """Multiply the Gaussian factors [T, S, Z] of each task that are `present` [T, S]; without any, return N(0, I)."""
    precision = present.unsqueeze(-1) / variance
    total, weighted = precision.sum(dim=0), (precision * mean).sum(dim=0)
    empty = ~present.any(dim=0).unsqueeze(-1)
    total = torch.where(empty, 1.0, total)
    return Belief(weighted / total, 1.0 / total)


def kl_to_prior(belief: Belief) -> torch.Tensor:
    """Return the divergence [S] of each belief from the prior, KL(N(mean, variance) || N(0, I))."""
    return 0.5 * (belief.variance + belief.mean.square() - 1.0 - belief.variance.log()).sum(dim=-1)


class FactorEncoder(nn.Module):
    """ReLU layers from one transition to the mean and the variance of its factor."""

    def __init__(self, element_dim: int, latent_dim: int, hidden_sizes: Sequence[int]) -> None:
        super().__init__()
        sizes = [element_dim, *hidden_sizes]
        self.hidden = nn.ModuleList([nn.Linear(a, b) for a, b in pairwise(sizes)])
        self.output = nn.Linear(sizes[-1], 2 * latent_dim)

    def forward(self, context: Context) -> Belief:
        """Return what the transitions ``context.elements`` [T, S, E] say; those before ``context.start`` are none."""
        elements = context.elements
        steps, tasks, size = elements.shape
        x = hidden_layers(self.hidden, elements.reshape(steps * tasks, size), elements.dtype)
        mean, spread = self.output(x).view(steps, tasks, self.output.out_features).chunk(2, dim=-1)
        start = elements.new_zeros(tasks) if context.start is None else context.start
        present = torch.arange(steps, device=elements.device)[:, None] >= start
        return product_of_gaussians(mean, F.softplus(spread) + SMALLEST_VARIANCE, present)
