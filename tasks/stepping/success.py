"""The rule of success, for every family: a task is solved once it was at its goal for `hold_steps` steps in a row.

This may be at any time of the episode, and stays true to its end. A family may say otherwise by ``success_at="end"``:
then the steps must be the episode's last ones. Either way ``info["success"]`` of the last step is the episode's.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np

from mql.tasks.family import BoolArray, TaskFamily

AtGoal = TypeVar("AtGoal", bool, BoolArray)


class HoldCounter:
    """Counts the steps in a row at the goal, for one task or for N in parallel.

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


class SuccessRule:
    """Applies the rule to one task, or to N in parallel.

    Args:
        family: says how many steps it takes (``hold_steps``), and when (``success_at``).
    """

    def __init__(self, family: TaskFamily) -> None:
        self._held = HoldCounter(family.hold_steps)
        self._at_end = family.success_at == "end"
        self.reset()

    def reset(self) -> None:
        """Start an episode."""
        self._held.reset()
        self._reached: Any = False

    def judge(self, at_goal: AtGoal, ended: AtGoal) -> AtGoal:
        """Count one step, of which `ended` says whether it is the last; tell whether the task is solved."""
        held: Any = self._held.count(at_goal)
        self._reached = held & ended if self._at_end else held | self._reached
        # What is given is the caller's own.
        solved: Any = self._reached.copy() if isinstance(self._reached, np.ndarray) else self._reached
        given: AtGoal = solved
        return given
