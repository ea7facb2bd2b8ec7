"""Looks up in a model what a robot's control mode names and needs: joints and actuators, or mocap body and weld.

A mode fits actuators: position servos take targets, velocity servos speeds, motors efforts. One that does not fit is
refused, and the message says which would. A velocity servo beside a joint's position servo or motor asks for no speed:
it damps.

Shapes: U actuators, K actuators of joints, J joints of the arm, G actuators of the gripper.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn

import mujoco
import numpy as np

from mql.errors import UserError, nearest
from mql.robots.mjcf.lookup import (
    actuator_id,
    actuator_kind,
    actuator_name,
    body_id,
    driven_joint,
    joint_width,
    site_id,
)
from mql.tasks.control.actuators import Holding, Indices, effort_ratio, position_ratio, velocity_ratio
from mql.tasks.control.controller import Controller
from mql.tasks.control.effector import (
    JOINTS_TO_ORIENT,
    LEAD_TIME,
    LEAST_LEAD,
    NO_FINGERS,
    Fingers,
    ServoEffector,
    Stroke,
    stroke,
)
from mql.tasks.control.joints import EffortControl, RangeControl, Ranges, SpeedControl, TargetControl, ranges_of
from mql.tasks.control.kinematics import ArmKinematics
from mql.tasks.control.limits import Box, EndLimits
from mql.tasks.control.mocap import MocapEffector
from mql.tasks.family import Array

if TYPE_CHECKING:
    from mql.robots.spec import RobotSpec
    from mql.robots.spec_parts import ControlMode

JOINT_MODE = "or choose a control mode of joints"
FITTING = {  # what a mode of joints commands
    "joint_position": "position",
    "around_home": "position",
    "position_delta": "position",
    "velocity": "velocity",
    "torque": "motor",
}
NAMES = {"position": "a position servo", "velocity": "a velocity servo", "motor": "a motor"}
BASE = "robot_base"  # the site of a scene where a robot stands


def range_control(model: mujoco.MjModel, own: Indices, *, where: str) -> RangeControl:
    """Return what actions without a control mode do: they command the ranges of the actuators `own`.

    Raises:
        UserError: an actuator has no range.
    """
    return RangeControl(ranges_of(model, own, where=where), Holding(model, own, settled=False))


def control_of_mode(
    model: mujoco.MjModel, robot: RobotSpec, name: str, *, own: Indices, home: Array, seconds: float
) -> Controller | MocapEffector:
    """Return what actions of the robot's control mode `name` do to `model`.

    Args:
        model: the compiled model.
        robot: the robot.
        name: one of its modes.
        own: the actuators that are the robot's; all others hold still.
        home: [Q], the pose around which a mode may command.
        seconds: s; a control step.

    Raises:
        UserError: the mode does not fit the robot's actuators, the model has not what it names, or a limit is stated
            that can't be kept.
    """
    mode = robot.control[name]
    if mode.kind != "ee_delta":
        return _of_joints(model, robot, name, own, home, seconds)
    if mode.by == "mocap":
        return _by_mocap(model, robot, name, own, seconds)
    return _by_servos(model, robot, name, own, seconds)


def _of_joints(
    model: mujoco.MjModel, robot: RobotSpec, name: str, own: Indices, home: Array, seconds: float
) -> Controller:
    mode, where = robot.control[name], robot.where(f"control.{name}")
    fingers = _fingers(model, robot)
    commanded, others = _commanded(model, mode, own, fingers, where)
    columns = np.argsort(np.argsort(np.concatenate([commanded, others])))  # in the model's order
    joints = [int(model.actuator_trnid[actuator, 0]) for actuator in commanded]
    scale = _scale(model, mode, joints, where)
    common: dict[str, Any] = {
        "columns": columns[: len(commanded)],
        "actuators": commanded,
        "places": np.array(model.jnt_qposadr[joints], np.intp),
        "dofs": np.array(model.jnt_dofadr[joints], np.intp),
        "ranges": ranges_of(model, others, columns=columns[len(commanded) :], where=where) if others.size else Ranges(),
        "fingers": fingers,
        "end": _end_limits(model, robot, seconds),
        "fastest": _fastest(model, robot, joints),
        "seconds": seconds,
        "holding": Holding(model, own),
    }
    if mode.kind == "velocity":
        return SpeedControl(ratio=velocity_ratio(model, commanded), scale=scale, **common)
    if mode.kind == "torque":
        return EffortControl(ratio=effort_ratio(model, commanded), scale=scale, **common)
    ratio = position_ratio(model, commanded)
    low, high = _target_range(model, joints, commanded, ratio)
    middle: Array | None = None
    if mode.kind == "joint_position":
        for actuator, least, most in zip(commanded, low, high, strict=True):
            if not np.isfinite([least, most]).all():
                mend = 'give it ctrlrange="LOW HIGH" or its joint a range, or choose position_delta or around_home'
                what = f"actuator {actuator_name(model, actuator)!r} has no control range, and its joint no range"
                raise UserError(what, where=where, mend=mend)
        middle, scale = (high + low) / 2.0, scale * (high - low) / 2.0
    elif mode.kind == "around_home":
        middle = home[common["places"]]
    stays = mode.kind != "joint_position"
    lead = scale * max(LEAST_LEAD, LEAD_TIME * mode.rate_hz)
    return TargetControl(
        ratio=ratio, low=low, high=high, middle=middle, stroke=Stroke(scale, lead), stays=stays, **common
    )


def _commanded(
    model: mujoco.MjModel, mode: ControlMode, own: Indices, fingers: Fingers, where: str
) -> tuple[Indices, Indices]:
    """Return the actuators that a mode of joints commands [K], and those that drive no single joint [M]."""
    wanted = FITTING[mode.kind]
    commanded, others, kinds = [], [], {}
    for actuator in map(int, np.setdiff1d(own, fingers.actuators)):
        joint = driven_joint(model, actuator)
        if joint is None or joint_width(model, joint) != 1:
            others.append(actuator)
        else:
            kinds[actuator] = (joint, actuator_kind(model, actuator))
    for actuator, (joint, kind) in kinds.items():
        beside = {each for other, (at, each) in kinds.items() if at == joint and other != actuator}
        if kind == wanted:
            commanded.append(actuator)
        elif not (kind == "velocity" and wanted in beside):  # then it is a damper
            _refuse_misfit(model, mode, actuator, kind, where)
    for actuator in commanded:
        joint = kinds[actuator][0]
        if sum(kinds[other][0] == joint for other in commanded) > 1:
            what = f"joint {model.joint(joint).name!r} has more than one actuator that {mode.kind} commands"
            raise UserError(what, where=where, mend="leave it one, or leave env.control out")
    return np.array(commanded, np.intp), np.array(others, np.intp)


def _refuse_misfit(model: mujoco.MjModel, mode: ControlMode, actuator: int, kind: str, where: str) -> NoReturn:
    fitting = [each for each, wanted in FITTING.items() if wanted == kind] + ["ee_delta"] * (kind == "position")
    law = NAMES.get(kind, "which has a law of its own")
    what = f"{mode.kind} does not fit actuator {actuator_name(model, actuator)!r}, {law}"
    mend = f"choose {' or '.join(fitting)}" if fitting else "leave env.control out: actions then command its range"
    raise UserError(what, where=where, mend=mend)


def _scale(model: mujoco.MjModel, mode: ControlMode, joints: list[int], where: str) -> Array:
    """Return what an action of 1 means for each joint, [K]."""
    names, scale = [model.joint(joint).name for joint in joints], mode.scale
    if isinstance(scale, Mapping):
        for given in scale:
            if given not in names:
                raise UserError(
                    f"scale names {given!r}, which it does not move", where=where, mend=nearest(given, names)
                )
        for name in names:
            if name not in scale:
                raise UserError(
                    f"scale leaves out joint {name!r}", where=where, mend="give one number, or one for each"
                )
        return np.array([scale[name] for name in names])
    if isinstance(scale, tuple):
        if len(scale) != len(names):
            what = f"scale has {len(scale)} numbers for {len(names)} joints ({', '.join(names)})"
            raise UserError(what, where=where, mend="give one for each of them in this order, or a single one")
        return np.array(scale)
    return np.full(len(names), scale)


def _target_range(model: mujoco.MjModel, joints: list[int], servos: Indices, ratio: Array) -> tuple[Array, Array]:
    """Return the lowest and the highest target of each joint, [K] rad or m: what joint and control range allow."""
    limited = np.asarray(model.jnt_limited[joints], np.bool_)
    low, high = np.where(limited[:, None], model.jnt_range[joints], [-np.inf, np.inf]).reshape(-1, 2).T
    ends = np.sort(model.actuator_ctrlrange[servos] / ratio[:, None], axis=1)
    ranged = np.asarray(model.actuator_ctrllimited[servos], np.bool_) & (ends[:, 0] < ends[:, 1])
    return np.where(ranged, np.maximum(low, ends[:, 0]), low), np.where(ranged, np.minimum(high, ends[:, 1]), high)


def _fastest(model: mujoco.MjModel, robot: RobotSpec, joints: list[int]) -> Array | None:
    """Return the joints' highest speeds [K], rad/s or m/s, or None where none is stated."""
    share = robot.safety.joint_speed_fraction or 1.0
    stated = [robot.joints.get(model.joint(joint).name) for joint in joints]
    limits = [None if each is None else each.velocity_limit for each in stated]
    if all(limit is None for limit in limits):
        return None
    return np.array([np.inf if limit is None else share * limit for limit in limits])


def _end_limits(model: mujoco.MjModel, robot: RobotSpec, seconds: float) -> EndLimits | None:
    """Return the limits of an end effector that joints move, or None where none is stated."""
    speed, workspace = robot.safety.end_effector_speed_m_s, _workspace(model, robot)
    if speed is None and workspace is None:
        return None
    kinematics = _kinematics(model, robot, robot.where("safety"), "the end effector's limits can't be kept")
    return EndLimits(kinematics, seconds, speed, workspace)


def _workspace(model: mujoco.MjModel, robot: RobotSpec) -> Box | None:
    """Return the workspace in the frame where the robot stands, or None where none is stated."""
    low, high = robot.safety.workspace_low_m, robot.safety.workspace_high_m
    if low is None and high is None:
        return None
    least, most = np.array(low or (-np.inf,) * 3), np.array(high or (np.inf,) * 3)
    if site_id(model, BASE) is None:
        return Box(least, most)
    data = mujoco.MjData(model)
    mujoco.mj_kinematics(model, data)
    base, turn = data.site(BASE), np.zeros(9)
    mujoco.mju_quat2Mat(turn, np.array(robot.mount.quat))
    axes = base.xmat.reshape(3, 3) @ turn.reshape(3, 3)
    origin = base.xpos + base.xmat.reshape(3, 3) @ np.array(robot.mount.pos)
    return Box(least, most, origin, axes=None if np.array_equal(axes, np.eye(3)) else axes)


def _kinematics(model: mujoco.MjModel, robot: RobotSpec, where: str, what: str) -> ArmKinematics:
    if robot.end_effector is None:
        raise UserError(f"{what}: no end effector is stated", where=where, mend="add end_effector: {site: NAME}")
    site = robot.end_effector.site
    if site_id(model, site) is None:
        mend = nearest(site, [model.site(index).name for index in range(model.nsite)])
        raise UserError(f"the model has no site {site!r}", where=robot.where("end_effector.site"), mend=mend)
    try:
        return ArmKinematics(model, site)
    except ValueError as error:
        raise UserError(f"{what}: {error}", where=where, mend=f"fix the MJCF, {JOINT_MODE}") from None


def _by_servos(model: mujoco.MjModel, robot: RobotSpec, name: str, own: Indices, seconds: float) -> ServoEffector:
    mode, where = robot.control[name], robot.where(f"control.{name}")
    kinematics = _kinematics(model, robot, where, "inverse kinematics")
    assert robot.end_effector is not None
    servos = _servos(model, kinematics, robot.end_effector.site, where)
    if mode.rotation_scale is not None and len(servos) < JOINTS_TO_ORIENT:
        what = f"an arm of {len(servos)} joints can't turn its end effector while it holds its place"
        raise UserError(what, where=where, mend=f"leave rotation_scale out: that takes {JOINTS_TO_ORIENT} joints")
    fastest = _fastest(model, robot, [int(model.dof_jntid[dof]) for dof in kinematics.qvel])
    return ServoEffector(
        kinematics=kinematics,
        servos=servos,
        ratio=position_ratio(model, servos),
        stroke=stroke(_number(mode.scale), mode.rate_hz),
        holding=Holding(model, own),
        fingers=_fingers(model, robot),
        turn=_turn(mode),
        workspace=_workspace(model, robot),
        farthest=_farthest(robot, seconds),
        fastest=None if fastest is None else fastest * seconds,
    )


def _turn(mode: ControlMode) -> Stroke | None:
    return None if mode.rotation_scale is None else stroke(mode.rotation_scale, mode.rate_hz)


def _farthest(robot: RobotSpec, seconds: float) -> float | None:
    speed = robot.safety.end_effector_speed_m_s
    return None if speed is None else speed * seconds


def _number(scale: Any) -> float:
    assert isinstance(scale, float)  # as the spec demands of ee_delta
    return scale


def _servos(model: mujoco.MjModel, kinematics: ArmKinematics, site: str, where: str) -> Indices:
    """Return the position servo of each joint, [J]."""
    servos = []
    for name, dof in zip(kinematics.names, kinematics.qvel, strict=True):
        joint = int(model.dof_jntid[dof])
        drives = [actuator for actuator in range(model.nu) if driven_joint(model, actuator) == joint]
        kinds = [actuator_kind(model, actuator) for actuator in drives]
        if [kind for kind in kinds if kind != "velocity"] != ["position"]:  # others damp
            what = f"joint {name!r} on the way to {site!r} is not moved by one position servo"
            raise UserError(what, where=where, mend=f"give it a <position> actuator, and no other, {JOINT_MODE}")
        servos.append(drives[kinds.index("position")])
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


def _by_mocap(model: mujoco.MjModel, robot: RobotSpec, name: str, own: Indices, seconds: float) -> MocapEffector:
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
    mocap_end = ends.index(body)
    if mocap_end == 0:
        mujoco.mju_negQuat(turn, turn.copy())
    yielding = _servos_on_the_way(model, ends[1 - mocap_end])
    return MocapEffector(
        mocap=int(model.body_mocapid[body]),
        pulled=ends[1 - mocap_end],
        weld_turn=turn,
        own_point=points[mocap_end],
        pulled_point=points[1 - mocap_end],
        end_point=_end_point(model, robot, ends[1 - mocap_end], points[1 - mocap_end]),
        yielding=yielding,
        places=model.jnt_qposadr[model.actuator_trnid[yielding, 0]],
        ratio=position_ratio(model, yielding),
        stroke=stroke(_number(mode.scale), mode.rate_hz),
        fingers=_fingers(model, robot),
        holding=Holding(model, own),
        turn=_turn(mode),
        workspace=_workspace(model, robot),
        farthest=_farthest(robot, seconds),
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
