"""MuJoCo tasks stepped one by one, for families that need contact forces: what the ``-contact`` variants run on.

Each task is an uninterrupted simulation of its own, solver warm start and all, so a whole episode is Gymnasium's bit
for bit. Like there, quantities beyond qpos and qvel are those that MuJoCo's last evaluation left behind, which for
the Runge-Kutta integrator is at its last trial state and not quite at the state after the step. Slower than the
side-by-side simulation, most of all on several threads.

Shapes: U actuators.
"""

from __future__ import annotations

from collections.abc import Sequence

import mujoco

from mql.robots.description import View
from mql.tasks.family import Array
from mql.tasks.stepping.live import LiveDynamics
from mql.tasks.stepping.varying import Models


class ContactDynamics(LiveDynamics):
    """Simulations whose contact forces are known: an action [U] is mapped affinely to the actuators' ranges.

    Args:
        models: one model per task; the same object may serve many.
        frame_skip: physics steps in one control step.
        threads: tasks that are stepped at the same time.
        derived: attributes of MjData to find in ``State.derived``.
        view: from where pictures are taken; None: through the model's own camera.
    """

    def __init__(
        self,
        models: Models,
        frame_skip: int,
        threads: int,
        derived: Sequence[str],
        *,
        view: View | None,
    ) -> None:
        super().__init__(models, threads, derived, view=view)
        self._frame_skip = frame_skip
        low, high = self._models[0].actuator_ctrlrange.T
        self._middle, self._half = (high + low) / 2.0, (high - low) / 2.0

    def _begin(self, row: int) -> None:
        """Begin with nothing: no actuator remembers anything."""

    def _step(self, row: int, action: Array) -> None:
        model, data = self._models[row], self._data[row]
        data.ctrl[:] = self._middle + self._half * action
        mujoco.mj_step(model, data, nstep=self._frame_skip)
        # MuJoCo computes contact forces on bodies only when asked.
        mujoco.mj_rnePostConstraint(model, data)
