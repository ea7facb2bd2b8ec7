"""A keyframe of an included model fits the whole: beside a keyframe that somebody writes out by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from mujoco import MjModel

from mql.errors import UserError
from mql.robots.mjcf.compiled import compile_mjcf

pytestmark = pytest.mark.newest

KEY = '<keyframe><key name="home" time="3" qpos="0.4 -1.2" qvel="0.1 0.2" act="0.7" ctrl="0.4 -1.2"{}/></keyframe>'
ROBOT = """<mujoco>
  <worldbody>
    <body name="upper"><joint axis="0 1 0"/><geom size="0.1"/>
      <body name="fore" pos="0.3 0 0"><joint name="elbow" axis="0 1 0"/><geom size="0.1"/></body>
    </body>{}
  </worldbody>
  <actuator>
    <position name="elbow" joint="elbow"/><general joint="elbow" dyntype="filter" dynprm="1"/>
  </actuator>
  {}
</mujoco>"""
CUBE = '<body name="cube" pos="1 2 3"><freejoint name="cube"/><geom size="0.1"/></body>'
LIFT = '<body name="lift" mocap="true" pos="4 5 6"/><body><joint name="lift" type="slide"/><geom size="0.1"/></body>'
ALSO = '<actuator><general joint="lift" dyntype="filter" dynprm="1"/></actuator>'


def compiled(folder: Path, scene: str, robot: str, **others: str) -> MjModel:
    (folder / "robot.xml").write_text(robot)
    (folder / "scene.xml").write_text(scene)
    for name, text in others.items():
        (folder / f"{name}.xml").write_text(text)
    return compile_mjcf(folder / "scene.xml", folder)


@pytest.mark.parametrize("before", [True, False])
def test_what_a_scene_adds_stands_as_it_is_built(tmp_path: Path, before: bool) -> None:
    include, own = '<include file="robot.xml"/>', f"<worldbody>{CUBE}{LIFT}</worldbody>{ALSO}"
    scene = f"<mujoco>{own}{include}</mujoco>" if before else f"<mujoco>{include}{own}</mujoco>"
    model = compiled(tmp_path, scene, ROBOT.format("", KEY.format("")))
    key = model.key("home")
    assert model.nkey == 1 and key.time[0] == 3.0
    robot = [int(model.jnt_qposadr[joint]) for joint in range(model.njnt) if model.jnt_type[joint] == 3]
    assert list(key.qpos[robot]) == [0.4, -1.2] and list(key.qvel[model.jnt_dofadr[model.jnt_type == 3]]) == [0.1, 0.2]
    cube = int(model.joint("cube").qposadr[0])
    assert list(key.qpos[cube : cube + 7]) == [1, 2, 3, 1, 0, 0, 0] and key.qpos[model.joint("lift").qposadr[0]] == 0.0
    own = [actuator for actuator in range(model.nu) if model.actuator_trnid[actuator, 0] != model.joint("lift").id]
    assert list(key.ctrl[own]) == [0.4, -1.2] and np.count_nonzero(key.ctrl) == 2
    assert key.act[model.actuator_actadr[own[1]]] == 0.7 and np.count_nonzero(key.act) == 1
    assert list(key.mpos) == [4, 5, 6] and list(key.mquat) == [1, 0, 0, 0]


def test_it_is_the_keyframe_that_one_would_write_by_hand(tmp_path: Path) -> None:
    scene = f'<mujoco><include file="robot.xml"/><worldbody>{CUBE}</worldbody></mujoco>'
    found = compiled(tmp_path, scene, ROBOT.format("", KEY.format("")))
    by_hand = MjModel.from_xml_string(
        ROBOT.format(
            CUBE,
            '<keyframe><key name="home" time="3" qpos="0.4 -1.2 1 2 3 1 0 0 0" qvel="0.1 0.2 0 0 0 0 0 0" act="0.7" '
            'ctrl="0.4 -1.2"/></keyframe>',
        )
    )
    for name in ("key_qpos", "key_qvel", "key_act", "key_ctrl", "key_time", "qpos0"):
        assert np.array_equal(getattr(found, name), getattr(by_hand, name)), name


def test_keyframes_in_a_file_of_their_own_belong_to_the_file_that_includes_them(tmp_path: Path) -> None:
    keys = f"<mujocoinclude>{KEY.format('')}</mujocoinclude>"
    scene = f'<mujoco><include file="robot.xml"/><worldbody>{CUBE}</worldbody></mujoco>'
    model = compiled(tmp_path, scene, ROBOT.format("", '<include file="keys.xml"/>'), keys=keys)
    assert list(model.key("home").qpos[:2]) == [0.4, -1.2] and model.nq == 9


def test_a_keyframe_that_fits_nothing_is_named(tmp_path: Path) -> None:
    scene = f'<mujoco><include file="robot.xml"/><worldbody>{CUBE}</worldbody></mujoco>'
    with pytest.raises(UserError, match="keyframe"):
        compiled(tmp_path, scene, ROBOT.format("", '<keyframe><key name="home" qpos="1 2 3"/></keyframe>'))
