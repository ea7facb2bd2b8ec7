"""What a family's own observations look like under random actions, and whether logged ones are as large.

Shapes: n steps, O observation, A action; five quantiles of each observation.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mql.data.findings import Finding
from mql.data.logged import LoggedEpisode
from mql.tasks.family import TaskFamily

Array = npt.NDArray[np.float64]

FEW_STEPS = 20  # of a file: fewer tell nothing about ranges
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_TASKS, _STEPS = 8, 120
_HOLD = 10  # control steps for which every second task keeps a random action: wider movements
_LARGE = 30.0  # times the family's own size: not what a better policy does
_UNITS = {
    180 / np.pi: ("degrees, not radians", "deg"),
    1000.0: ("millimetres, not metres", "mm"),
    100.0: ("centimetres, not metres", "cm"),
    1e6: ("micrometres, not metres", "um"),
}


@dataclass(frozen=True)
class Reference:
    """Steps of a family under random actions: obs and next_obs [n, O], action [n, A].

    ``quantiles`` [5, O] are those of the observations. ``varies`` [O] says which of them move, ``tells`` [O] which say
    anything about what is usual.
    """

    family: str
    obs: Array
    action: Array
    next_obs: Array
    quantiles: Array
    varies: npt.NDArray[np.bool_]
    tells: npt.NDArray[np.bool_]


def reference_of(family: TaskFamily, *, seed: int = 0) -> Reference:
    """Play an episode of a few training tasks with random actions."""
    rng = np.random.default_rng(seed)
    tasks = family.tasks("train")[:_TASKS]
    batch = family.make_batch(tasks)
    before, acted, after = [], [], []
    try:
        obs = batch.reset([int(value) for value in rng.integers(2**31, size=len(tasks))]).copy()
        action = np.zeros((len(tasks), family.action_dim))
        running = np.ones(len(tasks), dtype=bool)
        for step in range(min(family.episode_length, _STEPS)):
            fresh = rng.uniform(-1, 1, action.shape)
            keep = (np.arange(len(tasks)) % 2 == 1) & (step % _HOLD != 0)
            action = np.where(keep[:, None], action, fresh)
            found = batch.step(action)
            rows = running & np.isfinite(found.obs).all(axis=1)
            before.append(obs[rows])
            acted.append(action[rows])
            after.append(found.obs[rows])
            running &= ~(found.terminated | found.truncated)
            obs = found.obs.copy()
    finally:
        batch.close()
    seen = np.concatenate(before).astype(np.float64)
    quantiles = np.quantile(seen, _QUANTILES, axis=0)
    width, size = quantiles[-1] - quantiles[0], np.abs(quantiles).max(axis=0)
    # What random actions hardly move, such as an object that has to be pushed, tells nothing of what is right.
    tells = size > 0.1 * np.median(size)
    later = np.concatenate(after).astype(np.float64)
    # What stands still in every episode, such as a task parameter that is seen, may do so in a log, too.
    varies = tells & (width > 0.01 * size) & (later != seen).any(axis=0)
    return Reference(family.name, seen, np.concatenate(acted), later, quantiles, varies, tells)


@dataclass(frozen=True)
class Oversized:
    """An observation that is `factor` times as large as the family's: the nearest unit's, or what it is."""

    place: int
    factor: float
    finding: Finding


def sizes_compared(logged: Sequence[LoggedEpisode], reference: Reference) -> Iterator[Oversized]:
    """Yield which logged observations are so large that they look like those in another unit."""
    rows = [episode.obs for episode in logged if episode.obs is not None]
    if sum(map(len, rows)) < FEW_STEPS:
        return
    seen = np.quantile(np.concatenate(rows).astype(np.float64), _QUANTILES, axis=0)
    for place in map(int, np.flatnonzero(reference.tells)):
        own = reference.quantiles[:, place]
        ratio = float(np.abs(seen[:, place]).max() / np.abs(own).max())
        if ratio < _LARGE:
            continue
        factor = _nearest(ratio)
        text, unit = _UNITS[factor]
        alike = factor / 2 < ratio < 2 * factor
        ours = f"{reference.family} has {own[0]:.3g} to {own[-1]:.3g}"
        guess = f"; {text}?" if alike else ""
        what = f"values from {seen[0, place]:.3g} to {seen[-1, place]:.3g}, where {ours}{guess}"
        mend = f"state the unit in a column map (unit: {unit if alike else 'UNIT'})"
        finding = Finding("error", what, mend, logged[0].file, None, None, f"obs[{place}]")
        yield Oversized(place, factor if alike else ratio, finding)


def _nearest(ratio: float) -> float:
    return min(_UNITS, key=lambda known: float(abs(np.log(ratio / known))))
