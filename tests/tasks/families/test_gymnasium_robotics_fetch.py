"""The Fetch families against the package's own environments, and actions worked out by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import gymnasium
import numpy as np
import pytest
from fetch_tasks import STEPS, Array, actions, family_of, neutral

from mql.tasks.families.robotics.environment import make_robotics
from mql.tasks.families.robotics.fetch import KINDS
from mql.tasks.families.robotics.fetch_environment import FetchTask


def play(name: str, parameters: Mapping[str, object], seed: int = 3, moves: Array | None = None) -> tuple[Array, Array]:
    """Play one episode; return observations and rewards."""
    family = family_of(name)
    env = family.make(family.task(parameters))
    obs = [env.reset(seed=seed)[0]]
    rewards = []
    for action in actions() if moves is None else moves:
        seen, reward, *_ = env.step(action)
        obs.append(seen)
        rewards.append(reward)
    env.close()
    return np.stack(obs), np.array(rewards)


@pytest.fixture(scope="module")
def packages() -> Iterator[dict[str, gymnasium.Env[Any, Any]]]:
    """The package's own environments, as they come."""
    envs = {kind: make_robotics(facts.env_id, reward_type="dense") for kind, facts in KINDS.items()}
    yield envs
    for env in envs.values():
        env.close()


class Scripted:
    """Stands in for a random generator: `uniform` gives what is wanted, one after another."""

    def __init__(self, *draws: Any) -> None:
        self._draws = list(draws)

    def uniform(self, *bounds: float, size: int | None = None) -> Any:
        return self._draws.pop(0)


@pytest.mark.parametrize("kind", KINDS)
def test_goal_is_where_the_package_draws_it_and_rewards_are_the_packages(
    kind: str, packages: Mapping[str, gymnasium.Env[Any, Any]]
) -> None:
    name, package = f"fetch-{kind}", packages[kind]
    parameters = neutral(name)
    family = family_of(name)
    goal = np.array(parameters["goal"])
    raw: Any = package.unwrapped
    package.reset(seed=3)
    kept, raw.np_random = raw.np_random, Scripted(np.append(goal, 0.0)[:3], 0.0, parameters.get("goal_height"))
    raw.goal = raw._sample_goal()
    raw.np_random = kept
    env = family.make(family.task(parameters))
    env.reset(seed=3)
    inner: Any = env.inner.unwrapped
    np.testing.assert_array_equal(inner.goal, raw.goal)
    for action in actions(steps=20):
        seen, reward, _, _, info = env.step(action)
        expected, worth, _, _, told = package.step(action)
        np.testing.assert_array_equal(seen, expected["observation"].astype(np.float32))
        assert reward == worth
        if kind != "reach":  # whose success is that of the last step
            assert info["success"] == bool(told["is_success"])
    env.close()


@pytest.mark.parametrize("kind", KINDS)
def test_observation_does_not_tell_the_goal_but_rewards_do(kind: str) -> None:
    name = f"fetch-{kind}"
    width = family_of(name).parameters["goal"].width
    near, far = (play(name, neutral(name, goal=(x,) * width)) for x in (0.05, -0.12))
    assert near[0].shape == (STEPS + 1, {"reach": 10}.get(kind, 25))
    np.testing.assert_array_equal(near[0], far[0])
    assert not np.array_equal(near[1], far[1])


def test_low_goal_height_means_on_the_table() -> None:
    family = family_of("fetch-pick")
    for height, lifted in ((-0.3, 0.0), (0.0, 0.0), (0.2, 0.2)):
        env = family.make(family.task(neutral("fetch-pick", goal_height=height)))
        env.reset(seed=0)
        fetch: Any = env.inner.unwrapped
        assert fetch.goal[2] == fetch.height_offset + lifted
        env.close()


def test_reaching_succeeds_only_at_the_end() -> None:
    family = family_of("fetch-reach")
    for leaves, succeeds in ((False, True), (True, False)):
        env = family.make(family.task({"goal": (0.08, 0.0, 0.0)}))
        env.reset(seed=0)
        fetch: Any = env.inner.unwrapped
        near = []
        for step in range(STEPS):
            away = fetch.goal - fetch.data.site("robot0:grip").xpos
            pull = np.clip(away / 0.05, -1.0, 1.0) if step < 30 or not leaves else [-1.0, 0.0, 0.0]
            _, reward, _, _, info = env.step(np.append(pull, 0.0))
            near.append(reward > -0.05)
            assert not info["success"] or step == STEPS - 1
        assert near[25] and info["success"] is succeeds
        env.close()


def test_sparse_rewards_are_minus_one_beyond_five_centimetres() -> None:
    dense, sparse = (play(name, neutral("fetch-reach"))[1] for name in ("fetch-reach", "fetch-reach-sparse"))
    np.testing.assert_array_equal(sparse, np.where(dense < -0.05, -1.0, 0.0))


class Recorder(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Keeps the actions that arrive."""

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        super().__init__(env)
        self.arrived: list[Array] = []

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        self.arrived.append(np.array(action))
        return self.env.step(action)


def test_delay_and_gain_by_hand() -> None:
    recorder = Recorder(make_robotics("FetchReach-v4", reward_type="dense"))
    env = FetchTask(recorder)
    env.set_task({"goal": (0.0, 0.0, 0.1), "action_delay": 2.0, "action_gain": 1.5})
    moves = [[0.2, -0.4, 0.0, 1.0], [1.0, -0.8, 0.5, -1.0], [0.0, 0.1, -1.0, 0.3], [0.4, 0.4, 0.4, 0.4]]
    given = np.array(moves, dtype=np.float32)
    expected = [[0, 0, 0, 0], [0, 0, 0, 0], [0.3, -0.6, 0.0, 1.0], [1.0, -1.0, 0.75, -1.0]]
    for _ in range(2):  # the second episode starts with an empty queue, too
        recorder.arrived.clear()
        env.reset(seed=0)
        for action in given:
            env.step(action)
        np.testing.assert_allclose(recorder.arrived, expected, rtol=0, atol=1e-7)
    np.testing.assert_array_equal(given, np.array(moves, dtype=np.float32))
    env.close()


@pytest.mark.parametrize("name", ["fetch-reach-physics", "fetch-push-physics"])
def test_sensor_offset_is_only_in_what_is_seen(name: str) -> None:
    offset = np.array([0.01, -0.02, 0.005])
    (true, rewards), (seen, same) = (play(name, neutral(name, sensor_offset=by)) for by in ((0, 0, 0), tuple(offset)))
    shift = np.zeros(true.shape[1])
    shift[:3] = offset
    if len(shift) == 25:
        shift[6:9] = -offset  # the object seen from the gripper
    np.testing.assert_allclose(seen - true, np.broadcast_to(shift, true.shape), rtol=0, atol=1e-6)
    np.testing.assert_array_equal(rewards, same)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("variant", ["", "-sparse", "-physics"])
def test_splits(kind: str, variant: str) -> None:
    family = family_of(f"fetch-{kind}{variant}")
    assert {split: len(family.tasks(split)) for split in family.splits} == {"train": 100, "test": 30, "ood": 20}
    for task in family.tasks("ood"):
        for name, parameter in family.parameters.items():
            assert not parameter.distribution.contains(task.parameters[name]), name
    assert all(parameter.hidden for parameter in family.parameters.values())


@pytest.mark.parametrize("name", ["fetch-reach-sparse", "fetch-push-sparse", "fetch-slide-sparse", "fetch-pick-sparse"])
def test_probe_shows_goals_without_looking_at_them(name: str) -> None:
    family = family_of(name)
    probe: Callable[..., Array] | None = family.probe
    assert probe is not None
    width = family.parameters["goal"].width
    corner = family.parameters["goal"].distribution.high
    played = []
    for goal in ((corner,) * width, (-corner,) * width):
        task = neutral(name, goal=goal) | ({"goal_height": -0.1} if "pick" in name else {})
        env = family.make(family.task(task))
        obs, _ = env.reset(seed=1)
        moves, rewards = [], []
        for step in range(STEPS):
            moves.append(probe(env, obs, step))
            obs, reward, *_ = env.step(moves[-1])
            rewards.append(reward)
        env.close()
        played.append((np.stack(moves), np.array(rewards)))
    np.testing.assert_array_equal(played[0][0], played[1][0])
    assert not np.array_equal(played[0][1], played[1][1])
