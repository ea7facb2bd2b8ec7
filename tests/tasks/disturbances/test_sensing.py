"""What is seen: noise, bias, delay and history against numbers worked out by hand, whatever is beside a task."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import cloudpickle
import numpy as np
import numpy.typing as npt
import pytest
from gymnasium.utils.env_checker import check_env
from lab_environments import Cart
from scipy import stats

from mql import tasks as suite
from mql.tasks import registry
from mql.tasks.distributions import Uniform
from mql.tasks.disturbances.family import disturbed, undisturbed
from mql.tasks.disturbances.settings import Actuation, Sensed, Sensing
from mql.tasks.family import FloatArray, Task, TaskFamily

pytestmark = pytest.mark.newest

POINT = registry.load("point-robot")
ORACLE = registry.load("point-robot-oracle")
ALL = Sensing(noise=0.1, bias=0.05, delay_s=0.2, history=3)
SLOW = Actuation(delay_s=0.1, gain=0.5, rate_limit=3.0)


def carts() -> TaskFamily:
    return suite.from_gymnasium(
        Cart, {"gain": Uniform(0.5, 2.0)}, name="carts", episode_length=10, success_key="is_success"
    )


def actions(family: TaskFamily, rows: int, seed: int = 0) -> npt.NDArray[np.float64]:
    shape = (family.episode_length, rows, family.action_dim)
    return np.random.default_rng(seed).uniform(-1.0, 1.0, shape)


def played(family: TaskFamily, tasks: Sequence[Task], seeds: Sequence[int], given: Any) -> tuple[FloatArray, Any]:
    """Observations [T + 1, N, O] and the steps of one episode."""
    batch = family.make_batch(tasks)
    try:
        obs, steps = [batch.reset(seeds)], [batch.step(action) for action in given]
    finally:
        batch.close()
    return np.stack([*obs, *(step.obs for step in steps)]), steps


def errors(sensing: Sensing, seeds: Sequence[int]) -> FloatArray:
    """What is seen minus the truth, [T + 1, N, O], of as many episodes of one task."""
    tasks = [POINT.tasks("train")[0]] * len(seeds)
    given = actions(POINT, len(seeds))
    return played(disturbed(POINT, sensing), tasks, seeds, given)[0] - played(POINT, tasks, seeds, given)[0]


def test_noise_is_white_gaussian_with_the_standard_deviation_that_is_stated() -> None:
    found = errors(Sensing(noise=0.25), range(200))  # 21 steps of 200 episodes with 2 numbers
    assert stats.kstest(found.ravel() / 0.25, "norm").pvalue > 0.01
    assert found.std() == pytest.approx(0.25, rel=0.03) and abs(found.mean()) < 0.01
    for one, other in ((found[1:], found[:-1]), (found[:, 1:], found[:, :-1]), (found[..., 0], found[..., 1])):
        assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.04  # over steps, episodes and numbers


def test_a_bias_is_constant_in_an_episode_and_uniform_over_episodes() -> None:
    found = errors(Sensing(bias=0.25), range(300))
    assert np.ptp(found, axis=0).max() < 1e-6
    first = found[0].ravel()
    assert len(set(first)) > 590 and stats.kstest(first / 0.25, "uniform", args=(-1.0, 2.0)).pvalue > 0.01


def test_a_delay_of_k_steps_shows_what_was_so_many_steps_ago_and_the_first_until_then() -> None:
    tasks, given = POINT.tasks("train")[:2], actions(POINT, 2)
    truth, _ = played(POINT, tasks, [1, 2], given)
    for seconds, steps in ((0.1, 1), (0.3, 3), (0.26, 3), (0.34, 3)):
        seen, _ = played(disturbed(POINT, Sensing(delay_s=seconds)), tasks, [1, 2], given)
        assert np.array_equal(seen[steps:], truth[:-steps])
        assert all(np.array_equal(seen[t], truth[0]) for t in range(steps))


def test_a_history_is_the_newest_observation_and_those_before_it() -> None:
    tasks, given = POINT.tasks("train")[:2], actions(POINT, 2)
    truth, _ = played(POINT, tasks, [1, 2], given)
    family = disturbed(POINT, Sensing(history=3))
    seen, _ = played(family, tasks, [1, 2], given)
    assert family.obs_dim == 6 and family.observation_space.shape == (6,)
    before = np.concatenate([truth[:1], truth[:1], truth])
    assert np.array_equal(seen, np.concatenate([truth, before[1:-1], before[:-2]], axis=2))


def test_a_reading_is_made_once_however_often_it_is_seen() -> None:
    tasks, given = POINT.tasks("train")[:2], actions(POINT, 2)
    read, _ = played(disturbed(POINT, Sensing(noise=0.1, bias=0.1)), tasks, [1, 2], given)
    late, _ = played(disturbed(POINT, Sensing(noise=0.1, bias=0.1, delay_s=0.2, history=2)), tasks, [1, 2], given)
    assert np.array_equal(late[2:, :, :2], read[:-2]) and np.array_equal(late[3:, :, 2:], read[:-3])


def test_each_number_may_be_seen_in_its_own_way() -> None:
    tasks, given = POINT.tasks("train")[:2], actions(POINT, 2)
    truth, _ = played(POINT, tasks, [1, 2], given)
    own = [Sensed(key="y", columns=(1,), sensing=Sensing(noise=0.5, history=2, delay_s=0.1), per=5.0)]
    seen, _ = played(disturbed(POINT, own), tasks, [1, 2], given)
    assert seen.shape[2] == 3 and np.array_equal(seen[..., 0], truth[..., 0])
    error = seen[1:, :, 1] - truth[:-1, :, 1]
    assert 0.05 < error.std() < 0.15  # 0.5 of a unit of which 5 are seen as 1
    assert np.array_equal(seen[1:, :, 2], seen[:-1, :, 1])


def test_visible_task_parameters_stand_at_the_end_and_stay_true() -> None:
    assert ORACLE.visible == ("goal",)
    family = disturbed(ORACLE, ALL)
    seen, _ = played(family, ORACLE.tasks("train")[:2], [1, 2], actions(ORACLE, 2))
    goals = np.array([task.parameters["goal"] for task in ORACLE.tasks("train")[:2]], np.float32)
    assert family.obs_dim == 3 * 2 + 2 and (seen[..., 6:] == goals).all()
    assert disturbed(POINT, ALL).as_oracle().obs_dim == 8


def test_reward_success_and_info_are_those_of_the_true_state() -> None:
    tasks, given = POINT.tasks("train")[:2], actions(POINT, 2)
    truth, known = played(POINT, tasks, [1, 2], given)
    seen, steps = played(disturbed(POINT, ALL), tasks, [1, 2], given)
    assert not np.array_equal(truth, seen[..., :2])
    for step, plain in zip(steps, known, strict=True):
        assert np.array_equal(step.reward, plain.reward) and np.array_equal(step.truncated, plain.truncated)
        assert all(np.array_equal(step.info[name], plain.info[name]) for name in plain.info)


@pytest.mark.parametrize("inner", [POINT, ORACLE, registry.load("cheetah-vel"), carts()], ids=lambda each: each.name)
def test_a_task_is_bit_equal_alone_and_beside_others(inner: TaskFamily) -> None:
    step = inner.control_timestep
    family = disturbed(inner, Sensing(noise=0.1, bias=0.05, delay_s=2 * step, history=3), Actuation(delay_s=step))
    tasks, seeds = family.tasks("train")[:4], [5, 6, 7, 8]
    given = actions(family, 4)[:40]
    together, steps = played(family, tasks, seeds, given)
    for row, task in enumerate(tasks):
        env = cloudpickle.loads(cloudpickle.dumps(family)).make(task)
        assert np.array_equal(env.reset(seed=seeds[row])[0], together[0, row])
        for number, action in enumerate(given):
            obs, reward, *_ = env.step(action[row])
            assert np.array_equal(obs, together[number + 1, row])
            assert np.float32(reward) == steps[number].reward[row]
        env.close()
    shuffled, _ = played(family, tasks[2:][::-1], seeds[2:][::-1], given[:, 2:][:, ::-1])
    assert np.array_equal(shuffled[:, ::-1], together[:, 2:])


def test_an_ended_episode_shows_its_last_observation() -> None:
    family = disturbed(POINT, Sensing(noise=0.1))
    tasks = family.tasks("train")[:1]
    batch, env = family.make_batch(tasks), family.make(tasks[0])
    batch.reset([1])
    env.reset(seed=1)
    for _ in range(family.episode_length):
        last, own = batch.step(np.ones((1, 2))), env.step(np.ones(2))
    after = batch.step(np.ones((1, 2)))
    assert last.truncated.all() and np.array_equal(after.obs, last.obs) and after.reward[0] == 0.0
    assert np.array_equal(own[0], last.obs[0]) and np.array_equal(env.step(np.ones(2))[0], own[0])


def test_without_a_seed_episodes_go_on_in_a_stream_and_no_two_are_alike() -> None:
    def episodes() -> list[FloatArray]:
        env = disturbed(POINT, Sensing(noise=0.1)).make(POINT.tasks("train")[0])
        return [env.reset(seed=3)[0], env.reset()[0], env.reset()[0]]

    first, again = episodes(), episodes()
    assert all(np.array_equal(one, other) for one, other in zip(first, again, strict=True))
    assert not np.array_equal(first[1], first[2])


def test_disturbances_around_one_another_add_up_and_draw_apart() -> None:
    once = disturbed(POINT, Sensing(noise=0.3))
    twice = disturbed(once, Sensing(noise=0.3))
    tasks, given = POINT.tasks("train")[:1] * 200, actions(POINT, 200)
    truth = played(POINT, tasks, range(200), given)[0]
    found = played(twice, tasks, range(200), given)[0] - truth
    assert found.std() == pytest.approx(0.3 * np.sqrt(2), rel=0.03)
    assert undisturbed(twice) is POINT


def test_gymnasiums_checker_passes_and_pictures_are_taken() -> None:
    env = disturbed(POINT, ALL, SLOW).make(POINT.tasks("train")[0], render_mode="rgb_array")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on unbounded boxes, and that it is a wrapper
        check_env(env, skip_render_check=True)
    env.reset(seed=0)
    assert env.render().shape == (240, 240, 3)  # type: ignore[union-attr]


def test_off_is_the_family_itself() -> None:
    assert disturbed(POINT) is POINT
    assert disturbed(POINT, Sensing(), Actuation(gain=(1.0, 1.0))) is POINT
    assert disturbed(POINT, [Sensed(key="x", columns=(0,), sensing=Sensing())]) is POINT


def test_what_the_family_is_stays_so() -> None:
    family = disturbed(POINT, ALL, SLOW)
    assert family.name == POINT.name and family.tasks("ood") == POINT.tasks("ood")
    assert family.task({"goal": [0.5, 0.5]}).in_training_range and family.describe()["parameters"]
    assert family.variant("harder", "noisy").name == "point-robot-harder"
