"""Observations of logged joints: those of an episode's own states are the episode's, and plain MuJoCo says the same."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import mujoco
import numpy as np
import pytest

from mql import tasks
from mql.errors import UserError
from mql.tasks import registry
from mql.tasks.disturbances.family import disturbed, undisturbed
from mql.tasks.disturbances.settings import Actuation, Sensing
from mql.tasks.family import Task, TaskFamily
from mql.tasks.stepping.parallel import ParallelFamily
from mql.tasks.stepping.rollout import MujocoFamily

MJCF = """<mujoco>
  <option timestep="0.01"/>
  <worldbody>
    <site name="goal" pos="0.5 0 0.3"/>
    <body name="upper" pos="0 0 0.5">
      <joint name="shoulder" axis="0 1 0" damping="0.5"/>
      <geom type="capsule" fromto="0 0 0 0.3 0 0" size="0.02" mass="0.5"/>
      <body name="lower" pos="0.3 0 0">
        <joint name="elbow" axis="0 1 0" damping="0.5"/>
        <geom type="capsule" fromto="0 0 0 0.25 0 0" size="0.02" mass="0.3"/>
        <site name="tip" pos="0.25 0 0"/>
      </body>
    </body>
    <body name="ball" pos="0.4 0 0.05"><freejoint name="ball"/><geom name="ball" size="0.05" mass="0.1"/></body>
    <geom name="floor" type="plane" size="2 2 0.1"/>
  </worldbody>
  <actuator>
    <motor name="s" joint="shoulder" ctrlrange="-3 3"/>
    <motor name="e" joint="elbow" ctrlrange="-3 3"/>
  </actuator>
  <sensor><jointactuatorfrc name="effort" joint="elbow"/></sensor>
</mujoco>
"""
YAML = """schema: mql.task_family/1
name: lab-two-joints
version: 1
description: Reach for a place.
env:
  mjcf: arm.xml
  frame_skip: 2
  episode_length: 15
  observe: [OBSERVED]
  SCALING
parameters:
  mass: {value: {dist: uniform, low: 0.2, high: 1.0}, apply: [{field: body_mass, op: set, body: lower}]}
  wanted: {value: {dist: uniform, low: 0.1, high: 0.5}, unit: m HIDDEN}
  raised: {value: {dist: uniform, low: 0.1, high: 0.5}, apply: [{field: site_pos, op: set, site: goal, index: 2}]}
reward: {terms: {near: {expr: "-abs(info.site_tip[2] - task.wanted)"}, calm: {expr: "-0.1 * norm(action)"}}}
splits: {train: {n: 4, seed: 1}, test: {n: 3, seed: 2}}
"""
SCALING = "scaling: {site_tip: {minus: [0.5, 0, 0.3], per: 0.1}}"
SEEN = "joint_shoulder, joint_elbow, speed_elbow, site_tip, velocity_tip, zaxis_lower, time"


@dataclass
class Played:
    obs: np.ndarray
    positions: np.ndarray
    velocities: np.ndarray
    actions: np.ndarray
    reward: np.ndarray


def load(folder: Path, observed: str = SEEN, *, hidden: bool = True) -> ParallelFamily:
    (folder / "arm.xml").write_text(MJCF)
    path = folder / "arm.yaml"
    text = YAML.replace("OBSERVED", observed).replace("SCALING", SCALING if observed == SEEN else "")
    path.write_text(text.replace(" HIDDEN", "" if hidden else ", hidden: false"))
    family = tasks.from_file(path)
    assert isinstance(family, ParallelFamily)
    return family


def play(family: ParallelFamily, task: Task, *, steps: int = 15) -> Played:
    """Play random actions and log what the simulation itself says of its joints."""
    batch, rng = family.make_batch([task]), np.random.default_rng(3)

    def joints() -> tuple[np.ndarray, np.ndarray]:
        simulation = batch.simulation()
        assert simulation is not None
        return simulation.data.qpos.copy(), simulation.data.qvel.copy()

    obs, log, actions, rewards = [batch.reset([5])[0]], [joints()], [], []
    for _ in range(steps):
        actions.append(rng.uniform(-1.0, 1.0, family.action_dim))
        step = batch.step(actions[-1][None])
        assert not step.terminated[0]
        obs.append(step.obs[0])
        rewards.append(step.reward[0])
        log.append(joints())
    batch.close()
    positions, velocities = (np.array(part) for part in zip(*log, strict=True))
    return Played(np.array(obs), positions, velocities, np.array(actions), np.array(rewards))


def signals(played: Played, **more: object) -> dict[str, object]:
    return {"positions": played.positions, "velocities": played.velocities, **more}


@pytest.mark.parametrize("name", ["cheetah-vel", "reacher-goal", "ant-dir", "arm-reach", "arm-push"])
def test_an_episodes_own_states_give_its_observations(name: str) -> None:
    family = registry.load(name)
    assert isinstance(family, ParallelFamily)
    played = play(family, family.tasks("test")[0])
    observed = family.observed(signals(played, actions=played.actions))  # type: ignore[arg-type]
    np.testing.assert_array_equal(observed, played.obs)


def test_a_definitions_quantities_are_computed_by_its_own_model(tmp_path: Path) -> None:
    family = load(tmp_path)
    task = family.tasks("test")[1]
    played = play(family, task)
    observed = family.observed(signals(played))  # type: ignore[arg-type]
    np.testing.assert_array_equal(observed, played.obs)

    model = mujoco.MjModel.from_xml_string(MJCF)  # the reference: MuJoCo alone, with masses that are the file's
    data = mujoco.MjData(model)
    for row, (qpos, qvel) in enumerate(zip(played.positions, played.velocities, strict=True)):
        data.qpos[:], data.qvel[:] = qpos, qvel
        mujoco.mj_forward(model, data)
        velocity = np.zeros(6)
        mujoco.mj_objectVelocity(model, data, mujoco.mjtObj.mjOBJ_SITE, model.site("tip").id, velocity, 0)
        place = (data.site("tip").xpos - [0.5, 0, 0.3]) / 0.1
        axis = data.body("lower").xmat.reshape(3, 3)[:, 2]
        expected = [*qpos[:2], qvel[1], *place, *velocity[3:], *axis, 0.02 * row]
        np.testing.assert_allclose(observed[row], expected, rtol=1e-6, atol=1e-6)


def test_the_reward_of_a_log_is_the_definitions(tmp_path: Path) -> None:
    family = load(tmp_path)
    task = family.tasks("test")[0]
    played = play(family, task)
    observed = family.observed(signals(played))  # type: ignore[arg-type]
    assert observed is not None
    reward = family.reward(observed[:-1], observed[1:], played.actions, task)
    np.testing.assert_allclose(reward, played.reward, atol=1e-6)


def test_a_robots_own_joints_are_enough_where_no_object_is_seen(tmp_path: Path) -> None:
    family = load(tmp_path)
    played = play(family, family.tasks("test")[0])
    log = {"positions": played.positions[:, :2], "velocities": played.velocities[:, :2]}
    np.testing.assert_array_equal(family.observed(log), played.obs)


def test_what_joints_do_not_tell_is_named_and_can_be_given(tmp_path: Path) -> None:
    family = load(tmp_path, "joint_shoulder, body_ball, sensor_effort, site_goal")
    played = play(family, family.tasks("test")[0])
    log: dict[str, object] = {"positions": played.positions[:, :2], "velocities": played.velocities[:, :2]}
    with pytest.raises(UserError, match=r"joints alone: sensor_effort, joint_ball, site_goal \("):
        family.observed(log)  # type: ignore[arg-type]
    log |= {"body_ball": played.obs[:, 1:4], "sensor_effort": played.obs[:, 4], "site_goal": played.obs[0, 5:8]}
    np.testing.assert_array_equal(family.observed(log), played.obs)  # type: ignore[arg-type]
    del log["body_ball"]
    log["joint_ball"] = played.positions[:, 2:]
    np.testing.assert_array_equal(family.observed(log), played.obs)  # type: ignore[arg-type]


def test_velocities_and_actions_are_asked_for_where_they_are_seen(tmp_path: Path) -> None:
    family = load(tmp_path)
    played = play(family, family.tasks("test")[0])
    with pytest.raises(UserError, match=r"joints alone: velocities \("):
        family.observed({"positions": played.positions})
    only_places = load(tmp_path, "joint_shoulder, site_tip")
    assert only_places.observed({"positions": played.positions}) is not None
    arm = registry.load("arm-reach")
    assert isinstance(arm, MujocoFamily)
    logged = play(arm, arm.tasks("test")[0])
    with pytest.raises(UserError, match=r"joints alone: actions \("):
        arm.observed(signals(logged))  # type: ignore[arg-type]
    driven = [int(arm.base().joint(f"joint{n}").qposadr[0]) for n in range(1, 8)]
    own = {"positions": logged.positions[:, driven], "velocities": logged.velocities[:, driven]}
    own["actions"] = logged.actions
    with pytest.raises(UserError, match=r"joints alone: joint_target_x, joint_target_y, joint_target_z \("):
        arm.observed(own)
    places = [int(arm.base().joint(f"target_{axis}").qposadr[0]) for axis in "xyz"]
    target = {f"joint_target_{axis}": logged.positions[0, place] for axis, place in zip("xyz", places, strict=True)}
    # What is not observed may stand there, too.
    np.testing.assert_array_equal(arm.observed(own | target | {"payload": 0.5, "lamp": np.zeros(51)}), logged.obs)
    with pytest.raises(UserError, match=r"rows are 0.02 s apart.*every 0.05 s"):
        arm.observed(own | target | {"time": 0.02 * np.arange(len(logged.obs))})


def test_visible_parameters_are_given_by_their_names(tmp_path: Path) -> None:
    family = load(tmp_path, hidden=False)
    task = family.tasks("test")[0]
    played = play(family, task)
    with pytest.raises(UserError, match=r"joints alone: wanted \("):
        family.observed(signals(played))  # type: ignore[arg-type]
    observed = family.observed(signals(played, wanted=task.parameters["wanted"]))  # type: ignore[arg-type]
    np.testing.assert_array_equal(observed, played.obs)


def test_what_is_asked_of_an_end_effector_follows_from_the_actions(tmp_path: Path) -> None:
    path = tmp_path / "asked.yaml"
    path.write_text(
        "schema: mql.task_family/1\nname: lab-asked\nversion: 1\ndescription: Ask for a place.\n"
        "env: {robot: arm7, scene: reach, control: ee_delta, episode_length: 20, observe: [site_flange, ahead_ee]}\n"
        "parameters: {height: {value: {dist: uniform, low: 0.28, high: 0.32}, unit: m}}\n"
        'reward: {terms: {ask: {expr: "-norm(info.ahead_ee)"}}}\n'
        "splits: {train: {n: 3, seed: 1}, test: {n: 3, seed: 2}}\n"
    )
    family = undisturbed(tasks.from_file(path))
    assert isinstance(family, ParallelFamily)
    played = play(family, family.tasks("test")[0])
    model = family.model(family.tasks("test")[0])  # type: ignore[attr-defined]
    driven = [int(model.joint(f"joint{n}").qposadr[0]) for n in range(1, 8)]
    log = {"positions": played.positions[:, driven], "velocities": played.velocities[:, driven]}
    with pytest.raises(UserError, match=r"joints alone: actions \("):
        family.observed(log)
    np.testing.assert_array_equal(family.observed({**log, "actions": played.actions}), played.obs)


def test_a_history_is_kept_and_noise_is_the_logs(tmp_path: Path) -> None:
    inner = load(tmp_path, "joint_shoulder, joint_elbow")
    family = disturbed(inner, Sensing(noise=0.1, delay_s=0.04, history=3), Actuation(gain=0.5))
    played = play(inner, inner.tasks("test")[0])
    observed = family.observed(signals(played))  # type: ignore[arg-type]
    assert observed is not None and observed.shape == (16, 6)
    np.testing.assert_array_equal(observed[:, :2], played.obs)
    np.testing.assert_array_equal(observed[5], played.obs[[5, 4, 3]].ravel())
    np.testing.assert_array_equal(observed[1], played.obs[[1, 0, 0]].ravel())


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"positions": np.zeros((4, 5))}, "positions have 5 numbers a row .*: shoulder, elbow$"),
        ({"positions": np.zeros((4, 1))}, "positions have 1 number a row .*not logged add columns with what they had"),
        ({"velocities": np.zeros((3, 2))}, "signal velocities has 3 rows, not 4"),
        ({"positions": np.full((4, 2), np.nan)}, "signal positions is not finite at step 0"),
        ({"positions": None}, "no signal 'positions'"),
    ],
)
def test_wrong_signals_are_refused(tmp_path: Path, changed: dict[str, object], message: str) -> None:
    family = load(tmp_path)
    log: dict[str, object] = {"positions": np.zeros((4, 2)), "velocities": np.zeros((4, 2))} | changed
    with pytest.raises(UserError, match=message):
        family.observed({name: values for name, values in log.items() if values is not None})  # type: ignore[misc]


def test_a_family_without_a_model_says_none() -> None:
    family: TaskFamily = registry.load("point-robot")
    assert family.observed({"positions": np.zeros((3, 2))}) is None
