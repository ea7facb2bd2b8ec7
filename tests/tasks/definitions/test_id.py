"""Families around registered environments: examples/cheetah-vel-yaml.yaml, and what else such a definition can say."""

from __future__ import annotations

import sys
from pathlib import Path

import cloudpickle
import gymnasium
import numpy as np
import pytest

from mql import tasks
from mql.errors import UserError
from mql.tasks import registry
from mql.tasks.wrapped.gymnasium_family import GymnasiumFamily

pytestmark = pytest.mark.newest

CHEETAH = Path(__file__).parents[3] / "examples" / "cheetah-vel-yaml.yaml"
TEXT = CHEETAH.read_text()


@pytest.fixture(scope="module")
def cheetah() -> GymnasiumFamily:
    family = tasks.from_file(CHEETAH)
    assert isinstance(family, GymnasiumFamily)
    return family


def changed(folder: Path, *pairs: tuple[str, str]) -> Path:
    text = TEXT
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    path = folder / "changed.yaml"
    path.write_text(text)
    return path


def error_of(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        tasks.from_file(path)
    return str(caught.value)


def test_the_family_is_what_the_file_says(cheetah: GymnasiumFamily) -> None:
    assert (cheetah.name, cheetah.obs_dim, cheetah.action_dim) == ("cheetah-vel-yaml", 17, 6)
    assert (cheetah.episode_length, cheetah.control_timestep) == (200, pytest.approx(0.05))
    assert cheetah.has_success and not cheetah.native and cheetah.parameters["velocity"].unit == "m/s"
    assert {name: split.size for name, split in cheetah.splits.items()} == {"train": 100, "test": 30, "ood": 20}
    native = registry.load("cheetah-vel")  # the same distributions and seeds, so the same tasks
    for split in ("train", "test", "ood", "validation", "validation-ood"):
        assert [task.parameters for task in cheetah.tasks(split)] == [t.parameters for t in native.tasks(split)]
    assert tasks.from_file(CHEETAH).tasks("test") == cheetah.tasks("test")


def test_rewards_equal_the_native_ones_from_the_same_state(cheetah: GymnasiumFamily) -> None:
    native = registry.load("cheetah-vel")
    rng = np.random.default_rng(0)
    for velocity in (0.0, 1.5, 3.0):
        one, other = (family.make(family.task({"velocity": velocity})) for family in (cheetah, native))
        one.reset(seed=0)
        for _ in range(5):
            qpos = np.concatenate([rng.uniform(-1, 1, 1), rng.uniform(-0.1, 0.1, 8)])
            qvel, action = rng.uniform(-2, 2, 9), rng.uniform(-1, 1, 6)
            one.inner.unwrapped.set_state(qpos, qvel)  # type: ignore[attr-defined]
            other.set_state(qpos, qvel)  # type: ignore[attr-defined]
            assert one.step(action)[1] == pytest.approx(other.step(action)[1], abs=1e-6)
        one.close()
        other.close()


def test_terms_are_reported_and_sum_up_to_the_reward(cheetah: GymnasiumFamily) -> None:
    env = cheetah.make(cheetah.task({"velocity": 2.0}))
    env.reset(seed=3)
    action = np.linspace(-1, 1, 6)
    _, reward, _, _, info = env.step(action)
    assert info.keys() == {"reward_track", "reward_ctrl", "success"}
    assert info["reward_track"] + info["reward_ctrl"] == pytest.approx(reward, abs=1e-12)
    assert info["reward_ctrl"] == pytest.approx(-0.05 * float(action @ action), abs=1e-6)
    env.close()


def test_success_needs_the_whole_hold(tmp_path: Path) -> None:
    """With `abs(...) < 100` every step is at the goal: success is false for two steps and true from the third on."""
    family = tasks.from_file(changed(tmp_path, ("< 0.25", "< 100.0"), ("hold: 20", "hold: 3")))
    env = family.make(family.tasks("train")[0])
    for _ in range(2):  # and a reset starts the count anew
        env.reset(seed=0)
        assert [env.step(np.zeros(6))[4]["success"] for _ in range(4)] == [False, False, True, True]
    env.close()


def test_mode_add_keeps_the_environments_own_reward(tmp_path: Path) -> None:
    path = changed(tmp_path, ("mode: replace", "mode: add"), ('"info.reward_ctrl"', '"2.0 * info.reward"'))
    family = tasks.from_file(path)
    env = family.make(family.tasks("train")[0])
    plain = gymnasium.make("HalfCheetah-v5", ctrl_cost_weight=0.05)
    env.reset(seed=5)
    plain.reset(seed=5)
    action = np.full(6, 0.5)
    _, reward, _, _, info = env.step(action)
    own = float(plain.step(action)[1])
    assert reward == pytest.approx(own + info["reward_track"] + 2.0 * own)


def test_physics_are_set_from_the_base_values_and_visible_parameters_are_seen(tmp_path: Path) -> None:
    apply = "apply: [{field: body_mass, body: torso, op: scale}]"
    mass = "mass: {value: {dist: uniform, low: 0.5, high: 2.0}, hidden: false, " + apply + "}"
    path = changed(tmp_path, ("parameters:\n", f"parameters:\n  {mass}\n"))
    family = tasks.from_file(path)
    assert family.obs_dim == 18
    heavy, light = (family.task({"velocity": 1.0, "mass": mass}) for mass in (2.0, 0.5))
    env = family.make(heavy)
    obs, _ = env.reset(seed=0)
    assert obs[-1] == 2.0
    model = env.inner.unwrapped.model  # type: ignore[attr-defined]
    base = gymnasium.make("HalfCheetah-v5").unwrapped.model.body("torso").mass[0]  # type: ignore[attr-defined]
    assert model.body("torso").mass[0] == pytest.approx(2.0 * base)
    env.close()
    other = family.make(light)  # the family keeps the simulation: the same one gets the next task
    other.reset(seed=0)
    assert other.inner.unwrapped.model is model  # type: ignore[attr-defined]
    assert model.body("torso").mass[0] == pytest.approx(0.5 * base)
    other.close()


def test_a_copy_in_another_process_plays_the_same(cheetah: GymnasiumFamily) -> None:
    copy = cloudpickle.loads(cloudpickle.dumps(cheetah))
    task = cheetah.tasks("test")[1]
    played = []
    for family in (cheetah, copy):
        env = family.make(task)
        env.reset(seed=2)
        played.append([env.step(np.full(6, 0.3))[1] for _ in range(5)])
        env.close()
    assert played[0] == played[1]


def test_a_file_that_changes_meanwhile_is_refused(tmp_path: Path) -> None:
    path = changed(tmp_path)
    family = tasks.from_file(path)
    path.write_text(TEXT.replace("hold: 20", "hold: 21"))
    with pytest.raises(UserError, match="has changed meanwhile"):
        family.make(family.tasks("train")[0])


@pytest.mark.parametrize(
    ("old", "new", "messages"),
    [
        ("info.x_velocity - task", "info.x_velocty - task", ("'x_velocty'", "did you mean 'x_velocity'", ":14")),
        ("HalfCheetah-v5", "HalfCheeta-v5", ("no environment 'HalfCheeta-v5'", "'HalfCheetah-v5'", ":6")),
        ("ctrl_cost_weight", "ctrl_cost_wight", ("raised TypeError", "fix id or kwargs, or that package")),
        ("{ctrl_cost_weight: 0.05}", "{xml_file: /etc/passwd}", ("xml_file is the path", "mjcf: FILE.xml")),
        ("{ctrl_cost_weight: 0.05}", "{xml_file: ./own.xml}", ("xml_file is the path",)),
        ("name: cheetah-vel-yaml", "name: cheetah-vel", ("a family of mql's own", ":2")),
        ('"info.reward_ctrl"', '"obs[17]"', ("obs has no", "0 to 16")),
        ('"info.reward_ctrl"', '"action[6]"', ("action has no", "0 to 5")),
        ("episode_length: 200", "observe: [position]", ("observe names keys",)),
        ("HalfCheetah-v5", "my_module:Own-v0", ("would run module my_module", "--trust")),
    ],
)
def test_mistakes_are_one_line_with_the_place(tmp_path: Path, old: str, new: str, messages: tuple[str, ...]) -> None:
    message = error_of(changed(tmp_path, (old, new)))
    assert "\n" not in message and "changed.yaml" in message
    for part in messages:
        assert part in message


def test_without_gymnasium_robotics_an_unknown_id_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in [name for name in sys.modules if name.split(".")[0] == "gymnasium_robotics"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "gymnasium_robotics", None)  # None makes the import raise
    message = error_of(changed(tmp_path, ("HalfCheetah-v5", "HalfCheeta-v5")))
    assert "'HalfCheetah-v5'" in message and message.endswith("need pip install 'mql[gymnasium-robotics]'")


@pytest.mark.needs_extra
def test_a_dict_observation_shows_the_keys_that_are_named(tmp_path: Path) -> None:
    path = tmp_path / "push.yaml"
    path.write_text(
        """schema: mql.task_family/1
name: push-yaml
version: 1
description: Push with hidden friction.
env: {id: FetchPush-v4, observe: [observation, achieved_goal]}
parameters:
  bonus: {value: {dist: uniform, low: 0.0, high: 1.0}}
reward:
  mode: add
  terms: {bonus: {expr: "task.bonus * info.is_success"}}
splits: {train: {n: 5, seed: 1}, test: {n: 5, seed: 2}}
"""
    )
    family = tasks.from_file(path)
    assert (family.obs_dim, family.episode_length) == (25 + 3, 50) and not family.has_success


@pytest.mark.parametrize(
    ("env_id", "mend"),
    [
        ("dm_control/cartpole-swingup-v0", "write 'shimmy:dm_control/cartpole-swingup-v0', with the module that"),
        ("zz", "write 'MODULE:zz', with the module that registers it"),
        ("parking-v0", "write 'MODULE:parking-v0', with the module that registers it"),
        ("Hoper-v5", "did you mean 'Hopper-v5'? An id of another package wants its module, 'MODULE:Hoper-v5'"),
    ],
)
def test_an_id_of_another_package_wants_its_module(tmp_path: Path, env_id: str, mend: str) -> None:
    assert mend in error_of(changed(tmp_path, ("HalfCheetah-v5", env_id)))
