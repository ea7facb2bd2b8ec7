"""door-open and door-close of Meta-World: a cupboard's door with a handle.

A task's vector has the cupboard's place (3); the goal follows from it.

Shapes: N tasks; places [N, 3] in m.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import mujoco
import numpy as np

from mql.tasks.families.meta_world.manipulation import (
    HAND,
    Element,
    Facts,
    Manipulation,
    Read,
    Seen,
    outcome,
    quaternion,
)
from mql.tasks.families.meta_world.rewards import both, distance, near
from mql.tasks.family import Array
from mql.tasks.stepping.state import Outcome

AJAR = 1.5708  # rad; how far the door of door-close is open at first
OPENED = 0.08  # m along x; success of door-open
CLOSED = 0.08  # m; success of door-close
FUNNEL = 0.12  # m; outside of this distance from the handle the hand should stay above a funnel
GOAL_RADIUS = 0.05  # m
WIDE_OPEN = np.pi / 2 + np.pi / 6  # rad
TRIED = np.pi / 90  # rad; the door has moved at all


class Door(Manipulation):
    """What the two have in common."""

    file = "sawyer_xyz/sawyer_door_pull.xml"
    stands = "door"
    shut: ClassVar[bool]
    elements: ClassVar[Mapping[str, Element]] = {
        "handle": ("geom", "handle", "xpos"),
        "turned": ("geom", "handle", "xmat"),
        "hinge": ("joint", "doorjoint", "qpos"),
    }

    def begin(self, model: mujoco.MjModel, data: mujoco.MjData, vector: Array) -> Array:
        """Turn the door to where an episode starts."""
        joint = data.joint("doorjoint")
        joint.qpos, joint.qvel = (0.0 if self.shut else -AJAR), 0.0
        mujoco.mj_forward(model, data)
        return np.zeros(0)

    def thing(self, read: Read) -> tuple[Array, Array]:
        """Return the handle's place and orientation."""
        return read["handle"], quaternion(read["turned"])


class DoorOpen(Door):
    """The door opens."""

    shut = True

    def facts(self, vector: Array, found: Array, thing: Array, tool: Array) -> Facts:
        """Return where the handle is to go."""
        return {"goal": vector + np.array([-0.3, -0.45, 0.0])}

    def outcome(self, seen: Seen, read: Read, effort: Array) -> Outcome:
        """Judge a control step: a fifth is the gripper closed at the handle, the rest the opening."""
        hand, handle = seen.hand, seen.thing
        closed = ((np.clip(effort, -1, 1) + np.float32(1.0)) / np.float32(2.0)).astype(np.float64)
        door = handle + np.array([-0.05, 0.0, 0.0])
        away = distance(hand[:, :2], door[:, :2])
        floor = np.where(away <= FUNNEL, 0.0, 0.04 * np.log(away - FUNNEL) + 0.4)
        above = np.where(hand[:, 2] >= floor, 1.0, near(floor - hand[:, 2], 0.0, 0.01, floor / 2.0))
        behind = distance(hand - door, np.array([[0.05, 0.03, -0.01]]))
        ready = both(above, near(behind, 0.0, FUNNEL / 2.0, 0.5))
        turned = read["hinge"][:, 0]
        opened = 0.2 * (turned < -TRIED) + 0.8 * near(WIDE_OPEN + turned, 0.0, 0.5, np.pi / 3.0)
        at_goal = np.abs(handle[:, 0] - read["goal"][:, 0]) <= OPENED
        reward = np.where(at_goal, 10.0, 2.0 * both(ready, closed) + 8.0 * opened)
        return outcome(reward, at_goal, np.zeros(len(hand)), opened, closed)


class DoorClose(Door):
    """The door closes."""

    shut = False
    hand = tuple(float(np.float32(place)) for place in (-0.5, *HAND[1:]))

    def facts(self, vector: Array, found: Array, thing: Array, tool: Array) -> Facts:
        """Return where the handle is to go, and how far that is from where the cupboard stands."""
        goal = vector + np.array([0.2, -0.2, 0.0])
        return {"goal": goal, "way": np.linalg.norm(vector - goal)}

    def outcome(self, seen: Seen, read: Read, effort: Array) -> Outcome:
        """Judge a control step: a third is the hand at the goal, the rest the handle there."""
        handle, goal = seen.thing, read["goal"]
        away = distance(handle, goal)
        in_place = near(away, 0.0, GOAL_RADIUS, read["way"], gaussian=True)
        margin = distance(np.array([self.hand]), handle) + 0.1
        hand_in_place = near(distance(read["tool"], goal), 0.0, 0.25 * GOAL_RADIUS, margin, gaussian=True)
        reward = np.where(away < GOAL_RADIUS, 10.0, 3 * hand_in_place + 6 * in_place)
        return outcome(reward, away <= CLOSED, away, hand_in_place, np.ones(len(handle)))
