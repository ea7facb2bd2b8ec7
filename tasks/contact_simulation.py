"""MuJoCo tasks stepped lane by lane, for families that need contact forces: what the ``-contact`` variants run on.

Each lane is an uninterrupted simulation of its own, solver warm start and all, so a whole episode is Gymnasium's bit
for bit. Like there, quantities beyond qpos and qvel are those that MuJoCo's last evaluation left behind, which for
the Runge-Kutta integrator is at its last trial state and not quite at the state after the step. Slower than the
side-by-side simulation, most of all on several threads.

Shapes: N lanes, Q positions, V velocities, U actuators.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import mujoco
import numpy as np
import numpy.typing as npt

from mql.robots.description import View
from mql.robots.mujoco_warnings import warn_on_stderr
from mql.tasks import derived as derived_quantities
from mql.tasks.camera import Camera
from mql.tasks.lanes import Array, State

# MuJoCo puts a simulation that blows up back to its start, and counts that under one of these.
_BLOWN_UP = (
    mujoco.mjtWarning.mjWARN_BADQPOS.value,
    mujoco.mjtWarning.mjWARN_BADQVEL.value,
    mujoco.mjtWarning.mjWARN_BADQACC.value,
)


class ContactDynamics:
    """N lanes of MuJoCo physics, each with its own model (all of the same sizes) and its own data.

    Args:
        models: one model per lane; the same object may stand in many lanes.
        frame_skip: physics steps in one control step.
        threads: lanes that are stepped at the same time.
        derived: attributes of MjData to find in ``State.derived``.
        view: from where pictures are taken; None: through the model's own camera.
    """

    def __init__(
        self,
        models: Sequence[mujoco.MjModel],
        frame_skip: int,
        threads: int,
        derived: Sequence[str],
        *,
        view: View | None,
    ) -> None:
        warn_on_stderr()
        first, lanes = models[0], len(models)
        self._models = list(models)
        self._frame_skip = frame_skip
        self._data = [mujoco.MjData(model) for model in models]
        self._threads = min(threads, lanes)
        self._pool: ThreadPoolExecutor | None = None
        self._camera = Camera(view)
        low, high = first.actuator_ctrlrange.T
        self._middle, self._half = (high + low) / 2.0, (high - low) / 2.0
        self._before, self._after = (
            State(
                np.zeros((lanes, first.nq)),
                np.zeros((lanes, first.nv)),
                derived_quantities.empty(derived, first, lanes),
            )
            for _ in range(2)
        )

    def place(self, qpos: Array, qvel: Array) -> State:
        """Put every lane into the state qpos [N, Q], qvel [N, V] at time zero."""
        for lane, (model, data) in enumerate(zip(self._models, self._data, strict=True)):
            mujoco.mj_resetData(model, data)
            data.qpos[:] = qpos[lane]
            data.qvel[:] = qvel[lane]
            mujoco.mj_forward(model, data)
            self._read(lane)
        return self._after

    def advance(self, action: Array) -> tuple[State, State]:
        """Advance by one control step: action [N, A] in [-1, 1] is mapped affinely to the actuators' ranges.

        A lane whose physics diverges becomes NaN, and stays so until it is placed again.
        """
        for old, new in zip(_arrays(self._before), _arrays(self._after), strict=True):
            np.copyto(old, new)
        control = self._middle + self._half * action

        def run(lanes: range) -> None:
            for lane in lanes:
                self._step(lane, control[lane])

        if self._threads == 1:
            run(range(len(self._models)))
        else:
            self._pool = self._pool or ThreadPoolExecutor(self._threads)
            # Lanes don't touch each other's data, so the numbers do not depend on who steps them.
            list(self._pool.map(run, (range(i, len(self._models), self._threads) for i in range(self._threads))))
        return self._before, self._after

    def render(self, lane: int) -> npt.NDArray[np.uint8]:
        """Return a picture [480, 480, 3] of one lane.

        Raises:
            UserError: OpenGL can't be opened.
        """
        return self._camera.picture(self._models[lane], self._after.qpos[lane], self._after.qvel[lane])

    def close(self) -> None:
        """Stop the threads and release the rendering context."""
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None
        self._camera.close()

    def _step(self, lane: int, control: Array) -> None:
        model, data = self._models[lane], self._data[lane]
        if np.isfinite(self._after.qpos[lane, 0]):
            data.ctrl[:] = control
            mujoco.mj_step(model, data, nstep=self._frame_skip)
            # MuJoCo computes contact forces on bodies only when asked.
            mujoco.mj_rnePostConstraint(model, data)
            self._read(lane)
            if any(data.warning[kind].number for kind in _BLOWN_UP) or not _finite(data):
                for values in _arrays(self._after):
                    values[lane] = np.nan

    def _read(self, lane: int) -> None:
        data, state = self._data[lane], self._after
        state.qpos[lane] = data.qpos
        state.qvel[lane] = data.qvel
        for name, values in state.derived.items():
            values[lane] = getattr(data, name)


def _arrays(state: State) -> list[Array]:
    return [state.qpos, state.qvel, *state.derived.values()]


def _finite(data: mujoco.MjData) -> bool:
    return bool(np.isfinite(data.qpos).all() and np.isfinite(data.qvel).all())
