"""Where episodes lie in the replay's table: consecutive rows of a task's ring, which is circular.

Shapes: S episodes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mql.types import IntArray


@dataclass(frozen=True)
class Rings:
    """Where S episodes lie: the table row [S] at which the ring begins, and the ring position [S] of the first step."""

    ring: IntArray
    start: IntArray
    size: int

    def rows(self, steps: IntArray) -> IntArray:
        """Table rows of steps [..., S], at most `size` of them: the ring is circular."""
        place: IntArray = self.start + steps
        np.subtract(place, self.size, out=place, where=place >= self.size)
        place += self.ring
        return place
