"""What Meta-World's rewards are made of, as functions of arrays over N tasks.

The package computes task by task, and where the gripper's effort, a float32, enters, Python's rules for mixed numbers
make it go on in float32. `in_single` does the same, row by row, so that rewards agree to the last digits.

Shapes: N tasks; numbers [N], places [N, 3] in m.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mql.tasks.family import Array, BoolArray

AT_MARGIN = 0.1  # the value of a slope one margin outside its bounds
LONG_TAIL = 3.0  # sqrt(1 / AT_MARGIN - 1)
GAUSSIAN = np.sqrt(-2.0 * np.log(AT_MARGIN))
CAGED = 0.97  # from this value on, closing the gripper counts


def distance(one: Array, other: Array) -> Array:
    """Return how far places [N, D] lie from one another, [N]."""
    return length(one - other)


def length(vectors: Array) -> Array:
    """Return the lengths [N] of vectors [N, D]: to the last bit those of `numpy.linalg.norm`, one by one."""
    return np.asarray(np.sqrt(np.vecdot(vectors, vectors)))


def near(x: Array, low: float, high: float, margin: Array | float, *, gaussian: bool = False) -> Array:
    """Return 1 where `x` lies in [low, high], and what falls to 0.1 one `margin` outside and on towards 0.

    The slope is ``1 / (1 + (3 d)^2)``, or a bell's with `gaussian`, for the distance d from the interval in margins.
    Where the margin is 0, it is a step.
    """
    away = np.where(x < low, low - x, x - high) / margin
    slope = np.exp(-0.5 * (away * GAUSSIAN) ** 2) if gaussian else 1.0 / ((away * LONG_TAIL) ** 2 + 1.0)
    return np.where((low <= x) & (x <= high), 1.0, slope)


def both(one: Array, other: Array) -> Array:
    """Return the Hamacher product of two numbers from 0 to 1: high where both are, 0 where one is."""
    product = one * other
    whole = one + other - product
    return np.asarray(product / np.where(whole == 0.0, np.ones_like(whole), whole))


def in_single(single: BoolArray, formula: Callable[..., Array], *values: Array) -> Array:
    """Return ``formula(*values)`` [N], of numbers rounded to float32 and computed so in the rows that are `single`."""
    wide = formula(*values)
    if not single.any():
        return wide
    narrow = formula(*(value.astype(np.float32) for value in values))
    return np.where(single, narrow.astype(np.float64), wide)


def grasp(caging: Array, effort: Array) -> tuple[Array, BoolArray]:
    """Return how well an object is held, [N], and the rows in which the package goes on in float32.

    Half of it is how well the gripper is around the object (`caging`), half that it closes then; `effort` is the
    gripper's part of the action, in float32.
    """
    single = (caging > CAGED) & (effort > 0.0)
    closed = np.where(single, np.clip(effort, 0.0, 1.0), 0.0)
    return in_single(single, _grasp, caging, closed), single


def _grasp(caging: Array, closed: Array) -> Array:
    return (both(caging, closed) + caging) / 2
