"""reach, push and pick-place of Meta-World: a puck on the table, and a place for the hand or for the puck.

A task's vector has the puck's place (3) and the goal (3), at least 15 cm apart along x and y.

Shapes: N tasks; places [N, 3] in m.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import mujoco
import numpy as np

from mql.tasks.families.meta_world.manipulation import Element, Facts, Manipulation, Read, Seen, outcome, quaternion
from mql.tasks.families.meta_world.rewards import both, distance, grasp, in_single, near
from mql.tasks.family import Array
from mql.tasks.stepping.state import Outcome

APART = 0.15  # m
GOAL_RADIUS = 0.05  # m; within it the goal is reached
PUCK, PUCK_SPEED = slice(9, 12), slice(9, 15)  # in qpos and qvel, behind the arm's 7 joints and the fingers' 2
# The gripper is around the puck where each pad is this far from its middle, to the left and to the right (m) ...
NARROW, WIDE = 0.015, 0.05
LEVEL = 0.005  # m; ... and the fingertips are so near to it along x and z.
HELD = 0.02  # m; a puck this near to the fingertips, and fingers that are not shut, may be held
PICKED = 0.07  # m; success of pick-place
LIFTED = 0.01  # m
SIDE, UPRIGHT = 1, [0, 2]  # y, the way in which the gripper closes; x and z


class Puck(Manipulation):
    """What the three have in common."""

    elements: ClassVar[Mapping[str, Element]] = {"puck": ("body", "obj", "xpos"), "turned": ("geom", "objGeom", "xmat")}

    def accepts(self, vector: Array) -> bool:
        """Tell whether goal and puck are far enough apart."""
        return bool(np.linalg.norm(vector[:2] - vector[3:5]) >= APART)

    def begin(self, model: mujoco.MjModel, data: mujoco.MjData, vector: Array) -> Array:
        """Put the puck down; return where it lay while the hand came, [3]."""
        lay: Array = data.body("obj").xpos.copy()
        data.qpos[PUCK], data.qvel[PUCK_SPEED] = self.first_place(vector, lay), 0.0
        mujoco.mj_forward(model, data)
        return lay

    def first_place(self, vector: Array, lay: Array) -> Array:
        """Return where an episode's puck starts, [3]."""
        return vector[:3]

    def facts(self, vector: Array, found: Array, thing: Array, tool: Array) -> Facts:
        """Return the goal, where the puck starts, and how wide two slopes of the reward are."""
        goal, start = self.goal(vector, found), self.first_place(vector, found)
        return {
            "goal": goal,
            "thing_start": start,
            "way": np.linalg.norm(start - goal),
            "way_level": np.linalg.norm(start[UPRIGHT] - tool[UPRIGHT]) - LEVEL,
        }

    def goal(self, vector: Array, lay: Array) -> Array:
        """Return where the goal is, [3]."""
        return vector[3:]

    def thing(self, read: Read) -> tuple[Array, Array]:
        """Return the puck's place and orientation."""
        return read["puck"], quaternion(read["turned"])


class Reach(Puck):
    """The fingertips go to the goal; the puck does not matter."""

    file = "sawyer_xyz/sawyer_reach_v3.xml"

    def facts(self, vector: Array, found: Array, thing: Array, tool: Array) -> Facts:
        """Return the goal, and how far it is from where the hand starts."""
        return {"goal": vector[3:], "way": np.linalg.norm(np.array(self.hand) - vector[3:])}

    def outcome(self, seen: Seen, read: Read, effort: Array) -> Outcome:
        """Judge a control step: what counts is how near the goal is, compared with the start."""
        away = distance(read["tool"], read["goal"])
        in_place = near(away, 0.0, GOAL_RADIUS, read["way"])
        return outcome(10 * in_place, away <= GOAL_RADIUS, away, in_place, away)


class Push(Puck):
    """The puck goes to the goal, on the table."""

    file = "sawyer_xyz/sawyer_push_v3.xml"

    def first_place(self, vector: Array, lay: Array) -> Array:
        """Return the vector's place, as high as the puck lay while the hand came."""
        return np.append(vector[:2], lay[2])

    def goal(self, vector: Array, lay: Array) -> Array:
        """Return the vector's goal, as high as the puck."""
        return np.append(vector[3:5], lay[2])

    def outcome(self, seen: Seen, read: Read, effort: Array) -> Outcome:
        """Judge a control step: around the puck, then closing, then nearer to the goal."""
        puck = seen.thing
        to_puck, to_goal = distance(puck, read["tool"]), distance(puck, read["goal"])
        in_place = near(to_goal, 0.0, GOAL_RADIUS, read["way"])
        pads = np.stack([read["left_pad"][:, SIDE], read["right_pad"][:, SIDE]])
        beside, at_first = np.abs(pads - puck[:, SIDE]), np.abs(pads - read["thing_start"][:, SIDE])
        left, right = near(beside, NARROW, WIDE, np.abs(at_first - WIDE))
        grasped, single = grasp(both(both(left, right), level(puck, read)), effort)
        reward = 2 * grasped
        held = (to_puck < HELD) & (seen.opening > 0.0)
        reward = np.where(held, in_single(single, _carrying, reward, 5.0 * in_place), reward)
        reward = np.where(to_goal < GOAL_RADIUS, 10.0, reward)
        return outcome(reward, to_goal <= GOAL_RADIUS, to_goal, in_place, grasped)


class PickPlace(Puck):
    """The puck goes to the goal, in the air."""

    file = "sawyer_xyz/sawyer_pick_place_v3.xml"

    def outcome(self, seen: Seen, read: Read, effort: Array) -> Outcome:
        """Judge a control step: around the puck, closing, lifted, nearer to the goal.

        How wide the slope of being around the puck is follows from the pads' places now: the package means those of the
        start, but keeps a view of the simulation's.
        """
        puck = seen.thing
        to_puck, to_goal = distance(puck, read["tool"]), distance(puck, read["goal"])
        in_place = near(to_goal, 0.0, GOAL_RADIUS, read["way"])
        middle, left, right = puck[:, SIDE], read["left_pad"][:, SIDE], read["right_pad"][:, SIDE]
        beside = np.stack([left - middle, middle - right])
        wide = np.abs(np.abs(np.stack([middle - left, middle - right])) - WIDE)
        grasped, single = grasp(both(both(*near(beside, NARROW, WIDE, wide)), level(puck, read)), effort)
        reward = in_single(single, both, grasped, in_place)
        held = (to_puck < HELD) & (seen.opening > 0.0) & (puck[:, 2] - LIFTED > read["thing_start"][:, 2])
        reward = np.where(held, in_single(single, np.add, reward, 1.0 + 5.0 * in_place), reward)
        reward = np.where(to_goal < GOAL_RADIUS, 10.0, reward)
        return outcome(reward, to_goal <= PICKED, to_goal, in_place, grasped)


def level(puck: Array, read: Read) -> Array:
    """Return how near the fingertips are to the puck along x and z, compared with the start: [N], 1 at its best."""
    away = distance(read["tool"][:, UPRIGHT], puck[:, UPRIGHT])
    return near(away, 0.0, LEVEL, read["way_level"])


def _carrying(reward: Array, carried: Array) -> Array:
    return reward + (1.0 + reward + carried)
