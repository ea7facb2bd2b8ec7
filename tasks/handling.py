"""Where observations show a hand and an object, for families whose actions say where the hand goes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Handling:
    """How a hand is seen and moved, and the object beside it. Actions are displacements x, y, z, and the fingers last.

    Args:
        hand, thing: first columns of an observation with the places x, y, z (m) of hand and object.
        stroke: m by which a full action moves the hand in a control step.
        closing: the last number of an action that closes the fingers, 1 or -1; None: grasping is no use.
    """

    hand: int
    thing: int
    stroke: float
    closing: float | None = None
