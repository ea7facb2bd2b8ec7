"""Standardised observations: mean and spread of the random steps before the first update, then fixed.

Raw units can hide what matters: a gripper's place in metres moves by hundredths while rewards change by ones, and a
network that must combine the two learns for long only to weigh them. Statistics that went on changing would change the
meaning of stored data; those of the random steps don't.

Shapes: O observation.
"""

from __future__ import annotations

import numpy as np

from mql.types import FloatArray

LIMIT = 10.0  # standardised observations are cut here: what hardly moved in the random steps may move far later


class ObsScaler:
    """Maps observations to ``clip((obs - mean) * scale, -limit, limit)``; they pass unchanged until `fit`.

    ``arrays`` holds mean [O], scale [O] and limit [1]: what a checkpoint stores.
    """

    def __init__(self, obs_dim: int) -> None:
        self.arrays: dict[str, FloatArray] = {
            "mean": np.zeros(obs_dim, dtype=np.float32),
            "scale": np.ones(obs_dim, dtype=np.float32),
            "limit": np.full(1, np.inf, dtype=np.float32),
        }

    def fit(self, obs: FloatArray) -> None:
        """Take mean and spread from observations [N, O].

        No number is enlarged more than one of median spread: what never moved would blow up by its rounding errors.
        """
        values = obs.astype(np.float64)
        std = values.std(axis=0)
        moving = std[std > 1e-6 * max(float(std.max()), 1e-12)]
        floor = float(np.median(moving)) if len(moving) else 1.0
        self.arrays["mean"][:] = values.mean(axis=0)
        self.arrays["scale"][:] = 1.0 / np.maximum(std, floor)
        self.arrays["limit"][:] = LIMIT

    def __call__(self, obs: FloatArray) -> FloatArray:
        """Standardise observations [..., O]."""
        scaled = (obs - self.arrays["mean"]) * self.arrays["scale"]
        limit = self.arrays["limit"]
        return np.clip(scaled, -limit, limit, out=scaled)
