"""What becomes of the actions of tasks in parallel: a delay, then a gain, then a limit of their rate, on arrays.

Shapes: N tasks, A action.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mql.tasks.disturbances.sensors import steps_of, values_of
from mql.tasks.disturbances.settings import Actuation, Numbers
from mql.tasks.family import Array, Task


class Actuators:
    """The way from actions that are commanded to those that the simulations get.

    Args:
        actuation: what happens on it.
        tasks: the tasks.
        width: A.
        control_timestep: s.
    """

    def __init__(self, actuation: Actuation, tasks: Sequence[Task], width: int, control_timestep: float) -> None:
        rows = len(tasks)
        self._delay = steps_of(values_of(actuation.delay_s, tasks), control_timestep)[:, 0]
        self._gain = _numbers(actuation.gain, tasks)
        limit = actuation.rate_limit
        self._most = None if limit is None else _numbers(limit, tasks) * control_timestep
        self._kept = int(self._delay.max(initial=0)) + 1
        self._rows = np.arange(rows)
        self._commands = np.zeros((self._kept, rows, width))
        self._last = np.zeros((rows, width))
        self._steps = 0

    def begin(self) -> None:
        """Start an episode of every task: at the action 0, and with nothing on its way."""
        self._commands[:] = 0.0
        self._last = np.zeros_like(self._last)
        self._steps = 0

    def drive(self, commanded: Array) -> Array:
        """Return the actions [N, A] that the simulations get, of those commanded now, which lie in [-1, 1]."""
        self._commands[self._steps % self._kept] = commanded
        # What has not been written yet is the 0 of the beginning.
        arrived = self._commands[(self._steps - self._delay) % self._kept, self._rows]
        action: Array = np.clip(arrived * self._gain, -1.0, 1.0)
        if self._most is not None:
            action = np.clip(action, self._last - self._most, self._last + self._most)
        self._last = action
        self._steps += 1
        return action


def _numbers(numbers: Numbers, tasks: Sequence[Task]) -> Array:
    """Return numbers as [N, 1] or [N, A]."""
    if isinstance(numbers, tuple):
        return np.tile(np.asarray(numbers, np.float64), (len(tasks), 1))
    return values_of(numbers, tasks)
