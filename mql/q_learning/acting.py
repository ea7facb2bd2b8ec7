"""Which actions are taken: mostly the best ones, a share of random ones.

Shapes: L lanes side by side, O the shape of an observation.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from mql.q_learning.networks import QNetwork
from mql.seeding import generator
from mql.types import IntArray

BLOCK = 1000  # steps whose random numbers are drawn at once


@torch.no_grad()
def greedy(network: QNetwork, obs: npt.NDArray[Any]) -> IntArray:
    """Return the actions [L] that are worth most for observations [L, *O]; of equal ones, the first."""
    values = network(torch.from_numpy(obs).to(network.output.weight.device))
    best: IntArray = values.argmax(dim=1).cpu().numpy()
    return best


def epsilon_greedy(
    network: QNetwork, obs: npt.NDArray[Any], *, epsilon: float, seed: int, env_steps: int, name: str = "explore"
) -> IntArray:
    """Return actions [L] for observations [L, *O], random ones with probability `epsilon`.

    The random numbers are those of (seed, name, env_steps): each step has its own, whatever was drawn before.
    """
    block, place = divmod(env_steps, BLOCK)
    shares, choices = _draws(seed, name, block, len(obs), network.actions)
    random = shares[place] < epsilon
    return choices[place].copy() if random.all() else np.where(random, choices[place], greedy(network, obs))


@lru_cache(maxsize=8)
def _draws(seed: int, name: str, block: int, lanes: int, actions: int) -> tuple[npt.NDArray[np.float64], IntArray]:
    """Return the numbers in [0, 1) and the actions, [BLOCK, L] each, of a block's steps (a stream each is slow)."""
    rng = generator(seed, name, block)
    return rng.random((BLOCK, lanes)), rng.integers(actions, size=(BLOCK, lanes))
