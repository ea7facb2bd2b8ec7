"""`gymnasium.make("mql/<family>-v0")`: which task is played, that it is the family's own episode, and mistakes."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from lab_definitions import write_parallel
from lab_environments import Cart

from mql import tasks
from mql.errors import UserError
from mql.tasks import packages, registry
from mql.tasks.distributions import Choice, Uniform
from mql.tasks.family import TaskFamily
from mql.tasks.fault import EpisodeFault

pytestmark = pytest.mark.newest


@pytest.fixture(autouse=True)
def lab_families(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Families that a program added: around an environment, played by workers, and of a definition."""
    monkeypatch.setattr(registry, "_added", {})
    registry.tell_gymnasium()
    gain = {"gain": Uniform(0.5, 2.0), "fault": Choice((0.0, 1.0))}
    tasks.add(tasks.from_gymnasium(Cart, gain, name="gym-carts", episode_length=10, success_key="is_success"))
    tasks.add(tasks.from_file(write_parallel(tmp_path)).variant("x", "of a test"))
    yield
    for name in registry._added:
        gymnasium.registry.pop(f"mql/{name}-v0", None)


def plain(name: str, **options: Any) -> Any:
    return gymnasium.make(f"mql/{name}-v0", **options).unwrapped


def actions_of(family: TaskFamily, seed: int) -> Any:
    size = (family.episode_length, family.action_dim)
    return np.random.default_rng(seed).uniform(-1, 1, size).astype(np.float32)


def test_every_family_is_known() -> None:
    registry.tell_gymnasium()  # again
    for name in registry.names():
        assert f"mql/{name}-v0" in gymnasium.registry


@pytest.mark.parametrize("name", ["point-robot", "cheetah-vel", "hopper-params", "gym-carts", "lab-cart-x"])
def test_gymnasiums_checker_passes_with_and_without_a_task(name: str) -> None:
    task = registry.load(name).tasks("test")[0].to_json()
    if name == "gym-carts":
        task["fault"] = 0.0
    for options in ({"task": task}, {}) if name != "gym-carts" else ({"task": task},):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            check_env(plain(name, **options), skip_render_check=True)


@pytest.mark.parametrize("name", ["cheetah-vel", "hopper-params", "lab-cart-x"])
def test_an_episode_is_the_familys_own_and_its_task_comes_from_the_seed(name: str) -> None:
    env, family = plain(name), registry.load(name)
    assert env.task is None
    drawn = []
    for seed in (3, 4, 3):
        obs, _ = env.reset(seed=seed)
        drawn.append(env.task)
        assert env.task in family.tasks("train")
        batch = family.make_batch([env.task])
        assert np.array_equal(obs, batch.reset([seed])[0])
        for action in actions_of(family, seed)[:20]:
            obs, reward, terminated, truncated, info = env.step(action)
            step = batch.step(action[None])
            assert np.array_equal(obs, step.obs[0]) and reward == step.reward[0]
            assert (terminated, truncated) == (step.terminated[0], step.truncated[0])
            assert info.keys() == step.info.keys()
            if terminated or truncated:
                break
        batch.close()
    assert drawn[0] == drawn[2] != drawn[1]
    env.close()


def test_resets_without_a_seed_draw_each_training_task_and_repeat_from_the_first_seed() -> None:
    family = registry.load("point-robot")
    runs = []
    for env in (plain("point-robot"), plain("point-robot")):
        env.reset(seed=7)
        runs.append([(env.reset()[0].tolist(), env.task.index) for _ in range(400)])
    assert runs[0] == runs[1]
    seen = Counter(index for _, index in runs[0])
    assert len(seen) == len(family.tasks("train")) and max(seen.values()) < 40


def test_a_task_is_chosen_when_made_or_for_one_episode() -> None:
    env = plain("cheetah-vel", task={"velocity": 1.2})
    env.reset(seed=0)
    assert env.task.to_json() == {"velocity": 1.2}
    env.reset(options={"task": {"velocity": 2.5}})
    assert env.task.to_json() == {"velocity": 2.5}
    env.reset(options={"task": "test:1"})
    assert env.task == registry.load("cheetah-vel").tasks("test")[1]
    env.reset(options={})
    assert env.task.to_json() == {"velocity": 1.2}
    assert plain("cheetah-vel", task="ood:0").task.split == "ood"
    env.close()


def test_mistakes_are_one_line() -> None:
    with pytest.raises(UserError, match="did you mean 'velocity'"):
        plain("cheetah-vel", task={"velocty": 1.2})
    with pytest.raises(UserError, match=r"no task is called 'fast' .*write a split and a place in its list"):
        plain("cheetah-vel", task="fast")
    with pytest.raises(UserError, match="no render mode 'human'"):
        plain("cheetah-vel", render_mode="human")
    env = plain("point-robot")
    with pytest.raises(UserError, match="step before reset"):
        env.step(np.zeros(2))
    with pytest.raises(UserError, match=r"no option 'taks' of reset .*did you mean 'task'"):
        env.reset(options={"taks": {}})
    with pytest.raises(UserError, match="unknown task parameter 'gaol'"):
        env.reset(options={"task": {"gaol": (0.0, 0.0)}})


def test_an_environment_that_failed_is_built_anew() -> None:
    env = plain("gym-carts", task={"gain": 1.0, "fault": 1.0})
    for _ in range(2):
        env.reset(seed=0)
        with pytest.raises(EpisodeFault, match="step 3 raised ValueError"):
            for _ in range(3):
                env.step(np.zeros(1))


def test_a_closed_environment_starts_again() -> None:
    env = plain("point-robot")
    first, _ = env.reset(seed=1)
    env.close()
    env.close()
    assert np.array_equal(env.reset(seed=1)[0], first)


def test_gymnasiums_own_vector_works() -> None:
    envs = gymnasium.make_vec("mql/point-robot-v0", num_envs=2, vectorization_mode="sync", task={"goal": [0.5, 0.5]})
    assert envs.reset(seed=1)[0].shape == (2, 2)
    envs.close()


def test_families_of_installed_packages_are_registered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = tmp_path / "lab_points-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: lab-points\nVersion: 1.0\n")
    assert not packages.any_installed()
    (facts / "entry_points.txt").write_text("[mql.tasks]\nlab-point = lab_points:point\n")
    (tmp_path / "lab_points.py").write_text(
        "from mql.tasks.families.small.point_robot import point_robot\n"
        "from dataclasses import replace\n\n\n"
        "def point():\n    return replace(point_robot(), name='lab-point')\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    packages.installed.cache_clear()
    try:
        assert packages.any_installed()
        registry.tell_gymnasium()
        assert plain("lab-point").reset(seed=0)[0].shape == (2,)
    finally:
        gymnasium.registry.pop("mql/lab-point-v0", None)
        packages.installed.cache_clear()
