"""What every registered family promises: one walk over the table."""

from __future__ import annotations

import json
import pickle
import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from mql.errors import UserError
from mql.tasks import registry
from mql.tasks.family import BatchStep, Task, TaskFamily

PLAIN = [name for name in registry.names() if not name.endswith("-oracle")]
SPLIT_SIZES = {
    "cheetah-dir": {"train": 2, "test": 2},
    "cheetah-vel": {"train": 100, "test": 30, "ood": 20},
    "cheetah-vel-narrow": {"train": 100, "test": 30, "ood": 20},
    "point-robot": {"train": 40, "test": 20, "ood": 20},
    "reacher-goal": {"train": 100, "test": 20, "ood": 20},
}
SHAPES = {  # observation, action, episode length, control timestep in s
    "cheetah-dir": (17, 6, 200, 0.05),
    "cheetah-vel": (17, 6, 200, 0.05),
    "cheetah-vel-narrow": (17, 6, 200, 0.05),
    "point-robot": (2, 2, 20, 0.1),
    "reacher-goal": (8, 2, 50, 0.02),
}


@pytest.fixture(params=registry.names())
def family(request: pytest.FixtureRequest) -> TaskFamily:
    return registry.load(request.param)


def actions_for(family: TaskFamily, lanes: int, seed: int = 0) -> np.ndarray:
    """Random actions [T, N, A], now and then beyond [-1, 1]."""
    shape = (family.episode_length, lanes, family.action_dim)
    return np.random.default_rng(seed).uniform(-1.2, 1.2, shape).astype(np.float32)


def play(family: TaskFamily, tasks: list[Task], seeds: list[int], actions: np.ndarray, threads: int = 1):
    batch = family.make_batch(tasks, threads=threads)
    try:
        return batch.reset(seeds), [batch.step(action) for action in actions]
    finally:
        batch.close()


def test_name_and_shapes(family: TaskFamily) -> None:
    obs_dim, action_dim, length, timestep = SHAPES[family.name.removesuffix("-oracle")]
    visible = sum(parameter.width for parameter in family.parameters.values() if not parameter.hidden)
    assert family.observation_space.shape == (obs_dim + visible,)
    assert family.action_space == gymnasium.spaces.Box(-1.0, 1.0, (action_dim,), np.float32)
    assert family.episode_length == length
    assert family.control_timestep == pytest.approx(timestep)
    assert family.native


def test_gymnasium_checker_passes(family: TaskFamily) -> None:
    env = family.make(family.tasks("train")[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an unbounded observation and a missing spec are fine
        check_env(env, skip_render_check=True)
    env.close()


def test_split_sizes_and_marks(family: TaskFamily) -> None:
    sizes = SPLIT_SIZES[family.name.removesuffix("-oracle")]
    assert {split: len(family.tasks(split)) for split in family.splits} == sizes
    for split in sizes:
        for index, task in enumerate(family.tasks(split)):
            assert (task.family, task.split, task.index) == (family.name, split, index)
            assert task.in_training_range == (split != "ood")


def test_splits_are_disjoint_or_flagged(family: TaskFamily) -> None:
    keys = {split: {tuple(task.parameters.values()) for task in family.tasks(split)} for split in family.splits}
    if family.shared_splits:
        assert keys["train"] == keys["test"]
    else:
        everything = [key for split in keys.values() for key in split]
        assert len(everything) == len(set(everything)) == sum(len(family.tasks(split)) for split in family.splits)


def test_tasks_are_json_and_pickle(family: TaskFamily) -> None:
    for split in family.splits:
        for task in family.tasks(split):
            again = family.task(json.loads(json.dumps(task.to_json(), allow_nan=False)))
            assert again.parameters == task.parameters
            assert again.split == "custom"
            assert again.in_training_range == task.in_training_range
            assert pickle.loads(pickle.dumps(task)) == task
            assert isinstance(hash(task), int)
    copy = pickle.loads(pickle.dumps(family))
    assert copy.tasks("test") == family.tasks("test")


def test_sample_deals_each_task_equally_often(family: TaskFamily) -> None:
    tasks = family.tasks("train")
    drawn = family.sample("train", 2 * len(tasks), np.random.default_rng(3))
    assert sorted(task.index for task in drawn) == sorted(2 * list(range(len(tasks))))
    assert drawn == family.sample("train", 2 * len(tasks), np.random.default_rng(3))
    assert family.sample("train", 0, np.random.default_rng(3)) == []
    few = family.sample("train", 2, np.random.default_rng(4))
    assert few[0] != few[1]


def test_descriptions_are_plain_data(family: TaskFamily) -> None:
    row = family.summary_row()
    assert list(row) == ["name", "summary", "obs_dim", "action_dim", "episode_length", "native", "splits"]
    shown = json.loads(json.dumps(family.describe(), allow_nan=False))
    assert set(shown) == {*row, "parameters"}
    assert shown["splits"]["test"] == [task.to_json() for task in family.tasks("test")]
    for name, parameter in family.parameters.items():
        assert shown["parameters"][name]["unit"] == parameter.unit
        assert "dist" in shown["parameters"][name]["distribution"]


def test_batch_types(family: TaskFamily) -> None:
    tasks = family.sample("train", 3, np.random.default_rng(0))
    obs, steps = play(family, tasks, [0, 1, 2], actions_for(family, 3))
    assert obs.dtype == np.float32 and obs.shape == (3, *family.observation_space.shape)
    for step in steps:
        assert step.obs.dtype == step.reward.dtype == np.float32
        assert step.obs.shape == obs.shape and step.reward.shape == (3,)
        assert step.terminated.dtype == step.truncated.dtype == np.bool_
        assert np.isfinite(step.obs).all() and np.isfinite(step.reward).all()
        assert ("success" in step.info) == family.has_success
        assert all(values.shape == (3,) for values in step.info.values())
    assert steps[-1].truncated.all() and not steps[-2].truncated.any()
    assert not any(step.terminated.any() for step in steps)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", registry.names())
def test_lanes_are_bit_equal_to_environments_alone(name: str, threads: int) -> None:
    """Seven lanes of different tasks and seeds, each against `make` of its own task, over a whole episode."""
    family = registry.load(name)
    tasks = family.sample("train", 7, np.random.default_rng(1))
    seeds = [10, 11, 12, 10, 11, 0, 2**31 - 1]
    actions = actions_for(family, 7)
    obs, steps = play(family, tasks, seeds, actions, threads)
    for lane in (0, 3, 6):
        env = family.make(tasks[lane])
        first, _ = env.reset(seed=seeds[lane])
        assert np.array_equal(first, obs[lane])
        for action, step in zip(actions, steps, strict=True):
            seen, reward, terminated, truncated, info = env.step(action[lane])
            assert np.array_equal(seen, step.obs[lane])
            assert reward == step.reward[lane]
            assert (terminated, truncated) == (step.terminated[lane], step.truncated[lane])
            assert info == {key: values[lane] for key, values in step.info.items()}
        env.close()


@pytest.mark.parametrize("name", ["cheetah-vel", "reacher-goal"])
def test_the_number_of_lanes_and_threads_changes_no_bit(name: str) -> None:
    family = registry.load(name)
    tasks = family.tasks("train")[:33]
    actions = actions_for(family, 33)[:20]
    whole_obs, whole = play(family, tasks, list(range(33)), actions, threads=2)
    for lanes in (1, 5, 16):
        obs, steps = play(family, tasks[:lanes], list(range(lanes)), actions[:, :lanes])
        assert np.array_equal(obs, whole_obs[:lanes])
        for part, step in zip(steps, whole, strict=True):
            assert_same(part, step, lanes)


def assert_same(part: BatchStep, whole: BatchStep, lanes: int) -> None:
    assert np.array_equal(part.obs, whole.obs[:lanes])
    assert np.array_equal(part.reward, whole.reward[:lanes])
    for key, values in part.info.items():
        assert np.array_equal(values, whole.info[key][:lanes])


def test_same_task_and_seed_same_episode_after_another_task(family: TaskFamily) -> None:
    first, second = family.tasks("train")[:2]
    actions = actions_for(family, 1)[:30]
    obs, before = play(family, [first], [4], actions)
    play(family, [second], [5], actions_for(family, 1, seed=1)[:30])
    again_obs, after = play(family, [first], [4], actions)
    assert np.array_equal(obs, again_obs)
    for one, other in zip(before, after, strict=True):
        assert_same(one, other, 1)


def test_a_second_reset_starts_the_same_episode(family: TaskFamily) -> None:
    batch = family.make_batch(family.tasks("train")[:2])
    actions = actions_for(family, 2)
    episodes = []
    for _ in range(2):
        obs = batch.reset([1, 2])
        episodes.append((obs, [batch.step(action) for action in actions]))
    batch.close()
    assert np.array_equal(episodes[0][0], episodes[1][0])
    for one, other in zip(episodes[0][1], episodes[1][1], strict=True):
        assert_same(one, other, 2)
        assert np.array_equal(one.truncated, other.truncated)


@pytest.mark.parametrize("name", PLAIN)
def test_hidden_parameters_are_not_seen(name: str) -> None:
    """Same seed and actions, other task: the same observations throughout, but other rewards."""
    family = registry.load(name)
    tasks = family.tasks("train")[:2]
    actions = np.repeat(actions_for(family, 1), 2, axis=1)
    obs, steps = play(family, tasks, [7, 7], actions)
    assert all(parameter.hidden for parameter in family.parameters.values())
    assert np.array_equal(obs[0], obs[1])
    assert all(np.array_equal(step.obs[0], step.obs[1]) for step in steps)
    assert any(step.reward[0] != step.reward[1] for step in steps)


@pytest.mark.parametrize("name", PLAIN)
def test_the_oracle_sees_the_parameters_and_nothing_else_changes(name: str) -> None:
    family, oracle = registry.load(name), registry.load(f"{name}-oracle")
    assert [task.parameters for task in oracle.tasks("test")] == [task.parameters for task in family.tasks("test")]
    actions = actions_for(family, 2)[:10]
    obs, steps = play(family, family.tasks("test")[:2], [1, 2], actions)
    seen, oracle_steps = play(oracle, oracle.tasks("test")[:2], [1, 2], actions)
    values = [np.hstack(list(task.parameters.values())) for task in oracle.tasks("test")[:2]]
    assert np.array_equal(seen, np.hstack([obs, np.array(values, np.float32)]))
    for step, oracle_step in zip(steps, oracle_steps, strict=True):
        assert np.array_equal(oracle_step.obs, np.hstack([step.obs, np.array(values, np.float32)]))
        assert np.array_equal(oracle_step.reward, step.reward)


def test_bad_use_is_refused_clearly(family: TaskFamily) -> None:
    task = family.tasks("train")[0]
    batch = family.make_batch([task, task])
    with pytest.raises(UserError, match="call reset first"):
        batch.step(np.zeros((2, family.action_dim)))
    with pytest.raises(UserError, match="1 seeds for 2 lanes"):
        batch.reset([0])
    with pytest.raises(UserError, match="0 or more"):
        batch.reset([0, -1])
    batch.reset([0, 1])
    for shape in ((family.action_dim,), (2, family.action_dim + 1), (3, family.action_dim), (2, family.action_dim, 1)):
        with pytest.raises(UserError, match="actions have shape"):
            batch.step(np.zeros(shape))
    bad = np.zeros((2, family.action_dim))
    bad[1, 0] = np.nan
    with pytest.raises(UserError, match="lane 1 is not finite"):
        batch.step(bad)
    batch.close()
    batch.close()
    env = family.make(task)
    env.reset(seed=0)
    with pytest.raises(UserError, match="the action has shape"):
        env.step(np.zeros(family.action_dim + 1, np.float32))
    env.close()
    with pytest.raises(UserError, match="at least one task"):
        family.make_batch([])
    with pytest.raises(UserError, match="at least 1"):
        family.make_batch([task], threads=0)
    with pytest.raises(UserError, match="tasks of this family"):
        family.make_batch([Task("other", "train", 0, task.parameters)])
    with pytest.raises(UserError, match="did you mean 'test'"):
        family.tasks("tset")
    with pytest.raises(UserError, match="no render mode 'human'"):
        family.make(task, render_mode="human")
