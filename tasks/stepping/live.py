"""MuJoCo simulations that live on from step to step, one per task, on Python threads.

Slower than the side-by-side simulation of `mql.tasks.stepping.rollout`, and for what that can't do: contact forces
(`mql.tasks.stepping.contact`), and mocap bodies (`mql.tasks.stepping.effector`).

Shapes: N tasks, Q positions, V velocities, A numbers of an action.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import mujoco
import numpy as np
import numpy.typing as npt

from mql.robots.description import View
from mql.robots.mjcf.lookup import blew_up
from mql.robots.mjcf.warnings import warn_on_stderr
from mql.tasks.family import Array
from mql.tasks.stepping import derived as derived_quantities
from mql.tasks.stepping.advance import forces_finder
from mql.tasks.stepping.camera import Camera
from mql.tasks.stepping.derived import TIME, Derived, needs_forces
from mql.tasks.stepping.physics_state import Begin, Layout, PhysicsState
from mql.tasks.stepping.simulation import Simulation
from mql.tasks.stepping.state import State
from mql.tasks.stepping.varying import Models, models_of


class LiveDynamics(ABC):
    """N MuJoCo simulations in parallel, each with its own model (all of the same sizes) and its own data.

    Args:
        models: one model per task; the same object may serve many, if it never changes.
        threads: tasks that are stepped at the same time.
        derived: attributes of MjData, and other quantities, to find in ``State.derived``.
        view: from where pictures are taken; None: through the model's own camera.
        begin: what an episode starts from where nobody says it; None: what MuJoCo's reset makes of each model.
    """

    def __init__(
        self,
        models: Models,
        threads: int,
        derived: Sequence[str | Derived],
        *,
        view: View | None,
        begin: Begin | None = None,
    ) -> None:
        warn_on_stderr()
        self._models, self._varying = models_of(models)
        first, rows = self._models[0], len(self._models)
        self._data = [mujoco.MjData(model) for model in self._models]
        self._layout, self._start_from = Layout(first), begin
        self._began = np.zeros(rows)  # s, the time at which each episode began
        self._lost = np.zeros(rows, np.bool_)  # tasks whose physics has diverged
        self._threads = min(threads, rows)
        self._pool: ThreadPoolExecutor | None = None
        self._seen_from, self._camera = view, Camera(view)
        self._before, self._after = (
            State(
                np.zeros((rows, first.nq)),
                np.zeros((rows, first.nv)),
                derived_quantities.empty(derived, first, rows),
            )
            for _ in range(2)
        )
        self._names = [name for name in derived if isinstance(name, str)]
        others = [each for each in derived if isinstance(each, Derived)]
        self._readers = [[(each.name, each.bind(data)) for each in others] for data in self._data]
        # What depends on forces is computed at the new state: the last physics step's are those of the one before.
        rows_of_forces = zip(self._models, self._data, strict=True) if needs_forces(derived) else ()
        self._find_forces = [forces_finder(model, data) for model, data in rows_of_forces]

    def place(self, start: PhysicsState) -> State:
        """Put every task into a state, which an episode starts from."""
        self._lost[:] = False
        if self._varying is not None:
            self._varying.begin(start.drawn)
        states, inputs = self._layout.start(self._models, start, self._start_from)
        self._began[:] = states[:, 0]
        for row, (model, data) in enumerate(zip(self._models, self._data, strict=True)):
            mujoco.mj_resetData(model, data)
            self._layout.put(model, data, states[row], inputs[row])
            self._begin(row)
            mujoco.mj_forward(model, data)
            self._read(row)
        return self._after

    def advance(self, action: Array) -> tuple[State, State]:
        """Advance by one control step with action [N, A] in [-1, 1].

        A task whose physics diverges becomes NaN, and stays so until it is placed again.
        """
        if self._varying is not None:
            self._varying.advance()
        for old, new in zip(_arrays(self._before), _arrays(self._after), strict=True):
            np.copyto(old, new)

        def run(rows: range) -> None:
            for row in rows:
                if not self._lost[row]:
                    self._step(row, action[row])
                    self._read(row)

        if self._threads == 1:
            run(range(len(self._models)))
        else:
            self._pool = self._pool or ThreadPoolExecutor(self._threads)
            # Tasks don't touch each other's data, so the numbers do not depend on who steps them.
            list(self._pool.map(run, (range(i, len(self._models), self._threads) for i in range(self._threads))))
        return self._before, self._after

    def render(self, row: int) -> npt.NDArray[np.uint8]:
        """Return a picture [480, 480, 3] of one task.

        Raises:
            UserError: OpenGL can't be opened.
        """
        return self._camera.picture(self._models[row], self._data[row])

    def simulation(self, row: int) -> Simulation:
        """Return one task's simulation."""
        return Simulation(self._models[row], self._data[row], self._seen_from)

    def close(self) -> None:
        """Stop the threads and release the rendering context."""
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None
        self._camera.close()

    @abstractmethod
    def _step(self, row: int, action: Array) -> None:
        """Advance one task's data by a control step with its action [A]."""

    @abstractmethod
    def _begin(self, row: int) -> None:
        """Start an episode from the positions and velocities that a task's data has."""

    def _read(self, row: int) -> None:
        data, state = self._data[row], self._after
        state.qpos[row], state.qvel[row] = data.qpos, data.qvel
        if self._find_forces:
            self._find_forces[row]()
        for name in self._names:
            state.derived[name][row] = getattr(data, name)
        if TIME in state.derived:
            state.derived[TIME][row] -= self._began[row]
        for name, read in self._readers[row]:
            read(self._models[row], state.derived[name][row])
        if blew_up(data):
            self._lost[row] = True
            for values in _arrays(state):
                values[row] = np.nan


def _arrays(state: State) -> list[Array]:
    return [state.qpos, state.qvel, *state.derived.values()]
