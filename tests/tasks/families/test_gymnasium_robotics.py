"""Hand, Adroit, kitchen and maze against the package's own environments, recompiled models, and numbers by hand."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import pytest

from mql.tasks import registry
from mql.tasks.families.robotics.adroit import WORKS
from mql.tasks.families.robotics.environment import make_robotics
from mql.tasks.families.robotics.kitchen import JOBS
from mql.tasks.wrapped.gymnasium_environment import GymnasiumEnvironment
from mql.tasks.wrapped.gymnasium_family import GymnasiumFamily

Array = np.ndarray[Any, Any]
DIMENSIONS = {
    "hand-reach": (63, 20, 50),
    "adroit-door": (39, 28, 200),
    "adroit-hammer": (46, 26, 200),
    "kitchen": (59, 9, 280),
    "kitchen-sparse": (59, 9, 280),
    "maze": (4, 2, 150),
}


def family_of(name: str) -> GymnasiumFamily:
    family = registry.load(name)
    assert isinstance(family, GymnasiumFamily)
    return family


def opened(name: str, parameters: Mapping[str, object]) -> GymnasiumEnvironment:
    family = family_of(name)
    return family.make(family.task(parameters))


def actions(size: int, steps: int) -> Array:
    return np.random.default_rng(0).uniform(-1.0, 1.0, (steps, size)).astype(np.float32)


def play(name: str, parameters: Mapping[str, object], steps: int, seed: int = 2) -> tuple[Array, Array]:
    """Play the start of an episode with random actions; return observations and rewards."""
    env = opened(name, parameters)
    obs, rewards = [env.reset(seed=seed)[0]], []
    for action in actions(family_of(name).action_dim, steps):
        seen, reward, terminated, _, _ = env.step(action)
        assert not terminated
        obs.append(seen)
        rewards.append(reward)
    env.close()
    return np.stack(obs), np.array(rewards)


@pytest.mark.parametrize("name", DIMENSIONS)
def test_spaces_and_splits(name: str) -> None:
    family = family_of(name)
    assert (family.obs_dim, family.action_dim, family.episode_length) == DIMENSIONS[name]
    assert all(not task.in_training_range for task in family.tasks("ood"))
    assert all(task.in_training_range for split in ("train", "test") for task in family.tasks(split))
    if "kitchen" not in name:
        assert {split: len(family.tasks(split)) for split in family.splits} == {"train": 100, "test": 30, "ood": 20}


@pytest.mark.parametrize(
    ("name", "one", "other"),
    [
        ("hand-reach", {"finger": 0, "offset": (0, 0, 0)}, {"finger": 3, "offset": (0.01, 0, 0)}),
        ("maze", {"goal_x": 1.0, "goal_y": 1.0}, {"goal_x": -2.0, "goal_y": 0.0}),
    ],
)
def test_observation_does_not_tell_the_goal_but_rewards_do(
    name: str, one: Mapping[str, object], other: Mapping[str, object]
) -> None:
    first, second = (play(name, parameters, steps=20) for parameters in (one, other))
    np.testing.assert_array_equal(first[0], second[0])
    assert (first[1] != second[1]).all()


class Scripted:
    """Stands in for a random generator: one finger, one offset, and no goal without a meeting."""

    def __init__(self, finger: str, offset: tuple[float, ...]) -> None:
        self._finger, self._offset = finger, offset

    def choice(self, names: list[str]) -> str:
        assert self._finger in names
        return self._finger

    def normal(self, scale: float, size: Any) -> Array:
        return np.array(self._offset)

    def uniform(self) -> float:
        return 1.0


@pytest.mark.parametrize(("number", "finger"), list(enumerate(["fftip", "mftip", "rftip", "lftip"])))
def test_hand_goal_is_the_packages(number: int, finger: str) -> None:
    offset = (0.004, -0.007, 0.002)
    env = opened("hand-reach", {"finger": number, "offset": offset})
    env.reset(seed=0)
    hand: Any = env.inner.unwrapped
    hand.np_random, kept = Scripted(f"robot0:S_{finger}", offset), hand.np_random
    np.testing.assert_array_equal(hand.goal, hand._sample_goal())
    hand.np_random = kept
    reward = env.step(np.zeros(20))[1]
    assert reward == -np.linalg.norm(hand._get_achieved_goal() - hand.goal)
    env.close()


@pytest.mark.parametrize("work", WORKS)
def test_adroit_without_changes_is_the_packages(work: str) -> None:
    name, facts = f"adroit-{work}", WORKS[work]
    plain = dict.fromkeys(facts.docs, 1.0)
    play(name, dict.fromkeys(facts.docs, 1.9), steps=5, seed=8)  # the same environment, with another task before
    obs, rewards = play(name, plain, steps=100)
    package = make_robotics(facts.env_id)
    seen, expected = [package.reset(seed=2)[0]], []
    for action in actions(facts.action_dim, 100):
        now, reward, *_ = package.step(action)
        seen.append(now)
        expected.append(reward)
    package.close()
    np.testing.assert_array_equal(obs, np.stack(seen).astype(np.float32))
    np.testing.assert_array_equal(rewards, np.array(expected))


CHANGES = {
    "door": {"hinge_damping": 1.8, "hinge_friction": 0.6, "latch_friction": 0.7, "mass": 1.6},
    "hammer": {"mass": 0.6, "nail_friction": 1.5, "friction": 0.8},
}


@pytest.mark.parametrize("work", WORKS)
def test_adroit_physics_is_that_of_a_recompiled_model(work: str) -> None:
    name, facts = f"adroit-{work}", WORKS[work]
    env = opened(name, CHANGES[work])
    package = make_robotics(facts.env_id)
    raw: Any = package.unwrapped
    raw.model = recompiled(raw.fullpath, CHANGES[work], raw.model)
    raw.data = mujoco.MjData(raw.model)
    obs, _ = env.reset(seed=6)
    package.reset(seed=6)
    inner: Any = env.inner.unwrapped
    for field in ("body_mass", "body_inertia", "geom_friction", "dof_damping", "dof_frictionloss", "dof_invweight0"):
        np.testing.assert_allclose(getattr(inner.model, field), getattr(raw.model, field), rtol=1e-12, err_msg=field)
    probe = family_of(name).probe
    assert probe is not None
    for step in range(150):
        action = probe(env, obs, step)
        raw.data.qfrc_applied[:] = inner.data.qfrc_applied
        raw.data.xfrc_applied[:] = inner.data.xfrc_applied
        env.step(action)
        package.step(action)
        np.testing.assert_allclose(inner.data.qpos, raw.data.qpos, rtol=0.0, atol=1e-9)
    assert np.abs(inner.data.qpos[-6:] - inner.init_qpos[-6:]).max() > 0.1, "nothing moved"
    env.close()
    package.close()


def recompiled(path: str, changes: Mapping[str, float], built: mujoco.MjModel) -> mujoco.MjModel:
    """Change the model's source, compile it, and set the gains that the package sets after compilation."""
    spec = mujoco.MjSpec.from_file(path)
    joints = {joint.name: joint for joint in spec.joints}
    bodies = {body.name: body for body in spec.bodies}
    if "latch" in joints:
        joints["door_hinge"].damping = joints["door_hinge"].damping * changes["hinge_damping"]
        joints["door_hinge"].frictionloss *= changes["hinge_friction"]
        joints["latch"].frictionloss *= changes["latch_friction"]
    else:
        joints["nail_dir"].frictionloss *= changes["nail_friction"]
        for geom in spec.geoms:
            geom.friction = np.array(geom.friction) * changes["friction"]
    body = bodies["door" if "latch" in joints else "Object"]
    body.mass *= changes["mass"]
    body.inertia = np.array(body.inertia) * changes["mass"]
    model = spec.compile()
    model.actuator_gainprm[:] = built.actuator_gainprm
    model.actuator_biasprm[:] = built.actuator_biasprm
    return model


@pytest.mark.parametrize("work", WORKS)
def test_adroit_episodes_come_again_after_other_tasks(work: str) -> None:
    family = family_of(f"adroit-{work}")
    tasks = [family.tasks("train")[0], family.tasks("ood")[0], family.tasks("train")[0]]
    played = [play(family.name, task.parameters, steps=60) for task in tasks]
    np.testing.assert_array_equal(played[0][0], played[2][0])
    np.testing.assert_array_equal(played[0][1], played[2][1])
    assert not np.array_equal(played[0][0], played[1][0])


def test_kitchen_lists_every_pair_once() -> None:
    family = family_of("kitchen")
    pairs = {
        split: {tuple(task.parameters.values()) for task in family.tasks(split)} for split in ("train", "test", "ood")
    }
    assert {split: len(each) for split, each in pairs.items()} == {"train": 15, "test": 6, "ood": 7}
    assert pairs["train"] | pairs["test"] == set(combinations(range(7), 2))
    for split in ("train", "test", "ood"):
        assert {job for pair in pairs[split] for job in pair} == set(range(7))


@pytest.fixture(scope="module")
def kitchens() -> dict[str, list[tuple[Array, float, dict[str, Any]]]]:
    """Six steps at rest, in which an unseen hand turns the light on (step 2) and opens the microwave (step 4)."""
    played = {}
    for name, asked in (("kitchen", (2, 5)), ("kitchen-sparse", (5, 2)), ("kitchen", (5, 6)), ("kitchen", (2, 2))):
        env = opened(name, {"first": asked[0], "second": asked[1]})
        env.reset(seed=1)
        data = env.inner.unwrapped.data  # type: ignore[attr-defined]
        steps = []
        for step in range(6):
            if step == 2:
                data.qpos[[17, 18]] = [-0.69, -0.05]
            if step == 4:
                data.qpos[22] = -0.75
            obs, reward, terminated, _, info = env.step(np.zeros(9))
            assert not terminated
            # How far light and microwave are from their goals, as the package's goals stand in its source.
            away = (np.hypot(data.qpos[17] + 0.69, data.qpos[18] + 0.05), abs(data.qpos[22] + 0.75))
            steps.append((obs, reward, dict(info, away=away)))
        env.close()
        played[f"{name} {asked}"] = steps
    return played


def test_kitchen_reward_by_hand(kitchens: Mapping[str, list[tuple[Array, float, dict[str, Any]]]]) -> None:
    start = (np.hypot(0.69, 0.05), 0.75)  # light and microwave start within 0.002 of zero
    finished = [0, 0, 1, 1, 2, 2]
    for step, (_, reward, info) in enumerate(kitchens["kitchen (2, 5)"]):
        progress = sum(1.0 - away / way for away, way in zip(info["away"], start, strict=True))
        assert reward == pytest.approx(finished[step] + progress, abs=0.01)
        assert info["finished"] == finished[step] and info["success"] == (finished[step] == 2)
    assert [reward for _, reward, _ in kitchens["kitchen-sparse (5, 2)"]] == [0.0, 0.0, 1.0, 0.0, 1.0, 0.0]
    assert [info["finished"] for *_, info in kitchens["kitchen (5, 6)"]] == [0, 0, 0, 0, 1, 1]
    assert [info["success"] for *_, info in kitchens["kitchen (2, 2)"]] == [False, False, True, True, True, True]


def test_kitchen_observation_does_not_tell_what_is_asked(
    kitchens: Mapping[str, list[tuple[Array, float, dict[str, Any]]]],
) -> None:
    seen = [np.stack([obs for obs, *_ in steps]) for steps in kitchens.values()]
    assert all(np.array_equal(seen[0], other) for other in seen[1:])


def test_kitchen_jobs_are_the_packages() -> None:
    from gymnasium_robotics.envs.franka_kitchen.kitchen_env import OBS_ELEMENT_GOALS

    assert tuple(OBS_ELEMENT_GOALS) == JOBS


def test_maze_reward_goal_and_start() -> None:
    """The goal stays where it is when it is reached; the reward falls with the distance; the start knows no goal."""
    starts = []
    for x in (-1.5, 1.5):
        env = opened("maze", {"goal_x": x, "goal_y": 0.5})
        obs, _ = env.reset(seed=4)
        starts.append(obs)
        reached = 0
        for _ in range(150):
            pull = 2.0 * (np.array([x, 0.5]) - obs[:2]) - 0.4 * obs[2:]
            obs, reward, terminated, truncated, info = env.step(np.clip(pull, -1.0, 1.0))
            away = np.hypot(obs[0] - x, obs[1] - 0.5)
            assert reward == pytest.approx(np.exp(-away), abs=1e-6)
            assert info["success"] == (away <= 0.45)
            assert not terminated
            reached += info["success"]
        assert reached > 50 and truncated
        env.close()
    np.testing.assert_array_equal(starts[0], starts[1])


def test_maze_leaves_no_model_file_behind() -> None:
    env = family_of("maze").make_env()
    left: Any = env.unwrapped
    assert not Path(left.tmp_xml_file_path).exists()
    env.close()


def test_loading_is_silent_and_only_loading_imports_the_package() -> None:
    program = (
        "import sys, mql.tasks; assert 'gymnasium_robotics' not in sys.modules; "
        "mql.tasks.load('fetch-reach'); assert 'gymnasium_robotics' in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
