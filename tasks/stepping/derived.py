"""Quantities that follow from a state and the control signal but are not part of it: bodies' places and velocities.

``mujoco.rollout`` returns positions and velocities only. What a family names in `derived` is computed from them task by
task after each control step, without the physics: no contact, no solver, a few microseconds.

Shapes: N tasks, B bodies with the world, V velocities. Names are those of MuJoCo's MjData.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import mujoco
import numpy as np

from mql.tasks.family import Array

# subtree_com [B, 3] m: centre of mass of each body with all that hangs on it, so that of body 0 is the robot's.
# cinert [B, 10] and cvel [B, 6]: inertia and velocity of each body, seen from the robot's centre of mass.
# qfrc_actuator [V] N m: what the motors do.
# xpos [B, 3] and site_xpos [sites, 3] m: where bodies and sites are in the world.
# sensordata: what the model's sensors read, of positions and velocities only; sensors of forces stay 0.
FROM_STATE = frozenset({"subtree_com", "cinert", "cvel", "qfrc_actuator", "xpos", "site_xpos", "sensordata"})
# Contact forces come out of the solver, so only a simulation that keeps it can tell: cfrc_ext [B, 6] N m and N.
FROM_SOLVER = frozenset({"cfrc_ext"})


def empty(names: Sequence[str], model: mujoco.MjModel, rows: int) -> dict[str, Array]:
    """Return zeros for each name: [N, ...]."""
    data = mujoco.MjData(model)
    return {name: np.zeros((rows, *np.shape(getattr(data, name)))) for name in names}


class Deriver:
    """Computes `names` for simulations side by side, each with its own model (all of the same sizes).

    Raises:
        ValueError: a name that does not follow from the state.
    """

    def __init__(self, names: Sequence[str], models: Sequence[mujoco.MjModel]) -> None:
        if not FROM_STATE.issuperset(names):
            raise ValueError(f"{sorted(set(names) - FROM_STATE)} do not follow from the state")
        self._models = models
        self._data = mujoco.MjData(models[0])
        self._sensing = "sensordata" in names
        self._moving = "cvel" in names or self._sensing
        self._driven = "qfrc_actuator" in names
        # Views, since each access to an attribute of MjData makes a new one.
        self._qpos, self._qvel, self._ctrl = self._data.qpos, self._data.qvel, self._data.ctrl
        self._results = {name: getattr(self._data, name) for name in names}

    def derive(self, qpos: Array, qvel: Array, control: Array, out: Mapping[str, Array]) -> None:
        """Write the quantities of qpos [N, Q], qvel [N, V] under control [N, U] into `out`: name -> [N, ...].

        A task that is not finite gets NaN.
        """
        if not self._results:
            return
        finite = np.isfinite(np.concatenate([qpos, qvel], axis=1)).all(axis=1)
        for row, model in enumerate(self._models):
            if not finite[row]:
                for values in out.values():
                    values[row] = np.nan
                continue
            self._compute(model, qpos[row], qvel[row], control[row])
            for name, result in self._results.items():
                out[name][row] = result

    def _compute(self, model: mujoco.MjModel, qpos: Array, qvel: Array, control: Array) -> None:
        data = self._data
        self._qpos[:] = qpos
        mujoco.mj_kinematics(model, data)
        mujoco.mj_comPos(model, data)
        if self._moving:
            self._qvel[:] = qvel
            mujoco.mj_comVel(model, data)
        if self._driven:
            self._ctrl[:] = control
            mujoco.mj_tendon(model, data)
            mujoco.mj_transmission(model, data)
            mujoco.mj_fwdActuation(model, data)
        if self._sensing:
            mujoco.mj_camlight(model, data)
            mujoco.mj_tendon(model, data)
            mujoco.mj_transmission(model, data)
            mujoco.mj_sensorPos(model, data)
            mujoco.mj_fwdVelocity(model, data)
            mujoco.mj_sensorVel(model, data)
