"""Looks things up in a compiled model: by name, by what drives what, and how strongly.

Shapes: Q positions (nq), V degrees of freedom (nv), U controls (nu), X activations (na).
"""

from __future__ import annotations

from typing import NamedTuple

import mujoco
import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

HOME = "home"
ADD_ACTUATORS = (
    "add <actuator> to the MJCF, or write a robot's spec (a URDF needs one) with "
    "'actuators: {JOINT: {kind: position, gain: 50}}'"
)
_HARDLY = 0.02  # of a joint's range
_ROUNDING = 1e-9  # rad or m
_WIDTHS = {"free": (7, 6), "ball": (4, 3), "slide": (1, 1), "hinge": (1, 1)}  # in qpos and in qvel
_FILTERS = (mujoco.mjtDyn.mjDYN_FILTER.value, mujoco.mjtDyn.mjDYN_FILTEREXACT.value)
_KINDS = ("free", "ball", "slide", "hinge")  # in MuJoCo's order
_NAN_WARNINGS = (
    mujoco.mjtWarning.mjWARN_BADQPOS,
    mujoco.mjtWarning.mjWARN_BADQVEL,
    mujoco.mjtWarning.mjWARN_BADQACC,
)


def body_id(model: mujoco.MjModel, name: str) -> int | None:
    """Return a body's number by its name; a body without a name goes by that of its joint."""
    body = _id(model, mujoco.mjtObj.mjOBJ_BODY, name)
    if body is not None:
        return body
    joint = joint_id(model, name)
    if joint is None:
        return None
    body = int(model.jnt_bodyid[joint])
    return None if model.body(body).name else body


def key_id(model: mujoco.MjModel, name: str) -> int | None:
    """Return a keyframe's number by its name."""
    return _id(model, mujoco.mjtObj.mjOBJ_KEY, name)


def home_key(model: mujoco.MjModel) -> int | None:
    """Return the number of the keyframe in which a robot is at home: ``home``, else the only one that there is."""
    home = key_id(model, HOME)
    return 0 if home is None and model.nkey == 1 else home


class Beyond(NamedTuple):
    """A joint that is outside its range: its number, where it is and the nearest end (rad or m), and whether hardly."""

    joint: int
    at: float
    limit: float
    hardly: bool


def beyond_limits(model: mujoco.MjModel, qpos: FloatArray) -> list[Beyond]:
    """Return the hinges and slides that a pose [Q] has outside their range.

    Hardly is by at most 2 % of the range: a zero of the real joint that lies beside the model's.
    """
    found = []
    for joint in range(model.njnt):
        if not model.jnt_limited[joint] or joint_width(model, joint) != 1:
            continue
        at, (low, high) = float(qpos[model.jnt_qposadr[joint]]), map(float, model.jnt_range[joint])
        limit = min(max(at, low), high)
        if abs(at - limit) > _ROUNDING:
            found.append(Beyond(joint, at, limit, abs(at - limit) <= _HARDLY * (high - low)))
    return found


def within_limits(model: mujoco.MjModel, qpos: FloatArray, *, chosen: bool = True) -> FloatArray:
    """Return a pose [Q] with joints that are outside their range put to its nearest end.

    Of a pose that somebody has chosen, these are only the ones that are hardly outside.
    """
    qpos = qpos.copy()
    for beyond in beyond_limits(model, qpos):
        if beyond.hardly or not chosen:
            qpos[model.jnt_qposadr[beyond.joint]] = beyond.limit
    return qpos


def joint_id(model: mujoco.MjModel, name: str) -> int | None:
    """Return a joint's number by its name, or None."""
    return _id(model, mujoco.mjtObj.mjOBJ_JOINT, name)


def site_id(model: mujoco.MjModel, name: str) -> int | None:
    """Return a site's number by its name, or None."""
    return _id(model, mujoco.mjtObj.mjOBJ_SITE, name)


def actuator_id(model: mujoco.MjModel, name: str) -> int | None:
    """Return an actuator's number by its name; one without a name goes by that of the joint it drives."""
    found = _id(model, mujoco.mjtObj.mjOBJ_ACTUATOR, name)
    if found is not None:
        return found
    joint = joint_id(model, name)
    for index in range(model.nu) if joint is not None else ():
        if driven_joint(model, index) == joint and not model.actuator(index).name:
            return index
    return None


def driven_joint(model: mujoco.MjModel, actuator: int) -> int | None:
    """Return the joint that an actuator drives; None for tendons, sites and bodies."""
    # Plain numbers: newer versions of MuJoCo don't find an array's number in a tuple of their constants.
    kinds = (mujoco.mjtTrn.mjTRN_JOINT.value, mujoco.mjtTrn.mjTRN_JOINTINPARENT.value)
    return int(model.actuator_trnid[actuator, 0]) if model.actuator_trntype[actuator] in kinds else None


def actuator_name(model: mujoco.MjModel, actuator: int) -> str:
    """Return an actuator's name, or that of its joint, or its number."""
    joint = driven_joint(model, actuator)
    name = model.actuator(actuator).name or (model.joint(joint).name if joint is not None else "")
    return str(name or f"number {actuator}")


def actuator_kind(model: mujoco.MjModel, actuator: int) -> str:
    """Tell from an actuator's law what its control means: motor, position, velocity or general.

    force = gain * control + bias, where bias is b0 + b1 * length + b2 * velocity; the control may be filtered.
    """
    if model.actuator_dyntype[actuator] not in (mujoco.mjtDyn.mjDYN_NONE.value, *_FILTERS):
        return "general"
    if model.actuator_gaintype[actuator] != mujoco.mjtGain.mjGAIN_FIXED:
        return "general"
    if model.actuator_biastype[actuator] == mujoco.mjtBias.mjBIAS_NONE:
        return "motor"
    if model.actuator_biastype[actuator] != mujoco.mjtBias.mjBIAS_AFFINE or model.actuator_biasprm[actuator, 0]:
        return "general"
    if model.actuator_biasprm[actuator, 1] < 0:
        return "position"
    return "velocity" if model.actuator_biasprm[actuator, 2] < 0 else "general"


def joint_kind(model: mujoco.MjModel, joint: int) -> str:
    """Return free, ball, slide or hinge."""
    return _KINDS[int(model.jnt_type[joint])]


def joint_width(model: mujoco.MjModel, joint: int) -> int:
    """Return how many numbers a joint has in qpos."""
    return _WIDTHS[joint_kind(model, joint)][0]


def joint_freedoms(model: mujoco.MjModel, joint: int) -> int:
    """Return how many degrees of freedom a joint has: its numbers in qvel."""
    return _WIDTHS[joint_kind(model, joint)][1]


def holding_controls(model: mujoco.MjModel, data: mujoco.MjData) -> FloatArray:
    """Return controls [U] that ask position actuators for where they are, and all others for nothing."""
    controls = np.zeros(model.nu)
    for index in range(model.nu):
        if actuator_kind(model, index) == "position":
            controls[index] = (
                data.actuator_length[index] * -model.actuator_biasprm[index, 1] / model.actuator_gainprm[index, 0]
            )
        if model.actuator_ctrllimited[index]:
            controls[index] = np.clip(controls[index], *model.actuator_ctrlrange[index])
    return controls


def holding_activations(model: mujoco.MjModel, data: mujoco.MjData) -> FloatArray:
    """Return activations [X] with which position servos that filter their control ask for where they are.

    All others are 0.
    """
    activations = np.zeros(model.na)
    for index in np.flatnonzero(np.isin(model.actuator_dyntype, _FILTERS)):
        gain, stiffness = model.actuator_gainprm[index, 0], -model.actuator_biasprm[index, 1]
        fixed = model.actuator_gaintype[index] == mujoco.mjtGain.mjGAIN_FIXED.value
        affine = model.actuator_biastype[index] == mujoco.mjtBias.mjBIAS_AFFINE.value
        if fixed and affine and gain and stiffness > 0:
            activations[model.actuator_actadr[index]] = data.actuator_length[index] * stiffness / gain
    return activations


def strongest_effort(model: mujoco.MjModel, joint: int) -> float | None:
    """Return the highest torque (N m) or force (N) that the model gives a joint; None where nothing bounds it."""
    if model.jnt_actfrclimited[joint]:
        return float(np.abs(model.jnt_actfrcrange[joint]).max())
    total = 0.0
    for index in range(model.nu):
        if driven_joint(model, index) != joint:
            continue
        gear = abs(float(model.actuator_gear[index, 0]))
        if model.actuator_forcelimited[index]:
            total += gear * float(np.abs(model.actuator_forcerange[index]).max())
        elif actuator_kind(model, index) == "motor" and model.actuator_ctrllimited[index]:
            gain = abs(float(model.actuator_gainprm[index, 0]))
            total += gear * gain * float(np.abs(model.actuator_ctrlrange[index]).max())
        else:
            return None
    return total or None


def blew_up(data: mujoco.MjData) -> bool:
    """Tell whether the simulation met NaN or huge numbers (MuJoCo then starts over from the model's first pose)."""
    odd = any(data.warning[int(warning)].number for warning in _NAN_WARNINGS)
    return odd or not (np.isfinite(data.qpos).all() and np.isfinite(data.qvel).all())


def _id(model: mujoco.MjModel, kind: mujoco.mjtObj, name: str) -> int | None:
    found = int(mujoco.mj_name2id(model, kind, name))
    return found if found >= 0 else None
