"""What an environment of somebody else's answers, read with care: the interface differs more than its papers say."""

from __future__ import annotations

import math
import re
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium
import numpy as np

from mql.errors import told

_MOST_KEYS, _LONGEST_KEY = 20, 40  # of info that a message lists
_UNPACKED = re.compile(r"(?:not enough|too many) values to unpack \(expected (\d+)(?:, got (\d+))?\)")


class BadAnswer(ValueError):
    """An answer that no Gymnasium environment gives; the text goes on behind who gave it: ``gave 4 values, not 5``."""


class ResetAnswer(NamedTuple):
    """What a reset gave: the observation as it came, and what else there is to know."""

    seen: Any
    info: Mapping[str, Any]


class StepAnswer(NamedTuple):
    """What a step gave: the observation as it came, all else as plain values."""

    seen: Any
    reward: float
    terminated: bool
    truncated: bool
    info: Mapping[str, Any]


def reset_answer(answer: Any) -> ResetAnswer:
    """Return what a reset gave.

    Raises:
        BadAnswer: it is not a pair of an observation and a dict.
    """
    seen, info = _values(answer, 2)
    _check_info(info)
    return ResetAnswer(seen, info)


def step_answer(answer: Any) -> StepAnswer:
    """Return what a step gave; rewards and flags may be arrays of one number.

    Raises:
        BadAnswer: it does not have five values, or one of them is of another kind.
    """
    seen, reward, terminated, truncated, info = _values(answer, 5)
    _check_info(info)
    worth = number(reward, "the reward")
    return StepAnswer(seen, worth, flag(terminated, "terminated"), flag(truncated, "truncated"), info)


def number(value: Any, name: str) -> float:
    """Return one number, which may come as an array of one.

    Raises:
        BadAnswer: it is something else.
    """
    if isinstance(value, (float, int)):
        return float(value)
    try:
        array = np.asarray(value)
        if array.dtype.kind not in "fiub":
            raise TypeError
    except Exception:  # of a value that raises as it is read, too
        raise BadAnswer(f"gave {name} as {type(value).__name__}, not as a number") from None
    if array.size != 1:
        raise BadAnswer(f"gave {name} as {array.size} numbers, not as one")
    return float(array.reshape(-1)[0])


def flag(value: Any, name: str) -> bool:
    """Return what is true or false, which may come as 0 or 1 and as an array of one.

    Raises:
        BadAnswer: it is something else.
    """
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    given = number(value, name)
    if given not in (0.0, 1.0):
        raise BadAnswer(f"gave {name} as {given:g}, not as true or false")
    return bool(given)


def reported(info: Mapping[str, Any], keys: Sequence[str], success_key: str | None) -> dict[str, Any]:
    """Return the numbers of ``info`` under `keys`, and its ``success``, which is false where it says nothing of it.

    Raises:
        BadAnswer: a number is missing, or is none, or not finite.
    """
    told: dict[str, Any] = {}
    for key in keys:
        if key not in info:
            raise BadAnswer(f"gave no {key!r} in info, only {_listed(info)}")
        told[key] = number(info[key], f"{key!r} in info")
        if not math.isfinite(told[key]):
            raise BadAnswer(f"gave {key!r} in info as {told[key]}")
    if success_key is not None:
        told["success"] = flag(info.get(success_key, False), f"{success_key!r} in info")
    return told


def _listed(info: Mapping[str, Any]) -> str:
    names = sorted(key for key in info if isinstance(key, str))
    return f"{[name[:_LONGEST_KEY] for name in names[:_MOST_KEYS]]}"


def what_went_wrong(error: BaseException) -> str:
    """Return what follows the name of a call that raised: ``raised OSError: no licence``, ``gave 4 values, not 5``."""
    if isinstance(error, BadAnswer):
        return str(error)
    frames = traceback.extract_tb(error.__traceback__)
    found = _UNPACKED.match(str(error)) if type(error) is ValueError and frames else None
    if found and Path(frames[-1].filename).is_relative_to(Path(gymnasium.__file__).parent):
        # One of Gymnasium's wrappers met the answer first.
        expected, got = found[1], found[2]
        return f"gave {got} values, not {expected}" if got else f"gave more than {expected} values"
    return f"raised {told(error)}"


def _values(answer: Any, count: int) -> Any:
    if not isinstance(answer, tuple | list):
        raise BadAnswer(f"gave {'nothing' if answer is None else type(answer).__name__}, not {count} values")
    if len(answer) != count:
        raise BadAnswer(f"gave {len(answer)} value{'s' if len(answer) != 1 else ''}, not {count}")
    return answer


def _check_info(info: Any) -> None:
    if type(info) is not dict and not isinstance(info, Mapping):
        raise BadAnswer(f"gave info as {type(info).__name__}, not as a dict")
