"""drawer-open and drawer-close of Meta-World: a chest at the table's far end, whose handle the hand pulls or pushes.

A task's vector has the chest's place (3); the goal follows from it.

Shapes: N tasks; places [N, 3] in m.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import mujoco
import numpy as np

from mql.tasks.families.meta_world.manipulation import HAND_SINGLE, Element, Facts, Manipulation, Read, Seen, outcome
from mql.tasks.families.meta_world.rewards import both, distance, in_single, length, near
from mql.tasks.family import Array
from mql.tasks.stepping.state import Outcome

SLIDE = 9  # the drawer's joint in qpos, behind the arm's 7 joints and the fingers' 2
PULLED = 0.2  # m; how far drawer-open opens
OPEN = 0.15  # m; how far the drawer of drawer-close is open at first
OPENED = 0.03  # m; success of drawer-open
GOAL_RADIUS = 0.05  # m
CLOSED = GOAL_RADIUS + 0.015  # m; success of drawer-close
HANDLE_RADIUS = 0.005  # m
SIDEWAYS = np.array([3.0, 3.0, 1.0])  # places along x and y count for more: the hand comes from above


class Drawer(Manipulation):
    """What the two have in common."""

    file = "sawyer_xyz/sawyer_drawer.xml"
    hand = HAND_SINGLE
    stands = "drawer"


class DrawerOpen(Drawer):
    """The drawer opens."""

    elements: ClassVar[Mapping[str, Element]] = {
        "drawer": ("body", "drawer_link", "xpos"),
        "turned": ("body", "drawer_link", "xquat"),
    }

    def facts(self, vector: Array, found: Array, thing: Array, tool: Array) -> Facts:
        """Return where the handle is to go, and how far the hand is from the handle at first."""
        goal = vector + np.array([0.0, -0.16 - PULLED, 0.09])
        shut = goal + np.array([0.0, PULLED, 0.0])
        return {"goal": goal, "way": np.linalg.norm((shut - tool) * SIDEWAYS)}

    def thing(self, read: Read) -> tuple[Array, Array]:
        """Return the handle's place and orientation, the real part of it first."""
        return read["drawer"] + np.array([0.0, -0.16, 0.0]), read["turned"]

    def outcome(self, seen: Seen, read: Read, effort: Array) -> Outcome:
        """Judge a control step: half is the hand at the handle, half the opening."""
        handle, goal = seen.thing, read["goal"]
        away = distance(handle, goal)
        opening = near(away, 0.0, 0.02, PULLED)
        caging = near(length((handle - seen.hand) * SIDEWAYS), 0.0, 0.01, read["way"])
        return outcome((caging + opening) * 5.0, away <= OPENED, away, opening, caging)


class DrawerClose(Drawer):
    """The drawer closes."""

    elements: ClassVar[Mapping[str, Element]] = {"drawer": ("body", "drawer_link", "xpos")}

    def begin(self, model: mujoco.MjModel, data: mujoco.MjData, vector: Array) -> Array:
        """Pull the drawer out."""
        data.qpos[SLIDE] = -OPEN
        mujoco.mj_forward(model, data)
        return np.zeros(0)

    def facts(self, vector: Array, found: Array, thing: Array, tool: Array) -> Facts:
        """Return where the handle is to go, and how far drawer and hand have to go at first."""
        goal = vector + np.array([0.0, -0.16, 0.09])
        return {
            "goal": goal,
            "way": np.abs(np.linalg.norm(thing - goal) - GOAL_RADIUS),
            "way_to_handle": np.abs(np.linalg.norm(thing - tool) - HANDLE_RADIUS),
        }

    def thing(self, read: Read) -> tuple[Array, Array]:
        """Return the handle's place; no orientation is seen."""
        handle = read["drawer"] + np.array([0.0, -0.16, 0.05])
        return handle, np.zeros((len(handle), 4))

    def outcome(self, seen: Seen, read: Read, effort: Array) -> Outcome:
        """Judge a control step: the shut gripper at the handle, and the drawer nearer to its place."""
        handle, goal = seen.thing, read["goal"]
        away = distance(handle, goal)
        in_place = near(away, 0.0, GOAL_RADIUS, read["way"])
        reach = near(distance(handle, read["tool"]), 0.0, HANDLE_RADIUS, read["way_to_handle"], gaussian=True)
        single = effort > 0.0
        reach = in_single(single, both, reach, np.clip(effort, 0.0, 1.0))
        at_goal = away <= CLOSED
        reward = in_single(single, _tenfold, np.where(at_goal, 1.0, in_single(single, both, reach, in_place)))
        return outcome(reward, at_goal, away, in_place, reach)


def _tenfold(reward: Array) -> Array:
    return reward * 10
