"""Statistics against values computed by hand."""

from __future__ import annotations

import json
from itertools import product

import numpy as np
import pytest

from mql.evaluation.statistics import (
    across_runs,
    bootstrap_interval,
    iqm,
    paired_gain,
    probability_of_improvement,
    stratified_interval,
    summarize,
)


def test_summary_of_five_values() -> None:
    summary = summarize([1.0, 2.0, 3.0, 4.0, 10.0])
    assert (summary["mean"], summary["min"], summary["n"]) == (4.0, 1.0, 5)
    assert summary["iqm"] == 3.0  # 2, 3 and 4 are left
    assert summary["ci95"] is not None
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


@pytest.mark.parametrize("n", [1, 4])
def test_fewer_than_five_values_have_no_interval(n: int) -> None:
    assert summarize([7.0] * n) == {"mean": 7.0, "min": 7.0, "iqm": 7.0, "ci95": None, "n": n}
    assert paired_gain([7.0] * n, [8.0] * n) == {"mean": 1.0, "ci95": None, "n": n}


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
    before = [0.0, 100.0, 700.0, 30.0, -5.0]
    assert paired_gain(before, [value + 1.0 for value in before]) == {"mean": 1.0, "ci95": [1.0, 1.0], "n": 5}
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


def test_a_stratified_interval_is_that_of_all_resamples() -> None:
    """Two runs, two tasks: 16 equally likely resamples, each task's runs drawn on their own."""
    values = np.array([[0.0, 10.0], [1.0, 30.0]])
    first, second = (list(product(column, repeat=2)) for column in values.T)
    means = [np.mean([*one, *other]) for one in first for other in second]
    low, high = stratified_interval(values, lambda drawn: np.mean(drawn, axis=-1), resamples=40_000)
    assert (low, high) == pytest.approx(tuple(np.quantile(np.repeat(means, 100), [0.025, 0.975])))
    # No difference between the runs of a task: no spread, however far apart the tasks are.
    assert stratified_interval(np.tile([[0.0, 100.0]], (4, 1))) == (50.0, 50.0)


def test_a_stratified_interval_over_one_task_is_scipys_bootstrap() -> None:
    from scipy.stats import bootstrap, trim_mean

    values = np.random.default_rng(3).normal(size=16)

    def middle(drawn: np.ndarray, axis: int = -1) -> np.ndarray:
        return np.asarray(trim_mean(drawn, 0.25, axis=axis))

    theirs = bootstrap((values,), middle, method="percentile", rng=np.random.default_rng(1)).confidence_interval
    assert stratified_interval(values[:, None], resamples=10_000) == pytest.approx((theirs.low, theirs.high), abs=0.05)
    assert across_runs(values[:, None])["value"] == pytest.approx(float(trim_mean(values, 0.25)))


def test_the_probability_of_improvement_is_mann_whitneys_u() -> None:
    from scipy.stats import mannwhitneyu

    rng = np.random.default_rng(0)
    ours, theirs = rng.integers(5, size=(4, 7)), rng.integers(5, size=(6, 7)) - 0.0  # with ties
    expected = np.mean([mannwhitneyu(ours[:, task], theirs[:, task]).statistic / 24 for task in range(7)])
    estimate = probability_of_improvement(ours, theirs)
    assert estimate["value"] == pytest.approx(expected)
    assert estimate["ci95"] is not None and estimate["ci95"][0] <= expected <= estimate["ci95"][1]
    assert probability_of_improvement(theirs, ours)["value"] == pytest.approx(1 - expected)
    assert probability_of_improvement(ours, ours)["value"] == 0.5
    assert probability_of_improvement(ours + 10, theirs)["ci95"] == [1.0, 1.0]
    with pytest.raises(ValueError, match="the same tasks"):
        probability_of_improvement(ours, theirs[:, :3])


def test_an_interval_of_an_improvement_is_that_of_all_resamples() -> None:
    ours, theirs = [0.0, 2.0, 2.0], [1.0, 3.0]
    every = [
        np.mean([(a > b) + 0.5 * (a == b) for a in mine for b in other])
        for mine in product(ours, repeat=3)
        for other in product(theirs, repeat=2)
    ]
    table = np.tile(np.array(ours)[:, None], (1, 1)), np.tile(np.array(theirs)[:, None], (1, 1))
    # Too few values for an interval by the rule; with five tasks alike, the spread of their mean.
    assert probability_of_improvement(*table)["ci95"] is None
    wide = probability_of_improvement(np.tile(table[0], (1, 5)), np.tile(table[1], (1, 5)), resamples=20_000)
    drawn = np.random.default_rng(5).choice(every, size=(20_000, 5)).mean(axis=1)
    assert wide["ci95"] == pytest.approx(list(np.quantile(drawn, [0.025, 0.975])), abs=0.02)


def test_few_values_have_no_interval_and_one_run_has_that_of_its_tasks() -> None:
    assert across_runs([[1.0, 2.0], [3.0, 4.0]])["ci95"] is None
    assert across_runs([[1.0], [2.0], [3.0], [4.0]])["ci95"] is None
    assert across_runs([[1.0, 2.0, 3.0], [3.0, 4.0, 5.0]])["ci95"] is not None
    one = across_runs([[1.0, 2.0, 4.0, 8.0, 16.0]])
    assert one["ci95"] == list(bootstrap_interval([1.0, 2.0, 4.0, 8.0, 16.0], iqm))
    assert (one["runs"], one["tasks"]) == (1, 5)
    with pytest.raises(ValueError, match="finite"):
        across_runs([[1.0, float("nan")]])
    with pytest.raises(ValueError, match=r"\[S, N\]"):
        across_runs([1.0, 2.0])
