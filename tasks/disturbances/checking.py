"""What a disturbance must not be, and what it makes of the bounds of the task parameters that it reads."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mql.errors import UserError, nearest
from mql.plain_text import counted
from mql.tasks.disturbances.settings import Actuation, Numbers, Sensed, parameter_of, parameters_of
from mql.tasks.family import TaskFamily
from mql.tasks.parameter import Parameter

MOST_SEEN = 100_000  # numbers of an observation with its history: more is a slip of the keyboard
_BEFORE_ROUNDING = 0.5 - 1e-9  # control steps: a delay of less would be none


@dataclass(frozen=True)
class _Stated:
    """One number that was given: its key, its value, what it may be, and how many there are where it is a vector."""

    key: str
    value: Numbers
    low: float
    high: float
    size: int
    unit: str


def check(family: TaskFamily, sensed: Sequence[Sensed], actuation: Actuation, where: Callable[[str], str]) -> None:
    """Refuse disturbances that can't be simulated; `disturbed` says which.

    Raises:
        UserError: one of these, with the place of its key.
    """
    for each in sensed:
        _check_history(family, each, where(each.where("history")))
    total = sum(len(each.columns) * each.sensing.history for each in sensed)
    if total > MOST_SEEN:
        each = max(sensed, key=lambda one: len(one.columns) * one.sensing.history)
        what = f"observations with their history have {total:,} numbers"
        raise UserError(what, where=where(each.where("history")), mend=f"at most {MOST_SEEN:,} are allowed")
    for stated in _stated(family, sensed, actuation):
        place = where(stated.key)
        name = parameter_of(stated.value)
        if name is not None:
            _check_parameter(family, stated, name, place)
            continue
        values = np.atleast_1d(np.asarray(stated.value, np.float64))
        if isinstance(stated.value, tuple) and len(values) != stated.size:
            mend = f"give {stated.size}, or a single one for all"
            raise UserError(f"{_last(stated)} has {counted(len(values), 'number')}", where=place, mend=mend)
        for value in values:
            _check_value(family, stated, float(value), place)


def known_bounds(family: TaskFamily, sensed: Sequence[Sensed], actuation: Actuation) -> dict[str, Parameter]:
    """Return the family's parameters, those that disturbances read within what makes sense there.

    Parameters whose value is a noise or a bias show in the first observation (`Parameter.observed_start`).
    """
    parameters = dict(family.parameters)
    for stated in _stated(family, sensed, actuation):
        name = parameter_of(stated.value)
        if name is not None:
            low, high = parameters[name].bounds
            parameters[name] = replace(parameters[name], bounds=(max(low, stated.low), min(high, stated.high)))
    for each in sensed:
        for setting, name in parameters_of(each.sensing).items():
            if setting != "delay_s":
                parameters[name] = replace(parameters[name], observed_start=True)
    return parameters


def _stated(family: TaskFamily, sensed: Sequence[Sensed], actuation: Actuation) -> Iterator[_Stated]:
    """Yield all numbers that have a meaning in each task."""
    longest = (family.episode_length - _BEFORE_ROUNDING) * family.control_timestep
    for each in sensed:
        size = len(each.columns)
        yield _Stated(each.where("noise"), each.sensing.noise, 0.0, math.inf, size, "the observation's unit")
        yield _Stated(each.where("bias"), each.sensing.bias, 0.0, math.inf, size, "the observation's unit")
        yield _Stated(each.where("delay_s"), each.sensing.delay_s, 0.0, longest, size, "s")
    yield _Stated("actuation.delay_s", actuation.delay_s, 0.0, longest, 1, "s")
    yield _Stated("actuation.gain", actuation.gain, -math.inf, math.inf, family.action_dim, "no unit")
    if actuation.rate_limit is not None:
        least = np.nextafter(0.0, 1.0)
        yield _Stated("actuation.rate_limit", actuation.rate_limit, least, math.inf, family.action_dim, "1/s")


def _check_value(family: TaskFamily, stated: _Stated, value: float, place: str) -> None:
    setting, step = _last(stated), family.control_timestep
    if not math.isfinite(value):
        raise UserError(f"{setting} is {value}", where=place, mend=f"give a finite number ({stated.unit})")
    if value < stated.low:
        more = "0 or more" if stated.low == 0.0 else "more than 0"
        raise UserError(f"{setting} is {value:g}", where=place, mend=f"give {more} ({stated.unit})")
    if value > stated.high:
        length = family.episode_length * step
        mend = f"an episode lasts {length:g} s, {family.episode_length} control steps; give less"
        raise UserError(f"{setting} is {value:g} s", where=place, mend=mend)
    if setting == "delay_s" and 0.0 < value < _BEFORE_ROUNDING * step:
        what = f"delay_s is {value:g} s, less than half a control step"
        raise UserError(what, where=place, mend=f"give 0, or a multiple of {step:g} s")


def _check_parameter(family: TaskFamily, stated: _Stated, name: str, place: str) -> None:
    if name not in family.parameters:
        mend = nearest(name, family.parameters)
        raise UserError(f"there is no task parameter {name!r}", where=place, mend=mend)
    width = family.parameters[name].width
    if width not in (1, stated.size) or (_last(stated) == "delay_s" and width != 1):
        what = f"the task parameter {name!r} has {counted(width, 'number')}"
        wanted = "1" if stated.size == 1 or _last(stated) == "delay_s" else f"1 or {stated.size}"
        raise UserError(what, where=place, mend=f"{_last(stated)} takes {wanted}")
    for split in family.split_names:
        for task in family.tasks(split):
            values = np.atleast_1d(np.asarray(task.parameters[name], np.float64))
            wrong = values[(values < stated.low) | (values > stated.high)]
            if len(wrong):
                what = f"{name} is {wrong[0]:g} in task {task.index} of {split}, which {_last(stated)} can't be"
                high = "" if math.isinf(stated.high) else f", and at most {stated.high:g}"
                more = "0 or more" if stated.low == 0.0 else "more than 0"
                raise UserError(what, where=place, mend=f"draw it from numbers of {more}{high} ({stated.unit})")


def _check_history(family: TaskFamily, each: Sensed, place: str) -> None:
    history = each.sensing.history
    if history < 1:
        raise UserError(f"history is {history}", where=place, mend="give 1 for the newest observation alone, or more")
    if history > family.episode_length + 1:
        what = f"history is {history}, an episode has {family.episode_length + 1} observations"
        raise UserError(what, where=place, mend="give at most as many")


def _last(stated: _Stated) -> str:
    return stated.key.rpartition(".")[2]
