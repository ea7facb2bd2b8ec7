"""Models whose physical numbers a task scales, always from the robot's own values: a fresh copy, or a live model.

A copy (`scaled`) keeps nothing between tasks, so a task gives the same model bit for bit, whatever was built before it.
A live model that an environment has built (`ScaledModel`) is changed in place from saved base values, so that it can
serve one task after another without drift. Both are exact: a changed model moves like one compiled from a changed file.

Shapes: B bodies with the world, G geoms, J degrees of freedom.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import mujoco
import numpy as np
import numpy.typing as npt

# The smallest scale of a mass or an inertia: physics needs more than 0, and a thousandth of a thousandth is plenty.
SMALLEST_SCALE = 1e-6

_FIELDS = (
    "body_pos",
    "body_mass",
    "body_inertia",
    "geom_friction",
    "dof_damping",
    "dof_frictionloss",
    "actuator_gainprm",
    "actuator_biasprm",
)


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


def scale_position_gain(model: mujoco.MjModel, scale: float) -> None:
    """Multiply the gain of all actuators of `model`, position servos, in place: pull and what the position takes."""
    model.actuator_gainprm[:, 0] *= scale
    model.actuator_biasprm[:, 1] *= scale


def settle(model: mujoco.MjModel, scratch: mujoco.MjData | None = None) -> None:
    """Recompute what MuJoCo derives from masses and inertias; to be called once a model has been changed.

    It happens on `scratch`, data of its own: MuJoCo moves the data that it is given to the model's home position.
    """
    mujoco.mj_setConst(model, mujoco.MjData(model) if scratch is None else scratch)


class ScaledModel:
    """Scales the numbers of one live model.

    Args:
        model: the compiled model, as its environment built it; it is changed in place.
    """

    def __init__(self, model: mujoco.MjModel) -> None:
        self.model = model
        self._base: dict[str, npt.NDArray[np.float64]] = {name: getattr(model, name).copy() for name in _FIELDS}
        self._scratch = mujoco.MjData(model)

    def mass(self, bodies: Sequence[int], scale: float) -> None:
        """Scale mass and inertia of `bodies`, and renew what MuJoCo derives from them.

        Bodies that an environment has moved go back to their base places, until it moves them again.
        """
        rows = list(bodies)
        wanted = self._base["body_mass"][rows] * scale
        if np.array_equal(self.model.body_mass[rows], wanted):
            return
        self._scale("body_mass", rows, scale)
        self._scale("body_inertia", rows, scale)
        # Some environments move bodies at each reset; what is derived must not depend on where the last one left them.
        self.model.body_pos[:] = self._base["body_pos"]
        settle(self.model, self._scratch)

    def friction(self, geoms: Sequence[int], scale: float) -> None:
        """Scale the friction coefficients of `geoms`. A contact has the larger coefficient of its two geoms."""
        self._scale("geom_friction", geoms, scale)

    def damping(self, dofs: Sequence[int], scale: float) -> None:
        """Scale the damping of degrees of freedom."""
        self._scale("dof_damping", dofs, scale)

    def friction_loss(self, dofs: Sequence[int], scale: float) -> None:
        """Scale the dry friction of degrees of freedom."""
        self._scale("dof_frictionloss", dofs, scale)

    def position_gain(self, actuators: Sequence[int], scale: float) -> None:
        """Scale the gain of position actuators: the pull to the target, and the part of it that the position takes."""
        rows = list(actuators)
        self.model.actuator_gainprm[rows, 0] = self._base["actuator_gainprm"][rows, 0] * scale
        self.model.actuator_biasprm[rows, 1] = self._base["actuator_biasprm"][rows, 1] * scale

    def _scale(self, field: str, rows: Sequence[int], scale: float) -> None:
        getattr(self.model, field)[list(rows)] = self._base[field][list(rows)] * scale


def _rows(scale: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Show a flat [3 K] as [K, 3]; a plain number stays one."""
    values = np.asarray(scale, dtype=np.float64)
    return values.reshape(-1, 3) if values.ndim else values
