"""Recomputes what MuJoCo derives from the numbers of a model that has been changed."""

from __future__ import annotations

import copy
from typing import Any

import mujoco
import numpy as np

_STATISTICS = ("meaninertia", "meanmass", "meansize", "extent", "center")


class Settler:
    """Settles one model, or copies of it, as if every body that an environment has moved stood in its own place.

    Args:
        model: as it was compiled; where its bodies are now is their own place.
    """

    def __init__(self, model: mujoco.MjModel) -> None:
        self._scratch = mujoco.MjData(model)
        self._home = (model.body_pos.copy(), model.body_quat.copy())
        self._stated = _stated_statistics(model)

    def settle(self, model: mujoco.MjModel, moved: list[int]) -> None:
        """Recompute all that is derived. `moved` are the rows of bodies that stand where the task has put them.

        It happens on data of its own: MuJoCo moves the data that it is given to the model's home position.
        """
        now = (model.body_pos.copy(), model.body_quat.copy())
        model.body_pos[:], model.body_quat[:] = self._home
        if moved:
            model.body_pos[moved], model.body_quat[moved] = now[0][moved], now[1][moved]
        mujoco.mj_resetData(model, self._scratch)
        mujoco.mj_setConst(model, self._scratch)
        model.body_pos[:], model.body_quat[:] = now
        for name, value in self._stated.items():
            _set_statistic(model, name, value)


def _stated_statistics(model: mujoco.MjModel) -> dict[str, Any]:
    """Return the statistics that the MJCF states itself: those that MuJoCo would compute otherwise."""
    computed = copy.deepcopy(model)
    mujoco.mj_setConst(computed, mujoco.MjData(computed))
    pairs = {name: (getattr(model.stat, name), getattr(computed.stat, name)) for name in _STATISTICS}
    return {name: np.copy(own) for name, (own, other) in pairs.items() if not np.allclose(own, other, rtol=1e-6)}


def _set_statistic(model: mujoco.MjModel, name: str, value: Any) -> None:
    if np.ndim(value):
        getattr(model.stat, name)[:] = value
    else:
        setattr(model.stat, name, float(value))
