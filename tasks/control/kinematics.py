"""Moves an arm's flange by joint position targets: kinematics and inverse kinematics on arrays over tasks.

The chain's constants are read from a compiled model once; what a task changes (masses, gains, a tool's length) is not
among them, so all tasks share them. Tasks don't mix: each one's numbers are those that it would have alone.

Shapes: N tasks, J joints of the arm.
"""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np

from mql.tasks.family import Array

DAMPING = 0.03  # of the least squares, in m and rad: near a singular pose joints move at most this much faster
_HINGE, _SLIDE = mujoco.mjtJoint.mjJNT_HINGE.value, mujoco.mjtJoint.mjJNT_SLIDE.value
_DAMPING_SQUARE = DAMPING**2 * np.eye(6)
POSTURE_GAIN = 0.1  # part of the way back to the nominal posture in one step, where the flange does not mind
SETTLING_STEPS = 60  # of `pose_at`; each one goes a good part of the rest


@dataclass(frozen=True)
class Flange:
    """Where the flange is: position [N, 3] in m, rotation [N, 3, 3], and its Jacobian [N, 6, J].

    The Jacobian's first three rows are for the velocity in m/s, the others for the angular velocity in rad/s.
    """

    position: Array
    rotation: Array
    jacobian: Array


class ArmKinematics:
    """The chain of hinges and slides from a model's root to one of its sites.

    Args:
        model: the compiled model; its base values are read, not kept.
        site: name of the site.

    Raises:
        ValueError: a joint of the chain is neither hinge nor slide, or there is none.
    """

    def __init__(self, model: mujoco.MjModel, site: str) -> None:
        joints, rotation, position = [], _matrix(model.site(site).quat), model.site(site).pos.copy()
        links: list[tuple[Array, Array]] = []  # from one joint's frame to the next, from the tip on
        body = int(model.site(site).bodyid[0])
        while body:
            count, first = int(model.body_jntnum[body]), int(model.body_jntadr[body])
            for joint in range(first + count - 1, first - 1, -1):
                if model.jnt_type[joint] not in (_HINGE, _SLIDE):
                    raise ValueError(f"joint {model.joint(joint).name!r} on the way to {site!r} is no hinge or slide")
                anchor = model.jnt_pos[joint]
                links.append((rotation, position - anchor))
                joints.append(joint)
                rotation, position = np.eye(3), anchor.copy()
            turn = _matrix(model.body_quat[body])
            rotation, position = turn @ rotation, model.body_pos[body] + turn @ position
            body = int(model.body_parentid[body])
        if not joints:
            raise ValueError(f"no joint moves {site!r}")
        order = joints[::-1]
        self.names: tuple[str, ...] = tuple(model.joint(joint).name for joint in order)
        self.qpos = model.jnt_qposadr[order]  # [J], where the joints stand in qpos
        self.qvel = model.jnt_dofadr[order]  # [J], and in qvel
        limited = model.jnt_limited[order].astype(bool)
        low, high = model.jnt_range[order].T
        self.low, self.high = np.where(limited, low, -np.inf), np.where(limited, high, np.inf)  # [J] rad
        # What a joint adds, seen from its frame: turn to the next joint, way there, own axis, side by side [3, 5]. A
        # hinge at angle q turns by I + sin q K + (1 - cos q) K K, so that is fixed + sin q sine + cos q cosine. A slide
        # turns nothing, and adds q times its axis to the way.
        axes = model.jnt_axis[order]
        behind = np.stack([np.column_stack([turn, offset]) for turn, offset in links[::-1]])  # [J, 3, 4]
        slides = model.jnt_type[order] == _SLIDE
        self._slides = np.flatnonzero(slides)
        self._slide_axes = axes[slides]
        zero = model.qpos0[self.qpos]
        self._zero = zero if zero.any() else None  # where the joints stand as the model was built
        cross = np.stack([_cross(axis) * ~slide for axis, slide in zip(axes, slides, strict=True)])
        square, none = cross @ cross, np.zeros((len(order), 3, 1))
        self._fixed = np.concatenate([behind + square @ behind, axes[:, :, None]], axis=2)
        self._sine = np.concatenate([cross @ behind, none], axis=2)
        self._cosine = np.concatenate([-square @ behind, none], axis=2)
        self._base_rotation, self._base_position = rotation, position

    def flange(self, angles: Array) -> Flange:
        """Return position, rotation and Jacobian of the site at joint angles [N, J] in rad, slides in m."""
        angles = np.ascontiguousarray(angles if self._zero is None else angles - self._zero)
        rows, joints = angles.shape
        sine, cosine = np.sin(angles)[..., None, None], np.cos(angles)[..., None, None]
        added = self._fixed + sine * self._sine + cosine * self._cosine  # [N, J, 3, 5]
        if self._slides.size:
            added[..., 3][:, self._slides] += angles[:, self._slides, None] * self._slide_axes
        anchors, axes = np.empty((rows, joints, 3)), np.empty((rows, joints, 3))
        rotation = np.broadcast_to(self._base_rotation, (rows, 3, 3))
        position = np.broadcast_to(self._base_position, (rows, 3))
        for joint in range(joints):
            seen = rotation @ added[:, joint]
            anchors[:, joint] = position
            axes[:, joint] = seen[:, :, 4]
            position = position + seen[:, :, 3]
            rotation = seen[:, :, :3]
        jacobian = np.empty((rows, 6, joints))
        jacobian[:, :3] = _cross_products(axes, position[:, None] - anchors).transpose(0, 2, 1)
        jacobian[:, 3:] = axes.transpose(0, 2, 1)
        if self._slides.size:
            jacobian[:, :3, self._slides] = jacobian[:, 3:, self._slides]
            jacobian[:, 3:, self._slides] = 0.0
        return Flange(position, rotation, jacobian)

    def targets(
        self, angles: Array, flange: Flange, displacement: Array, rotation: Array | None, posture: Array
    ) -> Array:
        """Return joint angles [N, J] at which the flange is displaced by [N, 3] m and turned to `rotation`.

        One step of damped least squares from the angles [N, J], where the flange is as given; what it leaves free
        draws the arm to `posture` [J] or [N, J]. The angles stay within the joints' ranges. The rotation is [3, 3] or
        [N, 3, 3]; None leaves it free.
        """
        jacobian = flange.jacobian if rotation is not None else flange.jacobian[:, :3]
        transposed = np.ascontiguousarray(jacobian.transpose(0, 2, 1))
        to_posture = POSTURE_GAIN * (posture - angles)
        # What is asked for, less what the pull to the posture does to it already.
        twist = -(jacobian @ to_posture[:, :, None])[:, :, 0]
        twist[:, :3] += displacement
        if rotation is not None:
            twist[:, 3:] += _rotation_error(flange.rotation, rotation)
        square = jacobian @ transposed
        square += _DAMPING_SQUARE[: jacobian.shape[1], : jacobian.shape[1]]
        step = to_posture + (transposed @ np.linalg.solve(square, twist[:, :, None]))[:, :, 0]
        reached: Array = np.minimum(np.maximum(angles + step, self.low), self.high)
        return reached

    def pose_at(self, position: Array, rotation: Array, start: Array) -> Array:
        """Return joint angles [J], near `start` [J], with the flange at `position` [3] in m, turned to `rotation`.

        Raises:
            ValueError: the arm does not reach it within 0.1 mm.
        """
        angles = start[None]
        for _ in range(SETTLING_STEPS):
            flange = self.flange(angles)
            angles = self.targets(angles, flange, position - flange.position, rotation, angles[0])
        if not np.linalg.norm(position - self.flange(angles).position) < 1e-4:
            raise ValueError(f"the arm does not reach {position}")
        pose: Array = angles[0]
        return pose


def _rotation_error(rotation: Array, wanted: Array) -> Array:
    """Return the turn [N, 3] from `rotation` [N, 3, 3] to `wanted`, about the world's axes, in rad if small."""
    turn: Array = 0.5 * _cross_products(rotation.transpose(0, 2, 1), np.swapaxes(wanted, -1, -2)).sum(axis=1)
    return turn


def _cross_products(one: Array, other: Array) -> Array:
    """Return one x other along the last axis. Written out: numpy's own takes several times as long."""
    a, b, c = one[..., 0], one[..., 1], one[..., 2]
    x, y, z = other[..., 0], other[..., 1], other[..., 2]
    product = np.empty(one.shape)
    np.subtract(b * z, c * y, out=product[..., 0])
    np.subtract(c * x, a * z, out=product[..., 1])
    np.subtract(a * y, b * x, out=product[..., 2])
    return product


def _cross(axis: Array) -> Array:
    """Return the matrix K [3, 3] with K v = axis x v."""
    x, y, z = axis
    return np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])


def _matrix(quaternion: Array) -> Array:
    """Return the rotation matrix [3, 3] of a quaternion [4]."""
    flat = np.zeros(9)
    mujoco.mju_quat2Mat(flat, np.asarray(quaternion, dtype=np.float64))
    return flat.reshape(3, 3)
