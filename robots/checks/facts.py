"""Do the stated facts hold? Every name and number of a spec beside the compiled model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import mujoco
import numpy as np

from mql.errors import nearest
from mql.plain_text import counted
from mql.robots.acting import not_simulated
from mql.robots.checks.verdict import Verdict, judged
from mql.robots.inspection import Inspection
from mql.robots.mjcf.lookup import (
    actuator_id,
    actuator_kind,
    actuator_name,
    body_id,
    driven_joint,
    joint_id,
    joint_kind,
    joint_width,
    site_id,
    strongest_effort,
)
from mql.robots.spec import RobotSpec

_RELATIVE, _ABSOLUTE = 1e-4, 1e-6  # facts may be rounded to five digits
_DEGREES = 1e-2  # relative; degrees are recognised as such where they are written with fewer digits
_NAMES = {
    "body": mujoco.mjtObj.mjOBJ_BODY,
    "joint": mujoco.mjtObj.mjOBJ_JOINT,
    "geom": mujoco.mjtObj.mjOBJ_GEOM,
    "site": mujoco.mjtObj.mjOBJ_SITE,
    "actuator": mujoco.mjtObj.mjOBJ_ACTUATOR,
    "sensor": mujoco.mjtObj.mjOBJ_SENSOR,
}
_FINDERS = {"body": body_id, "joint": joint_id, "site": site_id, "actuator": actuator_id}
_RANDOMISED = {"body": "body", "geom": "geom", "dof": "joint", "jnt": "joint", "actuator": "actuator", "site": "site"}


def check_facts(inspection: Inspection) -> Verdict:
    """Every stated number and name is that of the compiled model."""
    spec, model = inspection.spec, inspection.model
    faults = [
        *_base(inspection),
        *_joints(spec, model),
        *_actuators(spec, model),
        *_masses(spec, model),
        *_other_names(spec, model),
        *_rates(spec, model),
    ]
    remarks = []
    for key, present, stated in (
        ("joints", [str(model.joint(index).name) for index in inspection.joints], set(spec.joints)),
        ("actuators", [actuator_name(model, index) for index in inspection.actuators], _stated_actuators(spec, model)),
    ):
        missing = [name for name in present if name and name not in stated]
        if missing:
            many = f"{len(missing)} {key}" if len(missing) > 1 else key.removesuffix("s")
            remarks.append(f"nothing is stated about {many}: {_list(missing)}")
    nameless = sum(not model.joint(joint).name for joint in inspection.joints)
    if nameless:
        joints, them = ("joint has", "it") if nameless == 1 else ("joints have", "them")
        remarks.append(f"{nameless} {joints} no name, so nothing can refer to {them}: add name='NAME' in the MJCF")
    if spec.base is None:
        remarks.append("no base is stated: add a section 'base: {body: NAME, kind: fixed|planar|free}'")
    masses = "1 mass" if len(spec.masses) == 1 else f"{len(spec.masses)} masses"
    counts = f"{counted(len(spec.joints), 'joint')}, {counted(len(spec.actuators), 'actuator')} and {masses}"
    return judged(faults=faults, remarks=remarks, fine=f"{counts} are as stated")


def check_stated(inspection: Inspection) -> Verdict:
    """What the spec states is followed by a simulation, or compared with the model."""
    spec = inspection.spec
    remarks = [f"{spec.where(key)} is stated, but nothing simulates it" for key in not_simulated(spec)]
    return judged(faults=[], remarks=remarks, fine="all that is stated is simulated, or compared with the model")


def _base(inspection: Inspection) -> Iterator[str]:
    spec, model = inspection.spec, inspection.model
    if spec.base is None:
        return
    root = body_id(model, spec.base.body)
    if root is None:
        yield _unknown(spec, model, "base.body", "body", spec.base.body)
        return
    above, body = {root}, root
    while body:
        body = int(model.body_parentid[body])
        above.add(body)
    carrying = [joint for joint in range(model.njnt) if int(model.jnt_bodyid[joint]) in above]
    for name in spec.base.joints:
        joint = joint_id(model, name)
        if joint is None:
            yield _unknown(spec, model, "base.joints", "joint", name)
        elif joint not in carrying:
            yield f"{spec.where('base.joints')}: joint {name!r} does not carry the base: delete it there"
    placing = set(spec.base.joints)
    kinds = sorted(
        joint_kind(model, j) for j in carrying if spec.base.kind != "fixed" or model.joint(j).name not in placing
    )
    wanted = {"fixed": [], "planar": ["hinge", "slide", "slide"], "free": ["free"]}[spec.base.kind]
    if kinds != wanted:
        found = " and ".join(kinds) or "no joint"
        expected = " and ".join(wanted) or "none (or list them in base.joints)"
        yield f"{spec.where('base.kind')}: the model has {found} there, {spec.base.kind} has {expected}"


def _joints(spec: RobotSpec, model: mujoco.MjModel) -> Iterator[str]:
    for name, fact in spec.joints.items():
        key = f"joints.{name}"
        joint = joint_id(model, name)
        if joint is None:
            yield _unknown(spec, model, key, "joint", name)
            continue
        limited = bool(model.jnt_limited[joint])
        yield from _same(spec, f"{key}.kind", fact.kind, joint_kind(model, joint))
        if fact.position_range is not None and not limited:
            yield f"{spec.where(f'{key}.position_range')}: the model's joint has no limits: write 'unlimited: true'"
        elif fact.position_range is not None:
            yield from _equal(spec, f"{key}.position_range", fact.position_range, model.jnt_range[joint])
        if fact.unlimited and limited:
            yield f"{spec.where(f'{key}.unlimited')}: the model has {_shown(model.jnt_range[joint])}: state that range"
        if fact.armature is not None:
            dof = int(model.jnt_dofadr[joint])
            yield from _equal(spec, f"{key}.armature", fact.armature, model.dof_armature[dof : dof + 1])
        effort = strongest_effort(model, joint)
        if fact.effort_limit is not None and effort is not None:
            yield from _equal(spec, f"{key}.effort_limit", fact.effort_limit, np.array([effort]))
    for name, value in spec.home.items():
        joint = joint_id(model, name)
        if joint is None:
            yield _unknown(spec, model, f"home.{name}", "joint", name)
        elif (given := np.size(value)) != (width := joint_width(model, joint)):
            kind = joint_kind(model, joint)
            yield f"{spec.where(f'home.{name}')} has {counted(given, 'number')}: a {kind} joint takes {width}"


def _actuators(spec: RobotSpec, model: mujoco.MjModel) -> Iterator[str]:
    for name, fact in spec.actuators.items():
        key = f"actuators.{name}"
        index = actuator_id(model, name)
        if index is None:
            yield _unknown(spec, model, key, "actuator", name)
            continue
        joint = driven_joint(model, index)
        yield from _same(spec, f"{key}.joint", fact.joint, model.joint(joint).name if joint is not None else "no joint")
        yield from _same(spec, f"{key}.kind", fact.kind, actuator_kind(model, index))
        for field, value, limited, numbers in (
            ("control_range", fact.control_range, model.actuator_ctrllimited[index], model.actuator_ctrlrange[index]),
            ("force_range", fact.force_range, model.actuator_forcelimited[index], model.actuator_forcerange[index]),
            ("gain", fact.gain, True, model.actuator_gainprm[index, :1]),
            ("damping", fact.damping, True, -model.actuator_biasprm[index, 2:3]),
            ("gear", fact.gear, True, model.actuator_gear[index, :1]),
        ):
            if value is not None and not limited:
                yield f"{spec.where(f'{key}.{field}')}: the model's actuator has no such limits: delete the line"
            elif value is not None:
                yield from _equal(spec, f"{key}.{field}", value, numbers)


def _stated_actuators(spec: RobotSpec, model: mujoco.MjModel) -> set[str]:
    found = [actuator_id(model, name) for name in spec.actuators]
    return {actuator_name(model, index) for index in found if index is not None}


def _masses(spec: RobotSpec, model: mujoco.MjModel) -> Iterator[str]:
    for name, mass in spec.masses.items():
        body = body_id(model, name)
        if body is None:
            yield _unknown(spec, model, f"masses.{name}", "body", name)
        else:
            yield from _equal(spec, f"masses.{name}", mass, model.body_mass[body : body + 1])


def _other_names(spec: RobotSpec, model: mujoco.MjModel) -> Iterator[str]:
    named: list[tuple[str, str, str]] = []
    if spec.end_effector is not None:
        named.append(("end_effector.site", "site", spec.end_effector.site))
    if spec.gripper is not None:
        named += [("gripper.actuators", "actuator", name) for name in spec.gripper.actuators]
    for name, point in spec.attach.items():
        named += [(f"attach.{name}.{kind}", kind, word) for kind in ("site", "body") if (word := getattr(point, kind))]
    for name, mode in spec.control.items():
        if mode.mocap_body is not None:
            named.append((f"control.{name}.mocap_body", "body", mode.mocap_body))
    named += _sensed(spec)
    if spec.view is not None and spec.view.body is not None:
        named.append(("view.body", "body", spec.view.body))
    for field, bounds in spec.randomise.items():
        kind = _RANDOMISED[field.split("_")[0]]
        named += [(f"randomise.{field}.of", kind, name) for name in bounds.of]
    for key, kind, name in named:
        if not _there(model, kind, name):
            yield _unknown(spec, model, key, kind, name)
        elif key.endswith("mocap_body") and int(model.body_mocapid[body_id(model, name)]) < 0:
            yield f'{spec.where(key)}: body {name!r} is no mocap body: add mocap="true" to it in the MJCF'


def _sensed(spec: RobotSpec) -> Iterator[tuple[str, str, str]]:
    """Yield (key, kind, name) of what in the model the sensors measure."""
    kinds = {"mjcf": "sensor", "end_effector_pose": "site"}
    for key, sensor in spec.sensors.items():
        if sensor.kind != "end_effector_pose":
            yield f"sensors.{key}", kinds.get(sensor.kind, "joint"), sensor.of or key
        elif spec.end_effector is None:
            yield f"sensors.{key}", "site", "end_effector"


def _rates(spec: RobotSpec, model: mujoco.MjModel) -> Iterator[str]:
    step = float(model.opt.timestep)
    if spec.physics_timestep_s is not None:
        yield from _equal(spec, "physics_timestep_s", spec.physics_timestep_s, np.array([step]))
    for name, mode in spec.control.items():
        steps = 1.0 / (mode.rate_hz * step)
        if round(steps) < 1 or abs(steps - round(steps)) > 1e-3 * steps:
            where = spec.where(f"control.{name}.rate_hz")
            near = 1.0 / (max(1, round(steps)) * step)
            whole = f"choose a rate with a whole number of them, such as {near:.5g}"
            yield f"{where} is {mode.rate_hz:g}, one action in {steps:.3g} physics steps of {step:g} s: {whole}"


def _same(spec: RobotSpec, key: str, stated: str | None, found: str) -> Iterator[str]:
    if stated is not None and stated != found:
        yield f"{spec.where(key)} is {stated!r}, the model has {found!r}: change one of the two"


def _equal(
    spec: RobotSpec, key: str, stated: float | Sequence[float], found: np.ndarray[tuple[int, ...], np.dtype[np.float64]]
) -> Iterator[str]:
    if not np.allclose(np.atleast_1d(stated), found, rtol=_RELATIVE, atol=_ABSOLUTE):
        degrees = np.any(found) and np.allclose(np.radians(np.atleast_1d(stated)), found, rtol=_DEGREES)
        mend = f"state it in rad, {_shown(found)}" if degrees else "change one of the two"
        yield f"{spec.where(key)} is {_shown(stated)}, the model has {_shown(found)}: {mend}"


def _there(model: mujoco.MjModel, kind: str, name: str) -> bool:
    if kind in _FINDERS:
        return _FINDERS[kind](model, name) is not None
    return bool(mujoco.mj_name2id(model, _NAMES[kind], name) >= 0)


def _unknown(spec: RobotSpec, model: mujoco.MjModel, key: str, kind: str, name: str) -> str:
    count = {"body": model.nbody, "joint": model.njnt, "geom": model.ngeom, "site": model.nsite}
    count |= {"actuator": model.nu, "sensor": model.nsensor}
    there = [mujoco.mj_id2name(model, _NAMES[kind], index) for index in range(count[kind])]
    names = sorted({word for word in there if word})
    return f"{spec.where(key)}: the model has no {kind} {name!r}: {nearest(name, names) if names else 'it has none'}"


def _shown(value: float | Iterable[float]) -> str:
    numbers = [f"{float(number):.6g}" for number in np.atleast_1d(np.asarray(value))]
    return numbers[0] if len(numbers) == 1 else "[" + ", ".join(numbers) + "]"


def _list(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
