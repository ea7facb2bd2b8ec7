"""Definitions that say how they sense and act, and what the sensors of their robots state."""

from __future__ import annotations

from pathlib import Path

import gymnasium
import mujoco
import numpy as np
import pytest
from lab_definitions import write_parallel, write_python
from lab_robots import write_robot

from mql import tasks
from mql.errors import UserError
from mql.robots import registry as robots
from mql.tasks.definitions.sensing import Unsimulated, _by_place, unsimulated
from mql.tasks.disturbances.family import DisturbedFamily, undisturbed
from mql.tasks.family import FloatArray, TaskFamily

pytestmark = pytest.mark.newest

OBSERVED = ", observe: [joint_rail, speed_rail, site_tip], scaling: {joint_rail: {minus: 0.2, per: 0.1}}"
SIGMA = "  sigma: {value: {dist: uniform, low: 0.0, high: 0.1}, doc: noise of the encoder}\n"
REACH = """schema: mql.task_family/1
name: lab-lift
version: 1
description: Reach a hidden height.
env: {robot: lift.yaml, scene: scene.xml, episode_length: 12, frame_skip: 4%s}
parameters:
  height: {value: {dist: uniform, low: 0.1, high: 0.3}}
reward: {terms: {near: {expr: "-abs(info.site_tip[2] - task.height)"}}}
%ssplits:
  train: {n: 6, seed: 1}
  test: {n: 4, seed: 2}
"""
SCENE = '<mujoco><worldbody><site name="robot_base"/></worldbody></mujoco>'
SENSORS = """sensors:
  swing: {kind: joint_position, noise: 0.02, delay_s: 0.04}
  swing_speed: {kind: joint_velocity, of: swing, noise: 0.3}
  grip: {kind: end_effector_pose, noise: 0.005}
  reach: {kind: joint_position, delay_s: 0.005}
  force: {kind: joint_effort, of: swing, noise: 0.1}
  spare: {kind: joint_effort, of: swing}
masses:"""


def cart(folder: Path, said: str, *, env: str = OBSERVED, parameters: str = "") -> TaskFamily:
    path = write_parallel(folder, env=env, parameters=parameters)
    path.write_text(path.read_text() + said)
    return tasks.from_file(path)


def lift(folder: Path, said: str = "", env: str = "") -> TaskFamily:
    folder.mkdir()
    write_robot(folder, spec=("masses:", SENSORS))
    (folder / "scene.xml").write_text(SCENE)
    (folder / "reach.yaml").write_text(REACH % (env, said))
    return tasks.from_file(folder / "reach.yaml")


def spread(family: TaskFamily, episodes: int = 40) -> FloatArray:
    """Standard deviation [O] of what is seen from what is there, over episodes with actions of 0."""
    task = family.tasks("train")[0]
    shown = []
    for each in (family, undisturbed(family)):
        batch = each.make_batch([task] * episodes)
        seen = [batch.reset(range(episodes))]
        seen += [batch.step(np.zeros((episodes, each.action_dim))).obs for _ in range(each.episode_length)]
        shown.append(np.stack(seen))
    found: FloatArray = (shown[0] - shown[1]).std(axis=(0, 1))
    return found


def test_each_quantity_is_seen_as_said_in_its_own_unit_and_all_stands_for_the_others(tmp_path: Path) -> None:
    family = cart(tmp_path, "sensing: {all: {noise: 0.2}, joint_rail: {noise: 0.03}, speed_rail: {noise: 0}}\n")
    # joint_rail: 0.03 m, of which 0.1 are seen as 1.
    assert np.allclose(spread(family), [0.3, 0.0, 0.2, 0.2, 0.2], rtol=0.2)


def test_delay_and_history_of_one_quantity(tmp_path: Path) -> None:
    said = "sensing: {joint_rail: {delay_s: 0.04, history: 2}, site_tip: {history: 2}}\n"
    family = cart(tmp_path, said)
    assert family.obs_dim == 5 + 4
    task = family.tasks("train")[0]
    env, plain = family.make(task), undisturbed(family).make(task)
    seen, true = [env.reset(seed=1)[0]], [plain.reset(seed=1)[0]]
    for _ in range(8):
        seen.append(env.step(np.ones(1))[0])
        true.append(plain.step(np.ones(1))[0])
    for t in range(3, 9):
        assert np.array_equal(seen[t][:5], [true[t - 2][0], *true[t][1:]])
        assert np.array_equal(seen[t][5:], [true[t - 3][0], *true[t - 1][2:]])


def test_a_hidden_parameter_may_be_a_noise(tmp_path: Path) -> None:
    family = cart(
        tmp_path, "sensing: {joint_rail: {noise: task.sigma}}\nactuation: {gain: task.mass}\n", parameters=SIGMA
    )
    assert family.parameters["sigma"].bounds == (0.0, np.inf)
    blind = family.task({"goal": 0.2, "mass": 1.0, "sigma": 0.0})
    noisy = family.task({"goal": 0.2, "mass": 1.0, "sigma": 0.1})
    batch = family.make_batch([blind, noisy])
    seen = np.stack([batch.reset([1, 1])[:, 0], *(batch.step([[0.0], [0.0]]).obs[:, 0] for _ in range(12))])
    quiet, rough = np.diff(seen, n=2, axis=0).std(axis=0)  # of a smooth motion, and with 0.1 m, seen as 1, of noise
    assert quiet < 0.02 and 1.0 < rough < 5.0


def test_visible_parameters_and_expressions_of_observations_stay_true(tmp_path: Path) -> None:
    visible = "  shown: {value: {dist: uniform, low: 0.0, high: 1.0}, hidden: false}\n"
    path = write_parallel(tmp_path, env=OBSERVED, parameters=visible, reward='reward: {terms: {x: {expr: "obs[0]"}}}\n')
    path.write_text(path.read_text() + "sensing: {all: {noise: 0.5, history: 2}}\n")
    family = tasks.from_file(path)
    task = family.tasks("train")[0]
    env, plain = family.make(task), undisturbed(family).make(task)
    env.reset(seed=1)
    plain.reset(seed=1)
    obs, reward, *_ = env.step(np.ones(1))
    true, expected, *_ = plain.step(np.ones(1))
    assert family.obs_dim == 11 and obs[-1] == np.float32(task.parameters["shown"])  # type: ignore[arg-type]
    assert reward == expected == true[0] != obs[0]


def test_a_python_class_and_a_gymnasium_id_are_sensed_likewise(tmp_path: Path) -> None:
    path = write_python(tmp_path)
    path.write_text(path.read_text() + "sensing: {all: {noise: 0.2}}\n")
    assert np.allclose(spread(tasks.from_file(path, trust=True)), 0.2, rtol=0.3)
    path.write_text(path.read_text().replace("{all:", "{joint_rail:"))
    with pytest.raises(UserError, match=r"'joint_rail' is not observed .*the observation has no names; write 'all'"):
        tasks.from_file(path, trust=True)


class Named(gymnasium.Env):  # type: ignore[type-arg]
    """Two named parts, one of two numbers."""

    observation_space = gymnasium.spaces.Dict(
        {"far": gymnasium.spaces.Box(-1, 1, (2,)), "near": gymnasium.spaces.Box(-1, 1, (1,))}
    )
    action_space = gymnasium.spaces.Box(-1, 1, (1,))

    def reset(self, **_: object) -> object:  # type: ignore[override]
        return {"far": np.zeros(2), "near": np.zeros(1)}, {}

    def step(self, action: object) -> object:  # type: ignore[override]
        return {"far": np.zeros(2), "near": np.zeros(1)}, 0.0, False, False, {}


def test_keys_of_a_dict_observation_have_their_own(tmp_path: Path) -> None:
    gymnasium.register("LabNamed-v0", Named, max_episode_steps=12)
    path = tmp_path / "named.yaml"
    path.write_text(
        "schema: mql.task_family/1\nname: lab-named\nversion: 1\ndescription: Named parts.\n"
        "env: {id: LabNamed-v0, observe: [near, far]}\nparameters: {p: {value: {dist: uniform, low: 0, high: 1}}}\n"
        "splits: {train: {n: 3, seed: 1}, test: {n: 2, seed: 2}}\nsensing: {far: {noise: 0.5}}\n"
    )
    assert np.allclose(spread(tasks.from_file(path)), [0.0, 0.5, 0.5], rtol=0.2)


def test_a_robots_sensors_are_what_is_not_said(tmp_path: Path) -> None:
    family = lift(tmp_path / "whole", "sensing: {all: {delay_s: 0}}\n")  # qpos (swing, reach) and qvel
    assert np.allclose(spread(family), [0.02, 0.0, 0.3, 0.0], rtol=0.2, atol=1e-3)
    observe = ", observe: [site_tip, joint_reach, speed_swing, joint_swing]"
    family = lift(tmp_path / "named", "sensing: {all: {delay_s: 0}}\n", observe)
    assert np.allclose(spread(family), [0.005] * 3 + [0.0, 0.3, 0.02], rtol=0.25, atol=1e-3)
    family = lift(tmp_path / "said", "sensing: {all: {noise: 0}, joint_swing: {noise: 0.1}}\n", observe)
    assert np.allclose(spread(family)[:5], 0.0, atol=1e-6) and spread(family)[5] == pytest.approx(0.1, rel=0.3)
    assert isinstance(family, DisturbedFamily)
    [swing] = [each for each in family.sensed if each.key == "sensing.joint_swing"]
    assert (swing.sensing.delay_s, swing.keys) == (
        0.04,
        {"noise": "sensing.joint_swing.noise", "delay_s": "robot:sensors.swing.delay_s"},
    )
    assert isinstance(lift(tmp_path / "off", "sensing: {all: {noise: 0, delay_s: 0}}\n"), type(undisturbed(family)))


def test_how_it_is_sensed_and_moved_is_listed(tmp_path: Path) -> None:
    said = "sensing: {site_tip: {noise: task.height, history: 2}}\nactuation: {delay_s: 0.1, gain: [0.5, 1.0]}\n"
    env = ", observe: [qpos, site_tip]"
    assert lift(tmp_path / "lift", said, env).describe()["episodes"] == [
        "sensing qpos (1 number): noise 0.02 (stated by the robot), delay_s 0.04 (stated by the robot)",
        "sensing site_tip (3 numbers): noise task.height, history 2",
        "actuation: delay_s 0.1, gain [0.5, 1]",
    ]


def test_a_sensor_of_the_model_measures_the_joint_or_the_place_that_it_reads() -> None:
    robot = robots.load("planar2")
    model = robot.compile()
    assert model.sensor("fingertip").type == mujoco.mjtSensor.mjSENS_FRAMEPOS
    stated, _ = _by_place(robot, model, 0.02)
    site = model.site("fingertip").id
    assert stated["site_xpos", site]["noise"] == stated["sensordata", 0]["noise"]
    assert stated["site_xpos", site]["delay_s"][0] == 0.02 and "delay_s" not in stated["qpos", 0]


def test_an_effort_is_what_the_models_sensor_of_it_reads(tmp_path: Path) -> None:
    mjcf = ("</actuator>", '</actuator><sensor><jointactuatorfrc name="effort" joint="swing"/></sensor>')
    robot = robots.load(str(write_robot(tmp_path, spec=("masses:", SENSORS), mjcf=mjcf)))
    stated, missed = _by_place(robot, robot.compile(), 0.02)
    assert stated["sensordata", 0]["noise"][0] == 0.1 and not any("force" in each.where for each in missed)


def test_what_of_a_robots_sensors_nothing_simulates_is_told(tmp_path: Path) -> None:
    robot = robots.load(str(write_robot(tmp_path, spec=("masses:", SENSORS))))
    found = unsimulated(robot, robot.compile(), 0.02, own_observation=False)
    assert [each.where.split()[-1] for each in found] == ["sensors.reach.delay_s", "sensors.force"]
    assert "less than half a control step of 0.02 s" in found[0].why and "effort" in found[1].why
    assert all(isinstance(each, Unsimulated) and "lift.yaml:" in each.where for each in found)
    assert len(unsimulated(robot, robot.compile(), 0.02, own_observation=True)) == 5


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (
            "sensing: {joint_rai: {noise: 1}}",
            "'joint_rai' is not observed (LINE sensing.joint_rai): did",
        ),
        ("sensing: {joint_pivot: {noise: 1}}", "'joint_pivot' is not observed"),
        ("sensing: {joint_rail: {noise: -1}}", "noise is -1 (LINE sensing.joint_rail.noise)"),
        (
            "sensing: {joint_rail: {noise: sigma}}",
            "'sigma' is no number (LINE sensing.joint_rail.noise): give one",
        ),
        ("sensing: {joint_rail: {noise: task.gaol}}", "no task parameter 'gaol' (LINE sensing.joint_rail.noise): did"),
        ("sensing: {all: {delay_s: 0.24}}", "an episode lasts 0.24 s, 12 control steps"),
        ("sensing: {all: {delay_s: 0.005}}", "less than half a control step (LINE sensing.all.delay_s)"),
        ("sensing: {site_tip: {history: 14}}", "an episode has 13 observations"),
        ("sensing: {all: {nois: 1}}", "unknown key 'nois' (LINE sensing.all.nois)"),
        ("actuation: {gain: [1, 2]}", "gain has 2 numbers (LINE actuation.gain)"),
        ("actuation: {rate_limit: 0}", "rate_limit is 0 (LINE actuation.rate_limit)"),
        (
            "actuation: {delay_s: task.mass}",
            "(LINE actuation.delay_s): draw it from numbers of 0 or more",
        ),
        ("actuation: {delay: 1}", "unknown key 'delay' (LINE actuation.delay): did you mean 'delay_s'"),
    ],
)
def test_mistakes_are_told_with_their_line(tmp_path: Path, said: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        cart(tmp_path, f"{said}\n")
    assert message.replace("LINE", f"{tmp_path}/cart.yaml:18") in str(caught.value), str(caught.value)
