"""Robot, tool and scene as one model: each part stays what it is alone, and what can't be put together is one line."""

from __future__ import annotations

import os
from pathlib import Path

import mujoco
import numpy as np
import pytest
from lab_robots import write_robot

from mql.errors import UserError
from mql.robots import registry
from mql.tasks.scenes.compose import built_in, compose

pytestmark = pytest.mark.newest

ROOT = Path(__file__).parents[3]
ARM = ROOT / "robots" / "models" / "arm7.xml"
BALL = '<geom size="0.1"/>'


def part(folder: Path, name: str, body: str, *, head: str = "", sites: str = '<site name="robot_base"/>') -> Path:
    """Write a part with one body in it."""
    path = folder / name
    path.write_text(f"<mujoco>{head}<worldbody>{sites}{body}</worldbody></mujoco>", encoding="utf-8")
    return path


def refusal(*parts: str | Path, **options: object) -> str:
    with pytest.raises(UserError) as caught:
        compose(*parts, **options)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("scene", ["table", "reach", "push", "drawer", "peg"])
@pytest.mark.parametrize("gripper", [None, "gripper", "rod", "peg"])
def test_built_in_parts_go_together_with_the_robots_home_and_options(scene: str, gripper: str | None) -> None:
    model, alone = compose("arm7", scene, gripper=gripper), mujoco.MjModel.from_xml_path(str(ARM))
    home = model.key("home")
    for index in range(alone.njnt):
        joint = alone.joint(index)
        assert home.qpos[model.joint(joint.name).qposadr[0]] == alone.key("home").qpos[index]
        assert tuple(model.joint(joint.name).range) == tuple(joint.range)
        assert home.ctrl[model.actuator(joint.name).id] == alone.key("home").ctrl[index]
    assert (model.opt.timestep, model.opt.integrator) == (alone.opt.timestep, alone.opt.integrator)


def test_names_of_built_in_parts() -> None:
    assert set(built_in("scene")) >= {"table", "reach", "push", "drawer", "peg"}
    assert set(built_in("gripper")) >= {"gripper", "rod", "peg"}


def test_the_arm_moves_in_a_scene_as_it_does_alone() -> None:
    together, alone = compose("arm7", "table"), mujoco.MjModel.from_xml_path(str(ARM))
    ends = []
    for model in (together, alone):
        data = mujoco.MjData(model)
        mujoco.mj_resetDataKeyframe(model, data, 0)
        data.ctrl[:] += 0.2
        mujoco.mj_step(model, data, nstep=100)
        ends.append(data.qpos.copy())
    np.testing.assert_allclose(*ends, atol=1e-12)


@pytest.mark.parametrize("scene_unit", ["degree", "radian"])
@pytest.mark.parametrize("robot_unit", ["degree", "radian"])
def test_every_part_keeps_its_own_unit_of_angles(tmp_path: Path, scene_unit: str, robot_unit: str) -> None:
    def written(unit: str) -> str:
        """0.5 rad, as text in a unit."""
        return "0.5" if unit == "radian" else f"{np.degrees(0.5):.12f}"

    for name, unit in (("scene", scene_unit), ("robot", robot_unit)):
        head = f'<compiler angle="{unit}"/><default><default class="{name}"/></default>'
        angle = written(unit)
        inner = f'<joint name="{name}" range="-{angle} {angle}" ref="{angle}"/><geom size="0.1 0.1 0.1" type="box"/>'
        body = f'<body childclass="{name}"><body name="{name}" euler="0 {angle} {angle}">{inner}</body></body>'
        part(tmp_path, f"{name}.xml", body, head=head, sites='<site name="robot_base"/>' if name == "scene" else "")
    model = compose("robot.xml", "scene.xml", folder=tmp_path)
    for name in ("scene", "robot"):
        np.testing.assert_allclose(model.joint(name).range, [-0.5, 0.5], atol=1e-9)
        np.testing.assert_allclose(model.joint(name).qpos0, 0.5, atol=1e-9)
    np.testing.assert_allclose(model.body("scene").quat, model.body("robot").quat, atol=1e-9)


def test_the_gripper_opens_and_shuts_both_fingers() -> None:
    model = compose("arm7", "table", gripper="gripper")
    data = mujoco.MjData(model)
    mujoco.mj_resetDataKeyframe(model, data, 0)
    for opening in (0.04, 0.0, 0.02):
        data.ctrl[model.actuator("fingers").id] = opening
        mujoco.mj_step(model, data, nstep=200)
        fingers = [data.joint(name).qpos[0] for name in ("finger_left", "finger_right")]
        np.testing.assert_allclose(fingers, opening, atol=1e-3)


def test_composing_twice_gives_the_same_model_and_a_changed_file_another(tmp_path: Path) -> None:
    scene = part(tmp_path, "scene.xml", "")
    first = compose("arm7", scene)
    assert compose("arm7", scene) is first and compose("arm7", "scene.xml", folder=tmp_path) is first
    part(tmp_path, "scene.xml", f'<body name="box">{BALL}</body>')
    os.utime(scene, ns=(0, 0))
    assert compose("arm7", scene).nbody == first.nbody + 1


def test_meshes_are_read_from_their_own_parts_folder(tmp_path: Path) -> None:
    (tmp_path / "robot" / "meshes").mkdir(parents=True)
    corners = "v 0 0 0\nv 0.1 0 0\nv 0 0.1 0\nv 0 0 0.1\nf 1 3 2\nf 1 2 4\nf 1 4 3\nf 2 3 4\n"
    (tmp_path / "robot" / "meshes" / "corner.obj").write_text(corners, encoding="utf-8")
    head = '<compiler meshdir="meshes"/><asset><mesh name="corner" file="corner.obj"/></asset>'
    body = '<body name="corner"><geom type="mesh" mesh="corner"/></body>'
    robot = part(tmp_path / "robot", "robot.xml", body, head=head, sites="")
    scene = part(tmp_path, "scene.xml", "")
    assert compose(robot, scene).nmesh == 1


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("bodies", f'<body name="link3">{BALL}</body>'),
        ("joints", f'<body><joint name="joint3"/>{BALL}</body>'),
        ("geoms", '<geom name="link3" size="0.1"/>'),
        ("sites", '<site name="flange"/>'),
    ],
)
def test_a_name_of_two_parts_is_refused_before_mujoco_meets_it(tmp_path: Path, kind: str, body: str) -> None:
    scene = part(tmp_path, "scene.xml", body)
    message = refusal("arm7", scene)
    assert f"two parts have {kind} of the name" in message
    assert str(scene) in message and "robots/models/arm7.xml" in message


def test_unknown_and_missing_parts_are_named(tmp_path: Path) -> None:
    assert refusal("arm8", "table").startswith("unknown robot 'arm8': did you mean 'arm7'?")
    assert "unknown scene 'tabel': did you mean 'table'?" in refusal("arm7", "tabel")
    assert "unknown gripper 'grip': did you mean 'gripper'?" in refusal("arm7", "table", gripper="grip")
    assert "the scene's file is missing" in refusal("arm7", "no.xml", folder=tmp_path)


def test_any_registered_robot_stands_in_a_scene() -> None:
    model = compose("planar2", "table")
    assert model.nu == 2 and model.geom("table_top").id >= 0


def test_a_part_reads_nothing_outside_its_folder(tmp_path: Path) -> None:
    (tmp_path / "inside").mkdir()
    part(tmp_path, "outside.xml", "")
    scene = tmp_path / "inside" / "scene.xml"
    scene.write_text('<mujoco><include file="../outside.xml"/></mujoco>', encoding="utf-8")
    assert "outside" in refusal("arm7", scene)


@pytest.mark.parametrize("name", ["planar2", "ant"])
def test_a_spec_without_a_keyframe_gives_its_home(name: str) -> None:
    model, home = compose(name, "table"), registry.load(name).home
    for joint, numbers in home.items():
        start = model.joint(joint).qposadr[0]
        assert model.key("home").qpos[start : start + np.size(numbers)].tolist() == np.ravel(numbers).tolist()


@pytest.mark.needs_extra
def test_position_actuators_hold_the_home_of_a_spec() -> None:
    model = compose("fetch", "table")
    assert model.key("home").ctrl.tolist() == [0.0, 0.0]  # the fingers' home
    joint = model.joint("robot0:torso_lift_joint")
    assert model.key("home").qpos[joint.qposadr[0]] == 0.0386


def test_a_robot_that_moves_freely_starts_where_the_scene_has_its_base(tmp_path: Path) -> None:
    inner = '<body name="box" pos="0 0 1"><freejoint name="root"/><geom size="0.1"/></body>'
    robot = tmp_path / "robot.xml"
    key = '<keyframe><key name="home" qpos="1 0 2 1 0 0 0"/></keyframe>'
    robot.write_text(f"<mujoco><worldbody>{inner}</worldbody>{key}</mujoco>", encoding="utf-8")
    scene = part(tmp_path, "scene.xml", "", sites='<site name="robot_base" pos="0 3 0.5" euler="0 0 90"/>')
    model = compose(robot, scene)
    np.testing.assert_allclose(model.qpos0[:3], [0.0, 3.0, 1.5])
    half = np.sqrt(0.5)
    np.testing.assert_allclose(model.key("home").qpos, [0.0, 4.0, 2.5, half, 0.0, 0.0, half], atol=1e-12)


def test_a_home_that_the_model_can_t_take_is_one_line(tmp_path: Path) -> None:
    path = write_robot(tmp_path, spec=("home: {swing: 0.2, reach: 0.05}", "home: {swing: [0.2, 1.0]}"))
    assert "home of 'swing' is 2 numbers" in refusal(path, "table")
    text = path.read_text(encoding="utf-8").replace("swing: [0.2, 1.0]", "swing: 0.2")
    path.write_text(text, encoding="utf-8")
    model = (tmp_path / "lift.xml").read_text(encoding="utf-8").replace('"swing"', '"sway"')
    (tmp_path / "lift.xml").write_text(model, encoding="utf-8")
    assert "home has no joint 'swing'" in refusal(path, "table")


def test_missing_attachment_points_are_named(tmp_path: Path) -> None:
    bare = part(tmp_path, "bare.xml", f'<body name="one">{BALL}</body>', sites="")
    assert "there is no site 'robot_base' to attach arm7.xml to" in refusal("arm7", bare)
    assert "there is no site 'flange' to attach gripper.xml to" in refusal(bare, "table", gripper="gripper")


def test_broken_files_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "broken.xml").write_text("<mujoco><worldbody>", encoding="utf-8")
    assert "broken.xml:1): fix the syntax" in refusal("arm7", "broken.xml", folder=tmp_path)
    part(tmp_path, "negative.xml", '<body name="one"><geom size="-0.1"/></body>')
    assert "MuJoCo refuses the model" in refusal("arm7", "negative.xml", folder=tmp_path)


def test_numbers_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    part(tmp_path, "nan.xml", '<body name="one"><geom size="0.1" mass="nan"/></body>')
    assert "mass of <geom> is 'nan'" in refusal("arm7", "nan.xml", folder=tmp_path)


def test_scenes_and_one_module_of_physics_use_mjspec() -> None:
    users = {path.name for path in (ROOT / "tasks").rglob("*.py") if "MjSpec.from" in path.read_text(encoding="utf-8")}
    assert users == {"source.py"}
