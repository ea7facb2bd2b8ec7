"""The Fetch robot's simulation: many tasks in parallel, bit for bit as the package steps one.

The package places a mocap body at each step from where the gripper is and what the action adds; a weld drags the
gripper there in 20 physics steps. Where the fingers are held shut they are then put back, and all is computed once
more at the new state; else what is seen of places is one physics step old.

What a physics step makes depends on positions, velocities, controls, the mocap body's pose and the point from which the
constraint solver starts (its warm start), and on nothing else. These are kept as rows of arrays, and each thread has
one simulation into which it writes a task's row, steps, and reads it back. So tasks need no models of their own (9 MB
each), and what MuJoCo reads stays in the processor's cache. ``mujoco.rollout`` would do the same, but
forgets the solver's starting point, so that numbers would be the package's but for rounding.

Pairs of geoms that can't touch are left out of the search for contacts
(`mql.tasks.families.robotics.fetch_collisions`).

Shapes: N tasks, Q positions, V velocities, U actuators; an action is x, y, z displacement and gripper, [4].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from weakref import WeakKeyDictionary

import mujoco
import numpy as np
import numpy.typing as npt

from mql.robots.description import View
from mql.robots.mjcf.warnings import warn_on_stderr
from mql.tasks.distributions import Value
from mql.tasks.families.robotics.fetch_collisions import apart
from mql.tasks.families.robotics.fetch_scenes import FRAME_SKIP, TURN, Scene, started
from mql.tasks.families.robotics.fetch_simulation import (
    UNCHANGED,
    WHOLE,
    Numbers,
    SharedSimulation,
    borrow,
    give_back,
    part,
)
from mql.tasks.family import Array
from mql.tasks.physics.episode import EpisodePhysics
from mql.tasks.stepping.camera import Camera
from mql.tasks.stepping.physics_state import PhysicsState
from mql.tasks.stepping.simulation import Simulation
from mql.tasks.stepping.state import State

STROKE = 0.05  # m; displacement that a full action asks for
VIEW = View(body="table0", distance=2.5, azimuth=132.0, elevation=-14.0)


class FetchDynamics:
    """N tasks of one scene.

    Args:
        scene: the scene.
        tasks: the parameters of each task.
        physics: what these change in the model; None: nothing.
        threads: tasks that are stepped at the same time.
    """

    def __init__(
        self, scene: Scene, tasks: Sequence[Mapping[str, Value]], physics: EpisodePhysics | None, threads: int
    ) -> None:
        warn_on_stderr()
        self._scene, self._tasks, self._physics = scene, list(tasks), physics
        self._start = started(scene)
        model, rows = self._start.model, len(self._tasks)
        self._numbers: list[Numbers] = [UNCHANGED] * rows
        self._numbers_known = False  # those of the tasks, without what episodes draw
        self._shared = [borrow(scene) for _ in range(min(threads, rows))]
        self._pool: ThreadPoolExecutor | None = None
        self._camera = Camera(VIEW)
        self._gain = _column(self._tasks, "action_gain", 1.0)[:, None].astype(np.float32)
        self._delay = _column(self._tasks, "action_delay", 0.0).astype(np.int64)
        self._sent: list[Array] = []  # actions of the episode, to come late
        self._whole = np.zeros((rows, mujoco.mj_stateSize(model, WHOLE)))
        kinds = mujoco.mjtState
        self._qpos, self._qvel, self._time, self._warm, self._ctrl, self._mocap_pos, self._mocap_quat = (
            self._whole[:, part(model, kind)]
            for kind in (
                *(kinds.mjSTATE_QPOS, kinds.mjSTATE_QVEL, kinds.mjSTATE_TIME, kinds.mjSTATE_WARMSTART),
                *(kinds.mjSTATE_CTRL, kinds.mjSTATE_MOCAP_POS, kinds.mjSTATE_MOCAP_QUAT),
            )
        )
        self._few = np.zeros(rows, np.bool_)  # tasks in which all that is left out is apart
        self._lost = np.zeros(rows, np.bool_)  # tasks whose physics has diverged
        self._jacobian = np.zeros((rows, 3, model.nv))
        self._seen = {name: np.zeros((rows, len(view))) for name, view in self._shared[0].places.items()}
        self._offset = np.array([task.get("sensor_offset", (0.0, 0.0, 0.0)) for task in self._tasks], np.float64)
        driven = model.actuator_trnid[:, 0]
        self._driven = model.jnt_qposadr[driven]

    def place(self, start: PhysicsState) -> State:
        """Put every task into a state, which an episode starts from."""
        self._prepare(start.drawn)
        self._sent = []
        self._lost[:] = False
        time = self._start.time if start.time is None else start.time
        shared = self._shared[0]
        for row in range(len(self._tasks)):
            shared.load(self._numbers[row])
            shared.look(few=False)
            mujoco.mj_resetData(shared.model, shared.data)
            shared.get(self._whole[row])
            self._qpos[row], self._qvel[row], self._time[row] = start.qpos[row], start.qvel[row], time
            shared.put(self._whole[row])
            mujoco.mj_forward(shared.model, shared.data)
            self._few[row] = self._apart(shared)
            self._read(row, shared)
        for each in self._shared:
            each.owner = None
        if len(self._tasks) == 1:
            shared.owner = 0
        self._last = self._state()
        return self._last

    def advance(self, action: Array) -> tuple[State, State]:
        """Advance by one control step with action [N, 4] in [-1, 1].

        A task whose physics diverges becomes NaN, and stays so until it is placed again.
        """
        before, through = self._last, self._through(action.astype(np.float32))
        if self._shared[0].owner is not None:
            qpos = self._qpos[0].copy()
            self._shared[0].get(self._whole[0])
            self._few &= np.array_equal(qpos, self._qpos[0])  # whoever looked at it may have moved something
        # In single precision, as the package does.
        self._mocap_pos[:] = self._seen["link"] + through[:, :3] * np.float32(STROKE)
        self._mocap_quat[:] = self._seen["link_quat"] + TURN
        if self._driven.size:
            self._ctrl[:] = self._qpos[:, self._driven] + through[:, 3:]
        time = self._time[:, 0].copy()

        def run(number: int) -> None:
            shared = self._shared[number]
            for row in range(number, len(self._tasks), len(self._shared)):
                if not self._lost[row]:
                    self._step(row, shared)

        if len(self._shared) == 1:
            run(0)
        else:
            self._pool = self._pool or ThreadPoolExecutor(len(self._shared))
            list(self._pool.map(run, range(len(self._shared))))
        self._mark_lost(time)
        self._last = self._state()
        return before, self._last

    def render(self, row: int) -> npt.NDArray[np.uint8]:
        """Return a picture [480, 480, 3] of one task.

        Raises:
            UserError: OpenGL can't be opened.
        """
        shown = self.simulation(row)
        return self._camera.picture(shown.model, shown.data)

    def simulation(self, row: int) -> Simulation:
        """Return one task's simulation: the one that goes on where the task is alone, else one of its own."""
        shared = self._shared[0]
        if shared.owner == row and len(self._tasks) == 1:
            return Simulation(shared.model, shared.data, VIEW)
        own = SharedSimulation(self._scene)
        own.load(self._numbers[row])
        own.put(self._whole[row])
        mujoco.mj_forward(own.model, own.data)
        return Simulation(own.model, own.data, VIEW)

    def close(self) -> None:
        """Stop the threads, release the rendering context, and let others have the simulations."""
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None
        self._camera.close()
        for shared in self._shared:
            give_back(self._scene, shared)
        self._shared = []

    def _step(self, row: int, shared: SharedSimulation) -> None:
        model, data = shared.model, shared.data
        shared.load(self._numbers[row])
        shared.put(self._whole[row])
        few = bool(self._few[row]) and shared.harmless
        shared.look(few=few)
        mujoco.mj_step(model, data, nstep=FRAME_SKIP)
        self._few[row] = self._apart(shared)
        if few and not self._few[row]:  # what was left out may have touched: once more, with all pairs
            shared.put(self._whole[row])
            shared.look(few=False)
            mujoco.mj_step(model, data, nstep=FRAME_SKIP)
        if self._scene.shut:
            shared.qpos[self._start.fingers] = 0.0
            mujoco.mj_forward(model, data)
        self._read(row, shared)

    def _apart(self, shared: SharedSimulation) -> bool:
        return shared.harmless and apart(shared.qpos, shared.places["link"], self._start.qpos)

    def _read(self, row: int, shared: SharedSimulation) -> None:
        """Keep the state that the next step goes on from, and the places that were last computed."""
        shared.get(self._whole[row])
        for name, view in shared.places.items():
            self._seen[name][row] = view
        mujoco.mj_jacSite(shared.model, shared.data, self._jacobian[row], None, shared.gripper_site)

    def _state(self) -> State:
        derived = {name: values.copy() for name, values in self._seen.items() if not name.startswith("link")}
        derived["velocity"] = (self._jacobian @ self._qvel[:, :, None])[:, :, 0]
        derived["offset"] = self._offset
        return State(self._qpos.copy(), self._qvel.copy(), derived)

    def _through(self, action: Array) -> Array:
        """Return the actions [N, 4] that arrive in this step: late ones are 0 at first; gains cut at a full stroke."""
        if not self._delay.any():
            action[:, :3] = np.clip(action[:, :3] * self._gain, -1.0, 1.0)
            return action
        self._sent.append(action)
        now = len(self._sent) - 1 - self._delay
        sent = np.stack([self._sent[max(at, 0)][row] for row, at in enumerate(now)])
        sent[now < 0] = 0.0
        sent[:, :3] = np.clip(sent[:, :3] * self._gain, -1.0, 1.0)
        return sent

    def _mark_lost(self, time: Array) -> None:
        """Find tasks that diverged in this step, and write NaN over those that ever did."""
        # MuJoCo puts a simulation that blows up back to its start, and its clock with it. That must not pass unseen.
        in_time = self._time[:, 0] - time >= 0.9 * FRAME_SKIP * self._start.model.opt.timestep
        self._lost |= ~in_time | ~(np.isfinite(self._qpos).all(axis=1) & np.isfinite(self._qvel).all(axis=1))
        if self._lost.any():
            for values in (self._qpos, self._qvel, self._jacobian, *self._seen.values()):
                values[self._lost] = np.nan

    def _prepare(self, drawn: Array | None) -> None:
        """Find out how the models of the episodes that begin differ from the scene's."""
        physics, shared = self._physics, self._shared[0]
        if physics is None or (drawn is None and self._numbers_known):
            return
        known = _known.setdefault(physics, {}) if drawn is None else {}
        if len(known) > _MOST_KNOWN:
            known.clear()
        for row, task in enumerate(self._tasks):
            key = row if drawn is not None else tuple(task.values())
            numbers = known.get(key)  # (another thread may forget it right after)
            if numbers is None:
                shared.load(UNCHANGED)
                shared.look(few=False)
                physics.apply(shared.model, task, None if drawn is None else drawn[row])
                known[key] = numbers = shared.differences()
                physics.apply(shared.model, {})
            self._numbers[row] = numbers
        self._numbers_known = drawn is None


# What tasks change, by their values: finding it takes as long as a few steps.
_MOST_KNOWN = 1000  # tasks, 3 kB each
_known: WeakKeyDictionary[EpisodePhysics, dict[Any, Numbers]] = WeakKeyDictionary()


def _column(tasks: Sequence[Mapping[str, Value]], name: str, default: float) -> Array:
    """Return a task parameter of every task, [N]."""
    return np.array([task.get(name, default) for task in tasks], np.float64)
