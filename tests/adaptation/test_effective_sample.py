"""Effective sample size: values worked out by hand, and what holds for any weights."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from mql.adaptation.effective_sample import normalized_ess


@pytest.mark.parametrize(
    ("weights", "expected"),
    [([1.0, 0.0, 0.0, 0.0], 0.25), ([1.0, 1.0, 0.0, 0.0], 0.5), ([3.0, 1.0], 16 / (2 * 10)), ([0.0, 0.0], 0.0)],
)
def test_normalized_ess_by_hand(weights: list[float], expected: float) -> None:
    assert normalized_ess(np.array(weights)) == pytest.approx(expected, rel=1e-15)


@pytest.mark.parametrize("value", [0.1, 1 / 3, math.e, 1e-300, 1e300, 5e-324])
@pytest.mark.parametrize("n", [1, 3, 7, 1000, 99_991])
def test_equal_weights_have_an_ess_of_exactly_one(value: float, n: int) -> None:
    assert normalized_ess(np.full(n, value)) == 1.0


def test_ess_lies_between_one_over_n_and_one_and_ignores_the_scale() -> None:
    rng = np.random.default_rng(0)
    for spread in (1e-9, 0.1, 1.0, 10.0):
        weights = np.exp(spread * rng.normal(size=50))
        ess = normalized_ess(weights)
        assert 1 / 50 <= ess <= 1.0
        assert normalized_ess(1e-200 * weights) == pytest.approx(ess, rel=1e-12)


@pytest.mark.parametrize("weights", [[1.0, -0.1], [1.0, math.nan], [math.inf, 1.0], [], [[1.0]]])
def test_ess_refuses_what_is_no_weight(weights: list[Any]) -> None:
    with pytest.raises(ValueError, match="weights must be"):
        normalized_ess(np.array(weights))
