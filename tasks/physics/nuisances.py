"""Numbers of a model that are drawn anew for each episode and are no task: nuisances, as in domain randomisation.

They are changes like those of a task parameter, on top of these, and nobody sees their values. An episode draws them
from a stream of its own, which hangs on the episode's seed only; so whatever else is drawn stays as it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mql.errors import UserError
from mql.tasks.distributions import UNBOUNDED, Distribution, Uniform, ends_of
from mql.tasks.family import Array
from mql.tasks.physics.fields import ALL, Change, allowed_range

PREFIX = "randomise."  # of a nuisance's name among the names of task parameters


@dataclass(frozen=True)
class Nuisance:
    """One of them.

    Args:
        name: what messages call it.
        source: what it is drawn from.
        changes: what it changes.
        each: whether each body, joint or other thing that is changed draws a number of its own; then `source` has no
            size.
        key: the dotted key that messages name; empty: ``randomise.<name>``.
    """

    name: str
    source: Distribution
    changes: tuple[Change, ...]
    each: bool = False
    key: str = ""

    @property
    def parameter(self) -> str:
        """What it is called among task parameters."""
        return PREFIX + self.name

    @property
    def place(self) -> str:
        """The dotted key that messages name."""
        return self.key or self.parameter


def stream_of(rng: np.random.Generator) -> np.random.Generator:
    """Return the stream that an episode draws its nuisances from; `rng`, the episode's own, goes on as if not asked."""
    return rng.spawn(1)[0]


def check_bounds(nuisance: Nuisance, where: str) -> None:
    """Refuse a distribution that draws what physics forbids.

    Raises:
        UserError: it does, or a vector is drawn for each thing.
    """
    lows, highs = ends_of(nuisance.source)
    for each in nuisance.changes:
        low, high = allowed_range(each.field, each.op)
        if min(lows) < low or max(highs) > high:
            endless = not (np.isfinite(min(lows)) and np.isfinite(max(highs)))
            what = f"{nuisance.name} draws {each.field} from {min(lows):g} to {max(highs):g}"
            mend = f"physics allows {low:g} and more" if high == np.inf else f"physics allows {low:g} to {high:g}"
            raise UserError(what, where=where, mend=mend + (UNBOUNDED if endless else ""))
    if nuisance.each and nuisance.source.size is not None:
        what = f"{nuisance.name} draws {nuisance.source.size} numbers for each"
        raise UserError(what, where=where, mend="leave the size out: each draws one number")


# What `factors` varies: the key, whether each thing has a factor of its own, and what it changes. Of two geoms that
# touch MuJoCo takes the larger friction, so factors of their own would make everything rougher.
FACTORS: Mapping[str, tuple[bool, str]] = {
    "body_mass": (True, "body"),
    "geom_friction": (False, "geom"),
    "dof_damping": (True, "joint"),
    "dof_frictionloss": (True, "joint"),
    "position_gain": (True, "actuator"),
    "actuator_gear": (True, "actuator"),
}


def factors(ranges: Mapping[str, tuple[float, float]], *, section: str = "") -> tuple[Nuisance, ...]:
    """Return nuisances that scale fields of all that a model has, by factors uniform in ranges (low, high).

    Args:
        ranges: field, one of `FACTORS` -> its range.
        section: what messages put before the keys, such as ``env.``.

    Raises:
        UserError: low is not below high, or physics forbids it.
    """
    found = []
    for field, (low, high) in ranges.items():
        each, target = FACTORS[field]
        if not low < high:
            mend = "write the lowest and the highest factor, such as [0.8, 1.2]"
            raise UserError(f"{field} is varied from {low:g} to {high:g}", where=PREFIX + field, mend=mend)
        scale = Change.model_validate({"field": field, "op": "scale", target: ALL})
        nuisance = Nuisance(field, Uniform(low, high), (scale,), each, key=section + PREFIX + field)
        check_bounds(nuisance, nuisance.place)
        found.append(nuisance)
    return tuple(found)


def drawn(nuisances: Iterable[Nuisance], counts: Mapping[str, int], rng: np.random.Generator) -> Array:
    """Draw all nuisances once, one after another: [K].

    Args:
        nuisances: what is drawn.
        counts: of those whose things each draw a number, by `Nuisance.parameter`: how many there are.
        rng: from where.
    """
    numbers: list[float] = []
    for nuisance in nuisances:
        for _ in range(counts.get(nuisance.parameter, 1)):
            numbers.extend(np.atleast_1d(nuisance.source.sample(rng)))
    return np.array(numbers, np.float64)


def split(
    nuisances: Sequence[Nuisance], counts: Mapping[str, int], numbers: Array
) -> dict[str, float | tuple[float, ...]]:
    """Return the value of each nuisance, by `Nuisance.parameter`, from what `drawn` drew."""
    values: dict[str, float | tuple[float, ...]] = {}
    at = 0
    for nuisance in nuisances:
        size = counts[nuisance.parameter] if nuisance.each else nuisance.source.size
        part = numbers[at : at + (size or 1)]
        values[nuisance.parameter] = float(part[0]) if size is None else tuple(float(number) for number in part)
        at += size or 1
    return values
