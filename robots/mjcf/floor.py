"""A floor under a model that has none, so that a robot can be dropped on it."""

from __future__ import annotations

import tempfile
from pathlib import Path

import mujoco
import numpy as np

from mql.errors import UserError
from mql.robots.mjcf.compiled import compile_checked
from mql.robots.mjcf.files import mjcf_files

_GAP = 0.01  # m between the floor and the robot's lowest point
_END = "</mujoco>"
_FLOORS = (mujoco.mjtGeom.mjGEOM_PLANE, mujoco.mjtGeom.mjGEOM_HFIELD)


def has_floor(model: mujoco.MjModel) -> bool:
    """Tell whether the world has a plane or a height field that something can stand on."""
    floors = np.isin(model.geom_type, [int(kind) for kind in _FLOORS]) & (np.asarray(model.geom_bodyid) == 0)
    return bool((floors & (np.asarray(model.geom_contype) | np.asarray(model.geom_conaffinity)).astype(bool)).any())


def compile_on_floor(path: Path, folder: Path, at_home: mujoco.MjData) -> mujoco.MjModel:
    """Compile a model with a floor just below where it is in `at_home`.

    A temporary folder shows the same files, but for the model file, which gets the floor.

    Raises:
        UserError: the model can't be compiled so.
    """
    height = lowest_point(at_home) - _GAP
    text = path.read_text(encoding="utf-8-sig")
    body, found, rest = text.rpartition(_END)
    if not found:
        raise UserError(f"the file does not end in {_END}", where=str(path), mend="write that last line")
    floor = f'<geom type="plane" size="0 0 1" pos="0 0 {height!r}" contype="1" conaffinity="1"/>'
    folder, path = folder.resolve(), path.resolve()
    with tempfile.TemporaryDirectory() as place:
        for file in mjcf_files(path, folder):
            shown = Path(place) / file.resolve().relative_to(folder)
            shown.parent.mkdir(parents=True, exist_ok=True)
            if file.resolve() != path and not shown.exists():
                shown.symlink_to(file.resolve())
        copy = Path(place) / path.relative_to(folder)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(f"{body}<worldbody>{floor}</worldbody>{_END}{rest}", encoding="utf-8")
        return compile_checked(copy)


def lowest_point(data: mujoco.MjData) -> float:
    """Return a height (m) that no moving part reaches down to: that of the boxes around its geoms."""
    model = data.model
    lowest = 0.0
    heights = []
    for geom in range(model.ngeom):
        if model.body_weldid[model.geom_bodyid[geom]] == 0:
            continue
        rotation = data.geom_xmat[geom].reshape(3, 3)
        centre, size = model.geom_aabb[geom, :3], model.geom_aabb[geom, 3:]
        heights.append(float(data.geom_xpos[geom, 2] + rotation[2] @ centre - np.abs(rotation[2]) @ size))
    return min(heights, default=lowest)
