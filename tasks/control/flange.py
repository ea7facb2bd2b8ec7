"""Moves an arm's flange from where it is: what actions of the arm families do. Nothing is remembered between steps.

`mql.tasks.control.effector` asks for places instead that it remembers, so an arm that sags does not creep down.

Shapes: N tasks, Q positions, J joints of the arm.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mql.tasks.control.kinematics import ArmKinematics, Flange
from mql.tasks.family import Array


@dataclass(frozen=True, eq=False)
class FlangeControl:
    """Displaces the flange by an action's x, y and z, along the world's axes.

    Args:
        kinematics: the arm's.
        stroke: m; what an action of 1 means.
        workspace: [2, 3] m; the flange is not sent beyond these corners.
        rotation: [3, 3], the orientation that it keeps.
        posture: [J] rad, to which the arm is drawn where the flange does not mind.
    """

    kinematics: ArmKinematics
    stroke: float
    workspace: Array
    rotation: Array
    posture: Array

    def targets(self, qpos: Array, flange: Flange, action: Array) -> Array:
        """Return joint angles [N, J] for an action [N, 3], with the joints at qpos [N, Q] and the flange as given."""
        low, high = self.workspace
        displacement = np.clip(flange.position + self.stroke * action, low, high) - flange.position
        angles = qpos[:, self.kinematics.qpos]
        return self.kinematics.targets(angles, flange, displacement, self.rotation, self.posture)
