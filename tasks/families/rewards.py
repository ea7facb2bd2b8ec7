"""The reward vocabulary: terms on arrays over tasks, from which every family's reward is built.

Shapes: N tasks, A action, D dimensions of space.
"""

from __future__ import annotations

import numpy as np

from mql.tasks.family import Array, BoolArray


def control_cost(action: Array, *, weight: float) -> Array:
    """Return ``weight * sum(action^2)``, [N], for action [N, A]."""
    cost: Array = weight * (action * action).sum(axis=1)
    return cost


def distance(point: Array, target: Array) -> Array:
    """Return the Euclidean distance [N] between points [N, D], in their unit."""
    offset = point - target
    away: Array = np.sqrt((offset * offset).sum(axis=1))
    return away


def manhattan_distance(point: Array, target: Array) -> Array:
    """Return the sum of the coordinates' distances [N] between points [N, D], in their unit."""
    away: Array = np.abs(point - target).sum(axis=1)
    return away


def speed_along(velocity: Array, angle: Array) -> Array:
    """Return the part [N] of a plane velocity [N, 2] in the direction `angle` [N] in rad, 0 being along x."""
    speed: Array = velocity[:, 0] * np.cos(angle) + velocity[:, 1] * np.sin(angle)
    return speed


def outside(value: Array, low: float, high: float) -> BoolArray:
    """Tell where `value` [N] lies outside [low, high] (the ends are inside). NaN does not: it is no place at all."""
    beyond: BoolArray = (value < low) | (value > high)
    return beyond
