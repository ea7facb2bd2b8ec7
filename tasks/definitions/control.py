"""What an action does: it commands the actuators' ranges, or, of a robot, what one of its control modes says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import mujoco
import numpy as np

from mql.errors import UserError, nearest
from mql.robots.mjcf.lookup import site_id
from mql.robots.mjcf.source import is_file
from mql.tasks.control.controller import Controller
from mql.tasks.control.mocap import MocapEffector
from mql.tasks.control.modes import control_of_mode, range_control
from mql.tasks.definitions.file import DefinitionFile
from mql.tasks.definitions.model import start_of

if TYPE_CHECKING:
    from mql.robots.spec import RobotSpec

CONTROL_RATE = 20.0  # actions per second where neither the definition nor a control mode says
_RATE_OFF = 0.1  # by which a control step may be longer or shorter than a control mode says


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
    """Return the physics steps of a control step: as given, or what comes nearest to the control mode's rate.

    Raises:
        UserError: nothing comes near to that rate.
    """
    env = file.definition.env
    if env.frame_skip is not None:
        return env.frame_skip
    mode = None if robot is None or env.control is None else robot.control.get(env.control)
    rate, timestep = CONTROL_RATE if mode is None else mode.rate_hz, float(model.opt.timestep)
    steps = max(1, round(1.0 / (rate * timestep)))
    if robot is not None and mode is not None and not abs(steps * timestep * rate - 1.0) <= _RATE_OFF:
        what = f"rate_hz is {rate:g}, which physics steps of {timestep:g} s don't give"
        near = f"give {1.0 / (steps * timestep):.4g} Hz, or make the model's timestep smaller"
        raise UserError(what, where=robot.where(f"control.{env.control}.rate_hz"), mend=near)
    return steps


def end_of(model: mujoco.MjModel, robot: RobotSpec | None) -> str | None:
    """Return the site of a robot's end effector, or None where none is stated that the model has."""
    if robot is None or robot.end_effector is None:
        return None
    return robot.end_effector.site if site_id(model, robot.end_effector.site) is not None else None


def control_of(file: DefinitionFile, model: mujoco.MjModel, robot: RobotSpec | None) -> Controller | MocapEffector:
    """Return what an action does. What is not the robot's own holds still, as far as its actuators can.

    Raises:
        UserError: an actuator has no range, or the robot has no such control mode, or one that the model can't serve.
    """
    name, env = file.definition.env.control, file.definition.env
    modes = {} if robot is None else robot.control
    if name is not None and name not in modes:
        mend = nearest(name, modes) if modes else "leave it out: actions then command the actuators' ranges"
        raise UserError(f"the robot has no control mode {name!r}", where=file.where("env.control"), mend=mend)
    own = np.arange(model.nu)
    if robot is not None:
        from mql.tasks.scenes.compose import scene_actuators

        own = own[scene_actuators(str(env.scene), folder=file.folder) :]
    if robot is None or name is None:
        return range_control(model, own, where=file.where("env"))
    seconds = frame_skip_of(file, model, robot) * float(model.opt.timestep)
    home = start_of(model, robot).qpos
    return control_of_mode(model, robot, name, own=own, home=home, seconds=seconds)
