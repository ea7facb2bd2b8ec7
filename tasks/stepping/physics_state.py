"""The whole state of MuJoCo simulations in parallel: what each goes on from, and what it is told from outside.

A simulation's own state is its time, positions, velocities, activations of actuators and the state of plugins. Its
inputs are the control signal, which equality constraints are on, and where mocap bodies stand: these MuJoCo never
changes by itself, and ``mujoco.rollout`` forgets what it is not given, or takes it from the first model for all.

Shapes: N tasks, Q positions, V velocities, X activations, U actuators, M mocap bodies, S numbers of a state, C numbers
of the inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

import mujoco
import numpy as np

from mql.tasks.family import Array

# Puts a model's data, which has just been reset, where episodes start: the keyframe's activations, say.
Begin = Callable[[mujoco.MjModel, mujoco.MjData], None]

STATE = mujoco.mjtState.mjSTATE_FULLPHYSICS.value
_KIND = mujoco.mjtState


@dataclass(frozen=True)
class PhysicsState:
    """What N simulations start from.

    Args:
        qpos: [N, Q].
        qvel: [N, V].
        act: [N, X]. None, here as below: what the simulation starts from where nothing is said, task by task.
        ctrl: [N, U].
        mocap_pos: [N, M, 3] m.
        mocap_quat: [N, M, 4], unit quaternions.
        time: [N] s.
        drawn: [N, K], what the physics of the episodes have drawn (`mql.tasks.physics.episode`); None: nothing.
    """

    qpos: Array
    qvel: Array
    act: Array | None = None
    ctrl: Array | None = None
    mocap_pos: Array | None = None
    mocap_quat: Array | None = None
    time: Array | None = None
    drawn: Array | None = None


def stacked(rows: Sequence[PhysicsState]) -> PhysicsState:
    """Return as one the states of single simulations, whose arrays lack the axis N. All say the same things."""
    given = [field.name for field in fields(PhysicsState) if getattr(rows[0], field.name) is not None]
    arrays = {name: np.stack([np.asarray(getattr(row, name), np.float64) for row in rows]) for name in given}
    return replace(rows[0], **arrays)


class Layout:
    """Where what stands in the flat arrays of states and inputs that MuJoCo reads: the same for models of one size.

    Args:
        model: any of them.
    """

    def __init__(self, model: mujoco.MjModel) -> None:
        inputs = _KIND.mjSTATE_CTRL.value
        if model.neq:
            inputs |= _KIND.mjSTATE_EQ_ACTIVE.value
        if model.nmocap:
            inputs |= _KIND.mjSTATE_MOCAP_POS.value | _KIND.mjSTATE_MOCAP_QUAT.value
        self.inputs = inputs
        self.state_size = mujoco.mj_stateSize(model, STATE)
        self.inputs_size = mujoco.mj_stateSize(model, inputs)
        places = (_place(model, STATE, kind) for kind in (_KIND.mjSTATE_QPOS, _KIND.mjSTATE_QVEL, _KIND.mjSTATE_ACT))
        self.qpos, self.qvel, self.act = places
        self.ctrl = _place(model, inputs, _KIND.mjSTATE_CTRL)
        self._mocap_pos = _place(model, inputs, _KIND.mjSTATE_MOCAP_POS)
        self._mocap_quat = _place(model, inputs, _KIND.mjSTATE_MOCAP_QUAT)

    def start(
        self, models: Sequence[mujoco.MjModel], start: PhysicsState, begin: Begin | None = None
    ) -> tuple[Array, Array]:
        """Return the states [N, S] and inputs [N, C] of simulations that begin.

        What `start` leaves open is what a reset of each task's own model and then `begin` make it.
        """
        states, inputs = np.zeros((len(models), self.state_size)), np.zeros((len(models), self.inputs_size))
        data = mujoco.MjData(models[0])
        for row, model in enumerate(models):
            if row and model is models[row - 1]:
                states[row], inputs[row] = states[row - 1], inputs[row - 1]
                continue
            mujoco.mj_resetData(model, data)
            if begin is not None:
                begin(model, data)
            mujoco.mj_getState(model, data, states[row], STATE)
            mujoco.mj_getState(model, data, inputs[row], self.inputs)
        for array, place, given in (
            (states, slice(0, 1), start.time),
            (states, self.qpos, start.qpos),
            (states, self.qvel, start.qvel),
            (states, self.act, start.act),
            (inputs, self.ctrl, start.ctrl),
            (inputs, self._mocap_pos, start.mocap_pos),
            (inputs, self._mocap_quat, start.mocap_quat),
        ):
            if given is not None:
                array[:, place] = np.reshape(given, (len(models), -1))
        return states, inputs

    def put(self, model: mujoco.MjModel, data: mujoco.MjData, state: Array, inputs: Array) -> None:
        """Write one simulation's state [S] and inputs [C] into `data`; what follows from them is not computed."""
        mujoco.mj_setState(model, data, state, STATE)
        mujoco.mj_setState(model, data, inputs, self.inputs)


def _place(model: mujoco.MjModel, spec: int, kind: mujoco.mjtState) -> slice:
    """Return where `kind` stands among what `spec` names: MuJoCo lines them up in the order of their bits."""
    if not spec & kind.value:
        return slice(0, 0)
    start = mujoco.mj_stateSize(model, spec & (kind.value - 1))
    return slice(start, start + mujoco.mj_stateSize(model, kind.value))
