"""Checks what a caller gives: actions, observations, seeds and render modes.

Shapes: N tasks, O observation, A action.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mql.errors import UserError, nearest
from mql.tasks.family import Array, Task, TaskFamily

RENDER_MODES = ["rgb_array"]


@dataclass(frozen=True)
class Transitions:
    """Control steps, each with the task parameters of the task that is asked about.

    Args:
        before: observations [N, O] without visible task parameters.
        after: those after the step.
        action: [N, A] in [-1, 1].
        parameters: name -> [N], or [N, size] for a vector.
    """

    before: Array
    after: Array
    action: Array
    parameters: Mapping[str, Array]


def checked_actions(family: TaskFamily, rows: int, actions: npt.ArrayLike) -> Array:
    """Return a copy of `actions` as [N, A] float64, clipped to [-1, 1].

    Raises:
        UserError: actions not of shape [N, A], or not finite.
    """
    where = f"family {family.name}"
    action = np.array(actions, dtype=np.float64)
    expected = (rows, family.action_dim)
    if action.shape != expected:
        raise UserError(
            f"actions have shape {list(action.shape)}",
            where=where,
            mend=f"give {list(expected)}: {expected[0]} tasks with {expected[1]} numbers each",
        )
    finite = np.isfinite(action).all(axis=1)
    if not finite.all():
        row = int(np.flatnonzero(~finite)[0])
        mend = "look for NaN or infinity in the policy's output"
        raise UserError(f"the action of task {row} is not finite", where=where, mend=mend)
    return np.clip(action, -1.0, 1.0, out=action)


def checked_transitions(
    family: TaskFamily, before: npt.ArrayLike, after: npt.ArrayLike, action: npt.ArrayLike, task: Task
) -> Transitions:
    """Return what `TaskFamily.reward` is given.

    Raises:
        UserError: arrays of other shapes, an action that is not finite, or a task of another family.
    """
    family.check_batch([task], 1)
    rows = np.shape(before)[0] if np.ndim(before) else 0
    width = family.obs_dim - sum(family.parameters[name].width for name in family.visible)
    seen = []
    for given in (before, after):
        obs = np.asarray(given, dtype=np.float64)
        if obs.shape != (rows, family.obs_dim):
            what, mend = f"observations have shape {list(obs.shape)}", f"give {[rows, family.obs_dim]} before and after"
            raise UserError(what, where=f"family {family.name}", mend=mend)
        seen.append(obs[:, :width])
    values = {name: np.asarray(task.parameters[name], dtype=np.float64) for name in family.parameters}
    parameters = {name: np.broadcast_to(value, (rows, *value.shape)) for name, value in values.items()}
    return Transitions(seen[0], seen[1], checked_actions(family, rows, action), parameters)


def checked_action(family: TaskFamily, action: npt.ArrayLike) -> Array:
    """Return one environment's action as [A] float64.

    Raises:
        UserError: it is not of shape [A].
    """
    given = np.asarray(action, dtype=np.float64)
    if given.shape != (family.action_dim,):
        what = f"the action has shape {list(given.shape)}"
        raise UserError(what, where=f"family {family.name}", mend=f"give {family.action_dim} numbers")
    return given


def all_finite(row: npt.NDArray[np.floating[Any]]) -> bool:
    """Tell whether all numbers [n] are finite: squares that add up to a number are of numbers.

    That is one call, where every step of a run comes by; only sums beyond all numbers are looked at one by one.
    """
    return math.isfinite(row.dot(row)) or bool(np.isfinite(row).all())


def checked_seeds(seeds: Sequence[int], rows: int) -> list[int]:
    """Return the seeds of N tasks.

    Raises:
        UserError: not one non-negative seed per task.
    """
    if len(seeds) != rows or any(seed < 0 for seed in seeds):
        raise UserError(f"{len(seeds)} seeds for {rows} tasks", mend="give one seed of 0 or more for each task")
    return [int(seed) for seed in seeds]


def check_render_mode(family: TaskFamily, render_mode: str | None) -> None:
    """Refuse an unknown render mode.

    Raises:
        UserError: it is neither None nor one of `RENDER_MODES`.
    """
    if render_mode is not None and render_mode not in RENDER_MODES:
        mend = nearest(str(render_mode), RENDER_MODES)
        raise UserError(f"no render mode {render_mode!r}", where=f"family {family.name}", mend=mend)
