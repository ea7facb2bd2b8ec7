"""Models of tasks side by side whose numbers differ from episode to episode, or change within one.

Shapes: N tasks, K numbers that an episode draws.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import mujoco

from mql.tasks.distributions import Value
from mql.tasks.family import Array
from mql.tasks.physics.episode import EpisodePhysics


class Varying:
    """Each task's own model, changed in place.

    Args:
        physics: what changes.
        base: the model that was looked up.
        tasks: the parameters of each task.
    """

    def __init__(
        self, physics: EpisodePhysics, base: mujoco.MjModel, tasks: Sequence[Mapping[str, Value]]
    ) -> None:
        self._physics, self._tasks = physics, list(tasks)
        self._moments = [physics.moments(parameters) for parameters in tasks]
        self._any = frozenset().union(*self._moments)
        self._drawn: Array | None = None
        self._step = 0
        self.models = [copy.deepcopy(base) for _ in tasks]
        for row in range(len(self.models)):
            self._apply(row)

    def begin(self, drawn: Array | None) -> None:
        """Give the models the physics with which their episodes start; `drawn` is what these draw, [N, K]."""
        self._drawn, self._step = drawn, 0
        for row in range(len(self.models)):
            self._apply(row)

    def advance(self) -> None:
        """Give the models the physics of the next control step: to be called before each."""
        if self._step and self._step in self._any:
            for row, moments in enumerate(self._moments):
                if self._step in moments:
                    self._apply(row)
        self._step += 1

    def _apply(self, row: int) -> None:
        drawn = None if self._drawn is None else self._drawn[row]
        self._physics.apply(self.models[row], self._tasks[row], drawn, self._step)
