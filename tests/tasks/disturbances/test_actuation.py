"""What becomes of actions: delay, gain and rate limit against numbers worked out by hand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest

from mql.tasks import registry
from mql.tasks.disturbances.family import disturbed
from mql.tasks.disturbances.settings import Actuation

pytestmark = pytest.mark.newest

POINT = registry.load("point-robot")  # moves by 0.1 m for an action of 1, in steps of 0.1 s


def effective(actuation: Actuation, commands: Sequence[float]) -> npt.NDArray[np.float64]:
    """The actions [T, 2] that move the point, when both axes are commanded alike."""
    family = disturbed(POINT, actuation=actuation)
    batch = family.make_batch(family.tasks("train")[:1])
    places = [batch.reset([3])[0], *(batch.step(np.full((1, 2), command)).obs[0] for command in commands)]
    moves: npt.NDArray[np.float64] = np.diff(np.array(places, np.float64), axis=0) / 0.1
    return moves


def close(found: npt.NDArray[np.float64], expected: Sequence[float] | Sequence[Sequence[float]]) -> bool:
    wanted = np.array(expected)
    return np.allclose(found, wanted if wanted.ndim == 2 else wanted[:, None], atol=1e-5)


def test_a_delayed_action_acts_later_and_0_until_then() -> None:
    assert close(effective(Actuation(delay_s=0.2), [1.0, -0.5, 0.25, 0.0]), [0.0, 0.0, 1.0, -0.5])


def test_a_gain_multiplies_and_the_product_is_clipped() -> None:
    assert close(effective(Actuation(gain=0.5), [1.0, -0.5]), [0.5, -0.25])
    assert close(effective(Actuation(gain=-4.0), [1.0, -0.125]), [-1.0, 0.5])
    assert close(effective(Actuation(gain=(0.5, 1.0)), [1.0, -0.5]), [[0.5, 1.0], [-0.25, -0.5]])


def test_a_rate_limit_bounds_the_change_of_an_action_per_second() -> None:
    # 3 a second are 0.3 a step; an episode begins at 0.
    assert close(effective(Actuation(rate_limit=3.0), [1.0, 1.0, 1.0, 1.0, -1.0, 0.8]), [0.3, 0.6, 0.9, 1.0, 0.7, 0.8])
    assert close(effective(Actuation(rate_limit=(3.0, 5.0)), [1.0, 1.0]), [[0.3, 0.5], [0.6, 1.0]])


def test_they_act_one_after_the_other() -> None:
    found = effective(Actuation(delay_s=0.1, gain=0.5, rate_limit=3.0), [1.0, 1.0, -1.0, -1.0])
    assert close(found, [0.0, 0.3, 0.5, 0.2])


def test_an_episode_begins_anew() -> None:
    family = disturbed(POINT, actuation=Actuation(delay_s=0.2, rate_limit=1.0))
    batch = family.make_batch(family.tasks("train")[:1])
    for _ in range(2):
        first = batch.reset([3])
        steps = [batch.step(np.ones((1, 2))).obs for _ in range(3)]
        assert np.array_equal(steps[1], first) and np.allclose(steps[2] - first, 0.01, atol=1e-6)


def test_the_context_and_the_replay_hold_what_was_commanded() -> None:
    from mql.agent.agent import Agent
    from mql.collecting.rollout import collect
    from mql.config.schema import AgentConfig

    agent = Agent(2, 2, AgentConfig(hidden_sizes=(8,), context_dim=4), seed=0)
    tasks = POINT.tasks("train")[:2]
    [one, _] = collect(agent, disturbed(POINT, actuation=Actuation(gain=0.0)), tasks, [1, 2])
    assert np.abs(one.action).max() > 0 and np.ptp(one.obs, axis=0).max() == 0
