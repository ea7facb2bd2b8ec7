"""The rule of success: held for some steps in a row, counted alike for one task and for many."""

from __future__ import annotations

import numpy as np

from mql.tasks.stepping.success import HoldCounter


def test_success_needs_steps_in_a_row() -> None:
    counter = HoldCounter(2)
    at_goal = [True, False, True, True, True, False]
    assert [counter.count(now) for now in at_goal] == [False, False, False, True, True, False]


def test_a_reset_forgets_what_was_counted() -> None:
    counter = HoldCounter(2)
    counter.count(True)
    counter.reset()
    assert not counter.count(True)


def test_many_tasks_count_as_each_alone() -> None:
    at_goal = np.random.default_rng(0).random((50, 3)) < 0.7
    together, alone = HoldCounter(3), [HoldCounter(3) for _ in range(3)]
    for now in at_goal:
        expected = [counter.count(bool(one)) for counter, one in zip(alone, now, strict=True)]
        assert together.count(now).tolist() == expected
