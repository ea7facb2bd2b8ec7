"""Lanes: one episode after the other, as Gymnasium's own environments play them; and going on from a checkpoint."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import gymnasium
import numpy as np
import pytest

from mql.collecting.lanes import MOST_FAULTS, Lanes
from mql.seeding import generator
from mql.tasks import registry
from mql.tasks.family import Split
from mql.tasks.fault import EpisodeFault
from mql.tasks.wrapped.any_environment import from_gymnasium
from mql.types import FloatArray

NAMES = ["Hopper-v5", "CartPole-v1", "point-robot"]


def actions(steps: int, lanes: int, size: int) -> FloatArray:
    return np.random.default_rng(0).uniform(-1.0, 1.0, (steps, lanes, size)).astype(np.float32)


def test_a_lane_plays_what_the_environment_plays() -> None:
    """CartPole by hand: resets by the named stream, choices by the largest number, returns and lengths counted."""
    lanes, given = Lanes(registry.load("CartPole-v1"), 3, seed=5), actions(120, 3, 2)
    environments = [gymnasium.make("CartPole-v1") for _ in range(3)]

    def begin(lane: int, episode: int) -> FloatArray:
        seed = int(generator(5, "lane", lane, episode).integers(2**31))
        return environments[lane].reset(seed=seed)[0]

    begun, lengths = [1, 1, 1], [0, 0, 0]
    np.testing.assert_array_equal(lanes.obs, np.stack([begin(lane, 0) for lane in range(3)]))
    ended = 0
    for row in given:
        step = lanes.step(row)
        over = {each.lane: each for each in step.ended}
        for lane, environment in enumerate(environments):
            after, reward, terminated, truncated, _ = environment.step(int(row[lane, 1] > row[lane, 0]))
            lengths[lane] += 1
            np.testing.assert_array_equal(step.after[lane], after)
            assert (step.reward[lane], step.terminated[lane], step.truncated[lane]) == (reward, terminated, truncated)
            assert (lane in over) == terminated
            if terminated:
                assert (over[lane].length, over[lane].episode_return) == (lengths[lane], float(lengths[lane]))
                after = begin(lane, begun[lane])
                begun[lane] += 1
                lengths[lane] = 0
                ended += 1
            np.testing.assert_array_equal(lanes.obs[lane], after)
    assert ended > 8 and not step.faults


@pytest.mark.parametrize("name", NAMES)
def test_lanes_go_on_from_a_checkpoint_as_if_nothing_had_happened(name: str) -> None:
    family = registry.load(name)
    given = actions(150, 4, family.action_dim)
    lanes = Lanes(family, 4, seed=1)
    for row in given[:100]:
        lanes.step(row)
    other = Lanes(family, 4, seed=1)
    other.restore(lanes.arrays())
    np.testing.assert_array_equal(other.obs, lanes.obs)
    for row in given[100:]:
        step, same = lanes.step(row), other.step(row)
        for part in ("after", "reward", "terminated", "truncated"):
            np.testing.assert_array_equal(getattr(step, part), getattr(same, part))
        assert step.ended == same.ended
        np.testing.assert_array_equal(other.obs, lanes.obs)


def test_tasks_are_dealt_out_in_turn() -> None:
    family = registry.load("point-robot")  # 40 tasks, episodes of 20 steps
    lanes = Lanes(family, 3, seed=0)
    seen = [lanes.task.tolist()]
    for _ in range(20 * 14):
        if lanes.step(np.zeros((3, 2), np.float32)).ended:
            seen.append(lanes.task.tolist())
    assert np.ravel(seen).tolist() == [number % 40 for number in range(45)]


def test_the_time_limit_is_no_end_of_the_task() -> None:
    lanes = Lanes(registry.load("point-robot"), 2, seed=0)
    for step in [lanes.step(np.zeros((2, 2), np.float32)) for _ in range(20)]:
        assert not step.terminated.any()
    assert step.truncated.all() and [each.length for each in step.ended] == [20, 20]
    assert not np.array_equal(step.after, lanes.obs) or (lanes.obs == step.after).all()


class Failing(gymnasium.Wrapper):
    """Its every second episode fails at the fifth step, or every one as it begins."""

    def __init__(self, environment: gymnasium.Env, *, at_once: bool) -> None:
        super().__init__(environment)
        self.at_once, self.episodes, self.steps = at_once, 0, 0

    def reset(self, **arguments):  # type: ignore[no-untyped-def]
        if self.at_once:
            raise RuntimeError("no start")
        self.episodes, self.steps = self.episodes + 1, 0
        return super().reset(**arguments)

    def step(self, action):  # type: ignore[no-untyped-def]
        self.steps += 1
        if self.steps == 5:
            raise RuntimeError("broken")
        return super().step(action)


def failing(*, at_once: bool) -> gymnasium.Env:
    return Failing(gymnasium.make("Pendulum-v1"), at_once=at_once)


def test_an_episode_that_fails_is_cut_and_counted() -> None:
    one = {"train": Split(listed=({},)), "test": Split(listed=({},))}
    make = partial(from_gymnasium, parameters={}, splits=one, shared_splits=True)
    family = make(partial(failing, at_once=False), name="failing")
    lanes = Lanes(family, 2, seed=0)
    for _ in range(4):
        assert not lanes.step(np.zeros((2, 1), np.float32)).faults
    before = lanes.obs.copy()
    step = lanes.step(np.zeros((2, 1), np.float32))
    assert len(step.faults) == 2 and "broken" in str(step.faults[0])
    assert step.truncated.all() and not step.terminated.any() and not step.reward.any() and not step.ended
    np.testing.assert_array_equal(step.after, before)
    assert not np.array_equal(lanes.obs, before)  # a new episode

    never = replace(family, make_env=partial(failing, at_once=True))
    with pytest.raises(EpisodeFault, match="no start"):
        Lanes(never, 1, seed=0)
    assert MOST_FAULTS > 1
