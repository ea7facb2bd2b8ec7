"""Pictures show the state as it is, and the task's own model. What is drawn is looked at before OpenGL gets it."""

from __future__ import annotations

import copy
from typing import Any

import mujoco
import numpy as np
import pytest

from mql.robots.description import View
from mql.tasks.stepping import camera
from mql.tasks.stepping.camera import Camera
from mql.tasks.stepping.physics_state import PhysicsState
from mql.tasks.stepping.rollout import MujocoDynamics

pytestmark = pytest.mark.newest

MODEL = """<mujoco><worldbody>
  <body name="goal" mocap="true" pos="0.3 0 0.2"><geom name="goal" size="0.02" rgba="1 0 0 1"/></body>
  <body name="link"><joint name="turn" axis="0 0 1"/><geom name="link" size="0.05" pos="0.2 0 0" mass="1"/></body>
  <body name="box" pos="0 0 1"><geom name="box" type="mesh" mesh="box"/></body>
</worldbody>
<asset><mesh name="box" vertex="0 0 0 1 0 0 0 1 0 0 0 1" scale="0.1 0.1 0.1"/></asset>
<actuator><general name="turn" joint="turn" dyntype="integrator" ctrlrange="-1 1"/></actuator></mujoco>"""


class Drawn:
    """Stands for a renderer: it has a scene, and no OpenGL."""

    opened = 0

    def __init__(self, model: mujoco.MjModel, width: int = 480, height: int = 480) -> None:
        Drawn.opened += 1
        self.scene = mujoco.MjvScene(model, maxgeom=20)

    def render(self) -> np.ndarray[Any, Any]:
        geoms = self.scene.geoms[: self.scene.ngeom]
        return np.array([[*geom.pos, geom.size[0], geom.rgba[0]] for geom in geoms])

    def close(self) -> None:
        pass


@pytest.fixture(autouse=True)
def _without_opengl(monkeypatch: pytest.MonkeyPatch) -> None:
    Drawn.opened = 0
    monkeypatch.setattr(camera, "open_renderer", Drawn)


def test_a_picture_has_what_the_task_has() -> None:
    """Geoms are in the model's order: the goal, the link. Each task has its own place, size and colour of the goal."""
    model = mujoco.MjModel.from_xml_string(MODEL)
    other = copy.deepcopy(model)
    other.body_pos[1], other.geom_size[0], other.geom_rgba[0, 0] = (0.0, 0.5, 0.6), 0.07, 0.25
    dynamics = MujocoDynamics([model, other], 5, threads=1)
    dynamics.place(PhysicsState(np.zeros((2, 1)), np.zeros((2, 1)), act=np.array([[1.0], [-1.0]])))
    _, after = dynamics.advance(np.zeros((2, 1)))
    for _ in range(2):
        for row, goal in enumerate(([0.3, 0.0, 0.2, 0.02, 1.0], [0.0, 0.5, 0.6, 0.07, 0.25])):
            shown = dynamics.render(row)
            np.testing.assert_allclose(shown[0], goal, atol=1e-6)
            angle = after.qpos[row, 0]
            np.testing.assert_allclose(shown[1, :2], [0.2 * np.cos(angle), 0.2 * np.sin(angle)], atol=1e-6)
    assert after.qpos[0, 0] > 1e-3 and after.qpos[1, 0] < -1e-3  # the activations did it
    assert Drawn.opened == 1
    dynamics.close()


def test_other_meshes_are_drawn_as_they_are() -> None:
    model = mujoco.MjModel.from_xml_string(MODEL)
    larger = mujoco.MjModel.from_xml_string(MODEL.replace('scale="0.1 0.1 0.1"', 'scale="0.2 0.2 0.2"'))
    pictures = Camera(None)
    for drawn, times in ((model, 1), (copy.deepcopy(model), 1), (larger, 2), (larger, 2), (model, 3)):
        pictures.picture(drawn, mujoco.MjData(drawn))
        assert Drawn.opened == times
    pictures.close()


def test_what_is_drawn_stays_as_it_is() -> None:
    model = mujoco.MjModel.from_xml_string(MODEL)
    data = mujoco.MjData(model)
    data.qpos[:], data.mocap_pos[:] = 0.5, 0.25
    shown = Camera(None).picture(model, data)
    np.testing.assert_allclose(shown[0, :3], 0.25)
    np.testing.assert_allclose(shown[1, :2], [0.2 * np.cos(0.5), 0.2 * np.sin(0.5)], atol=1e-6)
    assert not data.xpos.any() and not data.qacc.any()  # nothing was computed in the simulation itself


FLOOR = """<mujoco>
<asset><texture name="tiles" type="2d" builtin="checker" width="32" height="32"/>
  <material name="tiles" texture="tiles" texrepeat="25 50" texuniform="{uniform}"/></asset>
<worldbody>
  <geom name="floor" type="plane" size="20 10 1" material="tiles"/>
  <body name="sled" pos="0 0 0.1"><joint type="slide" axis="1 0 0"/><joint type="slide" axis="0 1 0"/>
    <geom size="0.1" mass="1"/></body>
</worldbody></mujoco>"""


@pytest.mark.parametrize(("uniform", "period"), [("false", (40 / 25, 20 / 50)), ("true", (2 / 25, 2 / 50))])
def test_a_floor_goes_along_by_whole_repeats_of_its_texture(uniform: str, period: tuple[float, float]) -> None:
    """So a plane, which has no end for the physics, has none in pictures, and its tiles stay where they are."""
    model = mujoco.MjModel.from_xml_string(FLOOR.format(uniform=uniform))
    data, pictures = mujoco.MjData(model), Camera(View(distance=1.0, azimuth=90.0, elevation=-10.0, body="sled"))
    for x, y in ((0.0, 0.0), (7.0, -3.0), (35.0, 2.0), (-170.3, 44.4)):
        data.qpos[:] = x, y
        floor = pictures.picture(model, data)[0, :2]
        if abs(x) < 9 and abs(y) < 4:
            assert floor.tolist() == [0.0, 0.0]
            continue
        assert abs(floor[0] - x) < 10 and abs(floor[1] - y) < 5
        repeats = floor.astype(float) / period
        np.testing.assert_allclose(repeats, np.round(repeats), atol=1e-3)
    pictures.close()
