"""How many equally weighted samples a set of weighted ones is worth (Kong 1992)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def normalized_ess(weights: npt.NDArray[np.floating[Any]]) -> float:
    """Return the effective sample size of `weights` [n] over n, ``(sum w)^2 / (n sum w^2)``, in [0, 1].

    Equal weights give exactly 1.0, one non-zero weight gives 1/n, and weights that are all zero give 0.0.

    Raises:
        ValueError: no weights, or a negative, infinite or NaN weight.
    """
    array = _check_weights(weights)
    largest = float(array.max())
    if largest == 0.0:
        return 0.0
    array = array / largest  # equal weights become exact ones, and squares neither overflow nor all underflow
    return min(1.0, float(array.sum()) ** 2 / (len(array) * float((array * array).sum())))


def _check_weights(weights: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float64]:
    array = np.asarray(weights, dtype=np.float64)
    if array.ndim != 1 or len(array) == 0:
        raise ValueError(f"weights must be a non-empty vector, got shape {array.shape}")
    if not np.isfinite(array).all() or (array < 0.0).any():
        raise ValueError("weights must be non-negative, finite numbers")
    return array
