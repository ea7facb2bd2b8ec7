"""Policies that solve the arm families with the hidden parameters at hand: (obs [N, O], parameters) -> action [N, 3].

They show that the families can be solved; they look at observations, in dm, and know tool length and goal.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from mql.tasks.families.arms import arm_drawer, arm_peg, arm_push

Array = npt.NDArray[np.float64]
Parameters = Mapping[str, Array]
SPEED = 40.0  # action for each metre away: full speed from 2.5 cm on


def reach(obs: Array, parameters: Parameters) -> Array:
    """Hold the flange a tool's length above the target."""
    target = obs[:, 6:9].copy()
    target[:, 2] += 10.0 * parameters["tool_length"]
    return SPEED * 0.1 * (target - obs[:, :3])


def drawer(obs: Array, parameters: Parameters) -> Array:
    """Reach down into the gap, then push or pull by what is missing."""
    place, opening = 0.1 * obs[:, :3], 0.1 * obs[:, 6]
    height = 0.10 + parameters["tool_length"] - arm_drawer.START[2]
    missing = parameters["opening"] - (arm_drawer.OPEN + opening)
    pull = np.where(np.abs(missing) > 0.002, -missing, 0.0)
    x = np.where(place[:, 2] - height < 0.04, pull, -opening - place[:, 0])
    return SPEED * np.stack([x, -place[:, 1], height - place[:, 2]], axis=1)


def push(obs: Array, parameters: Parameters) -> Array:
    """Go behind the puck as seen from the goal, then push it there, slowly in the end."""
    place, puck, goal = 0.1 * obs[:, :3], 0.1 * obs[:, 6:8], 0.1 * obs[:, 10:12]
    height = 0.012 + parameters["tool_length"] - arm_push.START[2]
    way = goal - puck
    away = np.linalg.norm(way, axis=1, keepdims=True)
    ahead = way / np.maximum(away, 1e-6)
    from_puck = place[:, :2] - puck
    along = (from_puck * ahead).sum(axis=1)
    aside = np.abs(from_puck[:, 0] * ahead[:, 1] - from_puck[:, 1] * ahead[:, 0])
    behind = (along < -0.03) & (aside < 0.012) & (place[:, 2] - height < 0.03)
    target = np.where(behind[:, None], puck + ahead * (np.clip(0.5 * away, 0.0, 0.03) - 0.052), puck - 0.058 * ahead)
    target = np.where(away < 0.02, place[:, :2] - 0.01 * ahead, target)
    return SPEED * np.concatenate([target - place[:, :2], (height - place[:, 2])[:, None]], axis=1)


def peg(obs: Array, parameters: Parameters) -> Array:
    """Go over the hole, then down."""
    place, hole = 0.1 * obs[:, :3], 0.1 * obs[:, 6:8] + parameters["offset"]
    end = place[:, 2] + arm_peg.START[2] - parameters["tool_length"]
    over = np.linalg.norm(hole - place[:, :2], axis=1) < 0.004
    height = np.where(over | (end < arm_peg.HOLE_TOP - 0.005), 0.005, arm_peg.HOLE_TOP + 0.015)
    return SPEED * np.concatenate([hole - place[:, :2], (height - end)[:, None]], axis=1)


EXPERTS = {"arm-reach": reach, "arm-drawer": drawer, "arm-push": push, "arm-peg": peg}
