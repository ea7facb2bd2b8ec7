"""Random actions that last: how long they are held, where they lead, and that they stay within bounds."""

from __future__ import annotations

import numpy as np
import pytest

from mql.collecting.exploration import uniform_actions
from mql.collecting.persistent import held_actions, waypoint_actions
from mql.types import FloatArray

SHAPE = (400, 300, 3)


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def durations(actions: FloatArray) -> list[float]:
    """The mean number of steps for which an episode's actions stay as they are, by episode."""
    new = (np.diff(actions, axis=0) != 0).any(axis=2).sum(axis=0) + 1
    return (len(actions) / new).tolist()


def farthest(actions: FloatArray) -> FloatArray:
    """How far the sum of its actions leads from the start along any direction, by episode."""
    return np.abs(actions.cumsum(axis=0)).max(axis=(0, 2))


def test_held_actions_last_from_a_step_to_an_eighth_of_the_episode() -> None:
    actions = held_actions(SHAPE, rng())
    assert np.abs(actions).max() <= 1.0
    means = np.array(durations(actions))
    # Log-uniform from 1 to 50, so that half of the episodes are below 7.
    assert means.min() < 1.3 and means.max() > 35.0 and 4.5 < np.median(means) < 10.0
    assert np.abs(actions.mean()) < 0.05 and abs(actions.std() - 3**-0.5) < 0.03
    changed = (np.diff(actions, axis=0) != 0).mean(axis=2)
    assert set(np.unique(changed)) == {0.0, 1.0}  # all directions at once


def test_waypoints_lead_on_and_back_within_the_reach() -> None:
    actions = waypoint_actions(SHAPE, rng())
    assert np.abs(actions).max() <= 1.0 + 1e-6
    far = farthest(actions)
    assert far.min() > 0.3 * 20.0 and far.max() <= 1.5 * 20.0 + 1e-3  # of sqrt(400)
    # They come back: the last place is no farther than one on the way; held actions end far out.
    ends = np.abs(actions.sum(axis=0)).max(axis=1)
    assert ends.mean() < 0.75 * far.mean()
    # Straight on: neighbouring actions point the same way, uniform ones do not.
    assert neighbours(actions) > 0.7 and abs(neighbours(uniform_actions(SHAPE, rng()))) < 0.05


def neighbours(actions: FloatArray) -> float:
    """The mean product of an action and the next one, over its mean square."""
    return float((actions[1:] * actions[:-1]).mean() / (actions**2).mean())


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_short_episodes_have_actions_too(steps: int) -> None:
    for draw in (held_actions, waypoint_actions):
        actions = draw((steps, 2, 1), rng())
        assert actions.shape == (steps, 2, 1) and actions.dtype == np.float32 and (actions != 0).any()
