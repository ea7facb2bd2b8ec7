"""Compiles a model's files anew with the numbers that the model has now: what a changed model should be.

Masses, places, sizes, gains and the like are written into the files' elements; what MuJoCo makes of them when it
compiles (volumes around geoms, shortcuts, derived inertias and lengths) comes out anew. Where a model differs from its
rebuilt self, somebody has changed it without what belongs to the change.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import mujoco
import numpy as np

from mql.tasks.physics.recompile import arrays_of, as_in_the_file, other_sizes, write_place, write_size
from mql.tasks.scenes.part import numbered, tree, write_angles_plainly, write_numbers
from mql.tasks.scenes.source import ModelSource, compiled

_MESH = mujoco.mjtGeom.mjGEOM_MESH.value
_TOLERANCE = 1e-6  # relative; what two ways of computing make differently
# Arrays that are for the eyes only, or keep a state that an episode may start from.
_UNSEEN = ("cam_", "light_", "key_", "name", "mat_", "tex_", "skin_", "text_", "tuple_", "numeric_", "site_rgba")
# Per kind of element: array of the model -> attribute of a spec's element. Places and sizes are written apart.
_NUMBERS: dict[str, dict[str, str]] = {
    "body": {"body_gravcomp": "gravcomp"},
    "geom": {
        name: name.removeprefix("geom_")
        for name in (
            *("geom_friction", "geom_solref", "geom_solimp", "geom_solmix", "geom_margin", "geom_gap"),
            *("geom_condim", "geom_priority", "geom_contype", "geom_conaffinity"),
        )
    },
    "joint": {"jnt_axis": "axis", "jnt_pos": "pos", "jnt_solref": "solref_limit", "jnt_solimp": "solimp_limit"},
    "actuator": {
        name: name.removeprefix("actuator_")
        for name in ("actuator_gear", "actuator_ctrlrange", "actuator_forcerange", "actuator_actrange")
    },
    "tendon": {
        **{name: name.removeprefix("tendon_") for name in ("tendon_frictionloss", "tendon_range", "tendon_margin")},
        "tendon_lengthspring": "springlength",
    },
    "equality": {"eq_data": "data", "eq_solref": "solref", "eq_solimp": "solimp"},
    "mesh": {"mesh_scale": "scale"},
}


class NotComparableError(Exception):
    """Why a model can't be rebuilt from its files."""


def rebuilt(model: mujoco.MjModel, source: ModelSource) -> mujoco.MjModel:
    """Return the model that `source` gives with the numbers of `model`.

    Raises:
        NotComparableError: the files give another model, or can't take its numbers.
        UserError: a file is missing.
    """
    try:
        plain, spec = compiled(source.spec()), source.spec()
        sizes = other_sizes(plain, model)
        if sizes:
            raise NotComparableError(f"{source.name} gives another model ({sizes})")
        write_angles_plainly(spec)
        kept, odd = _compilable(model, plain)
        write_numbers(spec, kept)
        _write_places(spec, model, plain)
        _write_others(spec, model, plain)
        new = compiled(spec)
    except (ValueError, RuntimeError) as error:
        raise NotComparableError(" ".join(str(error).split())) from None
    if len(odd):
        new.body_inertia[odd] = model.body_inertia[odd]
        mujoco.mj_setConst(new, mujoco.MjData(new))
    return new


def unlike(model: mujoco.MjModel, other: mujoco.MjModel) -> list[str]:
    """Return the arrays in which two models of the same sizes differ by more than rounding, and matter to motion."""
    differing = [name for name in arrays_of(model) if not _close(name, getattr(model, name), getattr(other, name))]
    options = [name for name in _options() if not _close(name, getattr(model.opt, name), getattr(other.opt, name))]
    return [name for name in differing + options if not name.startswith(_UNSEEN)]


def _close(name: str, one: Any, two: Any) -> bool:
    if name.endswith("quat") and one.ndim == 2:  # a quaternion and its negative turn alike
        two = two * np.where((one * two).sum(axis=1, keepdims=True) < 0.0, -1.0, 1.0)
    if name.endswith("sameframe"):  # 0 spares MuJoCo nothing and is right for any place, whatever the compiler found
        return bool(((one == two) | (one == 0)).all())
    return bool(np.allclose(one, two, rtol=_TOLERANCE, atol=1e-9, equal_nan=True))


def _compilable(model: mujoco.MjModel, plain: mujoco.MjModel) -> tuple[mujoco.MjModel, Any]:
    """Return the model without moments of inertia that no body has and MuJoCo refuses, and the rows of those."""
    inertia = np.sort(model.body_inertia, axis=1)
    odd = np.flatnonzero(inertia[:, 0] + inertia[:, 1] < inertia[:, 2] * (1.0 - 1e-9))
    if not odd.size:
        return model, odd
    kept = copy.deepcopy(model)
    kept.body_inertia[odd] = plain.body_inertia[odd]
    return kept, odd


def _write_places(spec: Any, model: mujoco.MjModel, plain: mujoco.MjModel) -> None:
    """Write places, orientations and sizes where they are not the files' own."""
    for kind, elements in _placed(spec):
        count = {"body": model.nbody, "geom": model.ngeom, "site": model.nsite}[kind]
        names = [f"{kind}_pos", f"{kind}_quat", *(["geom_size"] if kind == "geom" else [])]
        now, then = ([as_in_the_file(each, name) for name in names] for each in (model, plain))
        for row, element in numbered(elements, getattr(model, kind), count):
            if all(np.array_equal(one[row], two[row]) for one, two in zip(now, then, strict=True)):
                continue
            if kind == "geom" and model.geom_type[row] != _MESH:
                write_size(element, now[2][row])
            write_place(element, now[0][row], now[1][row])


def _write_others(spec: Any, model: mujoco.MjModel, plain: mujoco.MjModel) -> None:
    """Write all other numbers where they are not the files' own."""
    lists = dict(_placed(spec))
    lists["joint"] = [joint for body in lists["body"] for joint in body.joints]
    lists["actuator"], lists["tendon"] = list(spec.actuators), list(spec.tendons)
    lists["equality"], lists["mesh"] = list(spec.equalities), list(spec.meshes)
    for kind, numbers in _NUMBERS.items():
        for name, attribute in numbers.items():
            now, then = getattr(model, name), getattr(plain, name)
            for row, element in enumerate(lists[kind]):
                if not np.array_equal(now[row], then[row]):
                    setattr(element, attribute, now[row])
    for row, joint in enumerate(lists["joint"]):
        address = model.jnt_dofadr[row]
        joint.armature, joint.frictionloss = model.dof_armature[address], model.dof_frictionloss[address]
    for row, tendon in enumerate(lists["tendon"]):
        for name in ("stiffness", "damping"):
            now, then = getattr(model, f"tendon_{name}")[row], getattr(plain, f"tendon_{name}")[row]
            if now != then:
                higher = getattr(model, f"tendon_{name}poly", None)
                setattr(tendon, name, now if higher is None else np.array([now, *higher[row]]))
    for name in _options():
        value = getattr(model.opt, name)
        if not np.array_equal(value, getattr(plain.opt, name)):
            setattr(spec.option, name, value)


def _placed(spec: Any) -> Iterator[tuple[str, list[Any]]]:
    """Yield a spec's bodies, geoms and sites in the order of the compiled model."""
    bodies = list(tree(spec.worldbody))
    yield "body", bodies
    yield "geom", [geom for body in bodies for geom in body.geoms]
    yield "site", [site for body in bodies for site in body.sites]


def _options() -> list[str]:
    names = [name for name in dir(mujoco.MjOption) if not name.startswith("_")]
    empty = mujoco.MjOption()
    return [name for name in names if isinstance(getattr(empty, name), int | float | np.ndarray)]
