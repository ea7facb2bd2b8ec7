"""P3O's networks for vectors: an actor and a critic that share nothing.

Shapes: ... any leading ones, O observation, P numbers of an action distribution (`distributions.py`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn

from mql.p3o.distributions import ActionDistribution

FIRST_FREE = 0.0  # the log standard deviation of a continuous policy before training


class ActorCritic(nn.Module):
    """Tanh layers, orthogonal at first; the actor's output layer is small, so that all actions begin alike."""

    def __init__(self, obs_dim: int, distribution: ActionDistribution, hidden_sizes: Sequence[int]) -> None:
        super().__init__()
        self.actor = _tanh_layers([obs_dim, *hidden_sizes, distribution.head_dim], gain_at_last=0.01)
        self.free = nn.Parameter(torch.full((distribution.free_dim,), FIRST_FREE)) if distribution.free_dim else None
        self.critic = _tanh_layers([obs_dim, *hidden_sizes, 1], gain_at_last=1.0)

    def numbers(self, obs: torch.Tensor) -> torch.Tensor:
        """Return the numbers [..., P] of the policy's distributions at normalised observations [..., O]."""
        head: torch.Tensor = self.actor(obs)
        return head if self.free is None else torch.cat([head, self.free.expand_as(head)], dim=-1)

    def value(self, obs: torch.Tensor) -> torch.Tensor:
        """Return the values [...] of normalised observations [..., O]."""
        value: torch.Tensor = self.critic(obs)
        return value.squeeze(-1)


def _tanh_layers(sizes: Sequence[int], *, gain_at_last: float) -> nn.Sequential:
    layers: list[nn.Module] = []
    for place, (fan_in, fan_out) in enumerate(pairwise(sizes)):
        linear, last = nn.Linear(fan_in, fan_out), place == len(sizes) - 2
        nn.init.orthogonal_(linear.weight, gain=gain_at_last if last else math.sqrt(2.0))
        nn.init.zeros_(linear.bias)
        layers += [linear] if last else [linear, nn.Tanh()]
    return nn.Sequential(*layers)
