"""Compiles a model and looks at its numbers, because MuJoCo takes some that no physics can use.

A file that nobody knows may crash MuJoCo or fill the memory: it is tried out in a process of its own before.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mujoco
import numpy as np

from mql.errors import UserError
from mql.robots.mjcf.files import read_files
from mql.robots.mjcf.keyframes import fit_keyframes, not_fitting
from mql.robots.mjcf.sealed import Sealed, seal
from mql.robots.mjcf.trial import try_out

_FIELDS = (
    *("body_pos", "body_quat", "body_mass", "body_inertia", "body_ipos"),
    *("jnt_pos", "jnt_axis", "jnt_range", "jnt_stiffness", "jnt_actfrcrange"),
    *("dof_damping", "dof_frictionloss", "dof_armature"),
    *("geom_pos", "geom_quat", "geom_size", "geom_friction", "site_pos"),
    *("actuator_gainprm", "actuator_biasprm", "actuator_gear", "actuator_ctrlrange", "actuator_forcerange"),
    *("qpos0", "key_qpos"),
)
_LARGEST = 1e15  # in SI units: no physics has more, and its square is lost in rounding
_LONGEST_STEP = 100.0  # s
_NOT_NEGATIVE = ("body_mass", "body_inertia", "dof_damping", "dof_frictionloss", "dof_armature", "geom_friction")
# A row of an array belongs to a thing with a name.
_OWNERS = {"body": mujoco.mjtObj.mjOBJ_BODY, "jnt": mujoco.mjtObj.mjOBJ_JOINT, "geom": mujoco.mjtObj.mjOBJ_GEOM}
_OWNERS |= {"site": mujoco.mjtObj.mjOBJ_SITE, "actuator": mujoco.mjtObj.mjOBJ_ACTUATOR}


def read_model(path: Path, folder: Path) -> Sealed:
    """Read a model that reads nothing outside `folder`, and try out that compiling it does no harm.

    A keyframe of an included file fits the whole: what the file does not have stands there as the model is built.

    Raises:
        UserError: a file is missing or outside, the model is too large, or MuJoCo crashes on it; one line.
    """
    files = read_files(path, folder)
    sealed = seal(files)
    if not_fitting(files, try_out(sealed)) and fit_keyframes(files, sealed):
        sealed = seal(files)
        try_out(sealed)
    return sealed


def compile_mjcf(path: Path, folder: Path) -> mujoco.MjModel:
    """Compile a model that reads nothing outside `folder`.

    Raises:
        UserError: as `read_model` does, MuJoCo refuses the model, or a number is NaN, infinite or negative where it
            can't be; one line.
    """
    return checked(read_model(path, folder).compile(), path)


def compile_spec(spec: Any, sealed: Sealed) -> mujoco.MjModel:
    """Compile an MjSpec made of a sealed model. Raises UserError as `compile_mjcf` does."""
    try:
        model = spec.compile()
    except (ValueError, RuntimeError, mujoco.FatalError) as error:
        raise sealed.refusal(error) from None
    return checked(model, sealed.path)


def checked(model: mujoco.MjModel, path: Path) -> mujoco.MjModel:
    """Return a compiled model whose numbers are numbers, or raise UserError."""
    for problem in number_faults(model):
        raise UserError(problem, where=str(path), mend="fix that number in the MJCF")
    return model


def number_faults(model: mujoco.MjModel) -> Iterator[str]:
    """Say which numbers of a compiled model are NaN, infinite or negative where they can't be."""
    for field in _FIELDS:
        values = np.asarray(getattr(model, field))
        rows = values.reshape(len(values), -1) if values.size else values.reshape(0, 0)
        for row, numbers in enumerate(rows):
            if not np.isfinite(numbers).all():
                yield f"{field} of {_owner(model, field, row)} is {_first_odd(numbers)}"
            elif (np.abs(numbers) > _LARGEST).any():
                yield f"{field} of {_owner(model, field, row)} is {numbers[np.argmax(np.abs(numbers))]:g}"
            elif field in _NOT_NEGATIVE and (numbers < 0).any():
                yield f"{field} of {_owner(model, field, row)} is negative"
    if not (math.isfinite(model.opt.timestep) and 0 < model.opt.timestep <= _LONGEST_STEP):
        yield f"the physics timestep is {model.opt.timestep:g} s"
    if not (np.abs(model.opt.gravity) <= _LARGEST).all():
        yield "gravity is not a number, or a huge one"


def _owner(model: mujoco.MjModel, field: str, row: int) -> str:
    kind = field.split("_")[0]
    if kind == "dof":
        kind, row = "jnt", int(model.dof_jntid[row])
    name = mujoco.mj_id2name(model, _OWNERS[kind], row) if kind in _OWNERS else None
    word = {"jnt": "joint"}.get(kind, kind)
    return f"{word} {name!r}" if name else f"{word} number {row}"


def _first_odd(numbers: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> float:
    return float(numbers[~np.isfinite(numbers)][0])
