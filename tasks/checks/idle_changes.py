"""Changes of the physics that nothing simulates: MuJoCo takes the number, and no motion depends on it.

What can be told without playing an episode is told here, from the compiled model: a factor on a number that is zero,
the mass of what never moves, the friction of what touches nothing or only rougher things, the reference of a spring
without stiffness, wind without a medium.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

import mujoco
import numpy as np
import numpy.typing as npt

from mql.errors import UserError
from mql.tasks.physics.fields import ALL, Change
from mql.tasks.physics.targets import rows_of

Array = npt.NDArray[np.float64]


def why_idle(
    model: mujoco.MjModel, change: Change, values: Array, *, also_changed: Collection[str] = ()
) -> Iterator[str]:
    """Yield why a change moves nothing, with what to do; nothing where it may act.

    Args:
        model: as it is compiled, before any change.
        change: of a task parameter.
        values: of that parameter in all tasks, [N] or [N, size].
        also_changed: fields that other changes of the definition set.
    """
    kind, names = change.target
    if kind in ("tendon", "equality", "mesh") or ALL in names:
        return  # what it may do to a motion is not looked at
    try:
        things = {name: rows_of(model, change, name, "") for name in names}
    except UserError:
        return  # an error of its own, when the definition is read
    rows = [row for each in things.values() for row in each]
    array = change.kind.array
    own = np.asarray(getattr(model if hasattr(model, array) else model.opt, array), np.float64)
    own = own[rows] if rows else own
    columns = change.components(values.shape[1] if values.ndim > 1 else None) if own.ndim > (1 if rows else 0) else ...
    own = own[..., columns] if columns is not ... else own
    if change.op == "scale" and not np.any(own) and change.field not in also_changed:
        yield f"{change.field} is 0 in the model, and any factor of 0 is 0: write 'op: set' or 'op: add'"
        return
    for name, each in things.items():
        own_joint = [model.joint(name).id] if change.field == "qpos_spring" else each  # a row of it is a place in qpos
        reasons = [_reason(model, change, thing, values, also_changed) for thing in own_joint]
        if all(reasons):  # one of a body's geoms may act where others don't
            yield f"{change.field} of {kind} {name!r}: {reasons[0]}"
    if not things:
        reason = _reason(model, change, 0, values, also_changed)
        if reason:
            yield f"{change.field}: {reason}"


def _reason(
    model: mujoco.MjModel, change: Change, place: int, values: Array, also_changed: Collection[str]
) -> str | None:
    field = change.field
    if field in ("body_mass", "body_inertia", "body_gravcomp") and model.body_weldid[place] == 0:
        return "the body is fixed to the world, which no mass moves: name a body that has a joint"
    if field == "qpos_spring" and model.jnt_stiffness[place] == 0.0 and "jnt_stiffness" not in also_changed:
        return "its joint has no spring: write stiffness=... in the MJCF"
    in_vacuum = model.opt.density == 0.0 and model.opt.viscosity == 0.0
    if field == "wind" and in_vacuum and not {"density", "viscosity"} & set(also_changed):
        return 'nothing blows without a medium: write <option density="1.2"/> in the MJCF'
    if field == "geom_friction":
        return _friction(model, change, place, values)
    return None


def _friction(model: mujoco.MjModel, change: Change, geom: int, values: Array) -> str | None:
    """Of two geoms that touch, MuJoCo takes the larger friction, unless one has priority or a <pair> says it."""
    if np.isin(geom, (model.pair_geom1, model.pair_geom2)):
        return None
    others = [other for other in range(model.ngeom) if _touch(model, geom, other)]
    if not others:
        return "it touches nothing (contype and conaffinity): name the geom that collides"
    if values.ndim > 1 or any(model.geom_priority[other] != model.geom_priority[geom] for other in others):
        return None
    index = change.index or 0
    own = model.geom_friction[geom, index]
    made = {"set": values, "scale": own * values, "add": own + values}[change.op]
    least = float(model.geom_friction[others, index].min())
    if float(made.max()) <= least and float(own) <= least:
        return (
            f"all that it touches has a friction of {least:g} and more, and of two that touch MuJoCo takes the larger: "
            'make the others smoother, or write priority="1" at this geom'
        )
    return None


def _touch(model: mujoco.MjModel, one: int, other: int) -> bool:
    """Whether two geoms may collide, as MuJoCo decides it from their bodies and masks."""
    bodies = [int(model.geom_bodyid[geom]) for geom in (one, other)]
    welded = [int(model.body_weldid[body]) for body in bodies]  # bodies without joints belong to what carries them
    parents = [int(model.body_weldid[model.body_parentid[body]]) for body in welded]
    related = welded[0] == parents[1] or welded[1] == parents[0]
    filtered = not model.opt.disableflags & mujoco.mjtDisableBit.mjDSBL_FILTERPARENT.value
    if welded[0] == welded[1] or (filtered and related and all(welded)):
        return False
    if (min(bodies) << 16) + max(bodies) in model.exclude_signature:
        return False
    masks = (model.geom_contype[one] & model.geom_conaffinity[other]) | (
        model.geom_contype[other] & model.geom_conaffinity[one]
    )
    return bool(masks)
