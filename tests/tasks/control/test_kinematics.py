"""The arm's kinematics equal MuJoCo's, and the flange goes where actions send it."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest

from mql.tasks.control.kinematics import ArmKinematics
from mql.tasks.families.arms.arm import DOWN
from mql.tasks.scenes.compose import compose

pytestmark = pytest.mark.newest

HOME = (0.5, 0.0, 0.3)


@pytest.fixture(scope="module")
def model() -> mujoco.MjModel:
    return compose("arm7", "reach", gripper="rod")


@pytest.fixture(scope="module")
def arm(model: mujoco.MjModel) -> ArmKinematics:
    return ArmKinematics(model, "flange")


def start(model: mujoco.MjModel, arm: ArmKinematics) -> np.ndarray:
    angles: np.ndarray = model.key("home").qpos[arm.qpos]
    return angles


def test_place_rotation_and_jacobian_are_mujocos(model: mujoco.MjModel, arm: ArmKinematics) -> None:
    angles = np.random.default_rng(0).uniform(-2.0, 2.0, (20, 7))
    flange = arm.flange(angles)
    data, site = mujoco.MjData(model), model.site("flange").id
    linear, angular = np.zeros((3, model.nv)), np.zeros((3, model.nv))
    for row in range(20):
        data.qpos[arm.qpos] = angles[row]
        mujoco.mj_kinematics(model, data)
        mujoco.mj_comPos(model, data)
        mujoco.mj_jacSite(model, data, linear, angular, site)
        np.testing.assert_allclose(flange.position[row], data.site_xpos[site], atol=1e-9)
        np.testing.assert_allclose(flange.rotation[row], data.site_xmat[site].reshape(3, 3), atol=1e-9)
        np.testing.assert_allclose(flange.jacobian[row], np.vstack([linear, angular])[:, arm.qvel], atol=1e-9)


def test_a_chain_with_offset_joints_and_turned_bodies_is_mujocos_too() -> None:
    xml = """<mujoco><worldbody><body pos="0.1 0.2 0.3" euler="10 20 30">
    <joint axis="0 1 1" pos="0.1 0 0.05"/><joint axis="1 0 0" pos="0 0.1 0"/><geom size="0.1"/>
    <body pos="0.2 0 0.1" euler="5 0 40"><body pos="0 0 0.1"><joint axis="1 2 3" pos="0 0 0.1"/><geom size="0.1"/>
    <site name="end" pos="0.1 0.1 0" euler="0 30 0"/></body></body></body></worldbody></mujoco>"""
    model = mujoco.MjModel.from_xml_string(xml)
    arm, data = ArmKinematics(model, "end"), mujoco.MjData(model)
    data.qpos[:] = 0.3, -0.7, 1.1
    mujoco.mj_kinematics(model, data)
    flange = arm.flange(data.qpos[None])
    np.testing.assert_allclose(flange.position[0], data.site("end").xpos, atol=1e-12)
    np.testing.assert_allclose(flange.rotation[0], data.site("end").xmat.reshape(3, 3), atol=1e-12)


def test_a_chain_with_slides_and_joints_that_were_built_elsewhere_than_at_zero_is_mujocos_too() -> None:
    xml = """<mujoco><worldbody><body pos="0.1 0.2 0.3" euler="10 20 30"><joint type="slide" axis="1 1 0" ref="0.2"/>
    <joint axis="0 1 1" pos="0.1 0 0.05" ref="40"/><joint type="slide" axis="0 0 1"/><geom size="0.1"/>
    <body pos="0.2 0 0.1" euler="5 0 40"><joint axis="1 2 3" pos="0 0 0.1"/><joint type="slide" axis="0 1 0"/>
    <geom size="0.1"/><site name="end" pos="0.1 0.1 0" euler="0 30 0"/></body></body></worldbody></mujoco>"""
    model = mujoco.MjModel.from_xml_string(xml)
    arm, data, site = ArmKinematics(model, "end"), mujoco.MjData(model), model.site("end").id
    linear, angular = np.zeros((3, model.nv)), np.zeros((3, model.nv))
    poses = np.random.default_rng(0).uniform(-1.0, 1.0, (5, 5))
    flange = arm.flange(poses)
    for row in range(5):
        data.qpos[:] = poses[row]
        mujoco.mj_kinematics(model, data)
        mujoco.mj_comPos(model, data)
        mujoco.mj_jacSite(model, data, linear, angular, site)
        np.testing.assert_allclose(flange.position[row], data.site_xpos[site], atol=1e-12)
        np.testing.assert_allclose(flange.rotation[row], data.site_xmat[site].reshape(3, 3), atol=1e-12)
        np.testing.assert_allclose(flange.jacobian[row], np.vstack([linear, angular]), atol=1e-12)


def test_a_chain_with_a_ball_is_refused() -> None:
    body = '<body><joint name="s" type="ball"/><geom size="0.1"/><site name="end"/></body>'
    xml = f"<mujoco><worldbody>{body}</worldbody></mujoco>"
    with pytest.raises(ValueError, match=r"joint 's' on the way to 'end' is no hinge or slide"):
        ArmKinematics(mujoco.MjModel.from_xml_string(xml), "end")


@pytest.mark.parametrize("displacement", [(0.004, 0.0, 0.0), (0.0, -0.004, 0.0), (0.0, 0.003, 0.003)])
def test_targets_displace_the_flange_as_asked(
    model: mujoco.MjModel, arm: ArmKinematics, displacement: tuple[float, ...]
) -> None:
    angles = arm.pose_at(np.array(HOME), DOWN, start(model, arm))[None]
    flange = arm.flange(angles)
    reached = arm.flange(arm.targets(angles, flange, np.array([displacement]), DOWN, angles[0]))
    # Damped least squares falls short by less than a tenth, and one step of it is right to first order.
    np.testing.assert_allclose(reached.position[0] - flange.position[0], displacement, atol=4e-4)
    np.testing.assert_allclose(reached.rotation[0], DOWN, atol=2e-3)


def test_a_tilted_flange_is_turned_upright_again(model: mujoco.MjModel, arm: ArmKinematics) -> None:
    angles = arm.pose_at(np.array(HOME), DOWN, start(model, arm))[None]
    tilted = angles + np.array([0.0, 0.0, 0.1, 0.0, -0.1, 0.15, 0.2])
    place = arm.flange(tilted).position
    for _ in range(20):
        flange = arm.flange(tilted)
        tilted = arm.targets(tilted, flange, place - flange.position, DOWN, angles[0])
    np.testing.assert_allclose(arm.flange(tilted).rotation[0], DOWN, atol=1e-3)
    np.testing.assert_allclose(arm.flange(tilted).position, place, atol=1e-3)


def test_targets_stay_within_the_joints_ranges(arm: ArmKinematics) -> None:
    angles = np.tile(arm.high, (1, 1))
    targets = arm.targets(angles, arm.flange(angles), np.full((1, 3), 0.3), DOWN, arm.low)
    assert (targets >= arm.low).all() and (targets <= arm.high).all()


def test_a_task_does_not_depend_on_its_neighbours(arm: ArmKinematics) -> None:
    rng = np.random.default_rng(1)
    angles, moves = rng.uniform(-1.0, 1.0, (33, 7)), rng.uniform(-0.02, 0.02, (33, 3))
    together = arm.targets(angles, arm.flange(angles), moves, DOWN, np.zeros(7))
    for row in range(33):
        one = angles[row : row + 1]
        alone = arm.targets(one, arm.flange(one), moves[row : row + 1], DOWN, np.zeros(7))
        assert np.array_equal(alone[0], together[row])


def test_a_pose_out_of_reach_is_refused(model: mujoco.MjModel, arm: ArmKinematics) -> None:
    with pytest.raises(ValueError, match="does not reach"):
        arm.pose_at(np.array([2.0, 0.0, 0.3]), DOWN, start(model, arm))
