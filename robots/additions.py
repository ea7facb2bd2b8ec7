"""What a spec adds to a model: a URDF has no actuators, sites, or free base, and some MJCF files have no actuators.

Where the model has an element of a kind, the spec only states facts about it, and nothing is added.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any, Literal, Protocol

import mujoco
import numpy as np
import numpy.typing as npt

from mql.errors import UserError, nearest
from mql.robots.mjcf.sealed import Sealed
from mql.robots.spec_parts import Actuator, AttachPoint, Base, EndEffector, Joint

FREE_JOINT = "root"  # name of a URDF's free joint, where base.joints gives none


class Stated(Protocol):
    """What is asked of a robot's spec (`mql.robots.spec.RobotSpec`)."""

    @property
    def base(self) -> Base | None: ...

    @property
    def end_effector(self) -> EndEffector | None: ...

    @property
    def joints(self) -> Mapping[str, Joint]: ...

    @property
    def actuators(self) -> Mapping[str, Actuator]: ...

    @property
    def attach(self) -> Mapping[str, AttachPoint]: ...

    @property
    def replace_actuators(self) -> bool: ...

    @property
    def exclude(self) -> Literal["all"] | tuple[tuple[str, str], ...]: ...

    @property
    def physics_timestep_s(self) -> float | None: ...

    def where(self, key: str) -> str: ...


def needs_additions(robot: Stated, sealed: Sealed) -> bool:
    """Tell whether something may be added to the robot's model."""
    driven = any(element.tag == "actuator" and element.children for element in sealed.elements)
    return (
        sealed.is_urdf
        or bool(robot.exclude)
        or robot.replace_actuators
        or (bool(robot.actuators) and not driven and not sealed.includes)
    )


def add_to(spec: Any, robot: Stated, sealed: Sealed) -> None:
    """Add to an MjSpec what the robot's spec says and the model lacks.

    Raises:
        UserError: the spec names a joint or link that the model lacks, or says too little of an actuator.
    """
    if sealed.is_urdf:
        _add_base(spec, robot)
        _add_sites(spec, robot)
        spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST.value  # servos' damping is stiff
        if robot.physics_timestep_s is not None:
            spec.option.timestep = robot.physics_timestep_s
        joints = {joint.name: joint for joint in spec.joints}
        for name, fact in robot.joints.items():
            if fact.armature is not None and name in joints:
                joints[name].armature = fact.armature
    if robot.exclude:
        _exclude(spec, robot)
    if robot.replace_actuators:
        for actuator in list(spec.actuators):
            delete_element(spec, actuator)
        for key in spec.keys:  # these are of the actuators that were there
            key.ctrl, key.act = [], []
    if robot.actuators and not list(spec.actuators):
        for name, actuator in robot.actuators.items():
            _add_actuator(spec, robot, name, actuator)


def delete_element(spec: Any, element: Any) -> None:
    """Delete an element of an MjSpec, as each version of MuJoCo wants it."""
    if hasattr(element, "delete"):  # MuJoCo 3.3
        element.delete()
    else:
        spec.delete(element)


def _add_base(spec: Any, robot: Stated) -> None:
    base = robot.base
    if base is None or base.kind == "fixed":
        return
    where = robot.where("base.kind")
    if base.kind == "planar":
        raise UserError("the base of a URDF is fixed or free", where=where, mend="or turn the URDF into an MJCF")
    links = [body.name for body in spec.worldbody.bodies]
    if base.body not in links:
        what = f"{base.body!r} is not the URDF's first link"
        raise UserError(what, where=robot.where("base.body"), mend=nearest(base.body, links))
    body = next(body for body in spec.worldbody.bodies if body.name == base.body)
    if not list(body.joints):
        body.add_freejoint(name=(base.joints or (FREE_JOINT,))[0])


def _add_sites(spec: Any, robot: Stated) -> None:
    """A URDF has no sites: one of a link's name stands at the link's frame."""
    named = [point.site for point in robot.attach.values()]
    if robot.end_effector is not None:
        named.append(robot.end_effector.site)
    bodies = {body.name: body for body in spec.bodies}
    there = {site.name for site in spec.sites}
    for name in dict.fromkeys(named):
        if name is not None and name not in there and name in bodies:
            bodies[name].add_site(name=name, pos=[0.0, 0.0, 0.0])


def _exclude(spec: Any, robot: Stated) -> None:
    bodies = [body.name for body in spec.bodies if body.name and body.name != "world"]
    pairs = itertools.combinations(bodies, 2) if robot.exclude == "all" else robot.exclude
    excluded = {frozenset((each.bodyname1, each.bodyname2)) for each in spec.excludes}
    for first, second in pairs:
        for name in (first, second):
            if name not in bodies:
                mend = nearest(name, bodies)
                raise UserError(f"the model has no body {name!r}", where=robot.where("exclude"), mend=mend)
        if frozenset((first, second)) not in excluded:
            spec.add_exclude(bodyname1=first, bodyname2=second)


def _add_actuator(spec: Any, robot: Stated, name: str, fact: Actuator) -> None:
    key = f"actuators.{name}"
    joints = {joint.name: joint for joint in spec.joints}
    driven = fact.joint or name
    if driven not in joints:
        raise UserError(f"the model has no joint {driven!r}", where=robot.where(key), mend=nearest(driven, joints))
    gear = 1.0 if fact.gear is None else fact.gear
    gain = fact.gain
    if fact.kind not in ("motor", "position", "velocity"):
        mend = "add 'kind: position', velocity or motor: the model has no actuators, so the spec's are built"
        raise UserError(f"{name} has no kind that can be built", where=robot.where(key), mend=mend)
    if gain is None and fact.kind != "motor":
        mend = "add 'gain: NUMBER' (N m or N per unit): the model has no actuators, so the spec's are built"
        raise UserError(f"{name} has no gain", where=robot.where(key), mend=mend)
    gain = 1.0 if gain is None else gain
    turns = bool(spec.compiler.degree) and joints[driven].type == mujoco.mjtJoint.mjJNT_HINGE
    reach = np.radians(joints[driven].range) if turns else np.asarray(joints[driven].range)
    low, high = _control_range(robot, joints[driven], reach, driven, fact)
    bias = np.zeros(10)
    if fact.kind == "position":
        bias[1] = -gain
    if fact.kind == "velocity":
        bias[2] = -gain
    if fact.kind == "position" and fact.damping is not None:
        bias[2] = -fact.damping
    gains = np.zeros(10)
    gains[0] = gain
    limited = {"forcelimited": 1, "forcerange": fact.force_range} if fact.force_range is not None else {}
    spec.add_actuator(
        name=name,
        target=driven,
        trntype=mujoco.mjtTrn.mjTRN_JOINT,
        gaintype=mujoco.mjtGain.mjGAIN_FIXED,
        biastype=mujoco.mjtBias.mjBIAS_NONE if fact.kind == "motor" else mujoco.mjtBias.mjBIAS_AFFINE,
        gainprm=gains,
        biasprm=bias,
        gear=[gear, 0.0, 0.0, 0.0, 0.0, 0.0],
        ctrllimited=1,
        ctrlrange=[low, high],
        **limited,
    )


def _control_range(
    robot: Stated, joint: Any, reach: npt.NDArray[np.float64], name: str, fact: Actuator
) -> tuple[float, float]:
    """Return the stated range, else that of the joint: its positions (`reach`, [2] rad or m), speeds or efforts."""
    if fact.control_range is not None:
        return fact.control_range
    stated = robot.joints.get(name)
    gear = 1.0 if fact.gear is None else abs(fact.gear)
    if fact.kind == "position":
        low, high = (float(end) * (1.0 if fact.gear is None else fact.gear) for end in reach)
        if low != high:
            return min(low, high), max(low, high)
    if fact.kind == "velocity" and stated is not None and stated.velocity_limit:
        return -stated.velocity_limit * gear, stated.velocity_limit * gear
    if fact.kind == "motor":
        effort = float(np.abs(joint.actfrcrange).max()) or (stated.effort_limit if stated is not None else None)
        if effort:
            most = effort / gear / abs(1.0 if fact.gain is None else fact.gain)
            return -most, most
    mend = "add 'control_range: [LOW, HIGH]'"
    raise UserError("nothing says the range of its control", where=robot.where(f"actuators.{name}"), mend=mend)
