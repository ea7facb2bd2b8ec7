"""Limits of the real machine, which no command exceeds: what they are, and what is told of them in ``info``.

Shapes: N tasks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mql.tasks.family import Array, BoolArray

VELOCITY = "limited_velocity"  # a joint's or the end effector's speed limit cut what the action asked for
WORKSPACE = "limited_workspace"  # the end effector was asked to leave its workspace


def limits_of(derived: Mapping[str, Array]) -> dict[str, Array]:
    """Return what ``info`` tells of limits: those [N] that stand in ``State.derived``; 1 where they cut the action."""
    return {name: derived[name] for name in (VELOCITY, WORKSPACE) if name in derived}


@dataclass(frozen=True, eq=False)
class Box:
    """Where a place may be: between two corners, in a frame of its own.

    Args:
        low: [3] m.
        high: [3] m.
        origin: [3] m, of the frame, in the world.
        axes: [3, 3], the frame's axes as columns, in the world; None: the world's.
    """

    low: Array
    high: Array
    origin: Array | None = None
    axes: Array | None = None

    def keep(self, before: Array, place: Array) -> tuple[Array, BoolArray]:
        """Return places [N, 3] within the box, and which [N] were not. What is outside before may stay or come back."""
        own, old = self._own(place), self._own(before)
        kept = np.minimum(np.maximum(own, np.minimum(self.low, old)), np.maximum(self.high, old))
        outside = (kept != own).any(axis=1)
        if not outside.any():
            return place, outside
        if self.axes is not None:
            kept = (kept[:, None] @ self.axes.T)[:, 0]
        if self.origin is not None:
            kept = kept + self.origin
        return np.where(outside[:, None], kept, place), outside

    def _own(self, place: Array) -> Array:
        if self.origin is not None:
            place = place - self.origin
        # Row by row: a product of whole matrices would round a task's numbers as its neighbours' number has it.
        return place if self.axes is None else (place[:, None] @ self.axes)[:, 0]
