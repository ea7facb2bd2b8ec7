"""What the keyframe ``home`` of a whole says beside positions and controls: the same as those of its parts.

Shapes: Q positions, V velocities, X activations, M mocap bodies.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import mujoco
import numpy as np
import numpy.typing as npt

from mql.robots.mjcf.lookup import holding_activations, joint_freedoms, joint_kind

FloatArray = npt.NDArray[np.float64]


def rest_of_keyframe(model: Any, qpos: FloatArray, parts: Iterable[tuple[Any, int | None]]) -> dict[str, FloatArray]:
    """Return `qvel` [V], `act` [X], `mpos` [3 M] and `mquat` [4 M] of the keyframe at qpos [Q] of a whole.

    Filters of position servos hold the pose where a part is put into it without a keyframe of its own.

    Args:
        model: the whole.
        qpos: [Q].
        parts: each as a model by itself, and the keyframe from which it starts.
    """
    data = mujoco.MjData(model)
    data.qpos[:] = qpos
    mujoco.mj_fwdPosition(model, data)
    data.act[:] = holding_activations(model, data)
    for alone, key in parts:
        if key is not None:
            _copy_activations(alone, key, data)
            _copy_velocities(alone, key, data)
            _copy_mocap_bodies(alone, key, data)
    found = {"qvel": data.qvel, "act": data.act, "mpos": data.mocap_pos, "mquat": data.mocap_quat}
    return {name: values.ravel().copy() for name, values in found.items()}


def _copy_activations(alone: Any, key: int, data: mujoco.MjData) -> None:
    for number, whole in _shared(alone, data.model, "actuator", alone.nu):
        start, to = int(alone.actuator_actadr[number]), int(data.model.actuator_actadr[whole])
        if start >= 0:
            count = int(alone.actuator_actnum[number])
            data.act[to : to + count] = alone.key_act[key, start : start + count]


def _copy_velocities(alone: Any, key: int, data: mujoco.MjData) -> None:
    """Copy the joints' velocities; that of a free body goes along with its place in the whole."""
    for number, whole in _shared(alone, data.model, "joint", alone.njnt):
        start, to = int(alone.jnt_dofadr[number]), int(data.model.jnt_dofadr[whole])
        speeds = np.array(alone.key_qvel[key, start : start + joint_freedoms(alone, number)])
        if joint_kind(alone, number) == "free":
            own = alone.key_qpos[key, alone.jnt_qposadr[number] + 3 :][:4]
            turn = _turn(own, data.qpos[data.model.jnt_qposadr[whole] + 3 :][:4])
            mujoco.mju_rotVecQuat(speeds[:3], speeds[:3].copy(), turn)
        data.qvel[to : to + speeds.size] = speeds


def _copy_mocap_bodies(alone: Any, key: int, data: mujoco.MjData) -> None:
    """Copy where mocap bodies stand, moved as their part is in the whole."""
    for number, whole in _shared(alone, data.model, "body", alone.nbody):
        own, to = int(alone.body_mocapid[number]), int(data.model.body_mocapid[whole])
        if own < 0 or to < 0:
            continue
        turn, moved, turned = _turn(alone.body_quat[number], data.model.body_quat[whole]), np.zeros(3), np.zeros(4)
        mujoco.mju_rotVecQuat(moved, alone.key_mpos[key].reshape(-1, 3)[own] - alone.body_pos[number], turn)
        mujoco.mju_mulQuat(turned, turn, alone.key_mquat[key].reshape(-1, 4)[own])
        data.mocap_pos[to], data.mocap_quat[to] = data.model.body_pos[whole] + moved, turned


def _turn(before: FloatArray, after: FloatArray) -> FloatArray:
    """Return the rotation [4] in the world that leads from one orientation to another."""
    back, turn = np.zeros(4), np.zeros(4)
    mujoco.mju_negQuat(back, before)
    mujoco.mju_mulQuat(turn, after, back)
    return turn


def _shared(alone: Any, model: Any, kind: str, count: int) -> Iterator[tuple[int, int]]:
    """Yield the numbers, alone and in the whole, of what has a name."""
    for number in range(count):
        name = getattr(alone, kind)(number).name
        if name:
            yield number, getattr(model, kind)(name).id
