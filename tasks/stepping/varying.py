"""Models of tasks in parallel whose numbers differ from episode to episode, or change within one.

Shapes: N tasks, K numbers that an episode draws.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import mujoco

from mql.tasks.distributions import Value
from mql.tasks.family import Array
from mql.tasks.physics.episode import ChangingModel, EpisodePhysics


class Varying:
    """Each task's own model, changed in place.

    Args:
        physics: what changes.
        base: the model that was looked up.
        tasks: the parameters of each task.
    """

    def __init__(self, physics: EpisodePhysics, base: mujoco.MjModel, tasks: Sequence[Mapping[str, Value]]) -> None:
        self._tasks = list(tasks)
        self._rows = [ChangingModel(physics, copy.deepcopy(base)) for _ in tasks]
        self.models = [row.model for row in self._rows]
        self._changes_within = any(physics.moments(parameters) for parameters in tasks)
        self.begin(None)

    def begin(self, drawn: Array | None) -> None:
        """Give the models the physics with which their episodes start; `drawn` is what these draw, [N, K]."""
        for number, (row, parameters) in enumerate(zip(self._rows, self._tasks, strict=True)):
            row.begin(parameters, None if drawn is None else drawn[number])

    def advance(self) -> None:
        """Give the models the physics of the next control step: to be called before each."""
        if self._changes_within:
            for row in self._rows:
                row.advance()


Models: TypeAlias = Sequence[mujoco.MjModel] | Varying  # one model per task


def models_of(models: Models) -> tuple[list[mujoco.MjModel], Varying | None]:
    """Return one model per task, and what changes them, if anything does."""
    return (models.models, models) if isinstance(models, Varying) else (list(models), None)
