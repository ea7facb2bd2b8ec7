"""Checks of a robot's numbers: could a real body have these masses and inertias, and can its limits be met?"""

from __future__ import annotations

from collections.abc import Iterator

import mujoco
import numpy as np

from mql.robots.checks.verdict import Verdict, judged
from mql.robots.inspection import Inspection
from mql.robots.mjcf.lookup import (
    actuator_kind,
    actuator_name,
    driven_joint,
    holding_controls,
    joint_id,
    joint_kind,
    site_id,
    strongest_effort,
)

_LIGHTEST = 1e-6  # kg; what moves and weighs less makes the simulation stiff
_HEAVIEST = 500.0  # kg; a heavier moving body was likely written in g
_TRIANGLE = 1e-6  # relative, by which two principal inertias may fall short of the third: rounding
_BEYOND = 0.25  # of a joint's range, by which an actuator's targets may lie outside
_NARROW = 0.175  # rad; a hinge of less in all, 10 degrees, was likely written in the other unit
_UNITS = {"hinge": ("rad", "N m"), "slide": ("m", "N")}


def check_inertia(inspection: Inspection) -> Verdict:
    """Everything that moves has mass, and inertias that a real body can have."""
    model = inspection.model
    faults = inertia_faults(model, sorted(inspection.bodies))
    total = float(np.asarray(model.body_mass)[sorted(inspection.bodies)].sum())
    remarks = [
        f"{model.body(body).name or f'body number {body}'} weighs {model.body_mass[body]:.4g} kg: MuJoCo's unit is kg"
        for body in sorted(inspection.bodies)
        if model.body_weldid[body] and model.body_mass[body] > _HEAVIEST
    ]
    return judged(faults=faults, remarks=remarks, fine=f"{len(inspection.bodies)} bodies weigh {total:.4g} kg")


def inertia_faults(model: mujoco.MjModel, bodies: list[int]) -> list[str]:
    """Say what is wrong with masses and inertias of `bodies`.

    Bodies that are fixed to each other move as one; one of them may be without mass.
    """
    faults = []
    for body in bodies:
        name = model.body(body).name or f"body number {body}"
        mass, inertia = float(model.body_mass[body]), np.sort(model.body_inertia[body])
        if not np.isfinite(mass) or not np.isfinite(inertia).all():
            faults.append(f"mass or inertia of {name} is not a number: fix it in the MJCF")
            continue
        if mass < 0 or inertia[0] < 0:
            faults.append(f"mass or inertia of {name} is negative: fix it in the MJCF")
        elif inertia[0] + inertia[1] < inertia[2] * (1 - _TRIANGLE):
            shown = ", ".join(f"{value:.4g}" for value in inertia)
            faults.append(
                f"no body has the principal inertias ({shown}) kg m2 of {name}: none exceeds the sum of the others"
            )
        if model.body_dofnum[body] and model.body_mocapid[body] < 0:
            together = float(
                np.asarray(model.body_mass)[np.asarray(model.body_weldid) == model.body_weldid[body]].sum()
            )
            below = float(model.body_subtreemass[body])
            if together < _LIGHTEST and below - together < _LIGHTEST:
                faults.append(f"{name} moves and weighs {together:.3g} kg: give it a mass of {_LIGHTEST:g} kg or more")
    return faults


def check_limits(inspection: Inspection) -> Verdict:
    """Stated limits are ones that the robot can reach, and that let it move."""
    remarks = [
        *_narrow_hinges(inspection),
        *_joint_remarks(inspection),
        *_payload_remarks(inspection),
        *_actuator_remarks(inspection),
    ]
    stated = sum(
        joint.velocity_limit is not None or joint.effort_limit is not None for joint in inspection.spec.joints.values()
    )
    return judged(
        faults=[], remarks=remarks, fine=f"limits of speed and effort, stated for {stated} joints, can be met"
    )


def _narrow_hinges(inspection: Inspection) -> Iterator[str]:
    """Hinges that hardly move: radians that MuJoCo took for degrees. One remark for all, as they come together."""
    model = inspection.model
    narrow = [
        (joint, width)
        for joint in inspection.joints
        if model.jnt_limited[joint] and joint_kind(model, joint) == "hinge"
        if (width := float(np.ptp(model.jnt_range[joint]))) < _NARROW
    ]
    if not narrow:
        return
    joint, width = narrow[0]
    name = repr(model.joint(joint).name) if model.joint(joint).name else f"number {joint}"
    more = f" (and {len(narrow) - 1} more hinges less than 10)" if len(narrow) > 1 else ""
    yield (
        f"joint {name} moves only {np.degrees(width):.2g} degrees in all{more}: MuJoCo reads ranges in degrees unless "
        '<compiler angle="radian"/>: add that to the MJCF, or write degrees'
    )


def _joint_remarks(inspection: Inspection) -> Iterator[str]:
    spec, model = inspection.spec, inspection.model
    needed = np.abs(_effort_to_hold(inspection))
    for name, fact in spec.joints.items():
        joint = joint_id(model, name)
        if joint is None or joint_kind(model, joint) not in _UNITS:
            continue
        length, force = _UNITS[joint_kind(model, joint)]
        dof = int(model.jnt_dofadr[joint])
        where = f"joints.{name}"
        if fact.position_range is not None and fact.position_range[0] == fact.position_range[1]:
            yield f"{spec.where(f'{where}.position_range')} is empty: the joint can't move"
        if fact.effort_limit == 0:
            yield f"{spec.where(f'{where}.effort_limit')} is 0 {force}: nothing can move the joint"
        elif fact.effort_limit is not None and fact.effort_limit < needed[dof]:
            yield (
                f"{spec.where(f'{where}.effort_limit')} is {fact.effort_limit:g} {force}: holding home takes "
                f"{needed[dof]:.3g} {force}"
            )
        if fact.velocity_limit is None:
            continue
        if fact.velocity_limit == 0:
            yield f"{spec.where(f'{where}.velocity_limit')} is 0 {length}/s: the joint can't move"
            continue
        effort, damping = fact.effort_limit or strongest_effort(model, joint), float(model.dof_damping[dof])
        if effort is not None and damping * fact.velocity_limit > effort:
            yield (
                f"{spec.where(f'{where}.velocity_limit')} is {fact.velocity_limit:g} {length}/s: against the model's "
                f"damping {effort:g} {force} gives at most {effort / damping:.3g} {length}/s"
            )
        step = float(model.opt.timestep)
        if model.jnt_limited[joint] and fact.velocity_limit * step > float(np.ptp(model.jnt_range[joint])):
            yield (
                f"{spec.where(f'{where}.velocity_limit')} is {fact.velocity_limit:g} {length}/s: in one physics step "
                f"of {step:g} s that is more than the joint's whole range"
            )


def _payload_remarks(inspection: Inspection) -> Iterator[str]:
    """Joints whose motors can't hold the heaviest load of the real robot at home."""
    spec, model = inspection.spec, inspection.model
    load, end = spec.safety.payload_kg, spec.end_effector
    site = None if end is None else site_id(model, end.site)
    if not load or site is None:
        return
    data = inspection.home()
    jacobian = np.zeros((3, model.nv))
    mujoco.mj_jacSite(model, data, jacobian, None, site)
    needed = np.abs(_effort_to_hold(inspection) - load * jacobian.T @ model.opt.gravity)
    for joint in inspection.joints:
        kind = joint_kind(model, joint)
        most = strongest_effort(model, joint) if kind in _UNITS else None
        dof = int(model.jnt_dofadr[joint])
        if most is not None and needed[dof] > most:
            force = _UNITS[kind][1]
            yield (
                f"{spec.where('safety.payload_kg')} is {load:g} kg: holding it at home takes {needed[dof]:.3g} {force} "
                f"of {model.joint(joint).name}, which has {most:.3g} {force}"
            )


def _actuator_remarks(inspection: Inspection) -> Iterator[str]:
    """Position actuators whose targets lie far outside of what their joint can reach."""
    model = inspection.model
    for index in inspection.actuators:
        joint = driven_joint(model, index)
        if joint is None or actuator_kind(model, index) != "position":
            continue
        if not (model.jnt_limited[joint] and model.actuator_ctrllimited[index]):
            continue
        ratio = float(
            model.actuator_gainprm[index, 0] / -model.actuator_biasprm[index, 1] / model.actuator_gear[index, 0]
        )
        low, high = sorted(float(control) * ratio for control in model.actuator_ctrlrange[index])
        bottom, top = (float(limit) for limit in model.jnt_range[joint])
        beyond = max(bottom - low, high - top) / (top - bottom)
        if beyond > _BEYOND:
            yield (
                f"actuator {actuator_name(model, index)} takes targets from {low:.3g} to {high:.3g}, its joint reaches "
                f"[{bottom:.3g}, {top:.3g}]: ctrlrange is in rad or m, whatever <compiler angle> says"
            )


def _effort_to_hold(inspection: Inspection) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Return the effort [V] of gravity at home, in N m or N, less what the model's gravity compensation takes off."""
    model = inspection.model
    data = inspection.home()
    data.ctrl[:] = holding_controls(model, data)
    return np.asarray(data.qfrc_bias - data.qfrc_gravcomp)
