"""Distributions as plain data, e.g. ``{"dist": "uniform", "low": 0.0, "high": 3.0}``: so that a split is reproducible
from a file alone, and a run can store what its tasks were drawn from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any

from mql.errors import UserError, nearest
from mql.tasks.distributions import Angle, Choice, Disc, Distribution, Fixed, LogUniform, Normal, Uniform

_KINDS: dict[str, type[Any]] = {
    "uniform": Uniform,
    "loguniform": LogUniform,
    "normal": Normal,
    "choice": Choice,
    "angle": Angle,
    "disc": Disc,
    "fixed": Fixed,
}


def to_spec(distribution: Distribution) -> dict[str, Any]:
    """Write a distribution as plain data: ``dist`` and its fields, those that are None left out."""
    kind = next(kind for kind, cls in _KINDS.items() if type(distribution) is cls)
    values = {field.name: getattr(distribution, field.name) for field in fields(_KINDS[kind])}
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
    return {"dist": kind} | {name: value for name, value in plain.items() if value is not None}


def from_spec(spec: Mapping[str, Any], *, where: str | None = None) -> Distribution:
    """Read a distribution from plain data.

    Raises:
        UserError: an unknown kind or field, a missing field, a value of the wrong type, or values out of order.
    """
    given = dict(spec)
    kind = given.pop("dist", None)
    if not isinstance(kind, str) or kind not in _KINDS:
        raise UserError(f"unknown distribution {kind!r}", where=where, mend=nearest(str(kind), _KINDS))
    known = {field.name: field.default is MISSING for field in fields(_KINDS[kind])}
    for name in given:
        if name not in known:
            raise UserError(f"{kind} has no field {name!r}", where=where, mend=nearest(str(name), known))
    missing = [name for name, needed in known.items() if needed and name not in given]
    if missing:
        raise UserError(f"{kind} lacks {missing[0]!r}", where=where, mend="give it")
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
    try:
        distribution: Distribution = _KINDS[kind](**values)
    except (TypeError, ValueError) as error:
        raise UserError(f"{kind} can't be read from {given}", where=where, mend="give numbers") from error
    except UserError as error:
        raise UserError(error.what, where=where, mend=error.mend) from error
    return distribution
