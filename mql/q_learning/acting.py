"""Which actions are taken: mostly the best ones, a share of random ones.

Shapes: L lanes in parallel, O the shape of an observation.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from mql.q_learning.networks import QNetwork
from mql.seeding import generator
from mql.types import FloatArray, IntArray

BLOCK = 1000  # steps whose random numbers are drawn at once


class Values(Protocol):
    """What acting asks of a network."""

    @property
    def actions(self) -> int:
        """A."""

    def __call__(self, obs: npt.NDArray[Any]) -> FloatArray:
        """Return the values [L, A] of observations [L, *O]."""


def values_of(network: QNetwork) -> Values:
    """Return a network's values, also of what it learns later; on the CPU in numpy, which starts operators faster."""
    return _NumpyValues(network) if network.output.weight.device.type == "cpu" else _TorchValues(network)


class _NumpyValues:
    """`QNetwork` in numpy, in the same columns, on the memory of its parameters."""

    def __init__(self, network: QNetwork) -> None:
        self.actions = network.actions
        self._layers = [
            (layer.weight.detach().flatten(1).numpy(), network.bias_of(layer).detach().numpy())
            for layer in network.layers()
        ]
        self._patches, self._atoms = network.patches.numpy(), network.atoms.numpy()

    def __call__(self, obs: npt.NDArray[Any]) -> FloatArray:
        lanes = len(obs)
        x: FloatArray = obs.reshape(lanes, -1).T.astype(np.float32, order="C")
        if len(self._patches):
            x = x.take(self._patches, axis=0)
        for place, (weight, bias) in enumerate(self._layers):
            x = weight @ x.reshape(weight.shape[1], -1)
            x += bias
            if place < len(self._layers) - 1:
                np.maximum(x, 0.0, out=x)
        if not len(self._atoms):
            return x.T
        shares = x.reshape(self.actions, len(self._atoms), lanes)
        shares = np.exp(shares - shares.max(axis=1, keepdims=True))
        means: FloatArray = np.einsum("akl,k->la", shares, self._atoms) / shares.sum(axis=1).T
        return means


class _TorchValues:
    def __init__(self, network: QNetwork) -> None:
        self._network, self.actions = network, network.actions

    @torch.no_grad()
    def __call__(self, obs: npt.NDArray[Any]) -> FloatArray:
        values: FloatArray = self._network(torch.from_numpy(obs).to(self._network.output.weight.device)).cpu().numpy()
        return values


def greedy(values: Values, obs: npt.NDArray[Any]) -> IntArray:
    """Return the actions [L] that are worth most for observations [L, *O]; of equal ones, the first."""
    best: IntArray = values(obs).argmax(axis=1)
    return best


def epsilon_greedy(
    values: Values, obs: npt.NDArray[Any], *, epsilon: float, seed: int, env_steps: int, name: str = "explore"
) -> IntArray:
    """Return actions [L] for observations [L, *O], random ones with probability `epsilon`.

    The random numbers are those of (seed, name, env_steps): each step has its own, whatever was drawn before.
    """
    block, place = divmod(env_steps, BLOCK)
    shares, choices = _draws(seed, name, block, len(obs), values.actions)
    random = shares[place] < epsilon
    return choices[place].copy() if random.all() else np.where(random, choices[place], greedy(values, obs))


@lru_cache(maxsize=8)
def _draws(seed: int, name: str, block: int, lanes: int, actions: int) -> tuple[npt.NDArray[np.float64], IntArray]:
    """Return the numbers in [0, 1) and the actions, [BLOCK, L] each, of a block's steps (a stream each is slow)."""
    rng = generator(seed, name, block)
    return rng.random((BLOCK, lanes)), rng.integers(actions, size=(BLOCK, lanes))
