"""What families and simulations hand to one another: the batched state, what a step was worth, the laws of motion.

Shapes: N tasks, A action, Q positions (qpos), V velocities (qvel).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from mql.tasks.family import Array, BoolArray
from mql.tasks.stepping.physics_state import PhysicsState


@dataclass(frozen=True)
class State:
    """The batched state: qpos [N, Q] and qvel [N, V] in SI units. Read only, and valid until the next step.

    ``derived`` holds what a family asked for beyond those, such as the bodies' centre of mass: name -> [N, ...].
    """

    qpos: Array
    qvel: Array
    derived: Mapping[str, Array] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """What a step is worth: reward [N]; where the family has them, terminated [N] and at_goal [N]; info: name -> [N].

    ``at_goal`` says that a task is where success wants it now; how long it must stay, and when, is the family's to say
    (`mql.tasks.stepping.success`).
    """

    reward: Array
    terminated: BoolArray | None = None
    at_goal: BoolArray | None = None
    info: dict[str, Array] = field(default_factory=dict)


class Dynamics(Protocol):
    """The laws of motion of N tasks."""

    def place(self, start: PhysicsState) -> State:
        """Put every task into a state, which an episode starts from."""
        ...

    def advance(self, action: Array) -> tuple[State, State]:
        """Advance by one control step with action [N, A] in [-1, 1]; return the states before and after.

        A task that diverges becomes NaN and stays so; the others go on as if it weren't there.
        """
        ...

    def render(self, row: int) -> npt.NDArray[np.uint8]:
        """Return a picture [height, width, 3] of one task."""
        ...

    def close(self) -> None:
        """Release threads and rendering contexts."""
        ...


@runtime_checkable
class LimitedDynamics(Protocol):
    """Laws of motion of robots whose commands are kept within stated limits."""

    def limited(self) -> Mapping[str, Array]:
        """Return which limits cut the last action: name -> [N], 1 where one did."""
        ...
