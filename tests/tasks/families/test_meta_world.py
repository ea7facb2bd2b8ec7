"""Families of Meta-World: what is seen, what is hidden, and that an episode is the package's own."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from metaworld.env_dict import ALL_V3_ENVIRONMENTS

from mql.agent.acting import NumpyPolicy
from mql.agent.agent import Agent
from mql.collecting.rollout import collect
from mql.config.schema import AgentConfig
from mql.errors import UserError
from mql.tasks import registry
from mql.tasks.families.meta_world import environment as meta_world_environment
from mql.tasks.families.meta_world.environment import MetaWorldEnvironment
from mql.tasks.families.meta_world.family import MetaWorldFamily
from mql.tasks.families.meta_world.names import MT10, SAME_START, number_of
from mql.tasks.families.meta_world.probe import expert
from mql.tasks.families.meta_world.stepped import SteppedMetaWorldFamily
from mql.tasks.family import Task

EXPERT_GOALS = 5
STEPS_AFTER_SUCCESS = 5
MOST_STEPS = 300  # experts need 30 to 270
HAND, GOAL = slice(0, 3), slice(36, 39)


def family(name: str) -> MetaWorldFamily:
    """The family around the package's environments; test_meta_world_stepped.py tests what is stepped as arrays."""
    loaded = registry.load(name)
    assert isinstance(loaded, MetaWorldFamily)
    return loaded.wrapped() if isinstance(loaded, SteppedMetaWorldFamily) else loaded


def run(env, actions: np.ndarray) -> list[np.ndarray]:
    """Observations and rewards of an episode, bit for bit."""
    rows = [env.reset(seed=0)[0]]
    for action in actions:
        obs, reward, *_ = env.step(action)
        rows.append(np.append(obs, reward))
    return rows


def same(left: Sequence[np.ndarray], right: Sequence[np.ndarray]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(left, right, strict=True))


def random_actions(steps: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1.0, 1.0, (steps, 4)).astype(np.float32)


@pytest.mark.parametrize("name", MT10)
def test_experts_get_the_rewards_of_the_package(name: str) -> None:
    """An expert sees the goal in the package's own environment (reset and task by the package's own means); its actions
    are played there and in ours. Rewards are compared in float64, as `make` gives them: a batch rounds them to float32.
    """
    one = family(f"ml1-{name}")
    original = ALL_V3_ENVIRONMENTS[f"{name}-v3"]()
    solved = 0
    for task in one.tasks("test")[:EXPERT_GOALS]:
        package_task = one.package_task(task)
        visible = pickle.loads(package_task.data) | {"partially_observable": False}
        original.set_task(package_task._replace(data=pickle.dumps(visible)))
        full, _ = original.reset()
        env = one.make(task)
        obs, _ = env.reset(seed=7)
        after = 0
        for _ in range(MOST_STEPS):
            assert np.array_equal(obs[:36], full[:36].astype(np.float32))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                action = np.clip(expert(name).get_action(full), -1.0, 1.0).astype(np.float32)
            full, expected, _, _, info = original.step(action)
            obs, reward, terminated, truncated, ours = env.step(action)
            assert reward == float(expected)
            assert ours["success"] == bool(after or info["success"])  # once solved, an episode stays so
            assert ours["obj_to_target"] == float(info["obj_to_target"])
            assert not terminated and not truncated
            after += bool(after or ours["success"])
            if after > STEPS_AFTER_SUCCESS:
                break
        solved += bool(after)
        env.close()
    original.close()
    assert solved >= EXPERT_GOALS - 1


def test_touching_is_what_the_package_says() -> None:
    """The package's own method is asked at every step of an episode in which the puck is grasped and carried."""
    original = ALL_V3_ENVIRONMENTS["pick-place-v3"]
    mt10 = family("mt10")
    task = next(task for task in mt10.tasks("train") if mt10.environment_name(task) == "pick-place")
    env = mt10.make(task)
    obs, _ = env.reset(seed=0)
    inner = env.inner.unwrapped
    puck = inner.data.geom("objGeom").id
    said = []
    for _ in range(100):
        obs, *_ = env.step(np.clip(expert("pick-place").get_action(obs[:39]), -1.0, 1.0))
        said.append(inner.touching_object(puck))
        assert said[-1] == original.touching_object(inner, puck)
    env.close()
    assert any(said) and not all(said)


def test_the_goal_is_hidden_and_the_object_is_seen() -> None:
    push = family("ml1-push")
    here, there = (0.0, 0.62, 0.02, 0.0, 0.85, 0.015), (0.0, 0.62, 0.02, 0.08, 0.88, 0.015)
    elsewhere = (0.07, 0.65, 0.02, 0.0, 0.85, 0.015)
    first, second, third = (
        run(push.make(push.task({"rand_vec": vector})), random_actions(5)) for vector in (here, there, elsewhere)
    )
    assert same([row[:39] for row in first], [row[:39] for row in second])
    assert not np.array_equal(first[0], third[0])
    assert all((row[GOAL] == 0.0).all() for row in (*first, *third))


@pytest.mark.parametrize("name", [*SAME_START, "reach", "window-open"])
def test_what_the_start_shows_is_said(name: str) -> None:
    one = family(f"ml1-{name}")
    starts = []
    for task in one.tasks("train")[:2]:
        env = one.make(task)
        starts.append(env.reset(seed=0)[0])
        env.close()
    assert np.array_equal(*starts) == (name in SAME_START)
    assert one.parameters["rand_vec"].observed_start == (name not in SAME_START)


def test_the_goal_shows_in_rewards() -> None:
    reach = family("ml1-reach")
    rewards = [
        np.array([row[-1] for row in run(reach.make(task), random_actions(5))[1:]]) for task in reach.tasks("train")[:2]
    ]
    assert (rewards[0] != rewards[1]).all()


def test_mt10_sees_the_goal_and_the_environment() -> None:
    mt10 = family("mt10")
    assert mt10.obs_dim == 49
    for index in (0, 11, 499):  # reach, push, window-close
        task = mt10.tasks("train")[index]
        env = mt10.make(task)
        obs, _ = env.reset(seed=0)
        assert np.array_equal(obs[39:], np.eye(10, dtype=np.float32)[index % 10])
        assert np.array_equal(obs[GOAL], env.inner.unwrapped._target_pos.astype(np.float32))
        assert mt10.environment_name(task) == MT10[index % 10]
        obs, *_ = env.step(np.zeros(4))
        assert obs[GOAL].any() and obs[39 + index % 10] == 1.0
        env.close()


def test_an_episode_goes_on_after_success_and_ends_after_500_steps() -> None:
    drawer = family("ml1-drawer-close")
    env = drawer.make(drawer.tasks("train")[0])
    obs, _ = env.reset(seed=0)
    successes, truncated, steps = [], False, 0
    while not truncated:
        assert drawer.probe is not None
        obs, _, terminated, truncated, info = env.step(drawer.probe(env, obs, steps))
        assert not terminated
        successes.append(info["success"])
        steps += 1
    assert steps == 500
    assert any(successes[:200])


@pytest.mark.parametrize("name", ["ml1-push", "ml1-door-open", "ml10"])
def test_an_environment_that_is_used_again_gives_the_same_episode(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meta_world_environment, "KEPT", 1)  # ml10's other environment is closed and built again
    one, actions = family(name), random_actions(20)
    task, other = one.tasks("train")[0], one.tasks("train")[-1]
    env = one.make_env()
    assert isinstance(env, MetaWorldEnvironment)
    assert one.set_task is not None
    episodes = []
    for chosen in (task, other, task, task):
        one.set_task(env, chosen.parameters)
        episodes.append(run(env, actions))
    assert same(episodes[0], episodes[2]) and same(episodes[0], episodes[3])
    assert not same(episodes[0], episodes[1])
    env.close()


def test_actions_reach_the_package_unchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    reach = family("ml1-reach")
    env = reach.make(reach.tasks("train")[0])
    env.reset(seed=0)
    seen = []
    step = env.inner.unwrapped.step
    monkeypatch.setattr(env.inner.unwrapped, "step", lambda action: seen.append(action) or step(action))
    given = np.array([1e-9, -1.0, 0.1, 1.0], np.float32)
    env.step(given)
    env.step(2.0 * given)
    assert seen[0].dtype == np.float32 and np.array_equal(seen[0], given)
    assert np.array_equal(seen[1], np.clip(2.0 * given, -1.0, 1.0))


def test_worker_processes_play_the_same_episode() -> None:
    reach = replace(family("ml1-reach"), episode_length=6)
    agent = Agent(reach.obs_dim, reach.action_dim, AgentConfig(hidden_sizes=(8,), context_dim=4), seed=0)
    tasks = reach.tasks("test")[:2]
    there = collect(agent, reach, tasks, [1, 2], workers=2)
    for episode, task in zip(there, tasks, strict=True):
        env = reach.make(task)
        rows = run(env, episode.action)
        assert np.array_equal(episode.obs[0], rows[0]) and np.array_equal(episode.obs[1:], np.stack(rows[1:])[:, :39])
        assert np.array_equal(episode.reward, np.array([row[-1] for row in rows[1:]], np.float32))
        assert episode.success is False and set(episode.final_info) == set(reach.info_keys)
        env.close()
    assert isinstance(agent.policy(), NumpyPolicy)


def test_the_probe_gives_nothing_away() -> None:
    """It acts alike whatever the hidden goal is, and moves the puck, so that rewards tell the goals apart."""
    push = family("ml1-push")
    episodes = []
    for goal in ((-0.09, 0.81, 0.015), (0.02, 0.86, 0.015)):
        env = push.make(push.task({"rand_vec": (0.0, 0.62, 0.02, *goal)}))
        obs, rows = env.reset(seed=0)[0], []
        for step in range(90):
            assert push.probe is not None
            action = push.probe(env, obs, step)
            assert push.action_space.contains(action)
            obs, reward, *_ = env.step(action)
            rows.append((action, obs, reward))
        episodes.append(rows)
        env.close()
    pairs = list(zip(*episodes, strict=True))
    assert all(np.array_equal(a[0], b[0]) and np.array_equal(a[1], b[1]) for a, b in pairs)
    assert any(abs(a[2] - b[2]) > 1.0 for a, b in pairs)


def test_places_outside_the_training_range_can_be_reached() -> None:
    """The hand is simply drawn to the goal: to within 5 cm, which counts as success."""
    reach = family("ml1-reach")
    for task in reach.tasks("ood")[::5]:
        env = reach.make(task)
        env.reset(seed=0)
        goal, reached = np.array(task.parameters["rand_vec"][3:]), False
        for _ in range(60):
            away = goal - env.inner.unwrapped.tcp_center
            reached = reached or env.step(np.append(np.clip(10.0 * away, -1.0, 1.0), 0.0))[-1]["success"]
        assert reached
        env.close()


def test_a_goal_on_top_of_the_object_is_refused() -> None:
    """The package would look for another goal for ever."""
    reach = family("ml1-reach")
    env = reach.make(reach.task({"rand_vec": (0.0, 0.7, 0.02, 0.0, 0.75, 0.2)}))
    with pytest.raises(UserError, match=r"reach rejects the task's rand_vec: move the goal away"):
        env.reset(seed=0)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"environment": 50, "rand_vec": [0.0] * 6}, "task parameter 'environment' can't be 50"),
        ({"environment": 0.5, "rand_vec": [0.0] * 6}, "task parameter 'environment' can't be 0.5"),
        ({"environment": 43, "rand_vec": [0.0] * 3}, "give 6 numbers in m"),
        ({"environment": 43, "rand_vec": [9.0] * 6}, "physics allows -1.5 to 1.5 m"),
    ],
)
def test_forbidden_tasks_are_refused(parameters: dict[str, object], message: str) -> None:
    with pytest.raises(UserError) as caught:
        family("ml10").task(parameters)
    assert message in str(caught.value)


def test_own_tasks_are_marked_by_box_and_environment() -> None:
    ml10, inside = family("ml10"), [0.0, 0.65, 0.02, 0.0, 0.85, 0.1]
    assert ml10.task({"environment": number_of("reach"), "rand_vec": inside}).in_training_range
    assert not ml10.task({"environment": number_of("reach-wall"), "rand_vec": inside}).in_training_range
    assert not ml10.task(
        {"environment": number_of("reach"), "rand_vec": [0.0, 0.65, 0.02, 0.2, 0.85, 0.1]}
    ).in_training_range
    assert isinstance(ml10.tasks("test")[0], Task)


def test_a_family_is_sent_to_a_worker_as_it_is() -> None:
    for name in ("ml1-sweep", "ml10", "mt10"):
        again = pickle.loads(pickle.dumps(family(name)))
        assert again.tasks("train") == family(name).tasks("train")
        assert (again.obs_dim, again.boxes) == (family(name).obs_dim, family(name).boxes)
