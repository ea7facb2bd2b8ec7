"""Environments that are built once and kept: told before every reset which task comes next, and used for many.

Shapes: A action.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import gymnasium
import numpy as np
import numpy.typing as npt

from mql.errors import UserError
from mql.tasks.distributions import Value
from mql.tasks.family import Task
from mql.tasks.wrapped.varied_models import VariedModels

Environment: TypeAlias = gymnasium.Env[Any, Any]
Control: TypeAlias = Callable[[npt.NDArray[np.float64]], npt.NDArray[Any]]

_KEPT_TASKS = 4  # environments built for one task each that stay open


class EnvironmentSource:
    """Where a family's environments come from in this process, and what is read of their answers.

    Args:
        make_env, set_task, observed, success_key, info_keys: see `mql.tasks.wrapped.gymnasium_family.GymnasiumFamily`.
        oracle: the task parameters stand at the end of the observation.
        varied: what of their models each episode draws anew; None: nothing.
    """

    def __init__(
        self,
        make_env: Callable[..., Environment],
        set_task: Callable[[Environment, Mapping[str, Value]], None] | None,
        *,
        observed: tuple[str, ...],
        success_key: str | None,
        info_keys: tuple[str, ...],
        oracle: bool,
        varied: VariedModels | None = None,
    ) -> None:
        self._make_env, self._set_task, self._varied = make_env, set_task, varied
        self.observed, self.success_key, self.info_keys, self.oracle = observed, success_key, info_keys, oracle
        # Environments that nobody uses, by what they suit; the oldest first.
        self._idle: dict[tuple[Any, ...], list[Environment]] = {}

    def borrow(self, task: Task, render_mode: str | None) -> Environment:
        """Take an idle environment that suits `task`, or build one; `give_back` it afterwards."""
        idle = self._idle.get(self._key(task, render_mode))
        if idle:
            return idle.pop()
        values = {} if self._set_task is not None else dict(task.parameters)
        return self._make_env(**values) if render_mode is None else self._make_env(**values, render_mode=render_mode)

    def give_back(self, environment: Environment, task: Task, render_mode: str | None) -> None:
        """Keep an environment for later tasks; where each task has its own, only the last few stay open."""
        self._idle.setdefault(self._key(task, render_mode), []).append(environment)
        while self._set_task is None and len(self._idle) > _KEPT_TASKS:
            for old in self._idle.pop(next(iter(self._idle))):
                old.close()

    def prepare(self, environment: Environment, task: Task, seed: int) -> None:
        """Tell an environment which task its next episode is of, and draw what differs with the episode's seed."""
        if self._varied is not None:
            self._varied.put_back(environment)
        if self._set_task is not None:
            self._set_task(environment, task.parameters)
        if self._varied is not None:
            self._varied.draw(environment, seed)

    def _key(self, task: Task, render_mode: str | None) -> tuple[Any, ...]:
        return (render_mode, *(task.parameters.values() if self._set_task is None else ()))


def affine_to(space: gymnasium.spaces.Box) -> Control:
    """Return the map of [-1, 1]^A to `space`, a finite Box [A]; the identity, bit for bit, where they are the same.

    Raises:
        UserError: the box is not finite or not a vector.
    """
    low, high = np.asarray(space.low, np.float64), np.asarray(space.high, np.float64)
    if low.ndim != 1 or not (np.isfinite(low).all() and np.isfinite(high).all()):
        raise UserError(f"actions of {space}", mend="the action space must be a finite Box with one axis; wrap it")
    if (low == -1.0).all() and (high == 1.0).all():
        return lambda action: action.astype(space.dtype)
    middle, half = (low + high) / 2.0, (high - low) / 2.0
    return lambda action: (middle + half * action).astype(space.dtype)
