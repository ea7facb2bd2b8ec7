"""Rows are drawn in proportion to their weights, whatever changed before."""

from __future__ import annotations

import numpy as np
import pytest

from mql.q_learning.sum_tree import SumTree


def weights_of(size: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.exponential(size=size) * (rng.random(size) < 0.7)


@pytest.mark.parametrize("size", [1, 2, 64, 65, 5000])
def test_places_find_the_rows_that_a_running_sum_finds(size: int) -> None:
    weights = weights_of(size) + (size == 1)
    tree = SumTree(size)
    tree.set(np.arange(size), weights)
    ends = np.cumsum(weights) / weights.sum()
    places = np.random.default_rng(1).random(4000)
    found = tree.find(places)
    expected = np.searchsorted(ends, places, side="right")
    clear = np.abs(ends[:, None] - places).min(axis=0) > 1e-9 if size < 5000 else np.ones(4000, dtype=bool)
    assert (found[clear] == expected[clear]).mean() == 1.0
    assert (weights[found] > 0).all()


def test_frequencies_are_those_of_numpys_choice() -> None:
    weights, n = weights_of(200), 50_000
    tree = SumTree(200)
    tree.set(np.arange(200), weights)
    ours = np.bincount(tree.find(np.random.default_rng(2).random(n)), minlength=200)
    numpys = np.bincount(np.random.default_rng(3).choice(200, n, p=weights / weights.sum()), minlength=200)
    expected = n * weights / weights.sum()
    drawn = expected > 0
    assert not ours[~drawn].any()
    for counts in (ours, numpys):  # chi-squared of the same kind for both
        chi = ((counts - expected)[drawn] ** 2 / expected[drawn]).sum()
        assert chi < drawn.sum() + 5 * np.sqrt(2 * drawn.sum())


def test_changes_in_any_order_leave_the_tree_that_is_made_at_once() -> None:
    rng, size = np.random.default_rng(4), 9000
    changed, made = SumTree(size), SumTree(size)
    for _ in range(300):
        changed.set(rng.integers(size, size=32), rng.exponential(size=32))
        if rng.random() < 0.3:
            changed.find(rng.random(4))
    made.set(np.arange(size), changed.weights.copy())
    places = rng.random(5000)
    assert np.array_equal(changed.find(places), made.find(places))
    for a, b in zip(changed._levels, made._levels, strict=True):
        assert np.array_equal(a, b), "no error adds up"


def test_both_ends_find_a_row_with_a_weight() -> None:
    tree = SumTree(300)
    tree.set(np.array([7, 130, 131]), np.array([1e-12, 3.0, 0.1]))
    assert tree.find(np.array([0.0, 0.5, np.nextafter(1.0, 0.0)])).tolist() == [7, 130, 131]


def test_nothing_to_draw_is_said() -> None:
    with pytest.raises(ValueError, match="no row has a weight"):
        SumTree(10).find(np.zeros(2))
