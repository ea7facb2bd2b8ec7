"""The Fetch families as arrays against the package's own environments, step for step over whole episodes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mujoco
import numpy as np
import pytest
from fetch_tasks import STEPS, Array, family_of, neutral, stepped
from gymnasium_robotics.utils.rotations import mat2euler

from mql.tasks.families.robotics import fetch_dynamics
from mql.tasks.families.robotics.environment import make_robotics
from mql.tasks.families.robotics.fetch import KINDS
from mql.tasks.families.robotics.fetch_parallel import FetchFamily, angles
from mql.tasks.families.robotics.fetch_scenes import SCENES, started
from mql.tasks.family import Task
from mql.tasks.physics.episode import EpisodePhysics
from mql.tasks.physics.nuisances import factors
from mql.tasks.stepping.parallel import ParallelBatch

Script = Callable[[Array, Array, int], Array]  # (observation, place of the goal, step) -> action

GRIPPER, OBJECT = slice(0, 3), slice(3, 6)
ABOVE = np.array([0.0, 0.0, 0.1])  # m


def toward(displacement: Array, fingers: float) -> Array:
    return np.append(np.clip(displacement / 0.05, -1.0, 1.0), fingers).astype(np.float32)


def random_moves(seed: int) -> Script:
    return lambda obs, goal, t: np.random.default_rng((seed, t)).uniform(-1.0, 1.0, 4).astype(np.float32)


def one_way(seed: int) -> Script:
    """Keep at full stroke for ten steps each: into the table, into the robot, out of reach."""
    return lambda obs, goal, t: np.sign(np.random.default_rng((seed, t // 10)).uniform(-1.0, 1.0, 4)).astype(np.float32)


def pushing(obs: Array, goal: Array, t: int) -> Array:
    """Go over the block to its far side as seen from the goal, come down, and push it to the goal."""
    gripper, block = obs[GRIPPER], obs[OBJECT]
    ahead = (goal - block) * [1.0, 1.0, 0.0]
    ahead = ahead / max(float(np.linalg.norm(ahead)), 1e-9)
    behind = block - 0.09 * ahead
    if t < 8:
        return toward(behind + ABOVE - gripper, -1.0)
    if t < 13:
        return toward(behind - gripper, -1.0)
    return toward((goal - gripper) * [0.5, 0.5, 0.0] + (block - gripper) * [0.0, 0.0, 1.0], -1.0)


def hitting(obs: Array, goal: Array, t: int) -> Array:
    """Run at the object, whatever comes of it."""
    return toward(obs[OBJECT] - obs[GRIPPER], -1.0)


def picking(obs: Array, goal: Array, t: int) -> Array:
    """Come down over the block with open fingers, close them, and bring it to the goal."""
    to_block = obs[OBJECT] - obs[GRIPPER]
    if t < 10:
        return toward(to_block + ABOVE, 1.0)
    if t < 18:
        return toward(to_block, 1.0)
    if t < 23:
        return toward(np.zeros(3), -1.0)
    return toward((goal - obs[OBJECT]) * 0.5, -1.0)


def played(env: Any, seed: int, script: Script, goal: Array) -> tuple[Array, Array, Array]:
    """Play one episode; return observations, rewards and whether it is solved, step for step."""
    obs, rewards, solved = [env.reset(seed=seed)[0]], [], []
    for t in range(STEPS):
        seen, reward, _, _, info = env.step(script(obs[-1], goal, t))
        obs.append(seen)
        rewards.append(reward)
        solved.append(info["success"])
    return np.stack(obs), np.array(rewards), np.array(solved)


def goal_of(family: FetchFamily, task: Task) -> Array:
    values = {name: np.array([value], np.float64) for name, value in task.parameters.items()}
    goal: Array = family.place_of_goal(values)[0]
    return goal


def compare(name: str, parameters: Any, seed: int, script: Script) -> tuple[Array, Array]:
    """Play an episode in both, and compare all that an agent is given; return observations and the goal."""
    ours, theirs = stepped(name), family_of(name)
    goal = goal_of(ours, ours.task(parameters))
    env, package = ours.make(ours.task(parameters)), theirs.make(theirs.task(parameters))
    mine, reference = (played(each, seed, script, goal) for each in (env, package))
    # The simulation is the same to the last bit. Angles and velocities are other sums of the same numbers: 1e-16 apart,
    # which may round to another number of single precision, as which observations and rewards are given.
    np.testing.assert_allclose(mine[0], reference[0], rtol=2e-7, atol=1e-12)
    np.testing.assert_allclose(mine[1], reference[1], rtol=0.0, atol=1e-7)
    np.testing.assert_array_equal(mine[2], reference[2])
    raw: Any = package.inner.unwrapped
    own = env.simulation()  # type: ignore[attr-defined]
    for part in ("qpos", "qvel", "qacc_warmstart", "time"):
        np.testing.assert_array_equal(getattr(own.data, part), getattr(raw.data, part), err_msg=part)
    env.close()
    package.close()
    return mine[0], goal


@pytest.mark.parametrize("kind", KINDS)
def test_scenes_start_as_the_package_builds_them(kind: str) -> None:
    raw: Any = make_robotics(KINDS[kind].env_id).unwrapped
    scene, start = SCENES[kind], started(SCENES[kind])
    np.testing.assert_array_equal(start.qpos, raw.initial_qpos)
    np.testing.assert_array_equal(start.qvel, raw.initial_qvel)
    np.testing.assert_array_equal(start.gripper, raw.initial_gripper_xpos)
    assert start.time == raw.initial_time
    if scene.has_object:
        assert start.height == raw.height_offset
    for seed in range(5):
        raw.reset(seed=seed)
        np.testing.assert_array_equal(scene.draw(np.random.default_rng(seed)), raw.data.qpos)
    raw.close()


def test_pushing_is_bit_for_bit_the_packages() -> None:
    obs, goal = compare("fetch-push", stepped("fetch-push").tasks("train")[1].parameters, 3, pushing)
    moved = np.linalg.norm(obs[-1, OBJECT] - obs[0, OBJECT])
    assert moved > 0.05, "the block was not pushed"
    assert np.linalg.norm(obs[-1, OBJECT] - goal) < np.linalg.norm(obs[0, OBJECT] - goal)


def test_picking_is_bit_for_bit_the_packages() -> None:
    parameters = neutral("fetch-pick", goal=(0.05, 0.05), goal_height=0.15)
    obs, _ = compare("fetch-pick", parameters, 3, picking)
    assert obs[-1, 5] > obs[0, 5] + 0.08, "the block was not lifted"


SCRIPTS = {"reach": (), "push": (pushing, hitting), "slide": (hitting,), "pick": (picking, hitting)}


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["", "-sparse", "-physics"])
@pytest.mark.parametrize("kind", KINDS)
def test_whole_episodes_are_bit_for_bit_the_packages(kind: str, variant: str) -> None:
    """Random moves, strokes that hit table, robot and the ends of the arm, and scripts, in tasks of all splits."""
    name = f"fetch-{kind}{variant}"
    for seed, split in enumerate(("train", "test", "ood")):
        task = stepped(name).tasks(split)[seed]
        for script in (random_moves(seed), one_way(seed), *SCRIPTS[kind]):
            compare(name, task.parameters, seed, script)


@pytest.mark.parametrize("threads", [1, 2])
def test_tasks_are_bit_equal_to_environments_alone(threads: int) -> None:
    """Tasks and seeds of their own, delays among them, beside one another and after other tasks."""
    family = stepped("fetch-push-physics")
    tasks, seeds = [*family.tasks("train")[:4], family.tasks("ood")[0]], [7, 8, 9, 7, 2**31 - 1]
    moves = np.random.default_rng(0).uniform(-1.2, 1.2, (12, 5, 4)).astype(np.float32)
    batch = family.make_batch(tasks, threads=threads)
    batch.reset([1, 2, 3, 4, 5])
    batch.step(moves[0])
    rows = [batch.reset(seeds)]
    steps = [batch.step(np.clip(action, -1.0, 1.0)) for action in moves]
    rows += [step.obs for step in steps]
    batch.close()
    for row in (0, 3, 4):
        env = family.make(tasks[row])
        alone = [env.reset(seed=seeds[row])[0]]
        for t, action in enumerate(moves[:, row]):
            obs, reward, *_ = env.step(action)
            alone.append(obs)
            assert reward == steps[t].reward[row]
        np.testing.assert_array_equal(np.stack(rows)[:, row], np.stack(alone))
        env.close()


def test_episodes_of_a_randomised_family_are_those_of_the_package() -> None:
    drawn = factors({"body_mass": (0.5, 1.5), "geom_friction": (0.5, 1.5)})
    ours, theirs = stepped("fetch-push").randomised(drawn), family_of("fetch-push").randomised(drawn)
    parameters = ours.tasks("train")[2].parameters
    envs = ours.make(ours.task(parameters)), theirs.make(theirs.task(parameters))
    for seed in (4, 5, 4):
        mine, reference = (played(env, seed, hitting, np.zeros(3)) for env in envs)
        np.testing.assert_allclose(mine[0], reference[0], rtol=0.0, atol=1e-6)
    for env in envs:
        env.close()


@pytest.mark.parametrize("name", ["fetch-reach", "fetch-push-sparse", "fetch-pick"])
def test_reward_says_what_transitions_are_worth_in_any_task(name: str) -> None:
    family = stepped(name)
    played_in, judged_in = family.tasks("train")[:2]
    moves = np.random.default_rng(3).uniform(-1.0, 1.0, (20, 1, 4)).astype(np.float32)
    obs, worth = [], {}
    for task in (played_in, judged_in):
        same = dict(task.parameters) | {
            key: played_in.parameters[key] for key in ("mass", "friction") if key in task.parameters
        }
        batch = family.make_batch([family.task(same)])
        obs = [batch.reset([2]), *(batch.step(move).obs for move in moves)]
        batch.reset([2])
        worth[task.index] = np.concatenate([batch.step(move).reward for move in moves])
        batch.close()
    seen = np.concatenate(obs)
    for task in (played_in, judged_in):
        told = family.reward(seen[:-1], seen[1:], moves[:, 0], task)
        assert told is not None
        np.testing.assert_allclose(told, worth[task.index], rtol=0.0, atol=1e-6)


def test_a_hidden_offset_of_the_gripper_leaves_reward_unsaid_only_where_it_counts() -> None:
    for name, said in (("fetch-reach-physics", False), ("fetch-push-physics", True)):
        family = stepped(name)
        obs = np.zeros((2, family.obs_dim), np.float32)
        told = family.reward(obs[:1], obs[1:], np.zeros((1, 4)), family.tasks("train")[0])
        assert (told is not None) is said


def test_angles_are_the_packages() -> None:
    rng = np.random.default_rng(0)
    quaternions = rng.normal(size=(200, 4))
    quaternions[-2:] = [[np.sqrt(0.5), 0.0, np.sqrt(0.5), 0.0], [np.sqrt(0.5), 0.0, -np.sqrt(0.5), 0.0]]
    rotations = np.zeros((200, 9))
    for row, quaternion in zip(rotations, quaternions, strict=True):
        mujoco.mju_quat2Mat(row, quaternion / np.linalg.norm(quaternion))
    shaped = rotations.reshape(-1, 3, 3)
    np.testing.assert_allclose(angles(shaped), mat2euler(shaped), rtol=0.0, atol=1e-14)


def test_a_simulation_that_blows_up_becomes_nan_and_the_others_go_on() -> None:
    family = stepped("fetch-push")
    task = family.tasks("train")[0]
    batch = family.make_batch([task, task])
    assert isinstance(batch, ParallelBatch)
    start = started(family.scene)
    qpos, qvel = np.stack([start.qpos, start.qpos]), np.stack([start.qvel, start.qvel])
    qvel[0, -1] = 1e12
    batch.set_state(qpos, qvel)
    for _ in range(2):
        step = batch.step(np.zeros((2, 4)))
        assert np.isnan(step.obs[0]).any() and np.isnan(step.reward[0]) and not step.info["success"][0]
        assert np.isfinite(step.obs[1]).all()
    assert np.isfinite(batch.reset([1, 2])).all()
    batch.close()


def test_what_another_thread_forgets_of_the_tasks_is_no_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs that share a process share what is known of a family's tasks; whoever finds too much there forgets it."""
    family = stepped("fetch-push-physics")
    tasks = [family.task(neutral("fetch-push-physics", mass=mass)) for mass in (1.3, 1.9)]
    apply, applied = EpisodePhysics.apply, list[int]()

    def apply_and_forget(self: EpisodePhysics, *args: Any, **kwargs: Any) -> None:
        applied.append(1)
        apply(self, *args, **kwargs)
        for known in fetch_dynamics._known.values():
            known.clear()

    expected = begun(family, tasks)
    fetch_dynamics._known.clear()
    monkeypatch.setattr(EpisodePhysics, "apply", apply_and_forget)
    np.testing.assert_array_equal(begun(family, tasks), expected)
    assert len(applied) == 2 * len(tasks)


def begun(family: FetchFamily, tasks: list[Task]) -> Array:
    batch = family.make_batch(tasks)
    seen = [batch.reset([1, 2])] + [batch.step(np.ones((2, 4), np.float32)).obs for _ in range(3)]
    batch.close()
    return np.stack(seen)


def test_disturbances_and_oracle_go_on_top() -> None:
    from mql.tasks.disturbances.family import disturbed
    from mql.tasks.disturbances.settings import Actuation, Sensing

    ours, theirs = (
        disturbed(family, Sensing(noise=0.01, delay_s=0.04), Actuation(gain=0.8, delay_s=0.04))
        for family in (stepped("fetch-push"), family_of("fetch-push"))
    )
    moves = np.random.default_rng(1).uniform(-1.0, 1.0, (5, 1, 4)).astype(np.float32)
    rows = []
    for family in (ours, theirs):
        batch = family.make_batch(family.tasks("train")[:1])
        rows.append([batch.reset([3]), *(batch.step(move).obs for move in moves)])
        batch.close()
    np.testing.assert_array_equal(np.stack(rows[0]), np.stack(rows[1]))
    oracle = stepped("fetch-push").as_oracle()
    batch = oracle.make_batch(oracle.tasks("train")[:1])
    task = oracle.tasks("train")[0]
    told = np.concatenate([np.atleast_1d(value) for value in task.parameters.values()])
    np.testing.assert_array_equal(batch.reset([0])[0, 25:], told.astype(np.float32))
    batch.close()
