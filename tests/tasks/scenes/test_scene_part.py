"""A part is in a scene what it is alone, whatever <compiler> says in its file or in the scene's."""

from __future__ import annotations

from pathlib import Path

import mujoco
import numpy as np
import pytest

from mql.errors import UserError
from mql.robots import registry
from mql.tasks.scenes.compose import compose

pytestmark = pytest.mark.newest

SCENE = '<mujoco>{}<worldbody><site name="robot_base"/><body name="pillar"><geom size="1 1 1" type="box"/>{}</body>{}'
# Nameless bodies and joints beside named ones, limits that nobody states, a tendon, and two kinds of actuators.
ROBOT = """<mujoco>{}<worldbody>
  <body name="base"><geom name="base" size="0.1"/><joint name="turn" range="-1 1"/>
    <body pos="0 0 0.3"><joint axis="1 0 0" springdamper="0.1 1"/><geom size="0.05 0.1" type="capsule" pos="0.1 0 0"/>
      <body name="heavy"><joint name="bend" range="0 1"/><geom size="0.05" group="3"/>
        <inertial pos="0.1 0.2 0" mass="2" fullinertia="1 1.1 1.2 0.1 0 0"/>
      </body>
    </body>
    <body name="light"><geom name="light" size="0.01" mass="0.001"/></body>
  </body></worldbody>
  <tendon><fixed name="pull" range="-1 1"><joint joint="turn" coef="2"/></fixed></tendon>
  <actuator>
    <position joint="turn" kp="10" dampratio="1" inheritrange="1"/>
    <motor name="bend" joint="bend" ctrlrange="-1 1" forcerange="-3 3"/>
    <muscle name="muscle" joint="bend"/>
  </actuator></mujoco>"""
ROBOTS = [
    pytest.param(name, marks=pytest.mark.slow) if name == "franka-kitchen" else name  # which has a kitchen's meshes
    for name in registry.names()
]
SETTINGS = [
    "",
    'settotalmass="3"',
    'boundmass="0.5" boundinertia="0.4"',
    'inertiafromgeom="true"',
    'inertiafromgeom="true" inertiagrouprange="3 3" boundmass="0.1" boundinertia="0.01"',
    'balanceinertia="true"',
    'angle="radian"',
    'eulerseq="zyx"',
    'alignfree="true"',
]


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / f"{name}.xml"
    path.write_text(text, encoding="utf-8")
    return path


def scene(folder: Path, settings: str = "", inside: str = "") -> Path:
    return written(folder, "scene", SCENE.format(f"<compiler {settings}/>", inside, "</worldbody></mujoco>"))


def assert_same(alone: mujoco.MjModel, whole: mujoco.MjModel, first_body: int) -> None:
    """The robot's bodies, joints and actuators follow those of the scene, in their own order."""
    for field in ("body_mass", "body_inertia", "body_ipos", "body_iquat"):
        own, kept = getattr(alone, field)[1:], getattr(whole, field)[first_body:]
        np.testing.assert_allclose(kept, own, rtol=1e-12, atol=1e-15, err_msg=field)
    for field in ("jnt_range", "jnt_limited", "jnt_stiffness", "dof_damping", "qpos0", "qpos_spring"):
        np.testing.assert_allclose(getattr(whole, field), getattr(alone, field), rtol=1e-12, err_msg=field)
    for kind in ("actuator", "tendon"):
        for field in (each for each in dir(alone) if each.startswith(kind) and each.endswith(("limited", "range"))):
            np.testing.assert_allclose(getattr(whole, field), getattr(alone, field), rtol=1e-12, err_msg=field)
    np.testing.assert_allclose(whole.actuator_biasprm, alone.actuator_biasprm, rtol=1e-12)


@pytest.mark.parametrize("of_scene", SETTINGS[:4])
@pytest.mark.parametrize("settings", SETTINGS)
def test_a_part_keeps_its_numbers_whatever_the_compilers_say(tmp_path: Path, settings: str, of_scene: str) -> None:
    robot = written(tmp_path, "robot", ROBOT.format(f"<compiler {settings}/>"))
    whole = compose(robot, scene(tmp_path, of_scene))
    assert_same(mujoco.MjModel.from_xml_path(str(robot)), whole, first_body=2)
    alone = mujoco.MjModel.from_xml_path(str(tmp_path / "scene.xml"))
    assert whole.body("pillar").mass[0] == pytest.approx(alone.body("pillar").mass[0], rel=1e-12)


@pytest.mark.parametrize("of_scene", ["true", "false"])
def test_limits_are_those_of_the_file_without_autolimits(tmp_path: Path, of_scene: str) -> None:
    text = """<mujoco><compiler autolimits="false"/><worldbody><body name="base"><geom size="0.1"/>
      <joint name="free" limited="false" range="-1 1"/></body></worldbody>
      <actuator><motor joint="free" ctrllimited="false" ctrlrange="-1 1" forcelimited="true" forcerange="-2 2"/>
      </actuator></mujoco>"""
    robot = written(tmp_path, "robot", text)
    whole = compose(robot, scene(tmp_path, f'autolimits="{of_scene}"'))
    assert not whole.jnt_limited[0] and not whole.actuator_ctrllimited[0] and whole.actuator_forcelimited[0]
    # Nothing of the other file is limited less, because of this one.
    ranged = text.replace('autolimits="false"', "").replace('limited="false" range', "range", 1)
    whole = compose(written(tmp_path, "ranged", ranged), scene(tmp_path, f'autolimits="{of_scene}"'))
    assert whole.jnt_limited[0]


def test_an_aligned_free_body_keeps_its_frame_and_its_inertia(tmp_path: Path) -> None:
    text = """<mujoco><compiler alignfree="true"/><worldbody><body name="base" pos="0 0 1"><freejoint name="root"/>
      <geom name="off" size="0.1 0.2" type="capsule" pos="0.3 0 0" euler="10 20 30"/></body></worldbody></mujoco>"""
    robot = written(tmp_path, "robot", text)
    alone, whole = mujoco.MjModel.from_xml_path(str(robot)), compose(robot, scene(tmp_path))
    assert alone.body("base").pos[0] == pytest.approx(0.3)  # the frame has gone to the centre of mass
    np.testing.assert_allclose(whole.qpos0, alone.qpos0, atol=1e-12)
    for field in ("mass", "inertia", "ipos", "iquat", "pos"):
        own, kept = getattr(alone.body("base"), field), getattr(whole.body("base"), field)
        np.testing.assert_allclose(kept, own, atol=1e-12, err_msg=field)
    np.testing.assert_allclose(whole.geom("off").pos, alone.geom("off").pos, atol=1e-12)


@pytest.mark.parametrize("name", ROBOTS)
def test_every_robot_is_in_a_scene_what_it_is_alone(tmp_path: Path, name: str) -> None:
    alone, whole = registry.load(name).compile(), compose(name, scene(tmp_path))
    assert_same_bodies(alone, whole)
    np.testing.assert_array_equal(whole.jnt_limited, alone.jnt_limited)
    np.testing.assert_array_equal(whole.actuator_ctrllimited, alone.actuator_ctrllimited)
    np.testing.assert_allclose(whole.actuator_gainprm, alone.actuator_gainprm, rtol=1e-12)


def assert_same_bodies(alone: mujoco.MjModel, whole: mujoco.MjModel) -> None:
    for index in range(1, alone.nbody):
        if name := alone.body(index).name:
            for field in ("mass", "inertia", "ipos", "iquat"):
                own, kept = getattr(alone.body(name), field), getattr(whole.body(name), field)
                np.testing.assert_allclose(kept, own, rtol=1e-9, atol=1e-12, err_msg=f"{field} of {name}")
    own_total = alone.body_mass.sum() + whole.body("pillar").mass[0]
    assert whole.body_mass.sum() == pytest.approx(own_total, rel=1e-12)


def test_the_cheetah_weighs_fourteen_kilograms_in_a_scene(tmp_path: Path) -> None:
    whole = compose("half-cheetah", scene(tmp_path))
    assert whole.body_mass.sum() - whole.body("pillar").mass[0] == pytest.approx(14.0)


@pytest.mark.parametrize("setting", ["fusestatic", "discardvisual", "fitaabb"])
def test_settings_that_can_t_be_written_into_elements_are_refused(tmp_path: Path, setting: str) -> None:
    robot = written(tmp_path, "robot", ROBOT.format(f'<compiler {setting}="true"/>'))
    with pytest.raises(UserError, match=f"{setting} can't be kept .*robot.xml.*delete {setting} from <compiler>"):
        compose(robot, scene(tmp_path))


def test_geoms_without_a_body_do_not_hang_at_what_moves(tmp_path: Path) -> None:
    robot = written(tmp_path, "robot", ROBOT.format("").replace('<geom name="light"', '<site name="flange"/><geom'))
    tool = '<mujoco><worldbody><geom size="0.1" {}/></worldbody></mujoco>'
    with pytest.raises(UserError, match=r"geoms in the <worldbody> have no mass, .* at the moving 'light'"):
        compose(robot, scene(tmp_path), gripper=written(tmp_path, "tool", tool.format("")))
    assert compose(robot, scene(tmp_path), gripper=written(tmp_path, "plain", tool.format('mass="0"'))).nbody == 6
