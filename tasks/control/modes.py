"""Looks up in a model what a robot's control mode ``ee_delta`` names: joints and servos, or mocap body and weld.

Shapes: J joints of the arm, G actuators of the gripper.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

import mujoco
import numpy as np

from mql.errors import UserError, nearest
from mql.robots.mjcf.lookup import actuator_id, actuator_kind, body_id, driven_joint, joint_width, site_id
from mql.tasks.control.actuators import Indices, position_ratio
from mql.tasks.control.effector import NO_FINGERS, Fingers, ServoEffector, stroke
from mql.tasks.control.kinematics import ArmKinematics
from mql.tasks.control.mocap import MocapEffector
from mql.tasks.family import Array

if TYPE_CHECKING:
    from mql.robots.spec import RobotSpec

JOINT_MODE = "or choose a control mode of joints"


def effector_of(model: mujoco.MjModel, robot: RobotSpec, name: str) -> ServoEffector | MocapEffector:
    """Return what actions of the robot's ``ee_delta`` mode `name` do to `model`.

    Raises:
        UserError: a name that the model has not, a joint of the arm that is no hinge or has no position servo, or a
            mocap body that pulls nothing.
    """
    mode = robot.control[name]
    if mode.by == "mocap":
        return _by_mocap(model, robot, name)
    assert robot.end_effector is not None  # as the spec demands
    site, where = robot.end_effector.site, robot.where(f"control.{name}")
    if site_id(model, site) is None:
        mend = nearest(site, [model.site(index).name for index in range(model.nsite)])
        raise UserError(f"the model has no site {site!r}", where=robot.where("end_effector.site"), mend=mend)
    try:
        kinematics = ArmKinematics(model, site)
    except ValueError as error:
        mend = f"fix the MJCF, {JOINT_MODE}"
        raise UserError(f"inverse kinematics: {error}", where=where, mend=mend) from None
    servos = _servos(model, kinematics, site, where)
    return ServoEffector(
        kinematics, servos, position_ratio(model, servos), stroke(mode.scale, mode.rate_hz), _fingers(model, robot)
    )


def _servos(model: mujoco.MjModel, kinematics: ArmKinematics, site: str, where: str) -> Indices:
    """Return the position servo of each joint, [J]."""
    servos = []
    for name, dof in zip(kinematics.names, kinematics.qvel, strict=True):
        joint = int(model.dof_jntid[dof])
        drives = [actuator for actuator in range(model.nu) if driven_joint(model, actuator) == joint]
        if [actuator_kind(model, actuator) for actuator in drives] != ["position"]:
            what = f"joint {name!r} on the way to {site!r} is not moved by one position servo"
            raise UserError(what, where=where, mend=f"give it a <position> actuator, and no other, {JOINT_MODE}")
        servos += drives
    return np.array(servos, np.intp)


def _servos_on_the_way(model: mujoco.MjModel, body: int) -> Indices:
    """Return the position servos of the hinges and slides between the world and a body."""
    found = []
    for actuator in range(model.nu):
        joint = driven_joint(model, actuator)
        if joint is not None and joint_width(model, joint) == 1 and actuator_kind(model, actuator) == "position":
            moved, at = int(model.jnt_bodyid[joint]), body
            while at not in (0, moved):
                at = int(model.body_parentid[at])
            found += [actuator] if at == moved else []
    return np.array(found, np.intp)


def _by_mocap(model: mujoco.MjModel, robot: RobotSpec, name: str) -> MocapEffector:
    mode, where = robot.control[name], robot.where(f"control.{name}.mocap_body")
    assert mode.mocap_body is not None  # as the spec demands
    body = body_id(model, mode.mocap_body)
    mocaps = [model.body(index).name for index in range(model.nbody) if model.body_mocapid[index] >= 0]
    if body is None or model.body_mocapid[body] < 0:
        mend = nearest(mode.mocap_body, mocaps) if mocaps else 'add mocap="true" to it in the MJCF'
        raise UserError(f"the model has no mocap body {mode.mocap_body!r}", where=where, mend=mend)
    for weld in range(model.neq):
        ends = (int(model.eq_obj1id[weld]), int(model.eq_obj2id[weld]))
        of_bodies = model.eq_type[weld] == mujoco.mjtEq.mjEQ_WELD and model.eq_objtype[weld] == mujoco.mjtObj.mjOBJ_BODY
        if of_bodies and model.eq_active0[weld] and body in ends:
            break
    else:
        _refuse_unwelded(mode.mocap_body, where)
    # Of the weld's data, 0:3 is a point of its second body, 3:6 one of its first that the weld holds there, and 6:10
    # the second's orientation as the first sees it.
    data = model.eq_data[weld]
    points, turn = (data[3:6].copy(), data[0:3].copy()), data[6:10].copy()
    own = ends.index(body)
    if own == 0:
        mujoco.mju_negQuat(turn, turn.copy())
    yielding = _servos_on_the_way(model, ends[1 - own])
    return MocapEffector(
        mocap=int(model.body_mocapid[body]),
        pulled=ends[1 - own],
        weld_turn=turn,
        own_point=points[own],
        pulled_point=points[1 - own],
        end_point=_end_point(model, robot, ends[1 - own], points[1 - own]),
        yielding=yielding,
        places=model.jnt_qposadr[model.actuator_trnid[yielding, 0]],
        ratio=position_ratio(model, yielding),
        stroke=stroke(mode.scale, mode.rate_hz),
        fingers=_fingers(model, robot),
    )


def _refuse_unwelded(body: str, where: str) -> NoReturn:
    mend = f'add <equality><weld body1="{body}" body2="HAND"/></equality> to the MJCF'
    raise UserError(f"mocap body {body!r} pulls nothing: no active weld names it", where=where, mend=mend)


def _fingers(model: mujoco.MjModel, robot: RobotSpec) -> Fingers:
    gripper = robot.gripper
    if gripper is None:
        return NO_FINGERS
    actuators = []
    for name in gripper.actuators:
        actuator = actuator_id(model, name)
        if actuator is None:
            mend = nearest(name, [model.actuator(index).name for index in range(model.nu)])
            raise UserError(f"the model has no actuator {name!r}", where=robot.where("gripper.actuators"), mend=mend)
        actuators.append(actuator)
    wide, shut = np.array(gripper.open), np.array(gripper.close)
    return Fingers(np.array(actuators), (wide + shut) / 2.0, (wide - shut) / 2.0)


def _end_point(model: mujoco.MjModel, robot: RobotSpec, pulled: int, otherwise: Array) -> Array:
    """Return where the end effector is in the pulled body's frame [3]; `otherwise` where the robot has none there."""
    site = None if robot.end_effector is None else site_id(model, robot.end_effector.site)
    if site is None or model.body_weldid[model.site_bodyid[site]] != model.body_weldid[pulled]:
        return otherwise
    data = mujoco.MjData(model)
    mujoco.mj_kinematics(model, data)
    way = data.site_xpos[site] - data.xpos[pulled]
    point: Array = data.xmat[pulled].reshape(3, 3).T @ way
    return point
