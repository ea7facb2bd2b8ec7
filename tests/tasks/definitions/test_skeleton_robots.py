"""`mql tasks new` around every robot of the package: its scene composes, and its tasks can be played."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from lab_definitions import MJCF

from mql.robots import registry
from mql.tasks import from_file
from mql.tasks.definitions.new.skeleton import new_skeleton, skeleton_files
from mql.tasks.definitions.new.text import Hidden
from mql.tasks.definitions.parallel import ParallelDefinedFamily
from mql.tasks.definitions.poses import reachable
from mql.tasks.scenes.compose import compose

pytestmark = pytest.mark.newest

# The kitchen's meshes take seconds to compile.
ROBOTS = [pytest.param(name, marks=pytest.mark.slow) if name == "franka-kitchen" else name for name in registry.names()]


def write(folder: Path, robot: str, *, hidden: Hidden | None = None) -> Path:
    """Write the files of a new definition; return the definition."""
    for name, data in new_skeleton("my-task", robot, hidden=hidden).files.items():
        (folder / name).write_bytes(data)
    return folder / "my-task.yaml"


@pytest.mark.parametrize("robot", ROBOTS)
def test_what_is_written_around_a_robot_can_be_played(tmp_path: Path, robot: str) -> None:
    family = from_file(write(tmp_path, robot))
    rewards = []
    for split in family.splits:
        environment = family.make(family.tasks(split)[0])
        obs, _ = environment.reset(seed=0)
        assert environment.observation_space.contains(obs) and np.isfinite(obs).all()
        for action in np.random.default_rng(0).uniform(-1.0, 1.0, (3, family.action_dim)):
            obs, reward, _, _, _ = environment.step(action)
            rewards.append(reward)
            assert np.isfinite(obs).all()
        environment.close()
    assert np.isfinite(rewards).all() and len(set(rewards)) > 1


@pytest.mark.parametrize("robot", ["ant", "humanoid", "fetch", "shadow-hand"])
def test_it_starts_from_the_specs_home(tmp_path: Path, robot: str) -> None:
    write(tmp_path, robot)
    model = compose(robot, "scene.xml", folder=tmp_path)
    for joint, numbers in registry.load(robot).home.items():
        start = model.joint(joint).qposadr[0]
        assert model.key("home").qpos[start : start + np.size(numbers)].tolist() == np.ravel(numbers).tolist()


@pytest.mark.parametrize(
    ("robot", "text"),
    [
        ("fetch", "info.site_robot0_grip - info.site_target"),
        ("shadow-hand", "info.joint_robot0_WRJ1 - task.target_robot0"),
    ],
)
def test_names_are_written_as_expressions_say_them(robot: str, text: str) -> None:
    assert text in skeleton_files("my-task", robot)["my-task.yaml"].decode()


@pytest.mark.parametrize(("robot", "action_dim"), [("arm7", 3), ("fetch", 4), ("sawyer", 4)])
def test_an_end_effector_is_led_to_places_around_its_start(tmp_path: Path, robot: str, action_dim: int) -> None:
    """Actions along the way to a target bring the end there, so that every task is within reach."""
    path = write(tmp_path, robot)
    family = from_file(path)
    assert family.action_dim == action_dim
    scaling, *visible = yaml.safe_load(path.read_text())["env"]["scaling"].values()
    place = slice(family.obs_dim - len(visible) - 3, family.obs_dim - len(visible))  # observed last, but for the target
    start = np.array(scaling["minus"])
    tasks = family.tasks("test")[:4]
    middle = compose(robot, "scene.xml", folder=tmp_path).site("target").pos
    places = np.array([[task.parameters.get(f"target_{axis}", 0.0) for axis in "xyz"] for task in tasks]) + middle
    batch = family.make_batch(tasks)
    end = start + scaling["per"] * batch.reset([0] * 4)[:, place]
    assert np.abs(end - start).max() < 0.02
    for _ in range(family.episode_length):
        way = np.zeros((4, action_dim), np.float32)
        way[:, :3] = np.clip(10.0 * (places - end), -1.0, 1.0)
        step = batch.step(way)
        end = start + scaling["per"] * step.obs[:, place]
    batch.close()
    assert np.linalg.norm(end - places, axis=1).max() < 0.02


@pytest.mark.parametrize("robot", ["planar2", "arm7"])
def test_tasks_outside_the_training_range_are_within_reach(tmp_path: Path, robot: str) -> None:
    family = from_file(write(tmp_path, robot, hidden="goal"))
    assert all(reachable(family, family.tasks("ood")[:6], np.random.default_rng(0)))


@pytest.mark.needs_extra
def test_pictures_are_taken_from_where_the_robots_spec_says(tmp_path: Path) -> None:
    family = from_file(write(tmp_path, "fetch"))
    assert isinstance(family, ParallelDefinedFamily)
    assert family.mechanism.view == registry.load("fetch").camera() is not None


def test_noise_is_small_where_a_full_action_crosses_a_joints_range(tmp_path: Path) -> None:
    servos = MJCF.replace("<actuator>", '<actuator><position joint="rail" kp="9" ctrlrange="-1 1"/>')
    noises = {}
    for name, text in (("motors", MJCF), ("servos", servos)):
        (tmp_path / f"{name}.xml").write_text(text)
        files = skeleton_files("my-task", str(tmp_path / f"{name}.xml"))
        noises[name] = yaml.safe_load(files["my-task-experiment.yaml"])["agent"]["exploration_noise"]
    assert noises == {"motors": 0.15, "servos": 0.05}


SIX_JOINTS = """<mujoco><compiler angle="radian"/><default><joint damping="1" armature="0.02" limited="true"/>
<position kp="120" kv="8"/></default><worldbody><body name="base"><geom size="0.05"/>{links}
<site name="tool" pos="0 0 0.12"/>{ends}</body></worldbody><actuator>{servos}</actuator></mujoco>"""
LINKS = (("z", 2.9, 0.06), ("y", 1.9, 0.1), ("y", 2.6, 0.3), ("z", 2.9, 0.15), ("y", 2.0, 0.1), ("z", 2.9, 0.06))


def test_the_tool_of_a_six_joint_arm_is_displaced_from_a_bent_home(tmp_path: Path) -> None:
    axes = {"y": "0 1 0", "z": "0 0 1"}
    links = "".join(
        f'<body pos="0 0 {length}"><joint name="j{n}" axis="{axes[axis]}" range="-{end} {end}"/><geom size="0.03"/>'
        for n, (axis, end, length) in enumerate(LINKS, start=1)
    )
    servos = "".join(
        f'<position name="m{n}" joint="j{n}" ctrlrange="-{end} {end}"/>' for n, (_, end, _) in enumerate(LINKS, start=1)
    )
    (tmp_path / "arm.xml").write_text(SIX_JOINTS.format(links=links, ends="</body>" * len(LINKS), servos=servos))
    spec = {
        "schema": "mql.robot/1",
        "name": "arm",
        "licence": "MIT",
        "source": "our workshop",
        "mjcf": "arm.xml",
        "home": {"j1": 0.0, "j2": 0.6, "j3": 1.2, "j5": 0.8},
        "end_effector": {"site": "tool"},
        "joints": {f"j{n}": {"kind": "hinge"} for n in range(1, 7)},
        "control": {"ee": {"kind": "ee_delta", "by": "ik", "scale": 0.02, "rate_hz": 20}},
    }
    (tmp_path / "arm.yaml").write_text(yaml.safe_dump(spec))
    assert new_skeleton("my-task", str(tmp_path / "arm.yaml")).chosen["end"] == "site tool"
