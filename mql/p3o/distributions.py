"""The two kinds of policies: what distribution of actions the numbers mean that a network gives for an observation.

Everything is exact. What a policy was when it acted is stored as these numbers, so that its density of any action and
its divergence from any later policy are known.

Shapes: ... any leading ones, A dimensions of a continuous action, K discrete actions, P numbers (2 A, or K).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch

from mql.learning.gaussian import gaussian_entropy, gaussian_kl, log_probability
from mql.p3o.acting import CategoricalDraws, Draws, GaussianDraws
from mql.types import FloatArray


class ActionDistribution(Protocol):
    """What P3O asks of a kind of policy."""

    @property
    def head_dim(self) -> int:
        """How many of the numbers depend on the observation."""

    @property
    def free_dim(self) -> int:
        """How many of the numbers are the same for all observations; they follow the others."""

    @property
    def draws(self) -> Draws:
        """How actions are drawn, in numpy."""

    @property
    def action_shape(self) -> tuple[int, ...]:
        """The shape of an action."""

    @property
    def action_dtype(self) -> torch.dtype:
        """The type of an action."""

    @property
    def entropy_coef(self) -> float:
        """The factor of the entropy where none is set."""

    def log_prob(self, numbers: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        """Log-probability, or joint log density, [...] of actions."""

    def entropy(self, numbers: torch.Tensor) -> torch.Tensor:
        """Entropy [...]."""

    def kl(self, numbers: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        """KL(numbers || other), summed over actions or dimensions, [...]."""


@dataclass(frozen=True)
class Gaussian:
    """Continuous actions: a mean for each observation, and one log standard deviation for all, [..., 2 A].

    The density is that of actions as they were drawn. Environments get them clipped to [low, high] (numbers, or one for
    each dimension).
    """

    dim: int
    low: float | FloatArray = -1.0
    high: float | FloatArray = 1.0

    action_dtype = torch.float32
    entropy_coef = 0.0

    @property
    def head_dim(self) -> int:
        """A: the mean."""
        return self.dim

    @property
    def free_dim(self) -> int:
        """A: the log standard deviation."""
        return self.dim

    @property
    def draws(self) -> GaussianDraws:
        """With the limits of the environments' actions."""
        return GaussianDraws(self.dim, self.low, self.high)

    @property
    def action_shape(self) -> tuple[int, ...]:
        """(A,)."""
        return (self.dim,)

    def log_prob(self, numbers: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        """Joint log density [...] of actions [..., A]."""
        return log_probability(action, *numbers.chunk(2, dim=-1))

    def entropy(self, numbers: torch.Tensor) -> torch.Tensor:
        """Entropy [...]."""
        return gaussian_entropy(numbers[..., self.dim :])

    def kl(self, numbers: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        """KL(numbers || other), summed over dimensions, [...]."""
        return gaussian_kl(*numbers.chunk(2, dim=-1), *other.chunk(2, dim=-1))


@dataclass(frozen=True)
class Categorical:
    """Discrete actions: a logit for each of `n`, [..., K]."""

    n: int

    free_dim = 0
    action_shape = ()
    action_dtype = torch.int64
    entropy_coef = 0.01
    draws = CategoricalDraws()

    @property
    def head_dim(self) -> int:
        """K."""
        return self.n

    def log_prob(self, numbers: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        """Log-probability [...] of actions [...]."""
        return numbers.log_softmax(dim=-1).gather(-1, action[..., None]).squeeze(-1)

    def entropy(self, numbers: torch.Tensor) -> torch.Tensor:
        """Entropy [...]."""
        log_prob = numbers.log_softmax(dim=-1)
        return -(log_prob.exp() * log_prob).sum(dim=-1)

    def kl(self, numbers: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        """KL(numbers || other), summed over actions, [...]."""
        log_prob = numbers.log_softmax(dim=-1)
        return (log_prob.exp() * (log_prob - other.log_softmax(dim=-1))).sum(dim=-1)
