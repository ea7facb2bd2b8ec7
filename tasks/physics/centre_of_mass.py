"""The centre of mass of a robot in many poses at once: MuJoCo's forward kinematics, as arrays over poses.

Shapes: N poses, Q positions.
"""

from __future__ import annotations

import mujoco
import numpy as np

from mql.tasks.family import Array

_FREE, _BALL, _SLIDE, _HINGE = (
    getattr(mujoco.mjtJoint, f"mjJNT_{name}").value for name in ("FREE", "BALL", "SLIDE", "HINGE")
)


def centre_of_mass(model: mujoco.MjModel, qpos: Array) -> Array:
    """Return the centre of mass [N, 3] in m of all of a model's bodies, in poses qpos [N, Q].

    Raises:
        ValueError: the model has a ball joint.
    """
    rows = len(qpos)
    places: list[Array] = [np.zeros((rows, 3))]
    turns: list[Array] = [np.tile(np.eye(3), (rows, 1, 1))]
    centre = np.zeros((rows, 3))
    for body in range(1, model.nbody):
        parent = int(model.body_parentid[body])
        turn = _turned(turns[parent], _matrix(model.body_quat[body]))
        place = places[parent] + _seen(turns[parent], model.body_pos[body])
        first = int(model.body_jntadr[body])
        for joint in range(first, first + int(model.body_jntnum[body])):
            kind, at = int(model.jnt_type[joint]), int(model.jnt_qposadr[joint])
            if kind == _FREE:
                place, turn = qpos[:, at : at + 3], _matrices(qpos[:, at + 3 : at + 7])
                continue
            if kind == _BALL:
                raise ValueError(f"{model.joint(joint).name!r} is a ball joint")
            way, axis = qpos[:, at] - model.qpos0[at], model.jnt_axis[joint]
            if kind == _SLIDE:
                place = place + way[:, None] * _seen(turn, axis)
            elif kind == _HINGE:
                anchor = place + _seen(turn, model.jnt_pos[joint])
                turn = _about(turn, axis, way)
                place = anchor - _seen(turn, model.jnt_pos[joint])
        places.append(place)
        turns.append(turn)
        centre += model.body_mass[body] * (place + _seen(turn, model.body_ipos[body]))
    whole: Array = centre / model.body_mass[1:].sum()
    return whole


# A constant behind the rotations of all poses: one product of plain matrices, many times as fast as numpy's of stacks.
def _turned(turns: Array, matrix: Array) -> Array:
    return (turns.reshape(-1, 3) @ matrix).reshape(-1, 3, 3)


def _seen(turns: Array, vector: Array) -> Array:
    return (turns.reshape(-1, 3) @ vector).reshape(-1, 3)


def _matrix(quat: Array) -> Array:
    matrix = np.zeros(9)
    mujoco.mju_quat2Mat(matrix, quat)
    return matrix.reshape(3, 3)


def _matrices(quat: Array) -> Array:
    """Return the rotations [N, 3, 3] of quaternions [N, 4], which need not have length 1."""
    w, x, y, z = (quat / np.sqrt((quat * quat).sum(axis=1, keepdims=True))).T
    rows = (
        (w * w + x * x - y * y - z * z, 2.0 * (x * y - w * z), 2.0 * (x * z + w * y)),
        (2.0 * (x * y + w * z), w * w - x * x + y * y - z * z, 2.0 * (y * z - w * x)),
        (2.0 * (x * z - w * y), 2.0 * (y * z + w * x), w * w - x * x - y * y + z * z),
    )
    return np.stack([np.stack(row, axis=1) for row in rows], axis=1)


def _about(turns: Array, axis: Array, angle: Array) -> Array:
    """Return rotations [N, 3, 3], each of them after one about a unit axis of its own frame by angles [N] in rad."""
    x, y, z = axis
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    sine, versine = np.sin(angle)[:, None, None], (1.0 - np.cos(angle))[:, None, None]
    return turns + sine * _turned(turns, cross) + versine * _turned(turns, cross @ cross)
