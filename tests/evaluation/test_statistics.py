"""Statistics against values computed by hand."""

from __future__ import annotations

import json
from itertools import product

import numpy as np
import pytest

from mql.evaluation.statistics import bootstrap_interval, iqm, paired_gain, summarize


def test_summary_of_four_values() -> None:
    summary = summarize([1.0, 2.0, 3.0, 10.0])
    assert summary["mean"] == 4.0
    assert summary["min"] == 1.0
    assert summary["iqm"] == 2.5  # 2 and 3 are left
    low, high = summary["ci95"]
    assert 1.0 <= low < 4.0 < high <= 10.0
    assert json.loads(json.dumps(summary)) == summary


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([5.0], 5.0),
        ([1.0, 3.0], 2.0),
        ([0.0, 0.0, 9.0], 3.0),  # a quarter of three rounds down to nothing dropped
        ([9.0, 1.0, 2.0, 3.0, -50.0], 2.0),  # unsorted, one dropped at each end
        ([0, 1, 2, 3, 4, 5, 6, 100], 3.5),
    ],
)
def test_iqm_by_hand(values: list[float], expected: float) -> None:
    assert iqm(values) == pytest.approx(expected)


def test_iqm_works_along_the_last_axis() -> None:
    values = np.array([[1.0, 2.0, 3.0, 10.0], [0.0, 0.0, 4.0, 4.0]])
    np.testing.assert_allclose(iqm(values), [2.5, 2.0])


def test_one_value_has_an_interval_without_width() -> None:
    assert summarize([7.0]) == {"mean": 7.0, "min": 7.0, "iqm": 7.0, "ci95": [7.0, 7.0]}


def test_equal_values_have_an_interval_without_width() -> None:
    assert bootstrap_interval([2.0] * 5) == (2.0, 2.0)


def test_interval_equals_the_exact_bootstrap_of_three_values() -> None:
    values = np.array([0.0, 1.0, 5.0])
    exact = [np.mean(values[list(rows)]) for rows in product(range(3), repeat=3)]  # all 27 resamples
    low, high = bootstrap_interval(values, confidence=0.8, resamples=20_000)
    assert (low, high) == pytest.approx(tuple(np.quantile(exact, [0.1, 0.9])))


def test_interval_narrows_with_the_root_of_n() -> None:
    values = np.random.default_rng(1).normal(size=400)
    low, high = bootstrap_interval(values)
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.1)


def test_interval_is_a_function_of_the_values_and_the_generator() -> None:
    values = np.arange(30.0) ** 2
    assert bootstrap_interval(values) == bootstrap_interval(values)
    first, again, other = (bootstrap_interval(values, rng=np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert first == again
    assert first != other


def test_interval_of_another_statistic() -> None:
    values = [*range(19), 1000.0]  # the outlier moves the mean, not the interquartile mean
    assert bootstrap_interval(values, iqm)[1] < 19.0 < bootstrap_interval(values)[1]


def test_gain_is_paired() -> None:
    """Tasks differ by hundreds, each gains exactly one: the pairs leave no doubt."""
    assert paired_gain([0.0, 100.0, 700.0], [1.0, 101.0, 701.0]) == {"mean": 1.0, "ci95": [1.0, 1.0]}
    assert paired_gain([1.0, 2.0], [3.0, 1.0])["mean"] == 0.5


@pytest.mark.parametrize("values", [[], [1.0, float("nan")], [float("inf")], [[1.0, 2.0]]])
def test_values_that_are_no_sample_are_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match="statistics need"):
        summarize(values)


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="equal lengths"):
        paired_gain([1.0], [1.0, 2.0])
    with pytest.raises(ValueError, match="confidence"):
        bootstrap_interval([1.0, 2.0], confidence=95)
