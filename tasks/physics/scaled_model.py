"""A compiled MuJoCo model whose physical numbers are set as multiples of what they were when it was built.

Every change starts from the saved base values, so that a model can serve one task after another without drift. The
changes are exact: a model changed here moves like one compiled from a changed file.
"""

from __future__ import annotations

from collections.abc import Sequence

import mujoco
import numpy as np
import numpy.typing as npt

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
        # On data of its own: mj_setConst moves the data that it is given to the model's home position.
        mujoco.mj_setConst(self.model, self._scratch)

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
