"""A robot stands in a scene where its spec's `mount` says, from the scene's site."""

from __future__ import annotations

from pathlib import Path

import mujoco
import numpy as np
import pytest
from lab_robots import MJCF, SPEC

from mql.tasks.scenes.compose import compose

pytestmark = pytest.mark.newest

SCENE = """<mujoco>
  <worldbody><site name="robot_base" pos="0.4 0 0.7" euler="0 0 90"/><geom size="0.1"/></worldbody>
</mujoco>"""
HALF = float(np.sqrt(0.5))


def placed(folder: Path, mount: str, *, free: bool = False) -> tuple[mujoco.MjModel, mujoco.MjData]:
    text, spec = MJCF, SPEC
    if free:
        text = text.replace('<body name="stand"', '<body name="stand" pos="0 0 0.4"', 1)
        text = text.replace('<geom name="stand"', '<freejoint name="root"/><geom name="stand"', 1)
        spec = spec.replace("kind: fixed", "kind: free")
    (folder / "lift.xml").write_text(text)
    (folder / "lift.yaml").write_text(spec + mount)
    (folder / "scene.xml").write_text(SCENE)
    model = compose("lift.yaml", "scene.xml", folder=folder)
    data = mujoco.MjData(model)
    mujoco.mj_resetDataKeyframe(model, data, model.key("home").id)
    mujoco.mj_forward(model, data)
    return model, data


@pytest.mark.parametrize("free", [False, True])
def test_the_robot_stands_there(tmp_path: Path, free: bool) -> None:
    for folder in ("plain", "moved"):
        (tmp_path / folder).mkdir()
    _, plain = placed(tmp_path / "plain", "", free=free)
    mount = f"mount: {{pos: [0.2, 0.0, 0.05], quat: [{HALF!r}, {HALF!r}, 0.0, 0.0]}}\n"
    _, moved = placed(tmp_path / "moved", mount, free=free)
    base, turn = plain.site("robot_base").xpos, plain.site("robot_base").xmat.reshape(3, 3)
    about_x = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]])  # the quaternion above by hand
    for body in ("stand", "link", "rod"):
        own = turn.T @ (plain.body(body).xpos - base)  # from the site, without a mount
        expected = base + turn @ (np.array([0.2, 0.0, 0.05]) + about_x @ own)
        assert moved.body(body).xpos == pytest.approx(expected, abs=1e-9)
        assert np.allclose(
            moved.body(body).xmat.reshape(3, 3), turn @ about_x @ turn.T @ plain.body(body).xmat.reshape(3, 3)
        )


def test_without_a_mount_it_stands_at_the_site(tmp_path: Path) -> None:
    model, data = placed(tmp_path, "")
    assert data.body("stand").xpos == pytest.approx(data.site("robot_base").xpos)
    assert model.key("home").qpos == pytest.approx([0.2, 0.05])
