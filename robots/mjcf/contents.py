"""What a compiled model holds by name: what a robot's spec, a definition or a scene may refer to."""

from __future__ import annotations

from typing import Any

import mujoco

from mql.robots.mjcf.lookup import actuator_kind, driven_joint, joint_kind

_UNITS = {"hinge": "rad", "slide": "m"}  # the others have no range in numbers


def contents(model: mujoco.MjModel) -> dict[str, list[dict[str, Any]]]:
    """Return joints, actuators, bodies, sites, geoms and sensors of a model as plain data.

    Ranges are None where there are no limits. Joints and actuators without names have the name None; of the rest, what
    has no name is left out, as is the world.
    """
    joints = [
        {
            "name": model.joint(index).name or None,
            "kind": (kind := joint_kind(model, index)),
            "range": _range(model.jnt_range[index]) if kind in _UNITS and model.jnt_limited[index] else None,
            "unit": _UNITS.get(kind),
            "body": model.body(model.jnt_bodyid[index]).name or None,
        }
        for index in range(model.njnt)
    ]
    actuators = [
        {
            "name": model.actuator(index).name or None,
            "kind": actuator_kind(model, index),
            "joint": None if (joint := driven_joint(model, index)) is None else model.joint(joint).name or None,
            "range": _range(model.actuator_ctrlrange[index]) if model.actuator_ctrllimited[index] else None,
        }
        for index in range(model.nu)
    ]
    bodies = [
        {
            "name": body.name,
            "parent": model.body(int(body.parentid[0])).name or None,
            "moves": _movement(model, body.id),
        }
        for body in map(model.body, range(1, model.nbody))
        if body.name
    ]
    return {
        "joints": joints,
        "actuators": actuators,
        "bodies": bodies,
        "sites": _placed(model, model.site, model.nsite),
        "geoms": _placed(model, model.geom, model.ngeom),
        "sensors": [{"name": name} for name in (model.sensor(index).name for index in range(model.nsensor)) if name],
    }


def _placed(model: mujoco.MjModel, part: Any, count: int) -> list[dict[str, Any]]:
    """Return the name of each part, and of the body that it is fixed to."""
    parts = map(part, range(count))
    return [{"name": each.name, "body": model.body(int(each.bodyid[0])).name} for each in parts if each.name]


def _movement(model: mujoco.MjModel, body: int) -> str | None:
    """Return free or mocap for a body that a definition can put somewhere; None for one that hangs on others."""
    if model.body_mocapid[body] >= 0:
        return "mocap"
    first, count = int(model.body_jntadr[body]), int(model.body_jntnum[body])
    return "free" if count and joint_kind(model, first) == "free" else None


def _range(limits: Any) -> list[float]:
    """Return limits with six digits: what a file says in degrees is seldom round in rad."""
    return [float(f"{limit:.6g}") for limit in limits]
