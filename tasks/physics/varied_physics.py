"""Models whose physical numbers a task changes: always a fresh copy, always scaled from the robot's own values.

Nothing is kept between tasks, so a task gives the same model bit for bit, whatever was built before it. Mass and
inertia are changed on the copy only, and MuJoCo then recomputes what it derives from them (``mj_setConst``) on scratch
data.

Shapes: B bodies with the world, G geoms, J degrees of freedom.
"""

from __future__ import annotations

import copy

import mujoco
import numpy as np
import numpy.typing as npt

# The smallest scale of a mass or an inertia: physics needs more than 0, and a thousandth of a thousandth is plenty.
SMALLEST_SCALE = 1e-6


def scaled(
    base: mujoco.MjModel,
    *,
    mass: npt.ArrayLike = 1.0,
    inertia: npt.ArrayLike = 1.0,
    friction: npt.ArrayLike = 1.0,
    damping: npt.ArrayLike = 1.0,
) -> mujoco.MjModel:
    """Return a copy of `base` with its values multiplied.

    Args:
        base: the model to start from; it is left as it is.
        mass: [B], on the bodies' masses alone.
        inertia: [3 B], on the bodies' three principal moments of inertia, body by body.
        friction: [3 G], on the geoms' sliding, torsional and rolling friction, geom by geom.
        damping: [J], on the joints' damping.
    """
    model = copy.deepcopy(base)
    model.body_mass[:] *= np.asarray(mass)
    model.body_inertia[:] *= _rows(inertia)
    model.geom_friction[:] *= _rows(friction)
    model.dof_damping[:] *= np.asarray(damping)
    settle(model)
    return model


def scale_mass(model: mujoco.MjModel, body: int, scale: float) -> None:
    """Multiply mass and inertia of one body of `model` in place; `settle` it once all is changed."""
    model.body_mass[body] *= scale
    model.body_inertia[body] *= scale


def settle(model: mujoco.MjModel) -> None:
    """Recompute what MuJoCo derives from masses and inertias; to be called once a model has been changed."""
    mujoco.mj_setConst(model, mujoco.MjData(model))


def _rows(scale: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Show a flat [3 K] as [K, 3]; a plain number stays one."""
    values = np.asarray(scale, dtype=np.float64)
    return values.reshape(-1, 3) if values.ndim else values
