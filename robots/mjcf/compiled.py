"""Compiles an MJCF and looks at its numbers, because MuJoCo takes some that no physics can use.

A file that nobody knows may crash MuJoCo, and with it the process: compile it in a worker.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from xml.parsers import expat

import mujoco
import numpy as np

from mql.errors import UserError
from mql.robots.mjcf.files import mjcf_files

_NOT_NUMBERS = ("name", "class", "childclass", "file", "model")  # attributes in which "nan" is a word
_FIELDS = (
    *("body_pos", "body_quat", "body_mass", "body_inertia", "body_ipos"),
    *("jnt_pos", "jnt_axis", "jnt_range", "jnt_stiffness", "jnt_actfrcrange"),
    *("dof_damping", "dof_frictionloss", "dof_armature"),
    *("geom_pos", "geom_quat", "geom_size", "geom_friction", "site_pos"),
    *("actuator_gainprm", "actuator_biasprm", "actuator_gear", "actuator_ctrlrange", "actuator_forcerange"),
    *("qpos0", "key_qpos"),
)
_NOT_NEGATIVE = ("body_mass", "body_inertia", "dof_damping", "dof_frictionloss", "dof_armature", "geom_friction")
# A row of an array belongs to a thing with a name.
_OWNERS = {"body": mujoco.mjtObj.mjOBJ_BODY, "jnt": mujoco.mjtObj.mjOBJ_JOINT, "geom": mujoco.mjtObj.mjOBJ_GEOM}
_OWNERS |= {"site": mujoco.mjtObj.mjOBJ_SITE, "actuator": mujoco.mjtObj.mjOBJ_ACTUATOR}


def compile_mjcf(path: Path, folder: Path) -> mujoco.MjModel:
    """Compile a model that reads nothing outside `folder`.

    Raises:
        UserError: a file is missing or outside, the model is too large, MuJoCo refuses it, or a number is NaN,
            infinite or negative where it can't be; one line.
    """
    for file in mjcf_files(path, folder):
        if file.suffix.lower() == ".xml":
            _refuse_nan(file)
    return compile_checked(path)


def compile_checked(path: Path) -> mujoco.MjModel:
    """Compile a model whose files are known to be sound. Raises UserError as `compile_mjcf` does."""
    try:
        model = mujoco.MjModel.from_xml_path(str(path))
    except (ValueError, RuntimeError, mujoco.FatalError) as error:
        said = " ".join(str(error).split()).removeprefix("Error: ").removeprefix("XML Error: ")
        raise UserError(f"MuJoCo refuses the model: {said}", where=str(path), mend="fix the MJCF there") from None
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
            elif field in _NOT_NEGATIVE and (numbers < 0).any():
                yield f"{field} of {_owner(model, field, row)} is negative"
    if not (math.isfinite(model.opt.timestep) and model.opt.timestep > 0):
        yield f"the physics timestep is {model.opt.timestep:g} s"
    if not np.isfinite(model.opt.gravity).all():
        yield "gravity is not a number"


def _owner(model: mujoco.MjModel, field: str, row: int) -> str:
    kind = field.split("_")[0]
    if kind == "dof":
        kind, row = "jnt", int(model.dof_jntid[row])
    name = mujoco.mj_id2name(model, _OWNERS[kind], row) if kind in _OWNERS else None
    word = {"jnt": "joint"}.get(kind, kind)
    return f"{word} {name!r}" if name else f"{word} number {row}"


def _first_odd(numbers: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> float:
    return float(numbers[~np.isfinite(numbers)][0])


def _refuse_nan(file: Path) -> None:
    """Refuse an attribute that says NaN: MuJoCo takes it for one that was left out, and goes on with a default."""
    parser = expat.ParserCreate()

    def start(element: str, attributes: dict[str, str]) -> None:
        for key, value in attributes.items():
            words = value.lower().split()
            if key not in _NOT_NUMBERS and any(word.lstrip("+-") == "nan" for word in words) and _numbers(words):
                raise UserError(
                    f"{key} of <{element}> is {value!r}",
                    where=f"{file}:{parser.CurrentLineNumber}",
                    mend="write a number, or leave the attribute out",
                )

    parser.StartElementHandler = start
    try:
        parser.Parse(file.read_bytes(), True)
    except expat.ExpatError as error:
        where = f"{file}:{error.lineno}"
        raise UserError(f"not valid XML: {error}", where=where, mend="fix the syntax of that line") from None
    except OSError as error:
        raise UserError(f"cannot read the file ({error})", where=str(file), mend="check path and permissions") from None


def _numbers(words: list[str]) -> bool:
    try:
        return bool([float(word) for word in words])
    except ValueError:
        return False
