"""Definitions without Python: the cart stepped side by side, its named quantities, and what such a file can't say."""

from __future__ import annotations

import pickle
from pathlib import Path

import mujoco
import numpy as np
import pytest
from lab_definitions import MJCF, REWARD, write_parallel

from mql import tasks
from mql.agent.agent import Agent
from mql.collecting.exploration import random_actions
from mql.collecting.rollout import collect
from mql.config.schema import AgentConfig
from mql.errors import UserError
from mql.robots import registry as robots
from mql.tasks.definitions.control import frame_skip_of
from mql.tasks.definitions.file import read_definition
from mql.tasks.definitions.model import compiled_model
from mql.tasks.definitions.parallel import ParallelDefinedFamily
from mql.tasks.definitions.quantities import LiveQuantities, quantities_of, read_rows, sources_beyond_state
from mql.tasks.disturbances.family import undisturbed
from mql.tasks.stepping.derived import Deriver, empty
from mql.tasks.stepping.physics_state import Layout, PhysicsState

pytestmark = pytest.mark.newest

REACH = """schema: mql.task_family/1
name: lab-reach
version: 1
description: Raise the flange to a hidden height.
env: {robot: arm7, scene: reach, control: position_delta, episode_length: 20, observe: [JOINTS, site_flange]}
parameters:
  height: {value: {dist: uniform, low: 0.2, high: 0.4}, unit: m}
  load: {value: {dist: uniform, low: 0.5, high: 2.0}, apply: [{field: body_mass, body: link7, op: scale}]}
reward: {terms: {near: {expr: "-abs(info.site_flange[2] - task.height)"}}}
splits: {train: {n: 5, seed: 1}, test: {n: 5, seed: 2}}
""".replace("JOINTS", ", ".join(f"joint_joint{n}" for n in range(1, 8)))


CLOCK = "  clock: {value: {dist: uniform, low: 0.5, high: 1.0}, apply: [{field: timestep, op: scale}]}\n"


def load(path: Path) -> ParallelDefinedFamily:
    family = undisturbed(tasks.from_file(path))  # without what the robot's sensors state
    assert isinstance(family, ParallelDefinedFamily)
    return family


def error_of(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        tasks.from_file(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture(scope="module")
def cart(tmp_path_factory: pytest.TempPathFactory) -> ParallelDefinedFamily:
    return load(write_parallel(tmp_path_factory.mktemp("cart")))


def test_the_family_is_what_the_file_says(cart: ParallelDefinedFamily) -> None:
    assert (cart.name, cart.obs_dim, cart.action_dim, cart.episode_length) == ("lab-cart", 4, 1, 12)
    assert cart.native and cart.has_success and cart.hold_steps == 2
    assert cart.control_timestep == pytest.approx(0.02)


def test_a_task_moves_as_plain_mujoco_does(cart: ParallelDefinedFamily) -> None:
    """The pole hangs free and gravity is off: a motor of 10 N on 2.1 kg, with the cart's mass scaled by the task."""
    task = cart.task({"goal": 0.2, "mass": 1.5})
    env = cart.make(task)
    obs, _ = env.reset(seed=3)
    model = mujoco.MjModel.from_xml_string(MJCF.replace('mass="2"', 'mass="3"'))
    data = mujoco.MjData(model)
    data.qpos[:] = obs[:2]
    assert abs(obs[0]) <= 0.01 and obs[1] == 0.0  # noise on the joint that the motor moves, not on the pole
    for action in (1.0, -1.0, 0.4):
        obs, reward, _, _, info = env.step(np.array([action]))
        data.ctrl[:] = 0.5 + action  # the range -0.5 to 1.5
        mujoco.mj_step(model, data, 2)
        assert np.allclose(obs, np.concatenate([data.qpos, data.qvel]), atol=1e-6)
        assert info["reward_near"] == pytest.approx(-2.0 * abs(data.qpos[0] - 0.2), abs=1e-6)
        assert info["reward_calm"] == pytest.approx(-0.1 * action**2)
        assert reward == pytest.approx(info["reward_near"] + info["reward_calm"])


def test_a_task_is_bit_equal_alone_and_beside_others(cart: ParallelDefinedFamily) -> None:
    chosen = cart.tasks("train")[:3]
    actions = np.random.default_rng(0).uniform(-1, 1, (12, 3, 1))
    batch = cart.make_batch(chosen, threads=2)
    first = batch.reset([5, 6, 7])
    steps = [batch.step(action) for action in actions]
    assert len({float(step.obs[0, 0]) for step in steps}) == 12
    env = cart.make(chosen[1])
    assert np.array_equal(env.reset(seed=6)[0], first[1])
    for action, step in zip(actions, steps, strict=True):
        obs, reward, terminated, truncated, info = env.step(action[1])
        assert np.array_equal(obs, step.obs[1]) and reward == step.reward[1]
        assert (terminated, truncated) == (step.terminated[1], step.truncated[1])
        assert info["success"] == step.info["success"][1]
    batch.close()


def test_success_comes_at_the_step_at_which_the_goal_was_kept(tmp_path: Path) -> None:
    always = load(write_parallel(tmp_path, success='success: {expr: "info.joint_rail < 100.0", hold: 3}\n'))
    batch = always.make_batch(always.tasks("test"))
    for _ in range(2):
        batch.reset([0, 1, 2, 3])
        seen = [batch.step(np.zeros((4, 1))).info["success"].tolist() for _ in range(14)]  # two beyond the end
        assert seen == [[False] * 4] * 2 + [[True] * 4] * 12


def test_random_episodes_are_collected_and_pickle(cart: ParallelDefinedFamily) -> None:
    agent = Agent(4, 1, AgentConfig.model_validate({"hidden_sizes": (8,), "context_dim": 4}), seed=0)
    copy = pickle.loads(pickle.dumps(cart))
    runs = [
        collect(
            agent,
            family,
            family.tasks("train"),
            range(6),
            explorer=random_actions(family),
            rng=np.random.default_rng(1),
        )
        for family in (cart, copy)
    ]
    for one, other in zip(*runs, strict=True):
        assert one.length == 12 and np.array_equal(one.obs, other.obs)
        assert one.final_info.keys() == {"reward_near", "reward_calm"}
        assert one.reward_terms == other.reward_terms and one.reward_terms.keys() == {"near", "calm"}
        assert one.reward_terms["calm"] == pytest.approx(-0.1 * float((one.action**2).sum()), rel=1e-5)
        assert sum(one.reward_terms.values()) == pytest.approx(one.episode_return, rel=1e-5)


def test_what_is_observed_can_be_chosen_and_visible_parameters_follow(tmp_path: Path) -> None:
    seen = "  seen: {value: {dist: uniform, low: 1.0, high: 2.0, size: 2}, hidden: false}\n"
    path = write_parallel(tmp_path, parameters=seen, env=", observe: [site_tip, joint_rail, sensor_place]")
    family = load(path)
    assert family.obs_dim == 3 + 1 + 1 + 2
    env = family.make(family.task({"goal": 0.2, "mass": 1.0, "seen": [1.25, 1.5]}))
    obs, _ = env.reset(seed=0)
    place = obs[3]
    assert np.allclose(obs, [place + 0.1, 0.0, 0.3, place, place, 1.25, 1.5])
    after = env.step(np.array([1.0]))[0]
    assert after[0] == pytest.approx(after[3] + 0.1) and after[4] == after[3] and after[3] != place
    oracle = family.as_oracle()
    obs, _ = oracle.make(oracle.task({"goal": 0.2, "mass": 1.0, "seen": [1.25, 1.5]})).reset(seed=0)
    assert obs.shape == (oracle.obs_dim,) and obs[5:].tolist() == pytest.approx([0.2, 1.0, 1.25, 1.5, 1.25, 1.5])


def test_the_whole_state_can_be_observed_beside_places(tmp_path: Path) -> None:
    own, both = tmp_path / "own", tmp_path / "both"
    for folder, env in ((own, ""), (both, ", observe: [qpos, qvel, site_tip]")):
        write_parallel(folder, env=env)
    first, second = (load(folder / "cart.yaml") for folder in (own, both))
    whole, more = (family.make_batch(family.tasks("train")[:2]).reset([3, 4]) for family in (first, second))
    assert more.shape == (2, whole.shape[1] + 3)
    np.testing.assert_array_equal(more[:, : whole.shape[1]], whole)


def test_what_is_observed_can_be_scaled(tmp_path: Path) -> None:
    seen = ", observe: [qvel, site_tip, joint_rail]"
    scaling = ", scaling: {site_tip: {minus: [0.1, 0.0, 0.3], per: 0.1}, qvel: {per: 2}}"
    plain, scaled = (
        load(write_parallel(tmp_path / name, env=env)) for name, env in (("plain", seen), ("scaled", seen + scaling))
    )
    for family, other in ((plain, scaled), (scaled, plain)):
        assert family.obs_dim == other.obs_dim
    action = np.ones((2, 1), np.float32)
    batches = [family.make_batch(family.tasks("train")[:2]) for family in (plain, scaled)]
    first, second = [[batch.reset([1, 2]), batch.step(action).obs] for batch in batches]
    expected = (np.array(first) - [0.0, 0.0, 0.1, 0.0, 0.3, 0.0]) / [2.0, 2.0, 0.1, 0.1, 0.1, 1.0]
    np.testing.assert_allclose(second, expected, atol=1e-5)


def test_named_quantities_are_those_of_mujoco() -> None:
    model = mujoco.MjModel.from_xml_string(MJCF)
    data = mujoco.MjData(model)
    data.qpos[:], data.qvel[:] = (0.3, 0.4), (0.5, -0.6)
    mujoco.mj_forward(model, data)
    known = quantities_of(model)
    plain = {
        *("joint_rail", "speed_rail", "joint_pivot", "speed_pivot", "site_tip", "time"),
        *("body_world", "body_cart", "body_pole", "sensor_place", "sensor_felt"),
    }
    turned = {
        f"{what}_{kind}{name}"
        for what in ("quat", "zaxis", "gravity", "velocity", "angular")
        for kind, names in (
            ("site_", ["tip"]),
            ("body_", ["world", "cart", "pole"]),
            ("", ["tip", "world", "cart", "pole"]),
        )
        for name in names
    }
    assert known.keys() == plain | turned
    values = LiveQuantities(known, data).read()
    assert (values["joint_rail"], values["speed_pivot"], values["sensor_place"]) == (0.3, -0.6, 0.3)
    assert np.allclose(values["site_tip"], [0.4, 0.0, 0.3]) and np.allclose(values["body_pole"], [0.3, 0.0, 0.1])
    wanted = sources_beyond_state(known.values())
    out = empty(wanted, model, 2)
    qpos, qvel = np.array([[0.3, 0.4], [0.0, 0.0]]), np.array([[0.5, -0.6], [0.0, 0.0]])
    states = Layout(model).start([model, model], PhysicsState(qpos, qvel))
    Deriver(wanted, [model, model]).derive(*states, out)
    rows = read_rows(known, {"qpos": qpos, "qvel": qvel, **out})
    for name in known:
        assert np.allclose(rows[name][0], values[name]), name


def test_home_is_where_an_episode_starts(tmp_path: Path) -> None:
    path = write_parallel(tmp_path)
    keyframe = '<keyframe><key name="home" qpos="0.4 0.2" qvel="0.1 0"/></keyframe></mujoco>'
    (tmp_path / "cart.xml").write_text(MJCF.replace("</mujoco>", keyframe))
    family = load(path)
    obs = family.make_batch(family.tasks("test")).reset([0, 1, 2, 3])
    assert (np.abs(obs[:, 0] - 0.4) <= 0.01).all() and len(set(obs[:, 0])) == 4
    assert np.allclose(obs[:, 1:], [0.2, 0.1, 0.0])


@pytest.mark.parametrize(
    ("change", "messages"),
    [
        ({"reward": REWARD.replace("joint_rail", "joint_rial")}, ("'joint_rial'", "did you mean 'joint_rail'")),
        ({"reward": REWARD.replace("joint_rail", "site_tip[3]")}, ("site_tip", "0 to 2")),
        ({"env": ", observe: [joint_rial]"}, ("the model has no 'joint_rial'", "did you mean 'joint_rail'")),
        ({"env": ", scaling: {qpso: {per: 2}}"}, ("'qpso' is not observed", "did you mean 'qpos'", "env.scaling.qpso")),
        ({"env": ", scaling: {qpos: {minus: [1, 2, 3]}}"}, ("minus has 3 numbers, qpos", "one for each component")),
        ({"env": ", scaling: {qpos: {per: 0}}"}, ("per", "cart.yaml")),
        ({"reward": ""}, ("no reward",)),
        ({"env": ", observe: [qpos, qpos]"}, ("'qpos' is named twice", "cart.yaml:5 env.observe")),
        ({"success": "success: {expr: 'True', hold: 13}\n"}, ("hold is 13", "12 control steps", "success.hold")),
        ({"success": "terminate: {expr: 'True', after: 13}\n"}, ("after is 13", "12 control steps", "terminate.after")),
        (
            {"success": "success: {expr: 'info.touching_box_box > 0'}\n"},
            ("never touch", "cart.yaml:13 success.expr"),
        ),
        ({"parameters": CLOCK}, ("the timestep differs between tasks",)),
    ],
)
def test_mistakes_are_one_line_with_the_place(
    tmp_path: Path, change: dict[str, str], messages: tuple[str, ...]
) -> None:
    message = error_of(write_parallel(tmp_path, **change))
    assert "cart.yaml:" in message
    for part in messages:
        assert part in message


def test_a_model_that_changes_meanwhile_is_refused(tmp_path: Path) -> None:
    path = write_parallel(tmp_path)
    family = load(path)
    (tmp_path / "cart.xml").write_text(MJCF.replace('mass="2"', 'mass="3"'))
    with pytest.raises(UserError, match="has changed meanwhile"):
        family.make_batch(family.tasks("test"))


def test_a_robot_in_a_scene_moves_by_its_control_mode(tmp_path: Path) -> None:
    path = tmp_path / "reach.yaml"
    path.write_text(REACH)
    family = load(path)
    assert family.control_timestep == pytest.approx(0.05)  # the mode's 20 actions per second
    assert family.action_dim == 7 and family.obs_dim == 7 + 3
    env = family.make(family.task({"height": 0.3, "load": 1.0}))
    obs, _ = env.reset(seed=0)
    home = [0.0, 0.6126, 0.0, 1.7373, 0.0, 0.7917, 0.0]
    assert np.allclose(obs[:7], home, atol=0.0101)
    for _ in range(5):
        seen = env.step(np.array([1.0, 0, 0, 0, 0, 0, 0]))[0]
    assert 0.05 < seen[0] - obs[0] < 0.26  # five steps of at most 0.05 rad
    assert np.allclose(seen[1:7], obs[1:7], atol=0.03)


def test_a_rate_that_physics_steps_do_not_give_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "reach.yaml"
    path.write_text(REACH)
    file, robot, name = read_definition(path), robots.load("arm7"), "position_delta"
    model = compiled_model(file, robot)
    model.opt.timestep = 0.002

    def steps(rate: float) -> int:
        mode = robot.control[name].model_copy(update={"rate_hz": rate})
        return frame_skip_of(file, model, robot.model_copy(update={"control": {name: mode}}))

    assert [steps(rate) for rate in (20.0, 33.0, 500.0)] == [25, 15, 1]
    for rate, near in ((1000.0, "500"), (350.0, "500")):
        with pytest.raises(
            UserError, match=rf"rate_hz is {rate:g}, .*control.position_delta.rate_hz\): give {near} Hz"
        ):
            steps(rate)


@pytest.mark.parametrize(
    ("old", "new", "messages"),
    [
        ("robot: arm7", "robot: arm8", ("unknown robot 'arm8'", "did you mean 'arm7'", "reach.yaml:5")),
        ("scene: reach", "scene: raech", ("unknown scene 'raech'", "did you mean 'reach'", "reach.yaml:5")),
        ("control: position_delta", "control: position_dlta", ("no control mode 'position_dlta'", "'position_delta'")),
    ],
)
def test_a_robot_or_mode_that_is_not_there_is_one_line(
    tmp_path: Path, old: str, new: str, messages: tuple[str, ...]
) -> None:
    path = tmp_path / "reach.yaml"
    path.write_text(REACH.replace(old, new))
    message = error_of(path)
    for part in messages:
        assert part in message
