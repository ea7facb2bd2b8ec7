"""Which actions are taken: mostly the best ones, a share of random ones.

Shapes: L lanes side by side, O the shape of an observation.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from mql.q_learning.networks import QNetwork
from mql.seeding import generator
from mql.types import IntArray


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

    The random numbers are those of (seed, name, env_steps): each step draws its own, whatever was drawn before.
    """
    rng = generator(seed, name, env_steps)
    random = rng.random(len(obs)) < epsilon
    actions = rng.integers(network.actions, size=len(obs))
    return actions if random.all() else np.where(random, actions, greedy(network, obs))
