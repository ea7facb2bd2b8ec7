"""What tells Meta-World's environments that are stepped as arrays from one another: the interface of each.

Shapes: N tasks; places [3] or [N, 3] in m.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import mujoco
import numpy as np

from mql.tasks.family import Array, BoolArray
from mql.tasks.stepping.state import Outcome

# What is read of a simulation: kind of element, its name, attribute of the data.
Element = tuple[str, str, str]
Read = Mapping[str, Array]  # name -> [N, ...]: what was read, and the facts of the episode
Facts = Mapping[str, Array | np.floating[Any]]

HAND = (0.0, 0.6, 0.2)  # m; where an episode begins
HAND_SINGLE = tuple(float(np.float32(place)) for place in HAND)  # as environments have it that state it in float32

# Elements of a matrix, rows one after the other, and those that mirror them. Their sums and differences, 6 numbers, are
# a quaternion's parts in the orders of `_PARTS`, but for the part on its diagonal, which the matrix's diagonal gives.
_ONES, _MIRRORED = [3, 2, 7], [1, 6, 5]
_PARTS = np.array([[0, 0, 1, 5], [0, 0, 2, 4], [1, 2, 0, 3], [5, 4, 3, 0]])


@dataclass(frozen=True)
class Seen:
    """What the agent sees now of N tasks, within the observation's limits.

    Args:
        hand: [N, 3] m.
        opening: [N] of the gripper, 0 to 1.
        thing: [N, 3] m, the object's place.
    """

    hand: Array
    opening: Array
    thing: Array


class Manipulation(ABC):
    """One environment. It has no state: all that an episode needs to remember are its facts."""

    file: ClassVar[str]  # of the package's model
    hand: ClassVar[tuple[float, ...]] = HAND
    stands: ClassVar[str | None] = None  # the body whose place in the model the task's vector is
    elements: ClassVar[Mapping[str, Element]]  # read besides the arm's

    def accepts(self, vector: Array) -> bool:
        """Tell whether the package takes a task's vector."""
        return True

    def begin(self, model: mujoco.MjModel, data: mujoco.MjData, vector: Array) -> Array:
        """Put the object where an episode starts, once the hand is there; return what `facts` gets as `found`."""
        return np.zeros(0)

    @abstractmethod
    def facts(self, vector: Array, found: Array, thing: Array, tool: Array) -> Facts:
        """Return what rewards need to know of an episode: name -> places [3] or numbers [].

        Args:
            vector: the task's.
            found: what `begin` returned.
                thing: the object's place as it is seen at the start.
            tool: the middle between the fingertips when the hand had been brought to its start.
        """

    @abstractmethod
    def thing(self, read: Read) -> tuple[Array, Array]:
        """Return the object's place [N, 3] and orientation [N, 4] as they are seen."""

    @abstractmethod
    def outcome(self, seen: Seen, read: Read, effort: Array) -> Outcome:
        """Judge a control step.

        Args:
            seen: after it.
            read: what was read after it, and the facts; ``tool`` [N, 3] is the middle between the fingertips.
            effort: the gripper's part of the action, [N] float32 in [-1, 1].
        """


def outcome(reward: Array, at_goal: BoolArray, to_target: Array, in_place: Array, grasped: Array) -> Outcome:
    """Return an `Outcome` with the package's numbers beside it."""
    info = {"obj_to_target": to_target, "in_place_reward": in_place, "grasp_reward": grasped}
    return Outcome(reward, at_goal=at_goal, info=info)


def quaternion(rotation: Array) -> Array:
    """Return unit quaternions [N, 4], the real part last, of rotation matrices [N, 9].

    As SciPy, which the package asks, and to the last bit: of the four ways to compute one, that whose first step gives
    the largest number; its sign is left as it comes.
    """
    sums = rotation[:, _ONES] + rotation[:, _MIRRORED]
    differences = rotation[:, _ONES] - rotation[:, _MIRRORED]
    diagonal = rotation[:, ::4]
    trace = diagonal[:, 0] + diagonal[:, 1] + diagonal[:, 2]
    best = np.concatenate([diagonal, trace[:, None]], axis=1).argmax(axis=1)
    every = np.arange(len(rotation))
    parts = np.concatenate([sums, differences], axis=1)[every[:, None], _PARTS[best]]
    chosen = diagonal[every, np.minimum(best, 2)]
    parts[every, best] = np.where(best == 3, 1.0 + trace, 1.0 - trace + 2.0 * chosen)
    squares = parts * parts
    size = np.sqrt(squares[:, 0] + squares[:, 1] + squares[:, 2] + squares[:, 3])
    return np.asarray(parts / size[:, None])
