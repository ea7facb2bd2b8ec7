"""Statistics of returns over tasks and runs: robust means and seeded bootstrap intervals.

Source: Agarwal et al. 2021, "Deep Reinforcement Learning at the Edge of the Statistical Precipice", arXiv 2108.13264
(interquartile mean, bootstrap over tasks).

Shapes: n values, R bootstrap resamples. A statistic maps [..., n] to [...].
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


class Summary(TypedDict):
    """Of one group of values; ``ci95`` is the interval [low, high] of the mean."""

    mean: float
    min: float
    iqm: float
    ci95: list[float]


class Gain(TypedDict):
    """Of paired differences; ``ci95`` is the interval [low, high] of their mean."""

    mean: float
    ci95: list[float]


def summarize(values: Values, *, rng: np.random.Generator | None = None) -> Summary:
    """Return mean, minimum, interquartile mean and the 95 % bootstrap interval of the mean of values [n].

    The same values give the same interval: without `rng` the resampling draws from a fixed stream.

    Raises:
        ValueError: no value, or one that is not finite.
    """
    array = _checked(values)
    return {
        "mean": float(np.mean(array)),
        "min": float(np.min(array)),
        "iqm": float(iqm(array)),
        "ci95": list(bootstrap_interval(array, rng=rng)),
    }


def paired_gain(before: Values, after: Values, *, rng: np.random.Generator | None = None) -> Gain:
    """Return the mean of ``after - before``, pair by pair, with its 95 % bootstrap interval. Both are [n].

    Pairs (same task, same reset seeds) are resampled whole: what a task contributes to both sides cancels out.

    Raises:
        ValueError: lengths differ, no value, or one that is not finite.
    """
    first, second = _checked(before), _checked(after)
    if first.shape != second.shape:
        raise ValueError(f"pairs need equal lengths, got {len(first)} before and {len(second)} after")
    difference = second - first
    return {"mean": float(np.mean(difference)), "ci95": list(bootstrap_interval(difference, rng=rng))}


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
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie in (0, 1), got {confidence}")
    rng = np.random.default_rng(0) if rng is None else rng
    resampled = array[rng.integers(len(array), size=(resamples, len(array)))]
    estimates = np.asarray(np.mean(resampled, axis=-1) if statistic is None else statistic(resampled))
    tail = (1 - confidence) / 2
    low, high = np.quantile(estimates, [tail, 1 - tail])
    return float(low), float(high)


def _checked(values: Values) -> FloatArray:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"statistics need values in one dimension and at least one, got shape {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"statistics need finite values, got {array[~np.isfinite(array)][0]}")
    return array
