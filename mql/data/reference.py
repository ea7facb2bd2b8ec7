"""What a family's own observations look like, and whether logged ones look like them: units, and the order of axes.

Shapes: O observation; five quantiles of each.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from mql.data.findings import Finding
from mql.data.logged import LoggedEpisode
from mql.tasks.family import TaskFamily

Array = npt.NDArray[np.float64]

_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_TASKS, _STEPS = 6, 100
_HOLD = 10  # control steps for which every second task keeps a random action: wider movements
_FEW_STEPS = 20
_FAR, _NEAR = 2.0, 0.35  # distances, in widths of the family's own range, between other and alike
_LARGE = 30.0  # times the family's own size: not what a better policy does
_UNITS = {
    180 / np.pi: ("degrees, not radians", "deg"),
    1000.0: ("millimetres, not metres", "mm"),
    100.0: ("centimetres, not metres", "cm"),
    1e6: ("micrometres, not metres", "um"),
    60 / (2 * np.pi): ("turns per minute, not rad/s", "rpm"),
}


@dataclass(frozen=True)
class Reference:
    """Quantiles [5, O] of a family's observations under random actions, and which of them vary [O]."""

    family: str
    quantiles: Array
    varies: npt.NDArray[np.bool_]
    width: Array  # of the range [O], never 0


def reference_of(family: TaskFamily, *, seed: int = 0) -> Reference:
    """Play a few episodes of training tasks with random actions."""
    rng = np.random.default_rng(seed)
    tasks = family.tasks("train")[:_TASKS]
    batch = family.make_batch(tasks)
    try:
        rows = [batch.reset([int(value) for value in rng.integers(2**31, size=len(tasks))]).copy()]
        action = np.zeros((len(tasks), family.action_dim))
        for step in range(min(family.episode_length, _STEPS)):
            fresh = rng.uniform(-1, 1, action.shape)
            keep = (np.arange(len(tasks)) % 2 == 1) & (step % _HOLD != 0)
            action = np.where(keep[:, None], action, fresh)
            rows.append(batch.step(action).obs.copy())
    finally:
        batch.close()
    obs = np.concatenate(rows).astype(np.float64)
    obs = obs[np.isfinite(obs).all(axis=1)]
    quantiles = np.quantile(obs, _QUANTILES, axis=0)
    width = quantiles[-1] - quantiles[0]
    # What hardly varies under random actions may under a better policy: a width of its own size, or a small one.
    floor = np.maximum(0.05 * np.abs(quantiles).max(axis=0), 0.02 * np.median(width)) + 1e-3
    return Reference(family.name, quantiles, np.ptp(obs, axis=0) > 0, np.maximum(width, floor))


def compared(logged: Sequence[LoggedEpisode], reference: Reference) -> Iterator[Finding]:
    """Yield what about logged observations looks like other units, or like another order of axes."""
    rows = [episode.obs for episode in logged if episode.obs is not None]
    if not rows or sum(map(len, rows)) < _FEW_STEPS:
        return
    obs = np.concatenate(rows).astype(np.float64)
    file, own = logged[0].file, reference.quantiles
    seen = np.quantile(obs, _QUANTILES, axis=0)
    distance = np.abs(seen[:, :, None] - own[:, None, :]).mean(axis=0) / reference.width  # [logged, family's]
    far = np.flatnonzero(np.diag(distance) > _FAR)
    moved = _moved(distance, far)
    if moved:
        left, right = ", ".join(map(str, moved)), ", ".join(map(str, moved.values()))
        what = f"obs {left} look like obs {right} of {reference.family}: axes are swapped"
        mend = "name the columns in the family's order"
        yield Finding("error", what, mend, file, None, None, f"obs[{next(iter(moved))}]")
    for place in (int(place) for place in far if int(place) not in moved):
        yield from _units(file, place, seen[:, place], reference)


def _moved(distance: Array, far: npt.NDArray[np.intp]) -> dict[int, int]:
    """Return place -> the family's place that it looks like, of those that look like one another's."""
    if len(far) < 2:
        return {}
    rows, columns = linear_sum_assignment(np.minimum(distance[np.ix_(far, far)], 1e6))
    pairs = {int(far[row]): int(far[column]) for row, column in zip(rows, columns, strict=True)}
    alike = {i: j for i, j in pairs.items() if i != j and distance[i, j] < _NEAR}
    return {i: j for i, j in alike.items() if j in alike and i in alike.values()}


def _units(file: str, place: int, seen: Array, reference: Reference) -> Iterator[Finding]:
    own = reference.quantiles[:, place]
    size = float(max(np.abs(own).max(), 0.5 * reference.width[place]))
    ratio = float(np.abs(seen).max()) / size
    if ratio < _LARGE:
        return
    factor = min(_UNITS, key=lambda known: abs(np.log(ratio / known)))
    text, unit = _UNITS[factor]
    alike = factor / 2 < ratio < 2 * factor
    guess = f"; {text}?" if alike else ""
    ours = f"{reference.family} has {own[0]:.3g} to {own[-1]:.3g}"
    what = f"values from {seen[0]:.3g} to {seen[-1]:.3g}, where {ours}{guess}"
    mend = f"state the unit in a column map (unit: {unit if alike else 'UNIT'})"
    yield Finding("error", what, mend, file, None, None, f"obs[{place}]")
