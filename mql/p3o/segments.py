"""Segments: stretches of T steps, of one lane each, that P3O learns from, on policy and later off policy.

An episode may end within a segment, and another one begin. Where a time limit ended it, what came last is kept, since
its value still counts.

Shapes: B segments (N lanes while they are played), T steps, O observation, P numbers of an action distribution.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from mql.p3o.agent import Acted
from mql.p3o.distributions import ActionDistribution
from mql.types import FloatArray


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

    def to(self, device: torch.device) -> Segments:
        """Return the segments on a device."""
        return Segments(**{each.name: getattr(self, each.name).to(device) for each in fields(self)})


class Recorder:
    """Takes down steps of N lanes side by side, until there are T of them."""

    def __init__(self, obs_dim: int, distribution: ActionDistribution, *, lanes: int, steps: int) -> None:
        self._made = empty_segments(lanes, steps, obs_dim, distribution)
        self._arrays = {name: tensor.numpy() for name, tensor in vars(self._made).items()}
        self._steps, self._lanes = steps, lanes
        self._finals: list[tuple[int, int, FloatArray]] = []  # lane, step, observation
        self._at = 0

    @property
    def full(self) -> bool:
        """Whether there are T steps."""
        return self._at == self._steps

    def add(
        self,
        obs: FloatArray,
        acted: Acted,
        reward: npt.NDArray[np.floating[Any]],
        terminated: npt.NDArray[np.bool_],
        truncated: npt.NDArray[np.bool_],
        following: FloatArray,
    ) -> None:
        """Take down one step of every lane.

        Args:
            obs: [N, O] before the step.
            acted: what `P3OAgent.act` gave for `obs`.
            reward, terminated, truncated: [N]. Where both flags are set, the episode terminated.
            following: [N, O] after the step, before any reset.
        """
        arrays, t = self._arrays, self._at
        truncated = truncated & ~terminated
        arrays["obs"][:, t] = obs
        arrays["action"][:, t], arrays["numbers"][:, t] = acted.action, acted.numbers
        arrays["reward"][:, t] = reward
        arrays["terminated"][:, t], arrays["truncated"][:, t] = terminated, truncated
        if t == self._steps - 1:
            arrays["obs"][:, t + 1] = following
        elif truncated.any():
            self._finals += [(int(lane), t, following[lane].copy()) for lane in np.flatnonzero(truncated)]
        self._at += 1

    def taken(self) -> Segments:
        """Return the T steps, and begin anew.

        Raises:
            ValueError: there are fewer.
        """
        if not self.full:
            raise ValueError(f"{self._at} steps were taken down, not {self._steps}")
        parts = {name: tensor.clone() for name, tensor in vars(self._made).items()}
        if self._finals:
            ordered = sorted(self._finals, key=lambda each: each[:2])
            parts["final"] = torch.from_numpy(np.stack([obs for *_, obs in ordered]).astype(np.float32))
        self._at, self._finals = 0, []
        return Segments(**parts)


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
