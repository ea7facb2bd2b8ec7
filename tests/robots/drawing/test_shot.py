"""Size and camera of a picture, and shapes that would not be drawn."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest

from mql.errors import UserError
from mql.robots.drawing.renderer import all_bodies_drawn, undrawn
from mql.robots.drawing.shot import Shot, fixed_camera, shot_of

MODEL = """<mujoco><worldbody>
  <camera name="side"/><camera name="top"/><geom name="floor" type="plane" size="1 1 1"/>
  <body name="both"><joint/><geom name="seen" size="0.1"/><geom name="touched" size="0.1" group="3"/>
    <body name="foot"><geom name="foot" size="0.1" group="3"/></body>
    <body name="hand"><joint/><geom name="hand" size="0.1" group="4"/></body></body>
  <body name="stand"><geom name="stand" size="0.1" group="3"/></body>
</worldbody></mujoco>"""


def test_a_size_is_read() -> None:
    assert shot_of(None, None) == Shot() and shot_of("top", "640x360") == Shot("top", 640, 360)


@pytest.mark.parametrize("size", ["640", "x", "0x0", "10x640", "99999x640", "-5x5", "640x360x3"])
def test_a_size_that_is_none_is_one_line(size: str) -> None:
    with pytest.raises(UserError, match="--size"):
        shot_of(None, size)


def test_a_camera_by_name() -> None:
    model = mujoco.MjModel.from_xml_string(MODEL)
    assert fixed_camera(model, "top").fixedcamid == 1
    with pytest.raises(UserError, match="did you mean 'side'"):
        fixed_camera(model, "sid")
    with pytest.raises(UserError, match="leave --camera out"):
        fixed_camera(mujoco.MjModel.from_xml_string("<mujoco/>"), "top")


def test_bodies_that_have_hidden_shapes_only_are_drawn() -> None:
    model = mujoco.MjModel.from_xml_string(MODEL)
    # The foot is fixed to a body that is seen; the hand moves by itself, and the stand is not the floor.
    assert [model.geom(int(geom)).name for geom in undrawn(model)] == ["hand", "stand"]
    before = model.geom_group.copy()
    with all_bodies_drawn(model):
        assert not undrawn(model).size and model.geom("touched").group[0] == 3
    assert np.array_equal(model.geom_group, before)
