"""An end effector that is turned: by inverse kinematics and by a mocap body, against rotations composed by hand."""

from __future__ import annotations

from pathlib import Path

import mujoco
import numpy as np
import pytest
from lab_reaching import write_reaching

from mql import tasks
from mql.errors import UserError
from mql.tasks.control.effector import Stroke, stroke
from mql.tasks.control.limits import Box
from mql.tasks.control.rotation import matrices, turns_between
from mql.tasks.definitions.parallel import ParallelDefinedFamily
from mql.tasks.family import Array

pytestmark = pytest.mark.newest

# What the arm7 of the package has as a file, so that a test can change its modes.
ARM7 = "schema: mql.robot/1\nname: arm\nlicence: MIT\nsource: a copy\nmjcf: arm7.xml\nend_effector: {site: flange}\n"
PULLED = """<mujoco><option timestep="0.002" integrator="implicitfast"/><worldbody>
<body name="puller" mocap="true" pos="0.1 0 0.5"/>
<body name="hand" pos="0 0 0.5"><freejoint/>
<geom type="box" size="0.05 0.02 0.02" mass="1" contype="0" conaffinity="0"/><site name="grip" pos="0.1 0.02 0"/></body>
<body name="spinner" pos="3 0 0"><joint name="spin"/><geom size="0.1" contype="0" conaffinity="0"/></body></worldbody>
<equality><weld body1="puller" body2="hand" solref="0.01 1"/></equality>
<actuator><motor name="idle" joint="spin" ctrlrange="-1 1" ctrllimited="true"/></actuator></mujoco>"""


def turned(axis: int, angle: float) -> Array:
    """A rotation matrix [3, 3] about one of the world's axes, by MuJoCo."""
    quaternion, flat = np.zeros(4), np.zeros(9)
    mujoco.mju_axisAngle2Quat(quaternion, np.eye(3)[axis], angle)
    mujoco.mju_quat2Mat(flat, quaternion)
    return flat.reshape(3, 3)


def arm_that_turns(folder: Path, mode: str) -> ParallelDefinedFamily:
    from mql.robots.models.arm7 import ARM7 as PACKAGED

    path = write_reaching(folder, "arm7")
    (folder / "arm7.xml").write_text(PACKAGED.path.read_text())
    (folder / "arm.yaml").write_text(f"{ARM7}control:\n  turn: {mode}\n")
    path.write_text(path.read_text().replace("robot: arm7", "robot: arm.yaml").replace("ee_delta", "turn"))
    family = tasks.from_file(path)
    assert isinstance(family, ParallelDefinedFamily)
    return family


def poses(family: ParallelDefinedFamily, actions: Array, site: str) -> tuple[Array, Array]:
    """Return places [T + 1, 3] and orientations [T + 1, 3, 3] of a site, from observations that begin with qpos."""
    model = family.mechanism.model
    data = mujoco.MjData(model)
    env = family.make(family.tasks("train")[0])
    start = family.mechanism.start
    batch = family.make_batch([family.tasks("train")[0]])
    seen = [batch.set_state(start.qpos[None], start.qvel[None])[0]]
    seen += [batch.step(action[None]).obs[0] for action in actions]
    places, turns = [], []
    for obs in seen:
        data.qpos[:] = obs[: model.nq]
        mujoco.mj_kinematics(model, data)
        places.append(data.site(site).xpos.copy())
        turns.append(data.site(site).xmat.reshape(3, 3).copy())
    env.close()
    batch.close()
    return np.array(places), np.array(turns)


def test_turns_are_mujocos() -> None:
    rng = np.random.default_rng(0)
    for axis in range(3):
        angle = float(rng.uniform(-3.0, 3.0))
        np.testing.assert_allclose(matrices(angle * np.eye(3)[axis][None])[0], turned(axis, angle), atol=1e-12)
    vectors = rng.uniform(-1.5, 1.5, (20, 3))
    start = matrices(rng.uniform(-1.0, 1.0, (20, 3)))
    np.testing.assert_allclose(turns_between(start, matrices(vectors) @ start), vectors, atol=1e-9)
    assert np.array_equal(matrices(np.zeros((2, 3))), np.stack([np.eye(3)] * 2))


def test_an_orientation_is_asked_for_a_short_way_ahead_and_stays() -> None:
    one, now = stroke(0.1, 20.0), np.eye(3)[None]
    asked = now
    for _ in range(10):
        asked = one.turn(asked, np.array([[0.0, 0.0, 1.0]]), now)
    np.testing.assert_allclose(asked[0], turned(2, 0.3), atol=1e-9)
    far = turned(0, 1.0)[None]
    assert np.array_equal(one.turn(far, np.zeros((1, 3)), now), far)
    np.testing.assert_allclose(one.turn(far, np.array([[-1.0, 0.0, 0.0]]), now)[0], turned(0, 0.9), atol=1e-9)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_inverse_kinematics_turn_the_end_effector_in_its_place(tmp_path: Path, axis: int) -> None:
    family = arm_that_turns(tmp_path, "{kind: ee_delta, scale: 0.02, rate_hz: 20, by: ik, rotation_scale: 0.05}")
    assert family.action_dim == 6
    actions = np.zeros((30, 6))
    actions[:6, 3 + axis] = 1.0
    places, turns = poses(family, actions, "flange")
    np.testing.assert_allclose(turns[-1], turned(axis, 0.3) @ turns[0], atol=0.01)
    np.testing.assert_allclose(places[-1], places[0], atol=2e-3)


def test_it_moves_and_turns_at_once(tmp_path: Path) -> None:
    family = arm_that_turns(tmp_path, "{kind: ee_delta, scale: 0.01, rate_hz: 20, by: ik, rotation_scale: 0.02}")
    actions = np.zeros((40, 6))
    actions[:10] = [0.5, 1.0, -1.0, 0.0, 1.0, 0.0]
    places, turns = poses(family, actions, "flange")
    np.testing.assert_allclose(turns[-1], turned(1, 0.2) @ turns[0], atol=0.01)
    np.testing.assert_allclose(places[-1] - places[0], [0.05, 0.1, -0.1], atol=3e-3)


def test_an_arm_of_less_than_six_joints_can_not_turn_in_its_place(tmp_path: Path) -> None:
    modes = ("scale: 0.02, rate_hz: 20, by: ik", "scale: 0.02, rate_hz: 20, by: ik, rotation_scale: 0.1")
    with pytest.raises(UserError, match="an arm of 3 joints can't turn its end effector"):
        tasks.from_file(write_reaching(tmp_path, "desk", spec=modes))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_mocap_body_turns_the_end_effector_about_itself(tmp_path: Path, axis: int) -> None:
    """Of a free hand, by a weld that sits 10 cm beside the site."""
    (tmp_path / "hand.xml").write_text(PULLED)
    mode = "{kind: ee_delta, scale: 0.02, rate_hz: 20, by: mocap, mocap_body: puller, rotation_scale: 0.05}"
    (tmp_path / "hand.yaml").write_text(
        "schema: mql.robot/1\nname: hand\nlicence: MIT\nsource: here\nmjcf: hand.xml\nend_effector: {site: grip}\n"
        f"control:\n  turn: {mode}\n"
    )
    (tmp_path / "scene.xml").write_text('<mujoco><worldbody><site name="robot_base"/></worldbody></mujoco>')
    (tmp_path / "task.yaml").write_text(
        "schema: mql.task_family/1\nname: hand-task\nversion: 1\ndescription: d\n"
        "env: {robot: hand.yaml, scene: scene.xml, control: turn, episode_length: 100}\n"
        "parameters: {x: {value: {dist: uniform, low: 0.0, high: 1.0}}}\n"
        'reward: {terms: {t: {expr: "task.x"}}}\nsplits: {train: {n: 3, seed: 1}, test: {n: 3, seed: 2}}\n'
    )
    family = tasks.from_file(tmp_path / "task.yaml")
    assert isinstance(family, ParallelDefinedFamily) and family.action_dim == 6
    actions = np.zeros((40, 6))
    actions[:6, 3 + axis] = 1.0
    actions[6:10, 0] = 1.0
    places, turns = poses(family, actions, "grip")
    np.testing.assert_allclose(turns[-1], turned(axis, 0.3) @ turns[0], atol=0.01)
    np.testing.assert_allclose(places[-1] - places[0], [0.08, 0.0, 0.0], atol=3e-3)


def test_a_place_in_a_turned_box_is_kept_by_hand() -> None:
    """A box of 2 by 2 by 2 m that stands at (1, 0, 0), turned by 90 degrees about z: its x axis is the world's y."""
    box = Box(-np.ones(3), np.array([0.5, 1.0, 1.0]), np.array([1.0, 0.0, 0.0]), turned(2, np.pi / 2))
    inside, far = np.array([[1.0, 0.4, 0.0]]), np.array([[1.0, 0.7, 0.0]])
    kept, outside = box.keep(inside, far)
    np.testing.assert_allclose(kept, [[1.0, 0.5, 0.0]], atol=1e-12)
    assert outside.all() and not box.keep(inside, inside)[1].any()
    # What has got outside may come back, or go on elsewhere, but no further out.
    kept, outside = box.keep(far, np.array([[1.2, 0.8, 0.0]]))
    np.testing.assert_allclose(kept, [[1.2, 0.7, 0.0]], atol=1e-12)
    assert not box.keep(far, np.array([[1.2, 0.6, 0.0]]))[1].any()


def test_a_stroke_of_several_scales_is_bounded_in_each() -> None:
    one = Stroke(np.array([0.1, 1.0]), np.array([0.3, 3.0]))
    asked = np.array([[0.25, 0.0]])
    np.testing.assert_allclose(one.ask(asked, np.array([[1.0, -1.0]]), np.zeros((1, 2))), [[0.3, -1.0]])
