"""Segments: stretches of T steps, of one lane each, that P3O learns from, on policy and later off policy.

An episode may end within a segment, and another one begin. Where a time limit ended it, what came last is kept, since
its value still counts.

Shapes: B segments (N lanes while they are played), T steps, O observation, P numbers of an action distribution.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import torch

from mql.p3o.distributions import ActionDistribution
from mql.p3o.playing import Recorded


@dataclass(frozen=True)
class Segments:
    """Raw data of segments; nothing is normalised.

    Attributes:
        obs: [B, T + 1, O], before each step and after the last one (there before any reset).
        action: [B, T, ...], as drawn, not clipped.
        numbers: [B, T, P], of the distributions that actions were drawn from.
        reward: [B, T].
        terminated: [B, T], bool.
        truncated: [B, T], bool: a time limit ended the episode here, and nothing else did.
        final: [F, O], the last observations of the episodes that a time limit ended before a segment's last step, in
            the order of segments, then of steps.
    """

    obs: torch.Tensor
    action: torch.Tensor
    numbers: torch.Tensor
    reward: torch.Tensor
    terminated: torch.Tensor
    truncated: torch.Tensor
    final: torch.Tensor

    @classmethod
    def of(cls, *recorded: Recorded) -> Segments:
        """Return what was taken down of some lanes, and of the ones behind them, and so on."""
        parts = {
            each.name: np.concatenate([getattr(part, each.name) for part in recorded]) for each in fields(Recorded)
        }
        return cls(**{name: torch.from_numpy(array) for name, array in parts.items()})

    def to(self, device: torch.device) -> Segments:
        """Return the segments on a device."""
        return Segments(**{each.name: getattr(self, each.name).to(device) for each in fields(self)})


def empty_segments(n: int, steps: int, obs_dim: int, distribution: ActionDistribution) -> Segments:
    """Return `n` segments of zeros, on the CPU."""
    flags = torch.zeros(n, steps, dtype=torch.bool)
    return Segments(
        obs=torch.zeros(n, steps + 1, obs_dim),
        action=torch.zeros(n, steps, *distribution.action_shape, dtype=distribution.action_dtype),
        numbers=torch.zeros(n, steps, distribution.head_dim + distribution.free_dim),
        reward=torch.zeros(n, steps),
        terminated=flags,
        truncated=flags.clone(),
        final=torch.zeros(0, obs_dim),
    )
