"""What an action does: it commands the actuators' ranges, or, of a robot, what one of its control modes says.

Modes that displace the end effector are those of `mql.tasks.control.effector`; all others are a `Control`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import mujoco

from mql.errors import UserError, nearest
from mql.robots.mjcf.source import is_file
from mql.tasks.control.effector import ServoEffector
from mql.tasks.control.joints import Control, joint_control
from mql.tasks.control.mocap import MocapEffector
from mql.tasks.control.modes import effector_of
from mql.tasks.definitions.file import DefinitionFile

if TYPE_CHECKING:
    from mql.robots.spec import RobotSpec

CONTROL_RATE = 20.0  # actions per second where neither the definition nor a control mode says


def robot_of(file: DefinitionFile) -> RobotSpec | None:
    """Return the robot of a definition, or None: it has no robot but a model.

    Raises:
        UserError: there is no such robot, or its file is wrong.
    """
    name = file.definition.env.robot
    if name is None:
        return None
    from mql.robots import registry as robots

    try:
        return robots.load(str(file.folder / name), folder=file.folder) if is_file(name) else robots.load(name)
    except UserError as error:
        raise UserError(error.what, where=error.where or file.where("env.robot"), mend=error.mend) from None


def frame_skip_of(file: DefinitionFile, model: mujoco.MjModel, robot: RobotSpec | None) -> int:
    """Return the physics steps of a control step: as given, or what comes nearest to the control mode's rate."""
    env = file.definition.env
    if env.frame_skip is not None:
        return env.frame_skip
    mode = None if robot is None or env.control is None else robot.control.get(env.control)
    rate = CONTROL_RATE if mode is None else mode.rate_hz
    return max(1, round(1.0 / (rate * float(model.opt.timestep))))


def control_of(
    file: DefinitionFile, model: mujoco.MjModel, robot: RobotSpec | None
) -> Control | ServoEffector | MocapEffector:
    """Return what an action does. Actuators that drive no single joint are commanded by their ranges.

    Raises:
        UserError: an actuator has no range, or the robot has no such control mode, or one that the model can't serve.
    """
    name = file.definition.env.control
    modes = {} if robot is None else robot.control
    if name is not None and name not in modes:
        mend = nearest(name, modes) if modes else "leave it out: actions then command the actuators' ranges"
        raise UserError(f"the robot has no control mode {name!r}", where=file.where("env.control"), mend=mend)
    mode = None if name is None else modes[name]
    if robot is not None and name is not None and mode is not None and mode.kind == "ee_delta":
        return effector_of(model, robot, name)
    return joint_control(model, mode, where=file.where("env"))
