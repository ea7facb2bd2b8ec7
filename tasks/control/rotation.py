"""Turns as vectors [N, 3]: about which of the world's axes, and how far in rad."""

from __future__ import annotations

import numpy as np

from mql.tasks.family import Array

_TINY = 1e-12


def matrices(turns: Array) -> Array:
    """Return the rotation matrices [N, 3, 3] of turns [N, 3]. No turn gives the unit matrix exactly."""
    angle = np.linalg.norm(turns, axis=1)
    axis = turns / np.maximum(angle, _TINY)[:, None]
    cross = np.zeros((len(turns), 3, 3))
    cross[:, 2, 1], cross[:, 0, 2], cross[:, 1, 0] = axis[:, 0], axis[:, 1], axis[:, 2]
    cross -= cross.transpose(0, 2, 1)
    result: Array = np.eye(3) + np.sin(angle)[:, None, None] * cross
    result += (1.0 - np.cos(angle))[:, None, None] * (cross @ cross)
    return result


def turns_between(start: Array, end: Array) -> Array:
    """Return the turns [N, 3] that lead from orientations [N, 3, 3] to others: the shorter way, below pi rad."""
    change = end @ start.transpose(0, 2, 1)
    twice_sine = np.stack(
        [change[:, 2, 1] - change[:, 1, 2], change[:, 0, 2] - change[:, 2, 0], change[:, 1, 0] - change[:, 0, 1]],
        axis=1,
    )
    size = np.linalg.norm(twice_sine, axis=1)
    angle = np.arctan2(size, np.trace(change, axis1=1, axis2=2) - 1.0)
    turns: Array = twice_sine * (angle / np.maximum(size, _TINY))[:, None]
    return turns
