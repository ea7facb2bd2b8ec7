"""The reward vocabulary: terms on arrays over lanes, from which every family's reward is built.

Shapes: N lanes, A action, D dimensions of space.
"""

from __future__ import annotations

import numpy as np

from mql.tasks.lanes import Array


def control_cost(action: Array, *, weight: float) -> Array:
    """Return ``weight * sum(action^2)``, [N], for action [N, A]."""
    cost: Array = weight * (action * action).sum(axis=1)
    return cost


def distance(point: Array, target: Array) -> Array:
    """Return the Euclidean distance [N] between points [N, D], in their unit."""
    offset = point - target
    away: Array = np.sqrt((offset * offset).sum(axis=1))
    return away
