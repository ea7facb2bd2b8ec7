"""What expressions and observations call by name of the commands that a robot has been given.

============ =======================================================================================================
``asked_ee`` the place that has been asked of the end effector, x, y, z in m
``ahead_ee`` the way to there from where the end effector is, m: what is still to come of the actions so far
============ =======================================================================================================

A robot that remembers what it was asked for moves on without an action, so that the next state can't be told from a
state without these. They are known where a control mode ``ee_delta`` by inverse kinematics commands the robot and no
Python class says what is observed; a mocap body that pulls has a place of its own.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mql.tasks.control.controller import Controller
from mql.tasks.control.effector import ServoEffector
from mql.tasks.control.mocap import MocapEffector
from mql.tasks.definitions.quantities import Quantity
from mql.tasks.family import Array

SOURCES = ("asked", "ahead")  # as the controller's episodes call them


def commanded(controller: Controller | MocapEffector) -> dict[str, Quantity]:
    """Return the quantities that a robot's controller knows."""
    if not isinstance(controller, ServoEffector):
        return {}
    owner = "what is asked of the end effector"
    return {f"{source}_ee": Quantity(source, slice(0, 3), 3, owner) for source in SOURCES}


def at_rest(controller: Controller | MocapEffector, poses: Array) -> Mapping[str, Array]:
    """Return these quantities by their sources where robots are asked for the poses [P, Q] that they have."""
    if not isinstance(controller, ServoEffector):
        return {}
    actuators = 1 + max([*controller.servos, *controller.fingers.actuators])
    return controller.begin(poses, np.zeros((len(poses), actuators))).see(poses, np.zeros_like(poses))
