"""Lanes in worker processes: the same as here, also from a checkpoint, and going on where a process dies."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial

import gymnasium
import numpy as np
import pytest

from mql.collecting.lane_shares import share_out
from mql.collecting.lanes import MOST_FAULTS, Lanes
from mql.tasks import registry
from mql.tasks.family import Split
from mql.tasks.fault import EpisodeFault
from mql.tasks.wrapped.any_environment import from_gymnasium
from mql.types import FloatArray


def walked(lanes: Lanes, actions: FloatArray) -> tuple[FloatArray, int]:
    """Observations [T, N, O] that actions [T, lanes, A] led to, and how many episodes ended."""
    seen, ended = [], 0
    for row in actions:
        step = lanes.step(row[lanes.share.start : lanes.share.stop])
        seen.append(step.after)
        ended += len(step.ended)
    return np.stack(seen), ended


@pytest.mark.parametrize("name", ["CartPole-v1", "point-robot"])
def test_lanes_play_the_same_wherever_they_are(name: str) -> None:
    family = registry.load(name)
    actions = np.random.default_rng(0).uniform(-1.0, 1.0, (90, 3, family.action_dim)).astype(np.float32)
    whole = Lanes(family, 3, seed=4)
    expected, ended = walked(whole, actions)
    shares = share_out(family, 3, seed=4, workers=2)
    try:
        shares.each(walked, actions[:40], steps=40)
        state = shares.arrays()
        found, faults = shares.each(walked, actions[40:], steps=50)
    finally:
        shares.close()
    np.testing.assert_array_equal(np.concatenate([seen for seen, _ in found], axis=1), expected[40:])
    assert not faults and ended > 3
    here = share_out(family, 3, seed=4, workers=1)  # another number of processes goes on alike
    here.restore(state)
    [(seen, _)], _ = here.each(walked, actions[40:], steps=50)
    np.testing.assert_array_equal(seen, expected[40:])
    assert {name: array.tolist() for name, array in here.arrays().items()} == {
        name: array.tolist() for name, array in whole.arrays().items()
    }


class Dying(gymnasium.Wrapper):
    """Takes its process along at its fifth step, where the episode's seed is the one given, or at any seed."""

    def __init__(self, environment: gymnasium.Env, *, at: int | None) -> None:
        super().__init__(environment)
        self.at, self.steps, self.dies = at, 0, False

    def reset(self, *, seed: int | None = None, **arguments):  # type: ignore[no-untyped-def]
        self.steps, self.dies = 0, self.at in (None, seed)
        return super().reset(seed=seed, **arguments)

    def step(self, action):  # type: ignore[no-untyped-def]
        self.steps += 1
        if self.dies and self.steps == 5:
            os._exit(3)
        return super().step(action)


def dying(*, at: int | None) -> gymnasium.Env:
    return Dying(gymnasium.make("Pendulum-v1"), at=at)


def test_a_process_that_dies_costs_its_lanes_their_episodes() -> None:
    from mql.seeding import generator

    one = {"train": Split(listed=({},)), "test": Split(listed=({},))}
    second = int(generator(0, "lane", 0, 1).integers(2**31))  # the seed of lane 0's second episode
    family = from_gymnasium(
        partial(dying, at=second), {}, name="dying", splits=one, shared_splits=True, episode_length=10
    )
    actions = np.zeros((12, 2, 1), np.float32)
    shares = share_out(family, 2, seed=0, workers=2)
    try:
        assert not shares.each(walked, actions, steps=12)[1]
        [(first, _), (other, _)], faults = shares.each(walked, actions, steps=12)
        begun = shares.arrays()["lanes.begun"]
    finally:
        shares.close()
    assert len(faults) == 1 and "its process died (exit status 3)" in str(faults[0])
    # Lane 0 begins its third episode at once, and the steps of the lost job are made in it; lane 1 goes on.
    assert begun.tolist() == [4, 3]
    expected, _ = walked(Lanes(family, 2, seed=0, share=range(1), begun=[2]), actions)
    np.testing.assert_array_equal(first, expected)
    expected, _ = walked(Lanes(family, 2, seed=0, share=range(1, 2)), np.zeros((24, 2, 1), np.float32))
    np.testing.assert_array_equal(other, expected[12:])


def test_a_process_that_always_dies_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mql.collecting.lane_shares.MOST_FAULTS", 2)
    assert MOST_FAULTS > 2
    family = replace(registry.load("Pendulum-v1"), make_env=partial(dying, at=None))
    shares = share_out(family, 2, seed=0, workers=2)
    try:
        with pytest.raises(EpisodeFault, match="its process died"):
            shares.each(walked, np.zeros((12, 2, 1), np.float32), steps=12)
    finally:
        shares.close()


def test_lanes_whose_process_was_stopped_do_not_begin_anew_in_silence() -> None:
    shares = share_out(registry.load("CartPole-v1"), 2, seed=0, workers=2)
    try:
        shares.each(walked, np.zeros((2, 2, 2), np.float32), steps=2)
        for share in shares._shares:  # type: ignore[attr-defined]
            share.processes.close()  # (as Ctrl-C does in the middle of a call)
        with pytest.raises(RuntimeError, match="was stopped in the middle of its work"):
            shares.arrays()
    finally:
        shares.close()
