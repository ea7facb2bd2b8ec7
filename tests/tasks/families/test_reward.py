"""`TaskFamily.reward`: what stored transitions would have been worth in another task, against the simulation itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import mujoco
import numpy as np
import pytest

from mql.errors import UserError
from mql.tasks import registry
from mql.tasks.disturbances.family import disturbed
from mql.tasks.disturbances.settings import Sensing
from mql.tasks.family import Task, TaskFamily
from mql.tasks.physics.centre_of_mass import centre_of_mass

EXACT = {  # the largest error: observations are float32, and a place far from 0 has an error of its own
    "ant-goal": 1e-5,
    "ant-goal-legacy": 1e-5,
    "ant-goal-contact": 1e-5,
    "ant-goal-oracle": 1e-5,
    "cheetah-dir-legacy": 1e-4,
    "cheetah-vel-legacy": 1e-4,
    "point-robot": 1e-5,
    "point-robot-oracle": 1e-5,
    "reacher-goal": 1e-5,
    "reacher-goal-narrow": 1e-5,
    "reacher-goal-oracle": 1e-5,
}
ESTIMATED = (
    *("ant-dir", "ant-dir-legacy", "ant-dir-contact", "ant-dir-angles", "ant-dir-oracle"),
    *("arm-drawer", "arm-push", "arm-reach", "arm-reach-oracle"),
    *("cheetah-dir", "cheetah-faults", "cheetah-vel", "cheetah-vel-narrow", "cheetah-vel-oracle"),
    *("hopper-params", "hopper-params-v5", "walker-params", "walker-params-v5", "walker-params-oracle"),
    *("humanoid-dir", "humanoid-dir-contact", "humanoid-dir-legacy", "humanoid-dir-oracle"),
)
# Tasks differ in nothing but the reward, so that the same actions lead to the same states.
SAME_PHYSICS = ("ant-", "cheetah-dir", "cheetah-vel", "humanoid-", "point-", "reacher-")
ROWS, STEPS = 4, 60


@dataclass
class Played:
    """Random play: observations [T, N, O], actions [T, N, A], rewards and whether the episode went on, both [T, N]."""

    before: np.ndarray
    after: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    alive: np.ndarray


def play(family: TaskFamily, tasks: Sequence[Task]) -> Played:
    shape = (min(STEPS, family.episode_length), len(tasks), family.action_dim)
    actions = np.random.default_rng(3).uniform(-1.0, 1.0, shape).astype(np.float32)
    batch = family.make_batch(tasks)
    obs, rewards, alive = [batch.reset(range(len(tasks)))], [], []
    ended = np.zeros(len(tasks), np.bool_)
    for action in actions:
        step = batch.step(action)
        obs.append(step.obs)
        rewards.append(step.reward)
        alive.append(~ended)
        ended = ended | step.terminated
    batch.close()
    return Played(np.array(obs[:-1]), np.array(obs[1:]), actions, np.array(rewards), np.array(alive))


def rewards_of(family: TaskFamily, played: Played, tasks: Sequence[Task]) -> np.ndarray:
    """[T, N], column i in task i."""
    columns = []
    for column, task in enumerate(tasks):
        reward = family.reward(played.before[:, column], played.after[:, column], played.actions[:, column], task)
        assert reward is not None and reward.dtype == np.float32
        columns.append(reward)
    return np.stack(columns, axis=1)


def explained(predicted: np.ndarray, truth: np.ndarray) -> float:
    """R2."""
    return 1.0 - float(((predicted - truth) ** 2).mean() / truth.var())


def first_tasks(family: TaskFamily) -> list[Task]:
    tasks = family.tasks("train")
    return [tasks[row % len(tasks)] for row in range(ROWS)]


@pytest.mark.parametrize("name", [*EXACT, *ESTIMATED])
def test_rewards_are_those_of_the_environment(name: str) -> None:
    family = registry.load(name)
    tasks = first_tasks(family)
    played = play(family, tasks)
    found, truth = rewards_of(family, played, tasks)[played.alive], played.rewards[played.alive]
    if name in EXACT:
        assert np.abs(found - truth).max() < EXACT[name]
    else:
        assert explained(found, truth) > 0.9


@pytest.mark.parametrize("name", [name for name in (*EXACT, *ESTIMATED) if name.startswith(SAME_PHYSICS)])
def test_a_control_variate_relabels_what_was_stored(name: str) -> None:
    """The same actions and seeds in other tasks: stored reward + reward(new task) - reward(old task)."""
    family = registry.load(name)
    old = first_tasks(family)
    new = [*old[1:], old[0]]
    played, truth = play(family, old), play(family, new)
    assert np.array_equal(played.alive, truth.alive)
    difference = rewards_of(family, played, new) - rewards_of(family, played, old)
    found, right = (played.rewards + difference)[played.alive], truth.rewards[truth.alive]
    if name in EXACT:
        assert np.abs(found - right).max() < 2 * EXACT[name]
    else:  # two opposite directions double the error of a speed
        assert explained(found, right) > 0.85


def test_an_estimated_speed_counts_later_velocities_more_where_the_integrator_does() -> None:
    """Plain MuJoCo: Euler moves by the velocity after each physics step, so a constant acceleration shows exactly."""
    family = registry.load("cheetah-vel")
    model = mujoco.MjModel.from_xml_string(
        "<mujoco><option timestep='0.01' gravity='3 0 0'/><worldbody><body><joint type='slide' axis='1 0 0'/>"
        "<geom size='0.1'/></body></worldbody></mujoco>"
    )
    data = mujoco.MjData(model)
    data.qvel[0] = start = 0.7
    mujoco.mj_step(model, data, nstep=5)
    moved = family.displacement(np.array([start]), np.array([data.qvel[0]]))  # type: ignore[attr-defined]
    assert moved == pytest.approx(data.qpos[0], rel=1e-12)


def test_the_humanoids_centre_of_mass_is_mujocos() -> None:
    model = registry.load("humanoid-dir").base()  # type: ignore[attr-defined]
    rng = np.random.default_rng(0)
    poses = model.qpos0 + rng.uniform(-0.5, 0.5, (5, model.nq))
    data = mujoco.MjData(model)
    found = centre_of_mass(model, poses)
    for pose, centre in zip(poses, found, strict=True):
        data.qpos[:] = pose
        mujoco.mj_kinematics(model, data)
        mujoco.mj_comPos(model, data)
        assert centre == pytest.approx(data.subtree_com[0], abs=1e-12)


def test_any_value_of_a_parameter_can_be_asked_for() -> None:
    family = registry.load("point-robot")
    place = np.zeros((1, 2), np.float32)
    task = family.task({"goal": (3.0, 4.0)})
    assert family.reward(place, place, np.zeros((1, 2)), task) == pytest.approx([-5.0])


def test_a_peg_that_may_lean_has_no_reward() -> None:
    family = registry.load("arm-peg")
    obs = np.zeros((3, family.obs_dim), np.float32)
    assert family.reward(obs, obs, np.zeros((3, family.action_dim)), family.tasks("train")[0]) is None


def test_disturbed_senses_have_no_reward() -> None:
    inner = registry.load("cheetah-vel")
    family = disturbed(inner, Sensing(noise=0.01))
    obs = np.zeros((3, family.obs_dim), np.float32)
    assert inner.reward(obs, obs, np.zeros((3, 6)), inner.tasks("train")[0]) is not None
    assert family.reward(obs, obs, np.zeros((3, 6)), family.tasks("train")[0]) is None


def test_bad_arrays_are_refused_clearly() -> None:
    family = registry.load("cheetah-vel")
    task, obs, action = family.tasks("train")[0], np.zeros((3, 17)), np.zeros((3, 6))
    with pytest.raises(UserError, match="observations have shape"):
        family.reward(obs, obs[:2], action, task)
    with pytest.raises(UserError, match="observations have shape"):
        family.reward(obs[0], obs[0], action[0], task)
    with pytest.raises(UserError, match="actions have shape"):
        family.reward(obs, obs, action[:2], task)
    with pytest.raises(UserError, match="a task of family"):
        family.reward(obs, obs, action, registry.load("cheetah-dir").tasks("train")[0])
    assert family.reward(obs[:0], obs[:0], action[:0], task).shape == (0,)  # type: ignore[union-attr]
