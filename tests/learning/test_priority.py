"""Which stored episodes are drawn more often, and by how much."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest

from mql.config.schema import TrainConfig
from mql.errors import UserError
from mql.learning.newest import Stored
from mql.learning.priority import RULES, EpisodePriority, Favoured, priority_for
from mql.learning.replay import Replay
from mql.tasks import registry
from mql.types import Episode

LENGTH = 6


def episode(number: int, task: int, reward: float, *, success: bool | None = None, length: int = LENGTH) -> Episode:
    """Its observations are its number."""
    return Episode(
        obs=np.full((length + 1, 1), number, np.float32),
        action=np.zeros((length, 1), np.float32),
        reward=np.full(length, reward, np.float32),
        terminated=False,
        truncated=True,
        task=task,
        seed=number,
        success=success,
    )


def replay(priority: EpisodePriority | None, capacity: int = 400) -> Replay:
    return Replay(n_tasks=2, obs_dim=1, action_dim=1, capacity=capacity, episode_length=LENGTH, priority=priority)


def shares(buffer: Replay, n: int = 40_000) -> dict[int, float]:
    """How often the rows of each episode are drawn."""
    drawn = buffer.table[buffer.sample_rows(n, np.random.default_rng(0)), 0].int().tolist()
    return {number: drawn.count(number) / n for number in sorted(set(drawn))}


def test_every_choice_has_its_rule() -> None:
    assert set(get_args(TrainConfig.model_fields["episode_priority"].annotation)) == {"uniform", *RULES}


def test_episodes_with_success_are_drawn_by_the_factor_more_often() -> None:
    buffer = replay(EpisodePriority("success", 3.0))
    for number in range(8):
        buffer.append(episode(number, number // 4, 0.0, success=number == 1 or None))
    found = shares(buffer)
    # In task 0, one of four episodes weighs 3; in task 1, none succeeded, so all are alike. Tasks are drawn alike.
    expected = [1 / 12, 3 / 12, 1 / 12, 1 / 12, *[1 / 8] * 4]
    np.testing.assert_allclose(list(found.values()), expected, atol=0.01)


def test_a_task_without_a_success_refuses_nothing_however_large_the_factor() -> None:
    stored, favoured = Stored(0, 0, 0, LENGTH + 1, 0), Favoured(EpisodePriority("success", 1e9), (1, 20))
    favoured.add(stored, episode(0, 0, 0.0))
    task, row = np.zeros(LENGTH, np.int64), np.arange(LENGTH)
    assert favoured.accepted(task, row, np.random.default_rng(0)).all()


def test_the_upper_quarter_by_return_is_judged_anew_as_episodes_come_and_go() -> None:
    buffer = replay(EpisodePriority("return", 4.0), capacity=2 * 8 * LENGTH)
    for number in range(8):  # the first two are the best
        buffer.append(episode(number, 0, -float(number)))
    found = shares(buffer)
    np.testing.assert_allclose(list(found.values()), [4 / 14, 4 / 14, *[1 / 14] * 6], atol=0.01)
    for number in range(8, 12):  # and are forgotten: of those that are held, the new ones are better
        buffer.append(episode(number, 0, float(number == 11)))
    found = shares(buffer)
    assert list(found) == list(range(4, 12))
    # Returns -4, -5, -6, -7, 0, 0, 0, 1: the upper quarter begins at 0, between the sixth and the seventh.
    np.testing.assert_allclose(list(found.values()), [*[1 / 20] * 4, *[4 / 20] * 4], atol=0.01)


def test_with_factor_1_and_with_equal_returns_draws_are_uniform() -> None:
    for priority in (EpisodePriority("return", 1.0), EpisodePriority("return", 8.0)):
        buffer = replay(priority)
        for number in range(5):
            buffer.append(episode(number, 0, 1.0))
        np.testing.assert_allclose(list(shares(buffer).values()), [0.2] * 5, atol=0.01)


def test_without_a_priority_the_same_rows_are_drawn_as_ever() -> None:
    """From one generator: the task, then a place among its rows, those of final observations once more."""
    buffer = replay(None)
    for number in range(10):
        buffer.append(episode(number, number % 2, 0.0))
    rng, rows = np.random.default_rng(3), buffer.sample_rows(500, np.random.default_rng(3))
    task = rng.integers(2, size=500)
    place, left = np.empty(500, int), np.arange(500)
    while len(left):
        place[left] = rng.integers(5 * (LENGTH + 1), size=len(left))
        left = left[place[left] % (LENGTH + 1) == LENGTH]
    np.testing.assert_array_equal(rows, task * buffer.rows + place)


def test_success_needs_a_family_that_has_it() -> None:
    train = TrainConfig(episode_priority="success")
    assert priority_for(train, registry.load("reacher-goal")) == EpisodePriority("success", 4.0)
    assert priority_for(TrainConfig(), registry.load("point-robot")) is None
    with pytest.raises(UserError, match=r"point-robot neither succeed nor fail.*episode_priority=return"):
        priority_for(train, registry.load("point-robot"))


def test_short_episodes_of_a_full_ring_keep_their_rows() -> None:
    """Rows of a favoured episode that is forgotten are not favoured in the episodes that overwrite them."""
    buffer, rng = replay(EpisodePriority("success", 1e9), capacity=2 * 20), np.random.default_rng(1)
    for number in range(60):
        own = episode(number, 0, 0.0, success=number % 5 == 0, length=int(rng.integers(1, LENGTH + 1)))
        buffer.append(replace(own, task=0))
    held = {int(number) for number in buffer.table[buffer.all_rows(), 0]}
    assert set(shares(buffer, 500)) == {number for number in held if number % 5 == 0}
