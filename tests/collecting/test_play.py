"""Random play: it moves the object in every episode, sees what the policy sees, and needs a family that says where."""

from __future__ import annotations

import numpy as np
import pytest

from mql.collecting.exploration import random_actions
from mql.errors import UserError
from mql.tasks import registry
from mql.tasks.disturbances.family import disturbed
from mql.tasks.disturbances.settings import Actuation, Sensing
from mql.tasks.family import TaskFamily
from mql.types import FloatArray

EPISODES = 12


def places(family: TaskFamily, kind: str) -> FloatArray:
    """Where the object is seen, [T + 1, N, 3], in episodes of random actions of a kind."""
    handling = family.handling
    assert handling is not None
    batch = family.make_batch(family.tasks("train")[:EPISODES])
    obs = batch.reset(list(range(EPISODES)))
    played = random_actions(family, kind).begin(EPISODES, np.random.default_rng(0))
    seen = [obs[:, handling.thing :][:, :3].copy()]
    for t in range(family.episode_length):
        actions = played.act(np.zeros((EPISODES, family.action_dim), np.float32), obs, t)
        assert actions.dtype == np.float32 and np.abs(actions).max() <= 1.0
        obs = batch.step(actions).obs
        seen.append(obs[:, handling.thing :][:, :3].copy())
    batch.close()
    return np.stack(seen)


@pytest.mark.parametrize(
    ("name", "lifts"), [("fetch-push", False), ("fetch-pick", True), ("ml1-push", True), ("ml1-pick-place", True)]
)
def test_play_moves_the_object_where_random_actions_seldom_do(name: str, *, lifts: bool) -> None:
    family = registry.load(name)
    moved = {}
    for kind in ("uniform", "play"):
        seen = places(family, kind)
        moved[kind] = np.linalg.norm(seen - seen[0], axis=2).max(axis=0) > 0.02
        lifted = (seen[:, :, 2] - seen[0, :, 2]).max(axis=0) > 0.03
        if kind == "play":
            assert lifted.mean() >= 0.4 if lifts else lifted.mean() < 0.2
            # In every direction: pushes are not all one way.
            ends = np.sign((seen[-1] - seen[0])[:, :2])
            assert (np.abs(ends.mean(axis=0)) < 0.9).all()
    assert moved["play"].mean() > 0.9 and moved["uniform"].mean() < 0.4


@pytest.mark.parametrize("seen", [Sensing(noise=0.002, history=3), Sensing(delay_s=0.08)], ids=["history", "late"])
def test_play_goes_by_what_disturbed_senses_show(seen: Sensing) -> None:
    family = disturbed(registry.load("fetch-push"), seen, Actuation(gain=0.9))
    moved = np.linalg.norm((where := places(family, "play")) - where[0], axis=2).max(axis=0) > 0.03
    assert moved.mean() > 0.7


@pytest.mark.parametrize("name", ["fetch-push", "fetch-pick", "fetch-slide", "ml1-push", "ml1-door-open", "ml10"])
def test_hand_object_and_fingers_are_where_the_family_says(name: str) -> None:
    """Compared with the simulation: the object's place, and what actions do to the hand."""
    family = registry.load(name)
    handling, task = family.handling, family.tasks("train")[0]
    assert handling is not None
    along = np.zeros((1, family.action_dim), np.float32)
    along[0, 0] = 1.0
    batch = family.make_batch([task])
    before = batch.reset([0])
    for _ in range(10):
        after = batch.step(along).obs
    moved = (after - before)[0, handling.hand :][:3]
    assert (
        0.2 * 10 * handling.stroke < moved[0] < 1.1 * 10 * handling.stroke and np.abs(moved[1:]).max() < 0.3 * moved[0]
    )
    assert np.abs((after - before)[0, handling.thing :][:3]).max() < 0.01
    batch.close()


@pytest.mark.parametrize(("name", "opening"), [("fetch-pick", [9, 10]), ("ml1-push", [3])])
def test_fingers_close_by_the_number_that_is_said(name: str, opening: list[int]) -> None:
    family = registry.load(name)
    handling = family.handling
    assert handling is not None and handling.closing is not None
    batch = family.make_batch(family.tasks("train")[:2])
    batch.reset([0, 1])
    action = np.zeros((2, family.action_dim), np.float32)
    action[:, -1] = handling.closing, -handling.closing
    for _ in range(15):
        obs = batch.step(action).obs
    closed, opened = obs[:, opening].sum(axis=1)
    assert closed < 0.6 * opened
    batch.close()


def test_a_share_plays_as_it_would_among_the_others() -> None:
    family = registry.load("fetch-pick")
    rng = np.random.default_rng(1)
    obs = rng.uniform(0.0, 1.0, (family.episode_length, 5, family.obs_dim)).astype(np.float32)
    none = np.zeros((5, family.action_dim), np.float32)
    explorer = random_actions(family, "play")
    whole, twin = (explorer.begin(5, np.random.default_rng(0)) for _ in range(2))
    some = np.array([3, 1])
    part = twin.share(some)
    for t in range(family.episode_length):
        np.testing.assert_array_equal(whole.act(none, obs[t], t)[some], part.act(none[some], obs[t, some], t))


@pytest.mark.parametrize("name", ["point-robot", "fetch-reach", "cheetah-vel", "arm-push"])
def test_a_family_that_does_not_say_where_things_are_is_refused(name: str) -> None:
    with pytest.raises(UserError, match=f"{name} does not say where a hand and an object are seen") as error:
        random_actions(registry.load(name), "play")
    assert error.value.where == "train.random_actions"
