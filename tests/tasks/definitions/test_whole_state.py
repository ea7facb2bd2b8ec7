"""An episode starts from a keyframe's whole state in every task, alone, beside others, and with a Python class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import pytest
from lab_reaching import write_reaching

from mql import tasks
from mql.tasks.definitions.family import DefinedFamily
from mql.tasks.definitions.parallel import ParallelDefinedFamily
from mql.tasks.definitions.python_environment import PythonEnvironment
from mql.tasks.family import Array, Task, TaskFamily
from mql.tasks.stepping import camera

pytestmark = pytest.mark.newest

ARM = """<mujoco>
  <option timestep="0.005"/>
  <worldbody>
    <geom name="floor" type="plane" size="2 2 0.1"/>
    <body name="goal" mocap="true" pos="0.3 0 0.2" quat="1 0 0 0">
      <geom name="goal" size="0.02" contype="0" conaffinity="0"/><site name="goal"/>
    </body>
    <body name="link" pos="0 0 0.2">
      <joint name="turn" axis="0 0 1" damping="0.1"/>
      <geom name="link" type="capsule" fromto="0 0 0 0.3 0 0" size="0.02" mass="0.5"/><site name="tip" pos="0.3 0 0"/>
    </body>
    <body name="block" pos="1 0 0.1"><joint name="block" type="slide" axis="0 0 1"/>
      <geom name="block" size="0.1" mass="1"/><site name="skin" size="0.11"/>
    </body>
  </worldbody>
  <actuator><position name="turn" joint="turn" kp="5" kv="0.5" timeconst="0.3" ctrlrange="-2 2"/></actuator>
  <sensor><clock name="clock"/><touch name="under" site="skin"/><accelerometer name="felt" site="tip"/></sensor>
  <keyframe>
    <key name="home" time="3" qpos="1 0.002" qvel="0.1 0" act="0.9" ctrl="1" mpos="0.4 0.1 0.5" mquat="0 0 0 1"/>
  </keyframe>
</mujoco>"""
LESS = ARM.replace(' mpos="0.4 0.1 0.5" mquat="0 0 0 1"', "")
YAML = """schema: mql.task_family/1
name: lab-arm
version: 1
description: Point to a hidden place.
env: {{mjcf: arm.xml, {env}episode_length: 50, frame_skip: 4}}
parameters:
  y: {{value: {{dist: uniform, low: -0.3, high: 0.3}}, apply: [{{field: body_pos, body: goal, index: 1, op: set}}]}}
  mass: {{value: {{dist: uniform, low: 1, high: 3}}, apply: [{{field: body_mass, body: block, op: scale}}]}}
reward:
  terms:
    near: {{expr: "-norm(info.site_tip - info.body_goal)"}}
    time: {{expr: info.time}}
    clock: {{expr: info.sensor_clock}}
    under: {{expr: info.sensor_under}}
    felt: {{expr: "info.sensor_felt[0]"}}
    block: {{expr: info.force_block_floor}}
    down: {{expr: "info.gravity_tip[2]"}}
    turns: {{expr: "info.angular_link[2]"}}
    meets: {{expr: info.touching_link_floor}}
splits: {{train: {{n: 5, seed: 1}}, test: {{n: 3, seed: 2}}}}
"""
OBSERVE = "observe: [qpos, qvel, site_goal, quat_body_goal, sensor_clock, sensor_under, time], "
CLASS = """
class Task:
    def reset(self, model, data, task, rng):
        pass

    def observe(self, model, data):
        return [*data.qpos, *data.qvel, *data.site("goal").xpos, *data.xquat[model.body("goal").id]]
"""


def load(folder: Path, model: str = ARM, *, python: bool = False) -> TaskFamily:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "arm.xml").write_text(model)
    (folder / "arm.py").write_text(CLASS)
    (folder / "arm.yaml").write_text(YAML.format(env="python: arm.py:Task, " if python else OBSERVE))
    family = tasks.from_file(folder / "arm.yaml", trust=True)
    assert isinstance(family, DefinedFamily if python else ParallelDefinedFamily)
    return family


def without_noise(family: TaskFamily, chosen: list[Task]) -> tuple[object, Array]:
    """Start the tasks side by side from the keyframe itself."""
    assert isinstance(family, ParallelDefinedFamily)
    start, batch = family.mechanism.start, family.make_batch(chosen, threads=2)
    rows = len(chosen)
    return batch, batch.set_state(np.tile(start.qpos, (rows, 1)), np.tile(start.qvel, (rows, 1)))


def plain(task: Task, model: str = ARM) -> tuple[mujoco.MjModel, mujoco.MjData]:
    """MuJoCo by hand: the model with the task's numbers written into its file, at its keyframe."""
    values = task.parameters
    text = model.replace('pos="0.3 0 0.2"', f'pos="0.3 {values["y"]} 0.2"')
    compiled = mujoco.MjModel.from_xml_string(text.replace('mass="1"', f'mass="{values["mass"]}"'))
    data = mujoco.MjData(compiled)
    mujoco.mj_resetDataKeyframe(compiled, data, 0)
    return compiled, data


def test_every_task_moves_as_plain_mujoco_from_the_keyframe(tmp_path: Path) -> None:
    """Three tasks side by side, each alone, each as a Python class and by hand."""
    family, classes = load(tmp_path / "a", LESS), load(tmp_path / "b", LESS, python=True)
    chosen = list(family.tasks("test"))
    batch, obs = without_noise(family, chosen)
    hands = [plain(task, LESS) for task in chosen]
    alone = [classes.make(classes.task(task.parameters)) for task in chosen]
    for row, (_, data) in enumerate(hands):
        first = alone[row].reset(seed=0)[0]
        mujoco.mj_forward(data.model, data)
        np.testing.assert_allclose(obs[row, :4], [*data.qpos, *data.qvel], atol=1e-6)
        np.testing.assert_allclose(obs[row, 4:11], [0.3, chosen[row].parameters["y"], 0.2, 1, 0, 0, 0], atol=1e-6)
        np.testing.assert_allclose(first, obs[row, :11], atol=1e-6)
        assert obs[row, 11] == 3.0 and obs[row, 13] == 0.0
        assert obs[row, 12] == pytest.approx(data.sensor("under").data[0], rel=1e-6)
    rng = np.random.default_rng(0)
    rewards = []
    for step in range(1, 20):
        action = rng.uniform(-1, 1, (3, 1))
        result = batch.step(action)  # type: ignore[attr-defined]
        rewards.append(result.reward)
        for row, (model, data) in enumerate(hands):
            data.ctrl[:] = 2.0 * action[row]
            mujoco.mj_step(model, data, 4)
            shown = mujoco.MjData(model)
            for name in ("qpos", "qvel", "act", "ctrl", "mocap_pos", "mocap_quat"):
                getattr(shown, name)[:] = getattr(data, name)
            mujoco.mj_forward(model, shown)
            right = {
                "near": -np.linalg.norm(shown.site("tip").xpos - shown.body("goal").xpos),
                "time": 0.02 * step,
                "clock": 3.0 + 0.02 * step,
                "under": shown.sensor("under").data[0],
                "felt": shown.sensor("felt").data[0],
                "block": shown.sensor("under").data[0],
                "down": -1.0,
                "turns": data.qvel[0],
                "meets": 0.0,
            }
            _, reward, _, _, info = alone[row].step(action[row].astype(np.float32))
            for name, value in right.items():
                assert result.info[f"reward_{name}"][row] == pytest.approx(value, rel=1e-5, abs=1e-6), name
                assert info[f"reward_{name}"] == pytest.approx(value, rel=1e-5, abs=1e-6), name
            assert reward == pytest.approx(result.reward[row], rel=1e-5)
    assert len({float(reward) for reward in rewards[-1]}) == 3


def test_a_filtered_servo_stays_where_the_keyframe_puts_it(tmp_path: Path) -> None:
    """The filter stands at 1 rad, as the joint does, so nothing pulls."""
    still = ARM.replace('act="0.9"', 'act="1"').replace('qvel="0.1 0"', "")
    for python in (False, True):
        family = load(tmp_path / str(python), still, python=python)
        env = family.make(family.tasks("test")[0])
        env.reset(seed=0)
        for _ in range(10):
            obs = env.step(np.array([0.5], np.float32))[0]
        assert obs[0] == pytest.approx(1.0, abs=0.011)  # the start has noise of 0.01 rad


def test_a_resting_body_is_felt_with_its_weight(tmp_path: Path) -> None:
    for python in (False, True):
        family = load(tmp_path / str(python), python=python)
        for mass in (1.0, 2.5):
            env = family.make(family.task({"y": 0.0, "mass": mass}))
            env.reset(seed=0)
            for _ in range(50):
                info = env.step(np.zeros(1, np.float32))[4]
            assert info["reward_under"] == pytest.approx(9.81 * mass, abs=1e-3)
            assert info["reward_block"] == pytest.approx(9.81 * mass, abs=1e-3)


@pytest.mark.parametrize("python", [False, True])
def test_a_mocap_body_is_where_the_keyframe_has_it_but_for_what_the_task_changes(tmp_path: Path, python: bool) -> None:
    family = load(tmp_path, python=python)
    for y in (-0.2, 0.25):
        obs = family.make(family.task({"y": y, "mass": 1.0})).reset(seed=0)[0]
        np.testing.assert_allclose(obs[4:11], [0.4, y, 0.5, 0.0, 0.0, 0.0, 1.0], atol=1e-6)


def test_a_task_that_diverges_is_nan_and_is_whole_again_in_the_next_episode(tmp_path: Path) -> None:
    family = load(tmp_path)
    assert isinstance(family, ParallelDefinedFamily)
    chosen, start = list(family.tasks("test")), family.mechanism.start
    batch, first = without_noise(family, chosen)
    right = batch.step(np.zeros((3, 1)))  # type: ignore[attr-defined]
    qvel = np.tile(start.qvel, (3, 1))
    qvel[1] = 1e12
    batch.set_state(np.tile(start.qpos, (3, 1)), qvel)  # type: ignore[attr-defined]
    for _ in range(3):
        ill = batch.step(np.zeros((3, 1)))  # type: ignore[attr-defined]
        assert np.isnan(ill.obs[1]).all() and np.isnan(ill.reward[1]) and np.isfinite(ill.obs[[0, 2]]).all()
    batch.set_state(np.tile(start.qpos, (3, 1)), np.tile(start.qvel, (3, 1)))  # type: ignore[attr-defined]
    again = batch.step(np.zeros((3, 1)))  # type: ignore[attr-defined]
    assert np.array_equal(again.obs, right.obs) and np.array_equal(again.reward, right.reward)
    assert np.isfinite(first).all()


PID = """<mujoco>
  <extension><plugin plugin="mujoco.pid">
    <instance name="pid"><config key="kp" value="20"/><config key="ki" value="40"/><config key="kd" value="2"/>
      <config key="slewmax" value="3"/></instance>
  </plugin></extension>
  <worldbody><body name="goal" mocap="true" pos="0.3 0 0.2"/><body name="link"><joint name="turn" axis="0 1 0"/>
    <geom name="link" type="capsule" fromto="0 0 0 0.3 0 0" size="0.02" mass="0.5"/><site name="tip" pos="0.3 0 0"/>
  </body></worldbody>
  <actuator><plugin joint="turn" plugin="mujoco.pid" instance="pid" actdim="2" ctrlrange="-2 2"/></actuator>
  <keyframe><key name="home" qpos="1" act="0.02 1" ctrl="1"/></keyframe>
</mujoco>"""
PID_YAML = """schema: mql.task_family/1
name: lab-pid
version: 1
description: Hold a link.
env: {mjcf: arm.xml, episode_length: 50, frame_skip: 5}
parameters: {y: {value: {dist: uniform, low: -0.3, high: 0.3}}}
reward: {terms: {near: {expr: "-abs(info.joint_turn - task.y)"}}}
splits: {train: {n: 5, seed: 1}, test: {n: 3, seed: 2}}
"""


def test_the_activations_of_plugins_go_on_from_the_keyframe(tmp_path: Path) -> None:
    """The controller's integral and its last target are activations; the test would fail if either were dropped."""
    (tmp_path / "arm.xml").write_text(PID)
    (tmp_path / "arm.yaml").write_text(PID_YAML)
    batch, _ = without_noise(family := tasks.from_file(tmp_path / "arm.yaml"), list(family.tasks("test")))
    model = mujoco.MjModel.from_xml_string(PID)
    data = mujoco.MjData(model)
    mujoco.mj_resetDataKeyframe(model, data, 0)
    assert model.na == 2
    for action in (0.5, -0.3, -0.3, 0.1, 0.8):
        result = batch.step(np.full((3, 1), action))  # type: ignore[attr-defined]
        data.ctrl[:] = 2.0 * action
        mujoco.mj_step(model, data, 5)
        np.testing.assert_allclose(result.obs, np.tile([*data.qpos, *data.qvel], (3, 1)), rtol=1e-5, atol=1e-6)


def test_a_python_simulation_is_not_disturbed_by_what_is_read(tmp_path: Path) -> None:
    """Forces are computed at each new state; the next one is that of steps without this, bit for bit."""
    family = load(tmp_path, python=True)
    assert isinstance(family, DefinedFamily)
    env = family.make_env()
    assert isinstance(env, PythonEnvironment)
    task = family.tasks("test")[0]
    env.set_task(task.parameters)
    env.reset(seed=0)
    twin = mujoco.MjData(env.model)
    spec = mujoco.mjtState.mjSTATE_INTEGRATION.value
    state = np.zeros(mujoco.mj_stateSize(env.model, spec))
    mujoco.mj_getState(env.model, env.data, state, spec)
    mujoco.mj_setState(env.model, twin, state, spec)
    mujoco.mj_forward(env.model, twin)
    twin.qacc_warmstart[:] = env.data.qacc_warmstart
    for action in (0.5, -0.5, 1.0):
        env.step(np.array([action]))
        twin.ctrl[:] = 2.0 * action
        mujoco.mj_step2(env.model, twin)
        mujoco.mj_step(env.model, twin, 3)
        mujoco.mj_step1(env.model, twin)
        assert np.array_equal(twin.qpos, env.data.qpos) and np.array_equal(twin.qvel, env.data.qvel)
    env.close()


LAMP = '<body name="lamp" mocap="true" pos="0 0 1"><geom name="lamp" size="0.01"/></body><body name="turret"'
SENSORS = (
    """<sensor><clock name="clock"/><force name="wrist" site="tcp"/><gyro name="gyro" site="tcp"/></sensor></mujoco>"""
)
TERMS = """    lamp: {expr: "-norm(info.body_lamp - info.site_tcp)"}
    time: {expr: info.time}
    clock: {expr: info.sensor_clock}
    wrist: {expr: "norm(info.sensor_wrist)"}
    gyro: {expr: "info.sensor_gyro[2]"}
    down: {expr: "info.gravity_tcp[0]"}
    meets: {expr: "info.touching_body_lamp_finger + info.force_body_lamp_finger"}
"""


def pulled_by_a_mocap_body(folder: Path, *, python: bool) -> TaskFamily:
    """The hand of the robot desk is pulled by one mocap body, and the task places another one."""
    folder.mkdir()
    path = write_reaching(folder, "desk", control="pull", python=python, mjcf=(' active="false"', ""))
    model = (folder / "desk.xml").read_text().replace('<body name="turret"', LAMP).replace("</mujoco>", SENSORS)
    (folder / "desk.xml").write_text(model)
    change = "apply: [{field: body_pos, body: lamp, index: 1, op: set}]"
    text = path.read_text().replace("    calm:", f"{TERMS}    calm:").replace("unit: m}", f"unit: m, {change}}}", 1)
    path.write_text(text)
    return tasks.from_file(path, trust=True)


def test_simulations_with_a_mocap_body_say_the_same_alone_and_beside_others(tmp_path: Path) -> None:
    family, classes = (pulled_by_a_mocap_body(tmp_path / str(python), python=python) for python in (False, True))
    chosen = list(family.tasks("test"))[:3]
    batch, _ = without_noise(family, chosen)
    alone = [classes.make(classes.task(task.parameters)) for task in chosen]
    for env in alone:
        env.reset(seed=0)
    rng = np.random.default_rng(1)
    for step in range(1, 12):
        action = rng.uniform(-1, 1, (3, 4)).astype(np.float32)
        result = batch.step(action)  # type: ignore[attr-defined]
        assert result.info["reward_time"] == pytest.approx(0.05 * step)
        assert result.info["reward_clock"] == pytest.approx(0.05 * step)
        assert (result.info["reward_wrist"] > 0.1).all() and len(set(result.info["reward_lamp"])) == 3
        for row, env in enumerate(alone):
            info = env.step(action[row])[4]
            for name in ("lamp", "time", "clock", "wrist", "gyro", "down", "meets", "near"):
                assert result.info[f"reward_{name}"][row] == pytest.approx(info[f"reward_{name}"], rel=1e-9, abs=1e-12)


def test_pictures_show_mocap_bodies_in_every_kind_of_simulation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The scene is looked at before OpenGL gets it."""
    places: list[Any] = []

    class Drawn:
        def __init__(self, model: mujoco.MjModel, width: int, height: int) -> None:
            self.scene = mujoco.MjvScene(model, maxgeom=100)

        def render(self) -> np.ndarray[Any, Any]:
            places.append([geom.pos.copy() for geom in self.scene.geoms[: self.scene.ngeom]])
            return np.zeros((2, 2, 3), np.uint8)

        def close(self) -> None:
            pass

    monkeypatch.setattr(camera, "open_renderer", Drawn)
    for python in (False, True):
        family = load(tmp_path / f"{python}", python=python)
        env = family.make(family.task({"y": 0.25, "mass": 1.0}), render_mode="rgb_array")
        env.reset(seed=0)
        env.step(np.zeros(1, np.float32))
        env.render()
        assert np.isclose(places[-1], [0.4, 0.25, 0.5], atol=1e-6).all(axis=1).any()
        env.close()
        pulled = pulled_by_a_mocap_body(tmp_path / f"pulled-{python}", python=python)
        env = pulled.make(pulled.task({"x": -0.2, "y": 0.0, "z": 0.3}), render_mode="rgb_array")
        env.reset(seed=0)
        env.step(np.array([1.0, 0.0, 0.0, 0.0], np.float32))
        env.render()
        assert np.isclose(places[-1], [0.0, -0.2, 1.0], atol=1e-6).all(axis=1).any()
        env.close()
