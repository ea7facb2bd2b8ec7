"""How P3O acts: its networks and draws in numpy, which starts operators of some rows several times faster than PyTorch.

Worker processes act with it, too, and need no PyTorch. The numbers of the distributions that actions are drawn from are
those that are stored: what the learner later calls the policy that acted is this one, to the last bit.

Shapes: N lanes, O observation; ... any leading ones, and P, A, K as in `distributions.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from mql.types import FloatArray

OBS_LIMIT = 10.0  # normalised observations are clipped here: one number far off must not decide all


@dataclass(frozen=True)
class Acted:
    """One step of each lane: what the environments get, the actions as drawn, and the policy's numbers [N, P]."""

    sent: npt.NDArray[Any]
    action: npt.NDArray[Any]
    numbers: FloatArray

    def rows(self, places: slice) -> Acted:
        """Return some of the lanes' part."""
        return Acted(self.sent[places], self.action[places], self.numbers[places])


class Draws(Protocol):
    """How actions are drawn from a kind of distribution."""

    def noise(self, rng: np.random.Generator, shape: tuple[int, ...]) -> FloatArray:
        """Draw what `sample` makes `shape` actions of."""

    def sample(self, numbers: FloatArray, noise: FloatArray) -> npt.NDArray[Any]:
        """Return actions, made of noise that was drawn for them."""

    def sent(self, action: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return what an environment gets for actions."""


@dataclass(frozen=True)
class GaussianDraws:
    """Actions [..., A] of a mean and a log standard deviation [..., 2 A]; environments get them in [low, high]."""

    dim: int
    low: float | FloatArray = -1.0
    high: float | FloatArray = 1.0

    def noise(self, rng: np.random.Generator, shape: tuple[int, ...]) -> FloatArray:
        """Draw standard normal numbers [*shape, A]."""
        return rng.standard_normal((*shape, self.dim), np.float32)

    def sample(self, numbers: FloatArray, noise: FloatArray) -> FloatArray:
        """Return actions [..., A]."""
        spread: FloatArray = np.exp(numbers[..., self.dim :])
        return numbers[..., : self.dim] + spread * noise

    def sent(self, action: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the clipped actions."""
        clipped: npt.NDArray[Any] = np.minimum(np.maximum(action, self.low), self.high)
        return clipped


@dataclass(frozen=True)
class CategoricalDraws:
    """One of K choices, of logits [..., K]."""

    def noise(self, rng: np.random.Generator, shape: tuple[int, ...]) -> FloatArray:
        """Draw uniform numbers in [0, 1), of `shape`."""
        return rng.random(shape, np.float32)

    def sample(self, numbers: FloatArray, noise: FloatArray) -> npt.NDArray[np.int64]:
        """Return actions [...]: the first whose cumulated probability is above the noise."""
        shares = np.exp(numbers - numbers.max(axis=-1, keepdims=True))
        shares /= shares.sum(axis=-1, keepdims=True)
        reached = shares.cumsum(axis=-1)[..., :-1] <= noise[..., None]
        chosen: npt.NDArray[np.int64] = reached.sum(axis=-1)
        return chosen

    def sent(self, action: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the actions as they are."""
        return action


@dataclass(frozen=True)
class ActingPolicy:
    """The policy of a `P3OAgent`, as it is now.

    Attributes:
        layers: weight [in, out] and bias [out] of each; tanh layers, and one that is linear.
        free: the numbers that are the same for all observations.
        shift, scale: [O], of raw observations; None: they are read as they are.
        draws: of its kind of distribution.
    """

    layers: list[tuple[FloatArray, FloatArray]]
    free: FloatArray
    shift: FloatArray | None
    scale: FloatArray | None
    draws: Draws

    def numbers(self, obs: FloatArray) -> FloatArray:
        """Return the numbers [N, P] of the distributions at raw observations [N, O]."""
        x = np.asarray(obs, np.float32)
        if self.shift is not None and self.scale is not None:
            x = (x - self.shift) * self.scale
            np.maximum(x, -OBS_LIMIT, out=x)
            np.minimum(x, OBS_LIMIT, out=x)
        *hidden, (weight, bias) = self.layers
        for of_layer, of_units in hidden:
            x = x @ of_layer
            x += of_units
            np.tanh(x, out=x)
        numbers = np.empty((len(x), weight.shape[1] + len(self.free)), np.float32)
        numbers[:, : weight.shape[1]] = x @ weight + bias
        numbers[:, weight.shape[1] :] = self.free
        return numbers

    def act(self, obs: FloatArray, noise: FloatArray) -> Acted:
        """Draw an action for each of the observations [N, O], of noise from ``draws.noise(rng, (N,))``."""
        numbers = self.numbers(obs)
        action = self.draws.sample(numbers, noise)
        return Acted(self.draws.sent(action), action, numbers)
