"""Finds what a change of the physics names in a compiled model, and refuses what a live model can't carry out.

Some numbers are looked at only where the compiled model says so: a range where the joint is limited, a force range
where the actuator is, gravity compensation where the file has some. A change of the others would be without effect, so
it is refused with what to write into the MJCF.
"""

from __future__ import annotations

from collections.abc import Sequence

import mujoco
import numpy as np

from mql.errors import UserError, nearest
from mql.tasks.physics.fields import Change

_KINDS = {
    "body": mujoco.mjtObj.mjOBJ_BODY,
    "joint": mujoco.mjtObj.mjOBJ_JOINT,
    "geom": mujoco.mjtObj.mjOBJ_GEOM,
    "actuator": mujoco.mjtObj.mjOBJ_ACTUATOR,
    "site": mujoco.mjtObj.mjOBJ_SITE,
}
_COUNTS = {"body": "nbody", "joint": "njnt", "geom": "ngeom", "actuator": "nu", "site": "nsite"}
# As plain numbers: in newer versions of MuJoCo a kind in a model's arrays is not found in a tuple of these constants.
_FREE, _BALL = mujoco.mjtJoint.mjJNT_FREE.value, mujoco.mjtJoint.mjJNT_BALL.value
_BY_JOINT = (mujoco.mjtTrn.mjTRN_JOINT.value, mujoco.mjtTrn.mjTRN_JOINTINPARENT.value)


def rows_of(model: mujoco.MjModel, change: Change, name: str, where: str) -> list[int]:
    """Return the rows of the change's array that belong to one name: a joint's degrees of freedom, say.

    Raises:
        UserError: the model has no such name, or the change would be without effect on it.
    """
    target, _ = change.target
    own = _find(model, target, name, where)
    _refuse_without_effect(model, change, name, own, where)
    if change.kind.array.startswith("actuator"):
        return [own] if target == "actuator" else _actuators_of(model, own, name, where)
    if change.kind.array.startswith("dof"):
        first = int(model.jnt_dofadr[own])
        return list(range(first, first + {_FREE: 6, _BALL: 3}.get(model.jnt_type[own], 1)))
    return [int(model.jnt_qposadr[own])] if change.field == "qpos_spring" else [own]


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
    else:
        mend = f"it has no {target} with a name; give it one in the MJCF"
    raise UserError(f"the model has no {target} {name!r}", where=where, mend=mend)


def _actuators_of(model: mujoco.MjModel, joint: int, name: str, where: str) -> list[int]:
    by_joint = np.isin(model.actuator_trntype, _BY_JOINT)
    found = np.flatnonzero(by_joint & (model.actuator_trnid[:, 0] == joint))
    if not found.size:
        driven = sorted({int(row[0]) for row in model.actuator_trnid[by_joint]})
        names: Sequence[str] = [mujoco.mj_id2name(model, _KINDS["joint"], row) or f"number {row}" for row in driven]
        raise UserError(f"no actuator drives the joint {name!r}", where=where, mend=nearest(name, names))
    return [int(row) for row in found]


def _refuse_without_effect(model: mujoco.MjModel, change: Change, name: str, own: int, where: str) -> None:
    what, mend = "", ""
    if change.target[0] == "body" and own == 0:
        what, mend = "the world can't be changed", "name one of its bodies"
    elif change.field == "body_mass" and model.body_mass[own] <= 0.0:
        what, mend = f"the body {name!r} has no mass", "give its geoms a mass in the MJCF, so that the inertia is known"
    elif change.field == "body_pos" and any(model.jnt_type[n] == _FREE for n in _joints_of(model, own)):
        what, mend = f"the body {name!r} moves freely", "its place is in qpos: draw it where the episode starts"
    elif change.field == "body_gravcomp" and model.ngravcomp == 0:
        what = "the model has no gravity compensation"
        mend = 'MuJoCo skips it then; write gravcomp="1" at a body of the MJCF, and set the others'
    elif change.field == "jnt_range" and not model.jnt_limited[own]:
        what, mend = f"the joint {name!r} has no limits", 'write limited="true" and a range in the MJCF'
    elif change.field == "qpos_spring" and model.jnt_type[own] in (_FREE, _BALL):
        what, mend = f"the joint {name!r} turns freely", "only a hinge or a slide has a spring with one reference"
    if what:
        raise UserError(what, where=where, mend=mend)
    if change.kind.array.startswith("actuator"):
        rows = [own] if change.target[0] == "actuator" else _actuators_of(model, own, name, where)
        for row in rows:
            _refuse_actuator(model, change, name, row, where)


def _refuse_actuator(model: mujoco.MjModel, change: Change, name: str, row: int, where: str) -> None:
    if change.field == "actuator_forcerange" and not model.actuator_forcelimited[row]:
        mend = 'write forcelimited="true" and a forcerange in the MJCF'
        raise UserError(f"the actuator of {name!r} has no force limits", where=where, mend=mend)
    if change.field == "position_gain" and model.actuator_biasprm[row, 1] != -model.actuator_gainprm[row, 0]:
        mend = "position_gain is for <position>; for a motor change actuator_gear"
        raise UserError(f"the actuator of {name!r} is not a position actuator", where=where, mend=mend)


def _joints_of(model: mujoco.MjModel, body: int) -> range:
    first = int(model.body_jntadr[body])
    return range(first, first + int(model.body_jntnum[body])) if first >= 0 else range(0)
