"""Every stated fact about a robot equals the compiled model."""

from __future__ import annotations

from pathlib import Path

import mujoco
import numpy as np
import pytest

from mql.errors import UserError
from mql.robots.description import Robot
from mql.robots.models import reacher
from mql.robots.models.ant import ANT
from mql.robots.models.half_cheetah import HALF_CHEETAH, TORSO_HEIGHT
from mql.robots.models.hopper import HOPPER
from mql.robots.models.humanoid import HUMANOID
from mql.robots.models.reacher import REACHER
from mql.robots.models.walker2d import WALKER2D, WALKER2D_OLD

pytestmark = pytest.mark.newest

ENVIRONMENTS = {
    "HalfCheetah-v5": HALF_CHEETAH,
    "Reacher-v5": REACHER,
    "Ant-v5": ANT,
    "Humanoid-v5": HUMANOID,
    "Hopper-v5": HOPPER,
    "Walker2d-v5": WALKER2D,
}
ROBOTS = [*ENVIRONMENTS.values(), WALKER2D_OLD]


@pytest.fixture(params=ROBOTS, ids=lambda robot: robot.name)
def robot(request: pytest.FixtureRequest) -> Robot:
    value: Robot = request.param
    return value


@pytest.fixture
def model(robot: Robot) -> mujoco.MjModel:
    return mujoco.MjModel.from_xml_path(str(robot.path))


def test_timesteps(robot: Robot, model: mujoco.MjModel) -> None:
    assert model.opt.timestep == robot.physics_timestep
    assert robot.control_timestep == pytest.approx(model.opt.timestep * robot.frame_skip)


def test_frame_skip_is_gymnasiums() -> None:
    import gymnasium

    for env_id, robot in ENVIRONMENTS.items():
        env = gymnasium.make(env_id)
        assert env.unwrapped.frame_skip == robot.frame_skip  # type: ignore[attr-defined]
        assert Path(env.unwrapped.fullpath) == robot.path  # type: ignore[attr-defined]
        env.close()


def test_joints(robot: Robot, model: mujoco.MjModel) -> None:
    assert tuple(model.joint(index).name for index in range(model.njnt)) == robot.joints
    free = model.jnt_type[0] == mujoco.mjtJoint.mjJNT_FREE
    others = model.jnt_type[1:] if free else model.jnt_type
    assert set(others) <= {mujoco.mjtJoint.mjJNT_HINGE.value, mujoco.mjtJoint.mjJNT_SLIDE.value}
    assert (model.nq, model.nv) == (len(others) + 7 * free, len(others) + 6 * free)


def test_rest(robot: Robot, model: mujoco.MjModel) -> None:
    assert tuple(model.qpos0) == robot.rest


def test_home_is_within_the_joints_ranges(robot: Robot, model: mujoco.MjModel) -> None:
    """What a home leaves out starts as the model does, and that must be within its range then."""
    assert set(robot.home) <= set(robot.joints)
    qpos = model.qpos0.copy()
    for name, numbers in robot.home.items():
        start = model.joint(name).qposadr[0]
        qpos[start : start + np.size(numbers)] = numbers
    low, high = model.jnt_range.T
    at = qpos[model.jnt_qposadr]
    assert (~model.jnt_limited.astype(bool) | (low <= at) & (at <= high)).all()


def test_the_ant_s_home_is_the_start_that_its_file_names() -> None:
    model = mujoco.MjModel.from_xml_path(str(ANT.path))
    legs = [np.ravel(ANT.home.get(joint, 0.0)) for joint in ANT.joints]
    assert np.concatenate(legs).tolist() == model.numeric("init_qpos").data.tolist()


def body_names(model: mujoco.MjModel) -> list[str]:
    """The bodies' names without the world; a body without a name goes by its joint's."""
    bodies = [model.body(index) for index in range(1, model.nbody)]
    return [body.name or model.joint(int(body.jntadr[0])).name for body in bodies]


def test_actuators(robot: Robot, model: mujoco.MjModel) -> None:
    assert model.nu == len(robot.actuators)
    for index, actuator in enumerate(robot.actuators):
        assert model.joint(model.actuator_trnid[index, 0]).name == actuator.joint
        assert tuple(model.actuator_ctrlrange[index]) == actuator.control_range
        assert model.actuator_gear[index, 0] == actuator.gear


def test_masses(robot: Robot, model: mujoco.MjModel) -> None:
    assert body_names(model) == list(robot.masses)
    np.testing.assert_allclose(model.body_mass[1:], list(robot.masses.values()), rtol=1e-4)


def test_half_cheetah_weighs_14_kg() -> None:
    assert sum(HALF_CHEETAH.masses.values()) == pytest.approx(14.0, abs=1e-3)


def test_half_cheetah_torso_height() -> None:
    model = mujoco.MjModel.from_xml_path(str(HALF_CHEETAH.path))
    data = mujoco.MjData(model)
    data.qpos[:2] = 3.0, 0.1
    mujoco.mj_kinematics(model, data)
    np.testing.assert_allclose(data.body("torso").xpos, [3.0, 0.0, 0.1 + TORSO_HEIGHT], atol=1e-12)


def test_the_walkers_differ_in_the_right_foots_friction_only() -> None:
    new, old = (mujoco.MjModel.from_xml_path(str(robot.path)) for robot in (WALKER2D, WALKER2D_OLD))
    foot = new.geom("foot_geom").id
    assert (new.geom_friction[foot, 0], old.geom_friction[foot, 0]) == (1.9, 0.9)
    old.geom_friction[foot, 0] = 1.9
    for name in ("geom_friction", "body_mass", "body_inertia", "geom_size", "body_pos", "dof_damping", "jnt_range"):
        assert np.array_equal(getattr(new, name), getattr(old, name)), name


def test_view_looks_at_a_body_of_the_model(robot: Robot, model: mujoco.MjModel) -> None:
    assert robot.view.body is None or model.body(robot.view.body).name == robot.view.body


def test_reacher_links_and_limits() -> None:
    model = mujoco.MjModel.from_xml_path(str(REACHER.path))
    assert model.body("body1").pos[0] == reacher.UPPER_ARM_LENGTH
    assert model.body("fingertip").pos[0] == reacher.FOREARM_LENGTH
    assert pytest.approx(0.21) == reacher.REACH
    assert not model.joint("joint0").limited[0]
    assert tuple(model.joint("joint1").range) == (-reacher.ELBOW_LIMIT, reacher.ELBOW_LIMIT)
    for slide in ("target_x", "target_y"):
        assert tuple(model.joint(slide).range) == (-reacher.TARGET_LIMIT, reacher.TARGET_LIMIT)


def test_reacher_touches_nothing() -> None:
    """No pair of geoms can collide, so the target, the walls and the arm never meet."""
    model = mujoco.MjModel.from_xml_path(str(REACHER.path))
    contype, conaffinity = np.asarray(model.geom_contype), np.asarray(model.geom_conaffinity)
    assert not (contype[:, None] & conaffinity[None, :]).any()


def test_a_missing_package_is_named() -> None:
    from dataclasses import replace

    with pytest.raises(UserError, match="no_such_package"):
        _ = replace(REACHER, package="no_such_package").path
    with pytest.raises(UserError, match=r"no\.xml is missing"):
        _ = replace(REACHER, mjcf="no.xml").path
