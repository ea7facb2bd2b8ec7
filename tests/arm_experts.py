"""Policies that solve the arm families with the hidden parameters at hand: (obs [N, O], parameters) -> action [N, 3].

They show that the families can be solved; they look at observations, in dm, and know tool length and goal. They say
where the flange is to be asked next: an observation holds the way from the flange to where it is asked.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from mql.tasks.families.arms import arm_drawer, arm_peg, arm_push

Array = npt.NDArray[np.float64]
Parameters = Mapping[str, Array]
SPEED = 40.0  # action for each metre away: full speed from 2.5 cm on


def towards(obs: Array, target: Array, *, press: float = 0.0) -> Array:
    """Ask for the target [N, 3] (m, from where the flange starts), and `press` m beyond while it is far."""
    place, way = 0.1 * obs[:, :3], 0.1 * obs[:, 6:9]
    beyond = np.clip(target - place, -press, press)
    return SPEED * (target + beyond - place - way)


def reach(obs: Array, parameters: Parameters) -> Array:
    """Hold the flange a tool's length above the target."""
    target = 0.1 * obs[:, 9:12]
    target[:, 2] += parameters["tool_length"]
    return towards(obs, target, press=0.01)


def drawer(obs: Array, parameters: Parameters) -> Array:
    """Reach down into the gap, then go to where its middle is when the drawer is open as wanted."""
    place, opening = 0.1 * obs[:, :3], 0.1 * obs[:, 9]
    height = 0.10 + parameters["tool_length"] - arm_drawer.START[2]
    wanted = parameters["opening"] - arm_drawer.OPEN
    x = np.where(place[:, 2] - height < 0.04, -wanted, -opening)
    return towards(obs, np.stack([x, np.zeros_like(x), height], axis=1))


def push(obs: Array, parameters: Parameters) -> Array:
    """Go behind the puck as seen from the goal, then push it there, slowly in the end."""
    place, puck, goal = 0.1 * obs[:, :3], 0.1 * obs[:, 9:11], 0.1 * obs[:, 13:15]
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
    return towards(obs, np.concatenate([target, height[:, None]], axis=1))


def peg(obs: Array, parameters: Parameters) -> Array:
    """Go over the hole, then down."""
    place, hole = 0.1 * obs[:, :3], 0.1 * obs[:, 9:11] + parameters["offset"]
    end = place[:, 2] + arm_peg.START[2] - parameters["tool_length"]
    over = np.linalg.norm(hole - place[:, :2], axis=1) < 0.004
    height = np.where(over | (end < arm_peg.HOLE_TOP - 0.005), 0.005, arm_peg.HOLE_TOP + 0.015)
    z = parameters["tool_length"] + height - arm_peg.START[2]
    return towards(obs, np.concatenate([hole, z[:, None]], axis=1), press=0.01)


EXPERTS = {"arm-reach": reach, "arm-drawer": drawer, "arm-push": push, "arm-peg": peg}
