"""A floor under a model that has none, so that a robot can be dropped on it."""

from __future__ import annotations

from typing import Any

import mujoco
import numpy as np

from mql.robots.mjcf.compiled import compile_spec
from mql.robots.mjcf.sealed import Sealed

_GAP = 0.01  # m between the floor and the robot's lowest point
_FLOORS = (mujoco.mjtGeom.mjGEOM_PLANE, mujoco.mjtGeom.mjGEOM_HFIELD)


def has_floor(model: mujoco.MjModel) -> bool:
    """Tell whether the world has a plane or a height field that something can stand on."""
    floors = np.isin(model.geom_type, [int(kind) for kind in _FLOORS]) & (np.asarray(model.geom_bodyid) == 0)
    return bool((floors & (np.asarray(model.geom_contype) | np.asarray(model.geom_conaffinity)).astype(bool)).any())


def compile_on_floor(spec: Any, sealed: Sealed, at_home: mujoco.MjData) -> mujoco.MjModel:
    """Compile a model with a floor just below where it is in `at_home`.

    Args:
        spec: the model as an MjSpec, which gets the floor.
        sealed: what it was made of.
        at_home: the model compiled without the floor, at home.

    Raises:
        UserError: the model can't be compiled so.
    """
    height = lowest_point(at_home) - _GAP
    plane = mujoco.mjtGeom.mjGEOM_PLANE
    spec.worldbody.add_geom(type=plane, size=[0.0, 0.0, 1.0], pos=[0.0, 0.0, height], contype=1, conaffinity=1)
    return compile_spec(spec, sealed)


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
