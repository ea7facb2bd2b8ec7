"""What the checks of a robot work with: its spec, the compiled model, which parts are the robot's, and its home."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import mujoco
import numpy as np

from mql.robots.mjcf.lookup import (
    body_id,
    driven_joint,
    holding_controls,
    home_key,
    joint_id,
    joint_width,
    within_limits,
)
from mql.robots.spec import RobotSpec


@dataclass
class Inspection:
    """One robot under inspection; it keeps what was read and compiled from check to check.

    Args:
        build: reads the robot's spec.
        opengl: whether MuJoCo can draw on this machine.
    """

    build: Callable[[], RobotSpec]
    opengl: bool = True

    @cached_property
    def spec(self) -> RobotSpec:
        """The spec."""
        return self.build()

    @cached_property
    def model(self) -> mujoco.MjModel:
        """The compiled model."""
        return self.spec.compile()

    @cached_property
    def bodies(self) -> set[int]:
        """The robot's bodies: the base's and all below; without a stated base all but the world."""
        model, base = self.model, self.spec.base
        root = body_id(model, base.body) if base is not None else None
        if root is None:
            return set(range(1, model.nbody))
        found = {root}
        for body in range(root + 1, model.nbody):  # a body comes after its parent
            if int(model.body_parentid[body]) in found:
                found.add(body)
        return found - {0}

    @cached_property
    def joints(self) -> list[int]:
        """The robot's joints."""
        return [joint for joint in range(self.model.njnt) if int(self.model.jnt_bodyid[joint]) in self.bodies]

    @cached_property
    def actuators(self) -> list[int]:
        """The actuators that drive the robot's joints, or no joint at all."""
        driven = set(self.joints)
        joints = {index: driven_joint(self.model, index) for index in range(self.model.nu)}
        return [index for index, joint in joints.items() if joint is None or joint in driven]

    def stated_home(self) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        """Return the pose that `home` comes from, as it is stated."""
        model = self.model
        key = home_key(model)
        qpos = np.array(model.qpos0 if key is None or self.spec.home else model.key_qpos[key])
        for name, value in self.spec.home.items():
            joint = joint_id(model, name)
            numbers = np.atleast_1d(np.asarray(value, np.float64))
            if joint is not None and len(numbers) == joint_width(model, joint):
                start = int(model.jnt_qposadr[joint])
                qpos[start : start + len(numbers)] = numbers
        return qpos

    def home(self) -> mujoco.MjData:
        """Return the model at home, with the controls that hold it there, after mj_forward.

        Where the spec states no home, it is the model's keyframe of that name or its only one, else where the model
        begins. A joint that is hardly outside its range there is at its limit; where nobody has chosen the pose, any.
        """
        model = self.model
        data = mujoco.MjData(model)
        chosen = bool(self.spec.home) or home_key(model) is not None
        data.qpos[:] = within_limits(model, self.stated_home(), chosen=chosen)
        mujoco.mj_forward(model, data)
        data.ctrl[:] = holding_controls(model, data)
        mujoco.mj_forward(model, data)
        return data
