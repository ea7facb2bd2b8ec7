"""Checks of a robot in motion: its home, what happens when it is let go there, and what each actuator moves."""

from __future__ import annotations

from dataclasses import dataclass, replace

import mujoco
import numpy as np

from mql.robots.checks.verdict import Verdict, failed, judged, passed, warned
from mql.robots.inspection import Inspection
from mql.robots.mjcf.floor import compile_on_floor, has_floor
from mql.robots.mjcf.lookup import (
    ADD_ACTUATORS,
    actuator_kind,
    actuator_name,
    beyond_limits,
    blew_up,
    driven_joint,
    holding_controls,
    home_key,
    joint_kind,
    joint_width,
)

_DEEP = 1e-3  # m; parts that lie deeper within each other than this collide
_SECONDS = 1.0  # of simulation for a robot that is let go
_FASTEST = 100.0  # rad/s or m/s; what is faster after a second has exploded
_STILL = 0.5  # rad/s or m/s; a robot below this has settled
_SAG = {"hinge": 0.2, "slide": 0.02}  # rad, m; a position actuator that lets its joint go further does not hold it
_SWEEP_SECONDS = 0.25  # at each end of an actuator's range
_MOVED = 1e-4  # rad or m between the ends of a sweep; less is no motion
_TURN = 2 * np.pi  # rad; an angle farther from 0 is likely to be in degrees
_LIKE_DEGREES = "it looks like degrees: write it in rad"
_UNBOUNDED = 1.0  # control at the ends of a sweep where the actuator has no range
_STEEP = 0.1  # of a slide's direction upwards; below this it is level
_MOST_STEPS = 2000  # of one simulation, however short its steps


def check_home(inspection: Inspection) -> Verdict:
    """Home lies within the limits, and no two parts of the robot are within each other there."""
    spec, model = inspection.spec, inspection.model
    data = inspection.home()
    faults, remarks, in_degrees = [], [], 0
    key = home_key(model)
    for beyond in beyond_limits(model, inspection.stated_home()):
        if beyond.joint not in inspection.joints:
            continue
        name = model.joint(beyond.joint).name
        low, high = (float(limit) for limit in model.jnt_range[beyond.joint])
        text = f"is {beyond.at:.4g}, outside of [{low:.4g}, {high:.4g}]"
        if beyond.hardly:
            remarks.append(f"joint {name!r} {text}: tasks start it at {beyond.limit:.4g}")
        elif name in spec.home:
            degrees = joint_kind(model, beyond.joint) == "hinge" and abs(beyond.at) > _TURN
            in_degrees += degrees
            mend = f"{_LIKE_DEGREES}, {np.radians(beyond.at):.4g}" if degrees else "choose a value within"
            faults.append(f"{spec.where(f'home.{name}')} {text}: {mend}")
        elif spec.home:
            remarks.append(f"joint {name!r}, which home leaves out, {text}: choose a value within")
        elif key is not None:
            said = model.key(key).name or "without a name"
            where = f"home is outside the joint's range (keyframe {said}): "
            remarks.append(f"{where}joint {name!r} {text}: choose a value within")
        else:
            mend = f"tasks start it at {beyond.limit:.4g}; for another place {_other_start(model)}"
            remarks.append(f"joint {name!r}, where the model starts, {text}: {mend}")
    if in_degrees:
        verdict = judged(faults=faults, remarks=remarks, fine="")
        until = "the checks that start there are left out until then"
        return replace(verdict, message=f"{verdict.message}; {until}", final=True)
    for joint in inspection.joints:
        name, at = model.joint(joint).name, float(inspection.stated_home()[model.jnt_qposadr[joint]])
        endless = joint_kind(model, joint) == "hinge" and not model.jnt_limited[joint]
        if endless and name in spec.home and abs(at) > _TURN:
            remarks.append(f"{spec.where(f'home.{name}')} is {at:.4g}: {_LIKE_DEGREES}, {np.radians(at):.4g}")
    for contact in data.contact:
        first, second = (int(model.geom_bodyid[geom]) for geom in contact.geom)
        own = (first in inspection.bodies, second in inspection.bodies)
        if contact.dist > -_DEEP or not any(own):
            continue
        text = f"{_body(model, first)} and {_body(model, second)} lie {-1000 * contact.dist:.1f} mm within each other"
        if all(own):
            faults.append(
                f"{spec.where('home')}: {text}: choose another home, or exclude the pair ('exclude' in the spec)"
            )
        elif min(first, second) != 0:
            remarks.append(text)
    return judged(faults=faults, remarks=remarks, fine="within the limits, and nothing collides")


def _other_start(model: mujoco.MjModel) -> str:
    """Say how a model without a keyframe for that could start elsewhere."""
    keys = [model.key(index).name for index in range(model.nkey)]
    if keys:
        shown = ", ".join(repr(name) for name in keys[:3] if name) + (", ..." if len(keys) > 3 else "")
        return f"call one of its {len(keys)} keyframes home ({shown}), or state 'home: {{JOINT: VALUE}}' in a spec"
    return "add a keyframe home to the MJCF, or state 'home: {JOINT: VALUE}' in a spec"


def check_drop(inspection: Inspection) -> Verdict:
    """Let go at home for a second, on a floor where it can fall, the robot neither explodes nor falls through."""
    model = inspection.model
    if not inspection.bodies:
        return warned("the model has no bodies: nothing can move")
    start = inspection.home()
    falls = any(_can_fall(start, joint) for joint in inspection.joints)
    if falls and not has_floor(model):
        sealed = inspection.spec.read_model()
        model = compile_on_floor(inspection.spec.mjspec(sealed), sealed, start)
    data = _like(model, start)
    lowest = float(start.xipos[sorted(inspection.bodies), 2].min())
    fastest = 0.0
    for _ in range(_steps(model, _SECONDS)):
        mujoco.mj_step(model, data)
        fastest = max(fastest, float(np.abs(_speeds(inspection, data)).max(initial=0.0)))
        if blew_up(data) or fastest > _FASTEST:
            return failed(
                f"after {data.time:.3g} s it moves at {fastest:.3g} rad/s or m/s: make the timestep shorter, or give "
                "its joints damping and armature; look for parts that lie within each other"
            )
    if falls and float(data.xipos[sorted(inspection.bodies), 2].max()) < lowest - 0.5:
        return failed("it fell through the floor: give its feet geoms with contype and conaffinity 1")
    sagging = _sagging(inspection, start, data)
    if sagging:
        return warned(sagging)
    still = float(np.abs(_speeds(inspection, data)).max(initial=0.0))
    state = "at rest" if still < _STILL else f"still moving at {still:.2g} rad/s or m/s"
    return passed(f"after {_SECONDS:g} s it is {state}, its highest speed was {fastest:.2g} rad/s or m/s")


def check_actuators(inspection: Inspection) -> Verdict:
    """Each actuator, swept from one end of its range to the other, moves what it drives."""
    model = inspection.model
    if not inspection.actuators:
        return warned(f"the robot has no actuator, so nothing but a mocap body can move it: {ADD_ACTUATORS}")
    start = inspection.home()
    hold = holding_controls(model, start)
    faults = []
    for index in inspection.actuators:
        low, high = model.actuator_ctrlrange[index] if model.actuator_ctrllimited[index] else (-_UNBOUNDED, _UNBOUNDED)
        ends = []
        for control in (low, high):
            data = _like(model, start)
            data.ctrl[:] = hold
            data.ctrl[index] = control
            for _ in range(_steps(model, _SWEEP_SECONDS)):
                mujoco.mj_step(model, data)
            if blew_up(data):
                faults.append(f"{actuator_name(model, index)} at {control:.4g} gives NaN: lower its gain or range")
                break
            mujoco.mj_forward(model, data)
            ends.append(float(data.actuator_length[index]))
        least = _MOVED * max(1.0, abs(float(model.actuator_gear[index, 0])))
        if len(ends) == 2 and not abs(ends[1] - ends[0]) > least:
            text = f"{actuator_name(model, index)} moves nothing between {low:.4g} and {high:.4g}"
            faults.append(f"{text}: check its joint, gain and gear")
    return judged(
        faults=faults,
        remarks=_without_range(inspection),
        fine=f"each of {len(inspection.actuators)} actuators moves what it drives",
    )


def _without_range(inspection: Inspection) -> list[str]:
    """Say which actuators have no control range: actions from -1 to 1 can't be mapped to them."""
    model = inspection.model
    ranged = {
        i for i, (low, high) in enumerate(model.actuator_ctrlrange) if model.actuator_ctrllimited[i] and low < high
    }
    names = [actuator_name(model, index) for index in inspection.actuators if index not in ranged]
    if not names:
        return []
    many = "actuators have" if len(names) > 1 else "actuator has"
    shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    return [f'{len(names)} {many} no control range, and tasks refuse that ({shown}): give each ctrlrange="LOW HIGH"']


def _can_fall(data: mujoco.MjData, joint: int) -> bool:
    """Tell whether what a joint carries may fall without end: it is free, or an unlimited slide that is not level."""
    model = data.model
    if model.jnt_type[joint] == mujoco.mjtJoint.mjJNT_FREE:
        return True
    slides = model.jnt_type[joint] == mujoco.mjtJoint.mjJNT_SLIDE and not model.jnt_limited[joint]
    undriven = all(driven_joint(model, index) != joint for index in range(model.nu))
    return bool(slides and undriven and abs(data.xaxis[joint, 2]) > _STEEP)


def _sagging(inspection: Inspection, start: mujoco.MjData, end: mujoco.MjData) -> str | None:
    """Say which joint left home furthest although a position actuator holds it."""
    model = inspection.model
    worst: _Sag | None = None
    for index in inspection.actuators:
        joint = driven_joint(model, index)
        if joint is None or joint_width(model, joint) != 1 or actuator_kind(model, index) != "position":
            continue
        place = int(model.jnt_qposadr[joint])
        moved = abs(float(end.qpos[place] - start.qpos[place]))
        kind = "hinge" if model.jnt_type[joint] == mujoco.mjtJoint.mjJNT_HINGE else "slide"
        if moved > _SAG[kind] and (worst is None or moved / _SAG[kind] > worst.excess):
            worst = _Sag(str(model.joint(joint).name), moved, moved / _SAG[kind], "rad" if kind == "hinge" else "m")
    if worst is None:
        return None
    return (
        f"held at home, {worst.joint} moved {worst.moved:.2g} {worst.unit} in {_SECONDS:g} s: raise its actuator's "
        "gain or force, or choose a home that it can hold"
    )


@dataclass(frozen=True)
class _Sag:
    joint: str
    moved: float
    excess: float
    unit: str


def _like(model: mujoco.MjModel, start: mujoco.MjData) -> mujoco.MjData:
    """Return new data in the same state and with the same controls."""
    data = mujoco.MjData(model)
    data.qpos[:], data.ctrl[:] = start.qpos, start.ctrl
    mujoco.mj_forward(model, data)
    return data


def _speeds(inspection: Inspection, data: mujoco.MjData) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Return the speeds of the robot's degrees of freedom, rad/s or m/s."""
    dofs = [dof for dof in range(inspection.model.nv) if int(inspection.model.dof_jntid[dof]) in inspection.joints]
    return np.asarray(data.qvel[dofs])


def _steps(model: mujoco.MjModel, seconds: float) -> int:
    return min(_MOST_STEPS, max(1, round(seconds / float(model.opt.timestep))))


def _body(model: mujoco.MjModel, body: int) -> str:
    return str(model.body(body).name or f"body number {body}")
