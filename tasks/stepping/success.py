"""The rule of success: a task is solved once it has been at its goal for some steps in a row."""

from __future__ import annotations

from typing import Any, TypeVar

from mql.tasks.family import BoolArray

AtGoal = TypeVar("AtGoal", bool, BoolArray)


class HoldCounter:
    """Counts the steps in a row at the goal, for one task or for N side by side.

    Args:
        steps: how many it takes.
    """

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self.reset()

    def reset(self) -> None:
        """Start an episode."""
        self._counted: Any = 0  # [N] from the first step on, where there are N

    def count(self, at_goal: AtGoal) -> AtGoal:
        """Count one step; tell whether the goal has been held for long enough: a truth value, or [N] like `at_goal`."""
        self._counted = (self._counted + 1) * at_goal
        held: AtGoal = self._counted >= self._steps
        return held
