"""Rewards that were not logged: computed by the family, where they follow from what was seen and done."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mql.errors import UserError, nearest
from mql.files import as_data
from mql.tasks.family import Task, TaskFamily
from mql.types import JSON, FloatArray

_TRIED = 8  # training tasks that must agree where some task parameters are not known
_AGREE = 1e-5  # by which, in parts of the largest reward

KnownTask = Task | Mapping[str, JSON] | str | None


def known_parameters(family: TaskFamily, task: KnownTask, *, where: str) -> dict[str, object]:
    """Return the task parameters that are known, by name; a text such as ``test:0`` stands for a whole task.

    Raises:
        UserError: the family has no such parameter, or no such task.
    """
    if task is None:
        return {}
    if isinstance(task, str):
        task = family.task(task)
    if isinstance(task, Task):
        return dict(task.parameters)
    for name in task:
        if name not in family.parameters:
            place = f"{where} task.{name}"
            raise UserError(
                f"{family.name} has no such task parameter", where=place, mend=nearest(name, family.parameters)
            )
    return dict(task)


def known_of(
    family: TaskFamily, task: KnownTask, logged: Mapping[str, JSON] | None, *, where: str
) -> dict[str, object]:
    """Return the task parameters that the user knows beside those that stand with an episode.

    Raises:
        UserError: as `known_parameters`, or the two contradict each other.
    """
    told, stored = (known_parameters(family, each, where=where) for each in (task, logged))
    for name in told.keys() & stored.keys():
        said, there = (np.asarray(values[name]) for values in (told, stored))
        numbers = said.dtype.kind in "fiub" and there.dtype.kind in "fiub" and said.shape == there.shape
        if not (np.allclose(said, there, rtol=1e-5, atol=1e-6) if numbers else np.array_equal(said, there)):
            what = f"{name} is {as_data(stored)[name]} in the file, and {as_data(told)[name]} was given"
            raise UserError(what, where=f"{where} task.{name}", mend="leave --task out, or correct the file")
    return told | stored


def computed_rewards(
    family: TaskFamily, obs: FloatArray, action: FloatArray, known: Mapping[str, object], *, where: str
) -> FloatArray:
    """Return what the steps of an episode are worth, [T].

    Task parameters that are not known are taken from several training tasks in turn, and must not matter.

    Args:
        family: whose reward it is.
        obs: [T+1, O].
        action: [T, A].
        known: task parameters.
        where: what messages call the episode.

    Raises:
        UserError: the family can't compute its reward, or it depends on a task parameter that is not known.
    """
    unknown = [name for name in family.parameters if name not in known]
    tried: list[FloatArray] = []
    for each in family.tasks("train")[: _TRIED if unknown else 1]:
        reward = family.reward(obs[:-1], obs[1:], action, family.task({**each.parameters, **known}))
        if reward is None:
            mend = "log a reward for each step: the reward of this family doesn't follow from what is observed"
            raise UserError("no rewards are logged", where=where, mend=mend)
        tried.append(reward)
    if not np.isfinite(tried[0]).all():
        step = int(np.flatnonzero(~np.isfinite(tried[0]))[0])
        raise UserError(
            "the family's reward is not finite", where=f"{where} step {step}", mend="look at its observations"
        )
    size = max(float(np.abs(tried[0]).max(initial=0.0)), 1e-6)
    if any(float(np.abs(one - tried[0]).max(initial=0.0)) > _AGREE * size for one in tried[1:]):
        mend = (
            f"log rewards, or say what {', '.join(unknown)} {'is' if len(unknown) == 1 else 'are'} (--task NAME=VALUE)"
        )
        raise UserError("no rewards are logged, and they depend on the task", where=where, mend=mend)
    return tried[0]
