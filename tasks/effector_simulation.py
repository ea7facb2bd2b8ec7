"""Simulations of robots whose end effector the actions displace: many lanes, each with its own memory of where to.

By position servos, lanes are stepped side by side like all native families. What a mocap body does is no actuator's
signal, so with one each lane is a simulation of its own, advanced by plain ``mj_step`` with the solver's warm start.

Shapes: N lanes, Q positions, V velocities, U actuators, A numbers of an action.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import mujoco
import numpy as np
import numpy.typing as npt

from mql.robots.description import View
from mql.robots.inspection import blew_up
from mql.robots.mujoco_warnings import warn_on_stderr
from mql.tasks import derived as derived_quantities
from mql.tasks.camera import Camera
from mql.tasks.effector_control import MocapEffector, ServoEffector, ServoEpisode, resting_controls
from mql.tasks.lanes import Array, State
from mql.tasks.simulation import MujocoDynamics


class ServoDynamics(MujocoDynamics):
    """N lanes of MuJoCo physics whose end effectors are moved by position servos.

    Args:
        models: one model per lane; the same object may stand in many lanes.
        frame_skip: physics steps in one control step.
        threads: size of the C++ thread pool.
        derived: quantities of `mql.tasks.derived` to find in ``State.derived``.
        effector: what actions do.
        view: from where pictures are taken; None: through the model's own camera.
    """

    def __init__(
        self,
        models: Sequence[mujoco.MjModel],
        frame_skip: int,
        threads: int,
        derived: Sequence[str],
        effector: ServoEffector,
        *,
        view: View | None = None,
    ) -> None:
        super().__init__(models, frame_skip, threads, derived, view=view, control=self._controls)
        self._effector = effector
        self._scratch = mujoco.MjData(models[0])
        self._episode: ServoEpisode | None = None

    def place(self, qpos: Array, qvel: Array) -> State:
        """Put every lane into the state qpos [N, Q], qvel [N, V] at time zero."""
        state = super().place(qpos, qvel)
        resting = np.zeros((len(qpos), self._models[0].nu))
        for lane, model in enumerate(self._models):
            self._scratch.qpos[:] = qpos[lane]
            resting[lane] = resting_controls(model, self._scratch)
        self._episode = self._effector.begin(state.qpos, resting)
        return state

    def _controls(self, state: State, action: Array) -> Array:
        if self._episode is None:
            raise RuntimeError("the lanes are nowhere yet: place them first")
        return self._episode.controls(state.qpos, action)


class MocapDynamics:
    """N lanes of MuJoCo physics whose end effectors are pulled by mocap bodies.

    Args:
        models: one model per lane; the same object may stand in many lanes.
        frame_skip: physics steps in one control step.
        threads: lanes that are stepped at the same time.
        derived: quantities of `mql.tasks.derived` to find in ``State.derived``, those of the motors excepted.
        effector: what actions do.
        view: from where pictures are taken; None: through the model's own camera.
    """

    def __init__(
        self,
        models: Sequence[mujoco.MjModel],
        frame_skip: int,
        threads: int,
        derived: Sequence[str],
        effector: MocapEffector,
        *,
        view: View | None = None,
    ) -> None:
        warn_on_stderr()
        first, lanes = models[0], len(models)
        self._models = list(models)
        self._data = [mujoco.MjData(model) for model in models]
        self._drives = [effector.drive(model, data) for model, data in zip(models, self._data, strict=True)]
        self._advance = [mocap_stepper(model, data, frame_skip) for model, data in zip(models, self._data, strict=True)]
        self._lost = np.zeros(lanes, np.bool_)  # lanes whose physics has diverged
        self._threads = min(threads, lanes)
        self._pool: ThreadPoolExecutor | None = None
        self._camera = Camera(view)
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
        self._lost[:] = False
        for lane, (model, data) in enumerate(zip(self._models, self._data, strict=True)):
            mujoco.mj_resetData(model, data)
            data.qpos[:], data.qvel[:] = qpos[lane], qvel[lane]
            self._drives[lane].start()
            mujoco.mj_forward(model, data)
            self._read(lane)
        return self._after

    def advance(self, action: Array) -> tuple[State, State]:
        """Advance by one control step with action [N, A] in [-1, 1].

        A lane whose physics diverges becomes NaN, and stays so until it is placed again.
        """
        for old, new in zip(_arrays(self._before), _arrays(self._after), strict=True):
            np.copyto(old, new)

        def run(lanes: range) -> None:
            for lane in lanes:
                self._step(lane, action[lane])

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

    def _step(self, lane: int, action: Array) -> None:
        if self._lost[lane]:
            return
        self._drives[lane].act(action)
        self._advance[lane]()
        self._read(lane)
        if blew_up(self._data[lane]):
            self._lost[lane] = True
            for values in _arrays(self._after):
                values[lane] = np.nan

    def _read(self, lane: int) -> None:
        data, state = self._data[lane], self._after
        state.qpos[lane], state.qvel[lane] = data.qpos, data.qvel
        for name, values in state.derived.items():
            values[lane] = getattr(data, name)


def mocap_stepper(model: mujoco.MjModel, data: mujoco.MjData, frame_skip: int) -> Callable[[], None]:
    """Return a function that advances `data` by one control step.

    Like `mql.tasks.definition_model.stepper` it leaves places, velocities and contacts those of the new state. But the
    first physics step starts anew, because what was left does not know of the mocap body's new place.
    """
    step, look = mujoco.mj_step, mujoco.mj_step1

    def advance() -> None:
        step(model, data, frame_skip)
        look(model, data)

    return advance


def _arrays(state: State) -> list[Array]:
    return [state.qpos, state.qvel, *state.derived.values()]
