"""Every stated fact about a robot equals the compiled model."""

from __future__ import annotations

from pathlib import Path

import mujoco
import numpy as np
import pytest

from mql.errors import UserError
from mql.robots import reacher
from mql.robots.description import Robot
from mql.robots.half_cheetah import HALF_CHEETAH
from mql.robots.reacher import REACHER

ROBOTS = [HALF_CHEETAH, REACHER]


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

    for robot, env_id in ((HALF_CHEETAH, "HalfCheetah-v5"), (REACHER, "Reacher-v5")):
        env = gymnasium.make(env_id)
        assert env.unwrapped.frame_skip == robot.frame_skip  # type: ignore[attr-defined]
        assert Path(env.unwrapped.fullpath) == robot.path  # type: ignore[attr-defined]
        env.close()


def test_joints(robot: Robot, model: mujoco.MjModel) -> None:
    assert tuple(model.joint(index).name for index in range(model.njnt)) == robot.joints
    assert model.nq == model.nv == len(robot.joints)


def test_actuators(robot: Robot, model: mujoco.MjModel) -> None:
    assert model.nu == len(robot.actuators)
    for index, actuator in enumerate(robot.actuators):
        assert model.joint(model.actuator_trnid[index, 0]).name == actuator.joint
        assert tuple(model.actuator_ctrlrange[index]) == actuator.control_range
        assert model.actuator_gear[index, 0] == actuator.gear


def test_masses(robot: Robot, model: mujoco.MjModel) -> None:
    assert {model.body(index).name for index in range(1, model.nbody)} == set(robot.masses)
    for name, mass in robot.masses.items():
        assert model.body(name).mass[0] == pytest.approx(mass, rel=1e-4), name


def test_half_cheetah_weighs_14_kg() -> None:
    assert sum(HALF_CHEETAH.masses.values()) == pytest.approx(14.0, abs=1e-3)


def test_view_looks_at_a_body_of_the_model(robot: Robot, model: mujoco.MjModel) -> None:
    assert robot.view.body is None or robot.view.body in robot.masses


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
