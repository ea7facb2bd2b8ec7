"""Many MuJoCo tasks stepped side by side by ``mujoco.rollout`` and its C++ threads.

Each control step is one call that advances every lane by `frame_skip` physics steps. Two facts to know when numbers are
compared with Gymnasium's own environments:

- each call starts without the constraint solver's warm start, which differs from an uninterrupted simulation by
  rounding (one control step from the same state agrees within 1e-6 in qpos and qvel);
- observations and rewards are functions of the state after the step, while Gymnasium reads some body positions (a
  fingertip's, say) as they were one physics step earlier.

Shapes: N lanes, Q positions, V velocities, U actuators, S numbers of MuJoCo's full physics state (time, qpos, qvel).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import mujoco
import numpy as np
import numpy.typing as npt
from mujoco.rollout import Rollout

from mql.errors import UserError
from mql.robots.description import Robot
from mql.tasks.family import Task
from mql.tasks.lanes import Array, Dynamics, NativeFamily, State

_STATE = mujoco.mjtState.mjSTATE_FULLPHYSICS.value
_CONTROL = mujoco.mjtState.mjSTATE_CTRL.value


@lru_cache(maxsize=16)
def compiled_model(path: str) -> mujoco.MjModel:
    """Compile an MJCF file, once per process. The model is shared: change a copy, never this one."""
    return mujoco.MjModel.from_xml_path(path)


@dataclass(frozen=True, kw_only=True, eq=False)
class MujocoFamily(NativeFamily):
    """A native family whose laws of motion are a robot's MuJoCo model."""

    robot: Robot

    def model(self, task: Task) -> mujoco.MjModel:
        """Return the lane's model. Families that change physics return a changed copy for each task."""
        return compiled_model(str(self.robot.path))

    def dynamics(self, tasks: Sequence[Task], threads: int) -> Dynamics:
        """Build the simulation of `tasks`."""
        return MujocoDynamics([self.model(task) for task in tasks], self.robot, threads)


class MujocoDynamics:
    """N lanes of MuJoCo physics, each with its own model (all of the same sizes).

    Args:
        models: one model per lane; the same object may stand in many lanes.
        robot: for the frame skip and the camera.
        threads: size of the C++ thread pool.
    """

    def __init__(self, models: Sequence[mujoco.MjModel], robot: Robot, threads: int) -> None:
        first = models[0]
        self._models = list(models)
        self._robot = robot
        threads = min(threads, len(self._models))
        self._data = [mujoco.MjData(first) for _ in range(threads)]
        # One thread: no pool, the physics runs on the caller's thread.
        self._rollout: Rollout | None = Rollout(nthread=threads if threads > 1 else 0)
        self._renderer: Any = None
        # Two helpings of lanes for each thread: fewer hand-overs than MuJoCo's ten, and still some balance.
        self._chunk = max(1, len(self._models) // (2 * threads))
        lanes, frames = len(self._models), robot.frame_skip
        state_size = mujoco.mj_stateSize(first, _STATE)
        low, high = first.actuator_ctrlrange.T
        self._middle, self._half = (high + low) / 2.0, (high - low) / 2.0
        # Buffers that every step reuses: the states before, after each physics step, and the control signal.
        self._before = np.zeros((lanes, state_size))
        self._frames = np.zeros((lanes, frames, state_size))
        self._sensors = np.zeros((lanes, frames, first.nsensordata))
        self._control = np.zeros((lanes, frames, first.nu))
        self._state_before = _view(self._before, first)
        self._state_after = _view(self._frames[:, -1], first)

    def place(self, qpos: Array, qvel: Array) -> State:
        """Put every lane into the state qpos [N, Q], qvel [N, V] at time zero."""
        self._frames[:] = 0.0
        self._state_after.qpos[:] = qpos
        self._state_after.qvel[:] = qvel
        return self._state_after

    def advance(self, action: Array) -> tuple[State, State]:
        """Advance by one control step: action [N, A] in [-1, 1] is mapped affinely to the actuators' ranges.

        Raises:
            FloatingPointError: the physics of a lane diverged.
        """
        if self._rollout is None:
            raise RuntimeError("the simulation is closed")
        np.copyto(self._before, self._frames[:, -1])
        np.copyto(self._control, (self._middle + self._half * action)[:, None])
        # Shapes and types are right by construction, so mujoco's own checks (a tenth of the step) are skipped.
        self._rollout.rollout(
            self._models,
            self._data,
            self._before,
            self._control,
            control_spec=_CONTROL,
            skip_checks=True,
            nstep=self._robot.frame_skip,
            state=self._frames,
            sensordata=self._sensors,
            chunk_size=self._chunk,
        )
        # MuJoCo puts a simulation that blows up back to its start, and its clock with it. That must not pass unseen.
        late = self._frames[:, -1, 0] - self._before[:, 0] < 0.9 * self._robot.control_timestep
        if late.any():
            raise FloatingPointError(f"the physics of lane {int(np.flatnonzero(late)[0])} diverged")
        return self._state_before, self._state_after

    def render(self, lane: int) -> npt.NDArray[np.uint8]:
        """Return a picture [480, 480, 3] of one lane.

        Raises:
            UserError: OpenGL can't be opened.
        """
        model = self._models[lane]
        if self._renderer is None:
            self._renderer = _open_renderer(model)
        data = mujoco.MjData(model)
        data.qpos[:] = self._state_after.qpos[lane]
        data.qvel[:] = self._state_after.qvel[lane]
        mujoco.mj_forward(model, data)
        view = self._robot.view
        camera = mujoco.MjvCamera()
        mujoco.mjv_defaultFreeCamera(model, camera)
        camera.distance, camera.azimuth, camera.elevation = view.distance, view.azimuth, view.elevation
        camera.lookat[:] = data.body(view.body).xpos if view.body else 0.0
        self._renderer.update_scene(data, camera)
        picture: npt.NDArray[np.uint8] = self._renderer.render().copy()
        return picture

    def close(self) -> None:
        """Stop the threads and release the rendering context."""
        if self._rollout is not None:
            self._rollout.close()
            self._rollout = None
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None


def _open_renderer(model: mujoco.MjModel) -> mujoco.Renderer:
    try:
        return mujoco.Renderer(model, height=480, width=480)
    except (mujoco.FatalError, AttributeError, ImportError, RuntimeError) as error:
        mend = "without a screen set MUJOCO_GL=egl (or osmesa) before Python starts, with that library installed"
        raise UserError("can't open OpenGL for pictures", mend=mend) from error


def _view(full: Array, model: mujoco.MjModel) -> State:
    """Show qpos and qvel inside an array [N, S] of full physics states; the number before them is the time."""
    return State(full[:, 1 : 1 + model.nq], full[:, 1 + model.nq : 1 + model.nq + model.nv])
