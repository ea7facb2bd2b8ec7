"""What every registered family promises: one walk over the table."""

from __future__ import annotations

import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from mql.errors import UserError
from mql.tasks import registry
from mql.tasks.family import BatchStep, Task, TaskFamily

pytestmark = pytest.mark.newest

# Families of other packages, which worker processes step, have tests of their own.
FOREIGN = ("ml1-", "ml10", "ml45", "mt10", "fetch-", "hand-", "adroit-", "kitchen", "maze")
NAMES = [name for name in registry.names() if not name.startswith(FOREIGN)]
PLAIN = [name for name in NAMES if not name.endswith("-oracle")]
VARIANTS = ("-oracle", "-legacy", "-contact")
# Task parameters that change the physics are seen in what they do; all others in rewards only.
PHYSICS = ("arm-", "cheetah-faults", "hopper-params", "walker-params")
# Robots that take a millisecond or so for a step: a short stretch is enough where an episode's end is not the point.
SLOW = ("ant-", "arm-", "hopper-", "humanoid-", "walker-")
ENDING = ("ant-dir", "hopper-", "humanoid-", "walker-")  # families whose episodes can end early
SHORT = 30  # steps
SHAPES = {  # observation, action, episode length, control timestep in s
    "ant-dir": (27, 8, 200, 0.05),
    "ant-dir-legacy": (27, 8, 200, 0.05),
    "ant-dir-contact": (105, 8, 200, 0.05),
    "ant-dir-angles": (27, 8, 200, 0.05),
    "ant-dir-angles-contact": (105, 8, 200, 0.05),
    "ant-goal": (29, 8, 200, 0.05),
    "ant-goal-legacy": (113, 8, 200, 0.05),
    "ant-goal-contact": (107, 8, 200, 0.05),
    "arm-drawer": (11, 3, 50, 0.05),
    "arm-peg": (11, 3, 50, 0.05),
    "arm-push": (15, 3, 50, 0.05),
    "arm-reach": (12, 3, 50, 0.05),
    "cheetah-dir": (17, 6, 200, 0.05),
    "cheetah-dir-legacy": (20, 6, 200, 0.05),
    "cheetah-faults": (17, 6, 200, 0.05),
    "cheetah-vel": (17, 6, 200, 0.05),
    "cheetah-vel-narrow": (17, 6, 200, 0.05),
    "cheetah-vel-legacy": (20, 6, 200, 0.05),
    "hopper-params": (11, 3, 200, 0.016),
    "hopper-params-v5": (11, 3, 200, 0.008),
    "humanoid-dir": (45, 17, 200, 0.015),
    "humanoid-dir-legacy": (376, 17, 200, 0.015),
    "humanoid-dir-contact": (348, 17, 200, 0.015),
    "point-robot": (2, 2, 20, 0.1),
    "reacher-goal": (8, 2, 50, 0.02),
    "reacher-goal-narrow": (8, 2, 50, 0.02),
    "walker-params": (17, 6, 200, 0.016),
    "walker-params-v5": (17, 6, 200, 0.008),
    "walker-params-legacy": (17, 6, 200, 0.016),
}


@pytest.fixture(params=NAMES)
def family(request: pytest.FixtureRequest) -> TaskFamily:
    return registry.load(request.param)


def plain_name(name: str) -> str:
    """Drop what a variant adds to a family's name; its tasks stay the same."""
    for suffix in VARIANTS:
        name = name.removesuffix(suffix)
    return name


def actions_for(family: TaskFamily, rows: int, seed: int = 0, *, whole: bool = False) -> np.ndarray:
    """Random actions [T, N, A], now and then beyond [-1, 1], for an episode or, slow robots and variants, a part."""
    steps = family.episode_length
    if not whole and (family.name.startswith(SLOW) or family.name.endswith(VARIANTS)):
        steps = min(steps, SHORT)
    shape = (steps, rows, family.action_dim)
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


def test_batch_types(family: TaskFamily) -> None:
    whole = not family.name.endswith(VARIANTS)
    tasks = family.sample("train", 3, np.random.default_rng(0))
    obs, steps = play(family, tasks, [0, 1, 2], actions_for(family, 3, whole=whole))
    assert obs.dtype == np.float32 and obs.shape == (3, *family.observation_space.shape)
    for step in steps:
        assert step.obs.dtype == step.reward.dtype == np.float32
        assert step.obs.shape == obs.shape and step.reward.shape == (3,)
        assert step.terminated.dtype == step.truncated.dtype == np.bool_
        assert np.isfinite(step.obs).all() and np.isfinite(step.reward).all()
        assert ("success" in step.info) == family.has_success
        assert all(values.shape == (3,) for values in step.info.values())
        assert not (step.terminated & step.truncated).any()
    assert not any(step.truncated.any() for step in steps[: family.episode_length - 1])
    if len(steps) == family.episode_length:
        assert (steps[-1].truncated ^ steps[-1].terminated).all()
    if not family.name.startswith(ENDING):
        assert not any(step.terminated.any() for step in steps)


# A variant differs from its family in what is seen, so that one thread count is enough for it.
@pytest.mark.parametrize(
    ("name", "threads"), [(name, n) for name in NAMES for n in (1, 2) if n == 2 or not name.endswith(VARIANTS)]
)
def test_tasks_are_bit_equal_to_environments_alone(name: str, threads: int) -> None:
    """Seven tasks of different tasks and seeds, each against `make` of its own task, over an episode."""
    family = registry.load(name)
    tasks = family.sample("train", 7, np.random.default_rng(1))
    seeds = [10, 11, 12, 10, 11, 0, 2**31 - 1]
    actions = actions_for(family, 7)
    obs, steps = play(family, tasks, seeds, actions, threads)
    for row in (0, 3, 6):
        env = family.make(tasks[row])
        first, _ = env.reset(seed=seeds[row])
        assert np.array_equal(first, obs[row])
        for action, step in zip(actions, steps, strict=True):
            seen, reward, terminated, truncated, info = env.step(action[row])
            assert np.array_equal(seen, step.obs[row])
            assert reward == step.reward[row]
            assert (terminated, truncated) == (step.terminated[row], step.truncated[row])
            assert info == {key: values[row] for key, values in step.info.items()}
        env.close()


@pytest.mark.parametrize("name", ["arm-drawer", "cheetah-vel", "humanoid-dir-contact", "reacher-goal", "walker-params"])
def test_the_number_of_tasks_and_threads_changes_no_bit(name: str) -> None:
    family = registry.load(name)
    tasks = family.tasks("train")[:33]
    actions = actions_for(family, 33)[:10]
    whole_obs, whole = play(family, tasks, list(range(33)), actions, threads=2)
    for rows in (1, 5, 16):
        obs, steps = play(family, tasks[:rows], list(range(rows)), actions[:, :rows])
        assert np.array_equal(obs, whole_obs[:rows])
        for part, step in zip(steps, whole, strict=True):
            assert_same(part, step, rows)


def assert_same(part: BatchStep, whole: BatchStep, rows: int) -> None:
    assert np.array_equal(part.obs, whole.obs[:rows])
    assert np.array_equal(part.reward, whole.reward[:rows])
    for key, values in part.info.items():
        assert np.array_equal(values, whole.info[key][:rows])


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
    """Same seed and actions, other task: the same observations, but other rewards; other physics may show later."""
    family = registry.load(name)
    tasks = family.tasks("train")[:2]
    actions = np.repeat(actions_for(family, 1), 2, axis=1)
    obs, steps = play(family, tasks, [7, 7], actions)
    assert all(parameter.hidden for parameter in family.parameters.values())
    assert np.array_equal(obs[0], obs[1])
    same = all(np.array_equal(step.obs[0], step.obs[1]) for step in steps)
    assert same != name.startswith(PHYSICS)
    assert any(step.reward[0] != step.reward[1] for step in steps)


@pytest.mark.parametrize("name", [name for name in PLAIN if f"{name}-oracle" in NAMES])
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
    with pytest.raises(UserError, match="1 seeds for 2 tasks"):
        batch.reset([0])
    with pytest.raises(UserError, match="0 or more"):
        batch.reset([0, -1])
    batch.reset([0, 1])
    for shape in ((family.action_dim,), (2, family.action_dim + 1), (3, family.action_dim), (2, family.action_dim, 1)):
        with pytest.raises(UserError, match="actions have shape"):
            batch.step(np.zeros(shape))
    bad = np.zeros((2, family.action_dim))
    bad[1, 0] = np.nan
    with pytest.raises(UserError, match="task 1 is not finite"):
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
