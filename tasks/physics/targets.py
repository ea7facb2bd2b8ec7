"""Finds what a change of the physics names in a compiled model, and refuses what can't act there.

Some numbers are looked at only where the compiled model says so: a range where the joint is limited, a force range
where the actuator is, gravity compensation where the file has some. A change of the others would be without effect, so
it is refused with what to write into the MJCF.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import mujoco
import numpy as np

from mql.errors import UserError, nearest
from mql.robots.mjcf.lookup import joint_freedoms
from mql.tasks.physics.fields import ALL, Change

_KINDS = {
    "body": mujoco.mjtObj.mjOBJ_BODY,
    "joint": mujoco.mjtObj.mjOBJ_JOINT,
    "geom": mujoco.mjtObj.mjOBJ_GEOM,
    "actuator": mujoco.mjtObj.mjOBJ_ACTUATOR,
    "site": mujoco.mjtObj.mjOBJ_SITE,
    "tendon": mujoco.mjtObj.mjOBJ_TENDON,
    "equality": mujoco.mjtObj.mjOBJ_EQUALITY,
    "mesh": mujoco.mjtObj.mjOBJ_MESH,
}
_COUNTS = {
    "body": "nbody",
    "joint": "njnt",
    "geom": "ngeom",
    "actuator": "nu",
    "site": "nsite",
    "tendon": "ntendon",
    "equality": "neq",
    "mesh": "nmesh",
}
# As plain numbers: in newer versions of MuJoCo a kind in a model's arrays is not found in a tuple of these constants.
_FREE, _BALL = mujoco.mjtJoint.mjJNT_FREE.value, mujoco.mjtJoint.mjJNT_BALL.value
_BY_JOINT = (mujoco.mjtTrn.mjTRN_JOINT.value, mujoco.mjtTrn.mjTRN_JOINTINPARENT.value)
_CONNECT, _WELD = mujoco.mjtEq.mjEQ_CONNECT.value, mujoco.mjtEq.mjEQ_WELD.value
_COUPLED = (mujoco.mjtEq.mjEQ_JOINT.value, mujoco.mjtEq.mjEQ_TENDON.value)
_MESH, _HFIELD = mujoco.mjtGeom.mjGEOM_MESH.value, mujoco.mjtGeom.mjGEOM_HFIELD.value
_SIZES = {
    mujoco.mjtGeom.mjGEOM_PLANE.value: ("plane", 3),
    mujoco.mjtGeom.mjGEOM_SPHERE.value: ("sphere", 1),
    mujoco.mjtGeom.mjGEOM_CAPSULE.value: ("capsule", 2),
    mujoco.mjtGeom.mjGEOM_ELLIPSOID.value: ("ellipsoid", 3),
    mujoco.mjtGeom.mjGEOM_CYLINDER.value: ("cylinder", 2),
    mujoco.mjtGeom.mjGEOM_BOX.value: ("box", 3),
}


class _NoEffectError(Exception):
    """What the change could not do, and how to mend it."""


def rows_of(model: mujoco.MjModel, change: Change, name: str, where: str) -> list[int]:
    """Return the rows of the change's array that belong to one name: a joint's degrees of freedom, say.

    ``*`` stands for all that the change can act on.

    Raises:
        UserError: the model has no such name, or the change would be without effect on it.
    """
    target, _ = change.target
    if name != ALL:
        own = _find(model, target, name, where)
        try:
            return _rows(model, change, own)
        except _NoEffectError as error:
            what, mend = error.args
            raise UserError(what, where=where, mend=mend) from None
    rows: list[int] = []
    for own in range(getattr(model, _COUNTS[target])):
        try:
            rows += _rows(model, change, own)
        except _NoEffectError:
            continue
    if not rows:
        raise UserError(f"the model has no {target} with {change.field}", where=where, mend="delete the change")
    return sorted(set(rows))


def used_columns(model: mujoco.MjModel, change: Change, row: int) -> int:
    """Return how many components of the field a row uses: one of a sphere's size, say."""
    return _SIZES[model.geom_type[row]][1] if change.field == "geom_size" else change.kind.width


def shape_of(model: mujoco.MjModel, geom: int) -> str:
    """Return what kind of geom it is, in a word."""
    return _SIZES.get(model.geom_type[geom], ("geom", 0))[0]


def _rows(model: mujoco.MjModel, change: Change, own: int) -> list[int]:
    target, array = change.target[0], change.kind.array
    rows = [own]
    if target == "body" and array.startswith("geom"):
        first = int(model.body_geomadr[own])
        rows = list(range(first, first + int(model.body_geomnum[own])))
        if not rows:
            raise _NoEffectError(f"the body {_name(model, 'body', own)} has no geoms", "name a body that has some")
    elif array.startswith("actuator") and target == "joint":
        rows = _actuators_of(model, own)
    elif array.startswith("dof"):
        first = int(model.jnt_dofadr[own])
        return list(range(first, first + joint_freedoms(model, own)))
    family = array.split("_")[0]
    for row in rows:
        refusal = _REFUSALS.get(change.field)
        reason = refusal(model, row) if refusal is not None else None
        if reason is not None:
            raise _NoEffectError(*reason)
        if family == "body" and row == 0:
            raise _NoEffectError("the world can't be changed", "name one of its bodies")
    return [int(model.jnt_qposadr[own])] if change.field == "qpos_spring" else rows


def _find(model: mujoco.MjModel, target: str, name: str, where: str) -> int:
    found = int(mujoco.mj_name2id(model, _KINDS[target], name))
    if found >= 0:
        return found
    count = getattr(model, _COUNTS[target])
    named = [known for n in range(count) if (known := mujoco.mj_id2name(model, _KINDS[target], n))]
    if named:
        mend = nearest(name, named)
    elif target == "actuator" and count:
        mend = "its actuators have no names; write 'joint: NAME' with the joint that it drives"
    elif target == "geom" and count:
        mend = "its geoms have no names; write 'body: NAME' with the body that it belongs to"
    else:
        mend = f"it has no {target} with a name; give it one in the MJCF"
    raise UserError(f"the model has no {target} {name!r}", where=where, mend=mend)


def _name(model: mujoco.MjModel, kind: str, row: int) -> str:
    name = mujoco.mj_id2name(model, _KINDS[kind], row)
    return repr(name) if name else f"number {row}"


def _actuators_of(model: mujoco.MjModel, joint: int) -> list[int]:
    by_joint = np.isin(model.actuator_trntype, _BY_JOINT)
    found = np.flatnonzero(by_joint & (model.actuator_trnid[:, 0] == joint))
    if not found.size:
        driven = sorted({int(row[0]) for row in model.actuator_trnid[by_joint]})
        names: Sequence[str] = [mujoco.mj_id2name(model, _KINDS["joint"], row) or f"number {row}" for row in driven]
        own = mujoco.mj_id2name(model, _KINDS["joint"], joint) or ""
        raise _NoEffectError(f"no actuator drives the joint {own!r}", nearest(own, names))
    return [int(row) for row in found]


_Reason = tuple[str, str]  # what the change can not do, and how to mend it
_Refusal = Callable[[mujoco.MjModel, int], _Reason | None]


def _mass(model: mujoco.MjModel, row: int) -> _Reason | None:
    if row == 0 or model.body_mass[row] > 0.0:
        return None
    what = f"the body {_name(model, 'body', row)} has no mass"
    return what, "give its geoms a mass in the MJCF, so that the inertia is known"


def _free(model: mujoco.MjModel, row: int) -> _Reason | None:
    first = int(model.body_jntadr[row])
    joints = range(first, first + int(model.body_jntnum[row])) if first >= 0 else range(0)
    if not any(model.jnt_type[n] == _FREE for n in joints):
        return None
    what = f"the body {_name(model, 'body', row)} moves freely"
    return what, "its place is in qpos: draw it where the episode starts"


def _gravcomp(model: mujoco.MjModel, row: int) -> _Reason | None:
    mend = 'MuJoCo skips it then; write gravcomp="1" at a body of the MJCF, and set the others'
    return ("the model has no gravity compensation", mend) if model.ngravcomp == 0 else None


def _limits(model: mujoco.MjModel, row: int) -> _Reason | None:
    name = _name(model, "joint", row)
    if not model.jnt_limited[row]:
        return f"the joint {name} has no limits", 'write limited="true" and a range in the MJCF'
    driven = np.isin(model.actuator_trntype, _BY_JOINT) & (model.actuator_trnid[:, 0] == row)
    if model.actuator_lengthrange[driven].any():
        return f"a muscle pulls the joint {name}", "MuJoCo finds how long it gets from the range: write a file each"
    return None


def _spring(model: mujoco.MjModel, row: int) -> _Reason | None:
    if model.jnt_type[row] not in (_FREE, _BALL):
        return None
    what = f"the joint {_name(model, 'joint', row)} turns freely"
    return what, "only a hinge or a slide has a spring with one reference"


def _gear(model: mujoco.MjModel, row: int) -> _Reason | None:
    if not model.actuator_lengthrange[row].any():
        return None
    mend = "MuJoCo finds how long it gets when it compiles: write a file for each gear"
    return f"the actuator {_name(model, 'actuator', row)} is a muscle", mend


def _force(model: mujoco.MjModel, row: int) -> _Reason | None:
    if model.actuator_forcelimited[row]:
        return None
    mend = 'write forcelimited="true" and a forcerange in the MJCF'
    return f"the actuator of {_driven(model, row)} has no force limits", mend


def _servo(model: mujoco.MjModel, row: int) -> _Reason | None:
    if model.actuator_biasprm[row, 1] == -model.actuator_gainprm[row, 0]:
        return None
    mend = "position_gain is for <position>; for a motor change actuator_gear"
    return f"the actuator of {_driven(model, row)} is not a position actuator", mend


def _damper(model: mujoco.MjModel, row: int) -> _Reason | None:
    reason = _servo(model, row)
    return reason and (reason[0], "position_damping is for <position>; for a motor change dof_damping")


def _driven(model: mujoco.MjModel, row: int) -> str:
    """Name an actuator, or the joint that it drives where it has no name."""
    if mujoco.mj_id2name(model, _KINDS["actuator"], row) or model.actuator_trntype[row] not in _BY_JOINT:
        return _name(model, "actuator", row)
    return _name(model, "joint", int(model.actuator_trnid[row, 0]))


def _size(model: mujoco.MjModel, row: int) -> _Reason | None:
    name = _name(model, "geom", row)
    if model.geom_type[row] == _MESH or model.geom_dataid[row] >= 0:
        return f"the geom {name} has the size of its mesh or height field", "change mesh_scale of its mesh"
    return None if model.geom_type[row] in _SIZES else (f"the geom {name} has no size", "name another geom")


def _worn(model: mujoco.MjModel, row: int) -> _Reason | None:
    if ((model.geom_dataid == row) & (model.geom_type != _HFIELD)).any():
        return None
    return f"no geom has the mesh {_name(model, 'mesh', row)}", "name one that a geom has"


def _tendon_limits(model: mujoco.MjModel, row: int) -> _Reason | None:
    if model.tendon_limited[row]:
        return None
    what = f"the tendon {_name(model, 'tendon', row)} has no limits"
    return what, 'write limited="true" and a range in the MJCF'


def _only(kinds: tuple[int, ...], words: str) -> _Refusal:
    def refuse(model: mujoco.MjModel, row: int) -> _Reason | None:
        if model.eq_type[row] in kinds:
            return None
        return f"the equality {_name(model, 'equality', row)} is no {words}", f"name a {words}"

    return refuse


_REFUSALS: dict[str, _Refusal] = {
    "body_mass": _mass,
    "body_mass_only": _mass,
    "body_inertia": _mass,
    "body_ipos": _mass,
    "body_pos": _free,
    "body_quat": _free,
    "body_turn": _free,
    "body_gravcomp": _gravcomp,
    "geom_size": _size,
    "mesh_scale": _worn,
    "jnt_range": _limits,
    "qpos_spring": _spring,
    "actuator_gear": _gear,
    "actuator_forcerange": _force,
    "position_gain": _servo,
    "position_damping": _damper,
    "tendon_range": _tendon_limits,
    "eq_polycoef": _only(_COUPLED, "<joint> or <tendon>"),
    "eq_anchor": _only((_CONNECT,), "<connect>"),
    "eq_relpos": _only((_WELD,), "<weld>"),
    "eq_torquescale": _only((_WELD,), "<weld>"),
}
