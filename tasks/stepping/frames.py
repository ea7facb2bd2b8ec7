"""How bodies and sites are turned, and how they move: quantities for `mql.tasks.stepping.derived`.

A frame is that of a site, or of a body where the MJCF puts it, which need not be where its mass is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import mujoco
import numpy as np

from mql.tasks.family import Array
from mql.tasks.stepping.derived import Derived, Needs, Reader


@dataclass(frozen=True)
class Frame:
    """A body or a site, by its number."""

    is_site: bool
    number: int

    def rotation(self, data: mujoco.MjData) -> Array:
        """Return its rotation [3, 3], from its own axes to the world's: a view that shows every later state."""
        matrix: Array = (data.site_xmat if self.is_site else data.xmat)[self.number]
        return matrix.reshape(3, 3)


def quaternion(name: str, frame: Frame) -> Derived:
    """Return the orientation in the world: a unit quaternion w, x, y, z."""

    def bind(data: mujoco.MjData) -> Reader:
        matrix = (data.site_xmat if frame.is_site else data.xmat)[frame.number]
        if frame.is_site:
            return lambda model, out: mujoco.mju_mat2Quat(out, matrix)
        return _copying(data.xquat[frame.number])

    return Derived(name, 4, Needs.PLACES, bind)


def own_z_axis(name: str, frame: Frame) -> Derived:
    """Return its z axis in the world, a unit vector."""
    return Derived(name, 3, Needs.PLACES, lambda data: _copying(frame.rotation(data)[:, 2]))


def gravity_direction(name: str, frame: Frame) -> Derived:
    """Return where the world's gravity points to, in the frame's own axes: a unit vector; 0 where there is none."""

    def bind(data: mujoco.MjData) -> Reader:
        rotation = frame.rotation(data)

        def read(model: mujoco.MjModel, out: Array) -> None:
            gravity = np.array(model.opt.gravity)
            size = np.sqrt(gravity @ gravity)
            out[:] = rotation.T @ (gravity / size) if size else 0.0

        return read

    return Derived(name, 3, Needs.PLACES, bind)


def linear_velocity(name: str, frame: Frame) -> Derived:
    """Return the velocity of its origin along the world's axes, m/s."""
    return Derived(name, 3, Needs.MOTION, _velocity(frame, slice(3, 6)))


def angular_velocity(name: str, frame: Frame) -> Derived:
    """Return its angular velocity about the world's axes, rad/s."""
    return Derived(name, 3, Needs.MOTION, _velocity(frame, slice(0, 3)))


def _velocity(frame: Frame, part: slice) -> Callable[[mujoco.MjData], Reader]:
    kind = mujoco.mjtObj.mjOBJ_SITE if frame.is_site else mujoco.mjtObj.mjOBJ_XBODY

    def bind(data: mujoco.MjData) -> Reader:
        both = np.zeros(6)

        def read(model: mujoco.MjModel, out: Array) -> None:
            mujoco.mj_objectVelocity(model, data, kind, frame.number, both, 0)
            out[:] = both[part]

        return read

    return bind


def _copying(view: Array) -> Reader:
    def read(model: mujoco.MjModel, out: Array) -> None:
        out[:] = view

    return read
