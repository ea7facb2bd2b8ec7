"""Which tasks are collected: in rounds, and the worst ones more often."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np

from mql.learning.task_choice import TaskChoice
from mql.types import Episode


def episode(task: int, value: float, *, success: bool | None = None) -> Episode:
    one = np.zeros((1, 1), np.float32)
    reward = np.array([value], np.float32)
    return Episode(np.zeros((2, 1), np.float32), one, reward, False, True, task, seed=0, success=success)


def test_even_rounds_have_every_task_once() -> None:
    choice = TaskChoice(7, 3, worst=False, seed=5)
    places = [task for iteration in range(14) for task in choice.tasks_of(iteration)]
    for first in range(0, 42, 7):
        assert sorted(places[first : first + 7]) == list(range(7))
    assert not choice.counters()


def test_every_second_place_is_for_the_worst_quarter() -> None:
    choice = TaskChoice(12, 5, worst=True, seed=5)
    for task in range(12):
        choice.note(episode(task, float(task)))
    counts = Counter(task for iteration in range(48) for task in choice.tasks_of(iteration))
    # 240 places: 120 in ten rounds, and 40 more for each of the three worst.
    assert {task: counts[task] for task in range(3, 12)} == dict.fromkeys(range(3, 12), 10)
    assert sum(counts[task] for task in range(3)) == 150 and all(40 < counts[task] < 60 for task in range(3))


def test_the_latest_episodes_count_success_first_and_unknown_tasks_are_worst() -> None:
    choice = TaskChoice(4, 2, worst=True, seed=0)
    for _ in range(4):
        choice.note(episode(0, 100.0, success=False))
        choice.note(episode(1, 1.0, success=True))
        choice.note(episode(2, 50.0, success=True))
    assert {choice.tasks_of(iteration)[1] for iteration in range(8)} == {3}
    choice.note(episode(3, 0.0, success=True))
    assert {choice.tasks_of(iteration)[1] for iteration in range(8)} == {0}
    for _ in range(4):  # the earlier failures are no longer looked at
        choice.note(episode(0, 100.0, success=True))
    assert {choice.tasks_of(iteration)[1] for iteration in range(8)} == {3}


def test_one_task_an_iteration_is_of_either_kind_in_turn() -> None:
    choice = TaskChoice(8, 1, worst=True, seed=0)
    for task in range(8):
        choice.note(episode(task, float(task)))
    places = [choice.tasks_of(iteration) for iteration in range(32)]
    assert all(len(each) == 1 for each in places)
    assert {each[0] for each in places[1::2]} == {0, 1}
    assert sorted(each[0] for each in places[:16:2]) == list(range(8))


def test_it_goes_on_from_what_was_saved() -> None:
    choice, other = (TaskChoice(5, 4, worst=True, seed=1) for _ in range(2))
    for number in range(17):
        choice.note(episode(number % 5, 0.1 * number, success=number % 3 == 0))
    other.restore(json.loads(json.dumps(choice.counters())))
    assert choice.tasks_of(9) == other.tasks_of(9) and choice.counters() == other.counters()
    other.restore({})  # of another agent's run: nothing changes
