"""Meta-World's environments that are stepped as arrays, against the installed package, step for step."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable
from typing import Any

import mujoco
import numpy as np
import pytest
from metaworld.utils import reward_utils
from scipy.spatial.transform import Rotation

from mql.errors import UserError
from mql.tasks import registry
from mql.tasks.families.meta_world import rewards
from mql.tasks.families.meta_world.environment import package_class
from mql.tasks.families.meta_world.family import MetaWorldFamily
from mql.tasks.families.meta_world.manipulation import quaternion
from mql.tasks.families.meta_world.names import STEPPED
from mql.tasks.families.meta_world.probe import expert
from mql.tasks.families.meta_world.sawyer import bare_model, package_model
from mql.tasks.families.meta_world.stepped import KINDS, SteppedMetaWorldFamily
from mql.tasks.family import Task
from mql.tasks.stepping import lanes
from mql.tasks.stepping.parallel import ParallelBatch

QUICK = 70  # steps: experts are at the object by then
SHOWN = slice(0, 36)  # of an observation; the goal, which the package's environment shows here, comes behind
INFO = ("obj_to_target", "in_place_reward", "grasp_reward")
Act = Callable[[np.ndarray], np.ndarray]


def family(name: str) -> SteppedMetaWorldFamily:
    loaded = registry.load(f"ml1-{name}")
    assert isinstance(loaded, SteppedMetaWorldFamily)
    return loaded


def batch(one: SteppedMetaWorldFamily, tasks: list[Task], threads: int = 1) -> ParallelBatch:
    built = one.make_batch(tasks, threads=threads)
    assert isinstance(built, ParallelBatch)
    return built


def random_actions(steps: int, rows: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1.0, 1.0, (steps, rows, 4)).astype(np.float32)


def with_expert(name: str) -> Act:
    def act(obs: np.ndarray) -> np.ndarray:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an expert that asks for more than [-1, 1] says so
            # (a copy: some experts write into what they are given)
            return np.clip(expert(name).get_action(obs.copy()), -1.0, 1.0).astype(np.float32)

    return act


def at_random(seed: int) -> Act:
    rng = np.random.default_rng(seed)
    return lambda _: rng.uniform(-1.0, 1.0, 4).astype(np.float32)


def of_the_package(one: SteppedMetaWorldFamily, task: Task, act: Act, steps: int) -> dict[str, np.ndarray]:
    """Play an episode of the package's own environment, the goal visible: actions and, in float64, what comes back."""
    environment = package_class(one.environment_name(task))()
    hidden = one.package_task(task)
    seen = pickle.loads(hidden.data) | {"partially_observable": False}
    environment.set_task(hidden._replace(data=pickle.dumps(seen)))
    obs, _ = environment.reset()
    rows: dict[str, list[Any]] = {"obs": [obs.copy()], "action": [], "reward": [], "success": [], "info": []}
    for _ in range(steps):
        action = act(obs)
        obs, reward, _, _, info = environment.step(action)
        rows["obs"].append(obs.copy())
        rows["action"].append(action)
        rows["reward"].append(float(reward))
        rows["success"].append(bool(info["success"]))
        rows["info"].append([float(info[key]) for key in INFO])
    environment.close()
    return {key: np.array(values) for key, values in rows.items()}


def compare(name: str, tasks: list[Task], episodes: list[dict[str, np.ndarray]]) -> None:
    """Play the same actions side by side; compare in float64, before the contract rounds to float32."""
    one = family(name)
    played = batch(one, tasks)
    played.reset([0] * len(tasks))
    dynamics = played._dynamics
    state = dynamics._after
    for step in range(len(episodes[0]["action"]) + 1):
        expected = np.stack([episode["obs"][step] for episode in episodes])
        assert np.array_equal(one.observe(state)[:, SHOWN], expected[:, SHOWN]), f"observation {step}"
        if step == len(episodes[0]["action"]):
            break
        action = np.stack([episode["action"][step] for episode in episodes]).astype(np.float64)
        before, state = dynamics.advance(action)
        outcome = one.outcome(before, state, action, {})
        assert outcome.at_goal is not None
        reward, success, info = (np.stack([e[key][step] for e in episodes]) for key in ("reward", "success", "info"))
        np.testing.assert_allclose(outcome.reward, reward, rtol=0.0, atol=1e-14, err_msg=f"step {step}")
        assert np.array_equal(outcome.at_goal, success), f"success at step {step}"
        ours = np.stack([outcome.info[key] for key in INFO], axis=1)
        np.testing.assert_allclose(ours, info, rtol=0.0, atol=1e-14, err_msg=f"step {step}")
    played.close()


@pytest.mark.parametrize("acting", ["expert", "random"])
@pytest.mark.parametrize("name", STEPPED)
def test_the_first_steps_are_the_packages(name: str, acting: str) -> None:
    """Observations bit for bit, rewards to 1e-14: a single number is squared otherwise than those of an array."""
    one = family(name)
    tasks = [one.tasks("test")[0], one.tasks("ood")[1]]
    acts = [with_expert(name) if acting == "expert" else at_random(row) for row in range(len(tasks))]
    compare(name, tasks, [of_the_package(one, task, act, QUICK) for task, act in zip(tasks, acts, strict=True)])


@pytest.mark.slow
@pytest.mark.parametrize("acting", ["expert", "random"])
@pytest.mark.parametrize("name", STEPPED)
def test_whole_episodes_are_the_packages(name: str, acting: str) -> None:
    one = family(name)
    tasks = [*one.tasks("test")[1:4], one.tasks("train")[7], one.tasks("ood")[2]]
    acts = [with_expert(name) if acting == "expert" else at_random(10 + row) for row in range(len(tasks))]
    steps = one.episode_length
    episodes = [of_the_package(one, task, act, steps) for task, act in zip(tasks, acts, strict=True)]
    if acting == "expert":
        assert np.mean([episode["success"].any() for episode in episodes]) >= 0.6  # the object is moved, not just seen
    compare(name, tasks, episodes)


@pytest.mark.parametrize("name", ["push", "drawer-close"])
def test_threads_neighbours_and_earlier_episodes_change_nothing(name: str) -> None:
    one = family(name)
    tasks, actions = one.tasks("train")[:5], random_actions(15, 5)

    def play(played: ParallelBatch, rows: slice) -> list[np.ndarray]:
        first = played.reset([0] * len(played.tasks))
        return [first, *(np.column_stack([s.obs, s.reward]) for s in (played.step(a[rows]) for a in actions))]

    together = batch(one, tasks)
    reference = play(together, slice(0, 5))
    for again in (play(together, slice(0, 5)), play(batch(one, tasks, threads=2), slice(0, 5))):
        assert all(np.array_equal(a, b) for a, b in zip(reference, again, strict=True))
    for row in (0, 3):
        alone = play(batch(one, [tasks[row]]), slice(row, row + 1))
        assert all(np.array_equal(a[[row]], b) for a, b in zip(reference, alone, strict=True))


def test_without_a_compiler_the_numbers_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    one, actions = family("door-open"), random_actions(15, 2)
    episodes = []
    for _ in range(2):
        played = batch(one, one.tasks("train")[:2])
        played.reset([0, 0])
        episodes.append([played.step(action).obs for action in actions])
        monkeypatch.setattr(lanes, "_functions", lambda: None)
    assert np.array_equal(*np.array(episodes))


def test_the_family_is_that_of_the_packages_environments() -> None:
    for name in ("reach", "drawer-open"):
        one, other = family(name), registry.load(f"ml1-{name}-wrapped")
        assert isinstance(other, MetaWorldFamily) and not other.native and one.native
        assert not isinstance(one.wrapped(), SteppedMetaWorldFamily)
        assert {split: [task.parameters for task in one.tasks(split)] for split in one.split_names} == {
            split: [task.parameters for task in other.tasks(split)] for split in other.split_names
        }
        task, actions = one.tasks("test")[0], random_actions(4, 1)[:, 0]
        answers = []
        for env in (one.make(task), one.wrapped().make(task)):
            rows: list[Any] = [env.reset(seed=3)[0]]
            rows += [env.step(action) for action in actions]
            answers.append(rows)
            env.close()
        ours, theirs = answers
        assert np.array_equal(ours[0], theirs[0])
        for mine, yours in zip(ours[1:], theirs[1:], strict=True):
            assert np.array_equal(mine[0], yours[0]) and mine[1] == pytest.approx(yours[1], abs=1e-6)
            assert mine[2:4] == yours[2:4] and mine[4].keys() == yours[4].keys()
    again = pickle.loads(pickle.dumps(family("push")))
    assert again.tasks("train") == family("push").tasks("train")


def test_names_and_kinds_agree() -> None:
    assert set(STEPPED) == set(KINDS)


def test_a_goal_on_top_of_the_object_is_refused() -> None:
    one = family("push")
    env = one.make(one.task({"rand_vec": (0.0, 0.7, 0.02, 0.0, 0.75, 0.015)}))
    with pytest.raises(UserError, match=r"push rejects the task's rand_vec: move the goal away"):
        env.reset(seed=0)


def test_a_simulation_that_diverges_is_lost_alone() -> None:
    one, tasks = family("push"), family("push").tasks("train")[:2]
    played, beside = batch(one, tasks), batch(one, [tasks[1]])
    start = [one.first_state(np.random.default_rng(0), task) for task in tasks]
    qpos, qvel = np.stack([each.qpos for each in start]), np.stack([each.qvel for each in start])
    qvel[0, 10] = 1e11
    played.set_state(qpos, qvel)
    beside.reset([0])
    for action in random_actions(3, 2):
        step, other = played.step(action), beside.step(action[1:])
        assert np.isnan(step.obs[0, :3]).all() and np.isnan(step.reward[0]) and not step.info["success"][0]
        assert np.array_equal(step.obs[1], other.obs[0]) and step.reward[1] == other.reward[0]
    played.reset([0, 0])
    assert np.isfinite(played.step(random_actions(1, 2)[0]).obs).all()


def test_a_state_of_ones_own_is_seen() -> None:
    one = family("push")
    env = one.make(one.tasks("train")[0])
    obs, _ = env.reset(seed=0)
    start = one.first_state(np.random.default_rng(0), one.tasks("train")[0])
    moved = start.qpos.copy()
    moved[9:12] += (0.05, -0.02, 0.0)
    np.testing.assert_allclose(env.set_state(moved, start.qvel)[4:7] - obs[4:7], (0.05, -0.02, 0.0), atol=1e-6)


def test_what_is_drawn_is_the_whole_model_in_the_tasks_state() -> None:
    one = family("door-open")
    played = batch(one, one.tasks("train")[:2])
    played.reset([0, 0])
    step = played.step(random_actions(1, 2)[0])
    shown = played.simulation(1)
    assert shown is not None and shown.model.ntex > 0
    np.testing.assert_allclose(shown.data.geom("handle").xpos, step.obs[1, 4:7], atol=1e-6)
    vector = np.array(one.tasks("train")[1].parameters["rand_vec"])
    np.testing.assert_allclose(shown.data.site("goal").xpos, vector + np.array([-0.3, -0.45, 0.0]))


@pytest.mark.parametrize("kind", ["sawyer_push_v3", "sawyer_drawer", "sawyer_door_pull"])
def test_what_is_stripped_has_no_mass(kind: str) -> None:
    whole, bare = package_model(f"sawyer_xyz/{kind}.xml"), bare_model(f"sawyer_xyz/{kind}.xml")
    assert bare.ngeom < whole.ngeom and bare.ntex == bare.nmat == 0
    for name in ("body_mass", "body_inertia", "body_ipos", "body_iquat", "dof_M0", "body_invweight0", "eq_data"):
        assert np.array_equal(getattr(whole, name), getattr(bare, name)), name
    left = {(bare.geom_type[i], *bare.geom_size[i], *bare.geom_friction[i]) for i in range(bare.ngeom)}
    touching = (whole.geom_contype == 1) | (whole.geom_conaffinity == 1)
    assert {
        (whole.geom_type[i], *whole.geom_size[i], *whole.geom_friction[i]) for i in np.flatnonzero(touching)
    } <= left
    assert whole.opt.integrator == mujoco.mjtIntegrator.mjINT_EULER  # whose steps can be split


def test_quaternions_are_scipys() -> None:
    rng = np.random.default_rng(0)
    turned = Rotation.concatenate(
        [Rotation.random(500, rng=rng), Rotation.from_rotvec(1e-4 * rng.normal(size=(50, 3)))]
    )
    matrices = turned.as_matrix()
    expected = np.array([Rotation.from_matrix(matrix).as_quat() for matrix in matrices])
    assert np.array_equal(quaternion(matrices.reshape(-1, 9)), expected)


@pytest.mark.parametrize("slope", ["long_tail", "gaussian"])
def test_slopes_are_the_packages(slope: Any) -> None:
    rng = np.random.default_rng(0)
    x, margins = rng.uniform(-0.2, 0.5, 200), rng.uniform(0.0, 0.3, 200)
    margins[:20] = 0.0
    with np.errstate(all="ignore"):
        ours = rewards.near(x, 0.0, 0.05, margins, gaussian=slope == "gaussian")
    pairs = zip(x, margins, strict=True)
    theirs = [reward_utils.tolerance(each, (0.0, 0.05), margin, slope) for each, margin in pairs]
    np.testing.assert_allclose(ours, theirs, rtol=1e-14, atol=0.0)
    assert np.isnan(rewards.near(np.array([np.nan]), 0.0, 0.05, 0.1)).all()


def test_both_is_the_hamacher_product() -> None:
    rng = np.random.default_rng(0)
    one, other = np.append(rng.uniform(size=50), [0.0, 0.0, 1.0]), np.append(rng.uniform(size=50), [0.0, 1.0, 1.0])
    expected = [reward_utils.hamacher_product(float(a), float(b)) for a, b in zip(one, other, strict=True)]
    assert np.array_equal(rewards.both(one, other), expected)
