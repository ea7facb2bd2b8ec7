"""Statistics of returns over tasks and runs: robust means and seeded bootstrap intervals.

Source: Agarwal et al. 2021, "Deep Reinforcement Learning at the Edge of the Statistical Precipice", arXiv 2108.13264
(interquartile mean, bootstrap over tasks, stratified bootstrap over runs, probability of improvement).

Shapes: n values, R bootstrap resamples, S runs, N tasks. A statistic maps [..., n] to [...].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypedDict

import numpy as np
import numpy.typing as npt

Values = Sequence[float] | npt.NDArray[np.floating]
FloatArray = npt.NDArray[np.float64]
Statistic = Callable[[FloatArray], npt.ArrayLike]

RESAMPLES = 2000  # the bounds of a 95 % interval then move by about 1 % of its width between seeds
CONFIDENCE = 0.95
LEAST_FOR_INTERVAL = 5  # values that are resampled (runs times tasks): fewer say too little about their spread


class Summary(TypedDict):
    """Of one group of n values; ``ci95`` is the interval [low, high] of the mean, None of fewer than 5 values."""

    mean: float
    min: float
    iqm: float
    ci95: list[float] | None
    n: int


class Gain(TypedDict):
    """Of n paired differences; ``ci95`` is the interval [low, high] of their mean, None of fewer than 5."""

    mean: float
    ci95: list[float] | None
    n: int


def summarize(values: Values) -> Summary:
    """Return mean, minimum, interquartile mean and the 95 % bootstrap interval of the mean of values [n].

    Fewer than `LEAST_FOR_INTERVAL` values have no interval. The same values give the same interval, here and in a
    report: the resampling draws from a fixed stream.

    Raises:
        ValueError: no value, or one that is not finite.
    """
    array = _checked(values)
    return {
        "mean": float(np.mean(array)),
        "min": float(np.min(array)),
        "iqm": float(iqm(array)),
        "ci95": _interval_of_mean(array),
        "n": len(array),
    }


def paired_gain(before: Values, after: Values) -> Gain:
    """Return the mean of ``after - before``, pair by pair, with its 95 % bootstrap interval. Both are [n].

    Pairs (same task, same reset seeds) are resampled whole: what a task contributes to both sides cancels out. Fewer
    than `LEAST_FOR_INTERVAL` have no interval.

    Raises:
        ValueError: lengths differ, no value, or one that is not finite.
    """
    first, second = _checked(before), _checked(after)
    if first.shape != second.shape:
        raise ValueError(f"pairs need equal lengths, got {len(first)} before and {len(second)} after")
    difference = second - first
    return {"mean": float(np.mean(difference)), "ci95": _interval_of_mean(difference), "n": len(difference)}


def _interval_of_mean(array: FloatArray) -> list[float] | None:
    return list(bootstrap_interval(array)) if len(array) >= LEAST_FOR_INTERVAL else None


def iqm(values: Values) -> npt.NDArray[np.float64] | np.float64:
    """Return the interquartile mean over the last axis: the mean without the lowest and highest quarter.

    ``floor(n / 4)`` values are dropped at each end, so up to three values give their plain mean.
    """
    array = np.sort(np.asarray(values, dtype=np.float64), axis=-1)
    n = array.shape[-1]
    middle: npt.NDArray[np.float64] = np.mean(array[..., n // 4 : n - n // 4], axis=-1)
    return middle


def bootstrap_interval(
    values: Values,
    statistic: Statistic | None = None,
    *,
    resamples: int = RESAMPLES,
    confidence: float = CONFIDENCE,
    rng: np.random.Generator | None = None,
) -> tuple[float, float]:
    """Return the percentile bootstrap interval (low, high) of a statistic of values [n].

    A single value says nothing about its spread: the interval then has zero width.

    Args:
        values: [n], finite.
        statistic: maps [R, n] to [R]; the mean when None.
        resamples: R.
        confidence: the share of resamples inside the interval, in (0, 1).
        rng: where resamples are drawn from; a fixed stream when None.

    Raises:
        ValueError: no value, one that is not finite, or a confidence outside (0, 1).
    """
    array = _checked(values)
    rng = np.random.default_rng(0) if rng is None else rng
    resampled = array[rng.integers(len(array), size=(resamples, len(array)))]
    return _percentiles(np.mean(resampled, axis=-1) if statistic is None else statistic(resampled), confidence)


class Estimate(TypedDict):
    """A figure of ``runs`` x ``tasks`` values; ``ci95`` is None where these are too few for an interval."""

    value: float
    ci95: list[float] | None
    runs: int
    tasks: int


def across_runs(
    values: npt.ArrayLike, statistic: Statistic = iqm, *, rng: np.random.Generator | None = None
) -> Estimate:
    """Return a statistic of all values [S, N] together, by default their IQM, with its 95 % interval.

    Of several runs it is `stratified_interval`; of one run, the bootstrap over its tasks. Fewer than
    `LEAST_FOR_INTERVAL` values give none.

    Raises:
        ValueError: no value, or one that is not finite.
    """
    array = _table(values)
    runs, tasks = array.shape
    interval: tuple[float, float] | None = None
    if array.size >= LEAST_FOR_INTERVAL:
        if runs > 1:
            interval = stratified_interval(array, statistic, rng=rng)
        else:
            interval = bootstrap_interval(array[0], statistic, rng=rng)
    value = float(np.asarray(statistic(array.ravel())))
    return {"value": value, "ci95": None if interval is None else list(interval), "runs": runs, "tasks": tasks}


def stratified_interval(
    values: npt.ArrayLike,
    statistic: Statistic = iqm,
    *,
    resamples: int = RESAMPLES,
    confidence: float = CONFIDENCE,
    rng: np.random.Generator | None = None,
) -> tuple[float, float]:
    """Return the stratified percentile bootstrap interval (low, high) of a statistic of values [S, N].

    Every task is a stratum: its S runs are drawn anew, independently of those of other tasks, and the statistic is of
    all S * N values together. So it speaks of other training seeds, on these tasks.

    Raises:
        ValueError: no value, one that is not finite, or a confidence outside (0, 1).
    """
    array = _table(values)
    rng = np.random.default_rng(0) if rng is None else rng
    return _percentiles(statistic(_resampled(array, resamples, rng).reshape(resamples, -1)), confidence)


def probability_of_improvement(
    ours: npt.ArrayLike, theirs: npt.ArrayLike, *, resamples: int = RESAMPLES, rng: np.random.Generator | None = None
) -> Estimate:
    """Return how probable it is that a run of `ours` [S, N] beats one of `theirs` [S', N] in a task drawn at random.

    It is the mean over tasks of P(ours > theirs) + P(ours = theirs) / 2 over all pairs of runs (the Mann-Whitney U of
    the task over S S'). The interval is the stratified bootstrap's, runs of both sides drawn anew in each task; it is
    None where a side has fewer than two runs or `LEAST_FOR_INTERVAL` values. ``runs`` is the smaller S.

    Raises:
        ValueError: no value, one that is not finite, or other numbers of tasks.
    """
    mine, other = _table(ours), _table(theirs)
    if mine.shape[1] != other.shape[1]:
        raise ValueError(f"both sides need the same tasks, got {mine.shape[1]} and {other.shape[1]}")
    value = float(_superiority(mine[None], other[None])[0])
    interval = None
    runs = min(len(mine), len(other))
    if runs > 1 and min(mine.size, other.size) >= LEAST_FOR_INTERVAL:
        rng = np.random.default_rng(0) if rng is None else rng
        estimates = _superiority(_resampled(mine, resamples, rng), _resampled(other, resamples, rng))
        interval = list(_percentiles(estimates, CONFIDENCE))
    return {"value": value, "ci95": interval, "runs": runs, "tasks": mine.shape[1]}


def difference(
    ours: npt.ArrayLike,
    theirs: npt.ArrayLike,
    statistic: Statistic = iqm,
    *,
    resamples: int = RESAMPLES,
    rng: np.random.Generator | None = None,
) -> Estimate:
    """Return a statistic of `ours` [S, N] minus that of `theirs` [S', N], with its stratified bootstrap interval.

    Runs of both sides are drawn anew in each task, on their own. It is None where a side has fewer than two runs or
    `LEAST_FOR_INTERVAL` values. ``runs`` is the smaller S.

    Raises:
        ValueError: no value, one that is not finite, or other numbers of tasks.
    """
    mine, other = _table(ours), _table(theirs)
    if mine.shape[1] != other.shape[1]:
        raise ValueError(f"both sides need the same tasks, got {mine.shape[1]} and {other.shape[1]}")
    value = float(np.asarray(statistic(mine.ravel())) - np.asarray(statistic(other.ravel())))
    interval, runs = None, min(len(mine), len(other))
    if runs > 1 and min(mine.size, other.size) >= LEAST_FOR_INTERVAL:
        rng = np.random.default_rng(0) if rng is None else rng
        first, second = (
            np.asarray(statistic(_resampled(each, resamples, rng).reshape(resamples, -1))) for each in (mine, other)
        )
        interval = list(_percentiles(first - second, CONFIDENCE))
    return {"value": value, "ci95": interval, "runs": runs, "tasks": mine.shape[1]}


def across_families(
    tables: Sequence[npt.ArrayLike],
    statistic: Statistic = iqm,
    *,
    resamples: int = RESAMPLES,
    rng: np.random.Generator | None = None,
) -> Estimate:
    """Return the mean over families of a statistic of each family's values [S, N], with its stratified interval.

    Families count alike, whatever their numbers of tasks. In every resample, each task of each family has its runs
    drawn anew. The interval is None where a family has fewer than two runs or `LEAST_FOR_INTERVAL` values. ``runs`` is
    the smallest S, ``tasks`` those of all families.

    Raises:
        ValueError: no family, no value, or one that is not finite.
    """
    arrays = [_table(values) for values in tables]
    if not arrays:
        raise ValueError("statistics across families need at least one")
    value = float(np.mean([np.asarray(statistic(array.ravel())) for array in arrays]))
    runs = min(len(array) for array in arrays)
    interval = None
    if runs > 1 and min(array.size for array in arrays) >= LEAST_FOR_INTERVAL:
        rng = np.random.default_rng(0) if rng is None else rng
        estimates = [
            np.asarray(statistic(_resampled(array, resamples, rng).reshape(resamples, -1))) for array in arrays
        ]
        interval = list(_percentiles(np.mean(estimates, axis=0), CONFIDENCE))
    return {"value": value, "ci95": interval, "runs": runs, "tasks": sum(array.shape[1] for array in arrays)}


def _superiority(ours: FloatArray, theirs: FloatArray) -> FloatArray:
    """Return [R] of tables [R, S, N] and [R, S', N]; a run of theirs after the other, so that memory stays small."""
    total = np.zeros((len(ours), ours.shape[2]))
    for place in range(theirs.shape[1]):
        one = theirs[:, place : place + 1]
        total += (ours > one).sum(axis=1) + 0.5 * (ours == one).sum(axis=1)
    return np.asarray((total / (ours.shape[1] * theirs.shape[1])).mean(axis=-1))


def _resampled(array: FloatArray, resamples: int, rng: np.random.Generator) -> FloatArray:
    """Return [R, S, N]: in each column of `array` [S, N], its values drawn anew with replacement."""
    drawn = rng.integers(len(array), size=(resamples, *array.shape))
    return np.asarray(array[drawn, np.arange(array.shape[1])])


def _percentiles(estimates: npt.ArrayLike, confidence: float) -> tuple[float, float]:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie in (0, 1), got {confidence}")
    tail = (1 - confidence) / 2
    low, high = np.quantile(np.asarray(estimates), [tail, 1 - tail])
    return float(low), float(high)


def _table(values: npt.ArrayLike) -> FloatArray:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 2:
        raise ValueError(f"values of runs and tasks are [S, N], got shape {array.shape}")
    _checked(array.ravel())
    return array


def _checked(values: Values) -> FloatArray:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"statistics need values in one dimension and at least one, got shape {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"statistics need finite values, got {array[~np.isfinite(array)][0]}")
    return array
