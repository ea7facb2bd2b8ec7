"""The keyframe of a whole says all that the keyframes of its parts say, and moves along what moves along."""

from __future__ import annotations

from pathlib import Path

import mujoco
import numpy as np
import pytest

from mql.tasks.scenes.compose import compose

pytestmark = pytest.mark.newest

ROBOT = """<mujoco><worldbody>
  <body name="lure" mocap="true" pos="0.1 0 0"><site name="lure"/></body>
  <body name="drone" pos="0 0 1"><freejoint name="fly"/><geom name="drone" size="0.1"/>
    <body name="arm"><joint name="swing" axis="0 1 0"/><geom name="arm" size="0.05" pos="0.2 0 0"/></body>
  </body></worldbody>
  <actuator><position name="servo" joint="swing" kp="10" timeconst="0.1" ctrlrange="-1 1"/></actuator>
  <keyframe><key name="home" qpos="0 0 1 1 0 0 0 0.5" qvel="1 0 0 0 0 2 0.3" act="0.5" ctrl="0.5" mpos="0.1 0.2 0"/>
  </keyframe></mujoco>"""
SCENE = """<mujoco><worldbody><geom name="floor" type="plane" size="1 1 0.1"/>
  <site name="robot_base" pos="2 0 0" euler="0 0 90"/>
  <body name="goal" mocap="true" pos="0 0 3"><site name="goal"/></body>
  <body name="door"><joint name="hinge"/><geom name="door" size="0.1"/></body></worldbody>
  <actuator><general name="latch" joint="hinge" dyntype="integrator" ctrlrange="-1 1"/></actuator>
  <keyframe><key name="home" qpos="0.2" qvel="-0.1" act="0.7" mpos="0 1 3"/></keyframe></mujoco>"""


def test_a_whole_starts_in_all_as_its_parts_do(tmp_path: Path) -> None:
    """The robot stands at x = 2 and is turned by a quarter: what is along x alone is along y."""
    (tmp_path / "robot.xml").write_text(ROBOT)
    (tmp_path / "scene.xml").write_text(SCENE)
    model = compose("robot.xml", "scene.xml", folder=tmp_path)
    data = mujoco.MjData(model)
    mujoco.mj_resetDataKeyframe(model, data, model.key("home").id)
    assert data.joint("hinge").qvel == -0.1 and data.joint("swing").qvel == 0.3
    np.testing.assert_allclose(data.joint("fly").qvel, [0.0, 1.0, 0.0, 0.0, 0.0, 2.0], atol=1e-12)
    assert data.act[model.actuator("servo").actadr[0]] == 0.5 and data.act[model.actuator("latch").actadr[0]] == 0.7
    mujoco.mj_forward(model, data)
    np.testing.assert_allclose(data.site("goal").xpos, [0.0, 1.0, 3.0], atol=1e-12)
    np.testing.assert_allclose(data.site("lure").xpos, [1.8, 0.1, 0.0], atol=1e-12)
    np.testing.assert_allclose(data.site("lure").xmat.reshape(3, 3)[:, 0], [0.0, 1.0, 0.0], atol=1e-12)


SPEC = """schema: mql.robot/1
name: lifter
version: 1
description: A lifter whose servo filters its control.
licence: MIT
source: drawn for this test
mjcf: lifter.xml
home: {lift: 0.3}
"""


def test_a_filtered_servo_holds_the_home_of_a_spec(tmp_path: Path) -> None:
    (tmp_path / "lifter.yaml").write_text(SPEC)
    (tmp_path / "lifter.xml").write_text(
        '<mujoco><option gravity="0 0 0"/><worldbody><body name="cart"><joint name="lift" type="slide"/>'
        '<geom name="cart" size="0.1"/></body></worldbody><actuator><position name="lift" joint="lift" gear="2" kp="10"'
        ' timeconst="0.5" ctrlrange="-1 1" ctrllimited="true"/></actuator></mujoco>'
    )
    (tmp_path / "scene.xml").write_text('<mujoco><worldbody><site name="robot_base"/></worldbody></mujoco>')
    model = compose("lifter.yaml", "scene.xml", folder=tmp_path)
    assert model.key("home").qpos == 0.3 and model.key("home").act == pytest.approx(0.6)
