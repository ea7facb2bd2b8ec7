"""The rule of success: held for some steps in a row, counted alike for one task and for many."""

from __future__ import annotations

import numpy as np
import pytest

from mql.tasks.families.small.point_robot import point_robot
from mql.tasks.family import SuccessAt
from mql.tasks.stepping.success import HoldCounter, SuccessRule


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


@pytest.mark.parametrize(("at", "expected"), [("any", "0011111"), ("end", "0000000")])
def test_success_stays_or_must_be_the_end(at: SuccessAt, expected: str) -> None:
    rule = SuccessRule(point_robot().variant("x", "x", hold_steps=2, success_at=at))
    at_goal = [False, True, True, False, True, False, True]
    for _ in range(2):
        rule.reset()
        judged = [rule.judge(now, t == 6) for t, now in enumerate(at_goal)]
        assert judged == [each == "1" for each in expected]
    rule.reset()
    rows = [rule.judge(np.array([now, True]), np.array([t == 6] * 2)) for t, now in enumerate(at_goal)]
    assert [bool(row[0]) for row in rows] == judged and bool(rows[-1][1])
    assert [bool(row[1]) for row in rows[:6]] == [at == "any" and t > 0 for t in range(6)]
    rows[-1][:] = False  # what was given is the caller's own
    assert rule.judge(np.array([True, True]), np.array([True, True])).tolist() == [True, True]
