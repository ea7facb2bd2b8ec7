"""Single environments by their names: continuous and discrete ones, MinAtar's games, and names that are none."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest

from mql.errors import UserError
from mql.tasks import registry
from mql.tasks.gymnasium_ids import is_environment


def test_a_continuous_environment_is_a_family_of_one_task() -> None:
    family = registry.load("Pendulum-v1")
    assert (family.obs_dim, family.action_dim, family.episode_length, family.choices) == (3, 1, 200, False)
    assert {split: len(family.tasks(split)) for split in ("train", "validation", "test")} == dict.fromkeys(
        ("train", "validation", "test"), 1
    )
    assert family.shared_splits and not family.held_out("test")
    ours, own = family.make(family.tasks("train")[0]), gymnasium.make("Pendulum-v1")
    np.testing.assert_array_equal(ours.reset(seed=3)[0], own.reset(seed=3)[0])
    for action in (0.3, -1.0, 1.0):
        a, b = ours.step(np.array([action])), own.step(np.array([2.0 * action], np.float32))
        np.testing.assert_allclose(a[0], b[0], atol=1e-6)
        assert a[1] == pytest.approx(b[1])


def test_a_choice_is_the_largest_number() -> None:
    family = registry.load("CartPole-v1")
    assert (family.action_dim, family.choices) == (2, True)
    ours, own = family.make(family.tasks("test")[0]), gymnasium.make("CartPole-v1")
    ours.reset(seed=0), own.reset(seed=0)
    for numbers, choice in (([0.1, 0.2], 1), ([0.5, -0.2], 0), ([0.0, 0.0], 0), ([-1.0, -0.9], 1)):
        np.testing.assert_array_equal(ours.step(np.array(numbers))[0], own.step(choice)[0])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Hopper-v55", "unknown task family 'Hopper-v55'"),
        ("minatar-breakoutt", "unknown task family 'minatar-breakoutt'"),
    ],
)
def test_names_that_are_none(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        registry.load(name)


def test_our_own_ids_are_no_environments() -> None:
    registry.tell_gymnasium()
    assert is_environment("Hopper-v5") and is_environment("minatar-breakout")
    assert not is_environment("mql/point-robot-v0") and not is_environment("point-robot")


def test_games_are_played_alike_from_one_seed() -> None:
    pytest.importorskip("minatar")
    family = registry.load("minatar-breakout")
    assert (family.obs_dim, family.action_dim, family.choices) == (400, 6, True)
    first, second = (family.make(family.tasks("train")[0]) for _ in range(2))
    actions = np.random.default_rng(0).uniform(-1.0, 1.0, (300, 6))
    second.reset(seed=9)  # the game before, and its last action, leave no trace
    second.step(actions[5])
    np.testing.assert_array_equal(first.reset(seed=1)[0], second.reset(seed=1)[0])
    ended, worth = 0, 0.0
    for action in actions:
        one, two = first.step(action), second.step(action)
        np.testing.assert_array_equal(one[0], two[0])
        assert one[1:3] == two[1:3] and set(np.unique(one[0])) <= {0.0, 1.0}
        worth += one[1]
        if one[2]:
            ended += 1
            first.reset(seed=ended), second.reset(seed=ended)
    assert ended > 3 and worth > 0
