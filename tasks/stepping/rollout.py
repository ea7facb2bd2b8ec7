"""Many MuJoCo tasks stepped in parallel by ``mujoco.rollout`` and its C++ threads.

Each control step is one call that advances every task by `frame_skip` physics steps. Two facts to know when numbers are
compared with Gymnasium's own environments:

- each call starts without the constraint solver's warm start, which differs from an uninterrupted simulation by
  rounding (one control step from the same state agrees within 1e-6 in qpos and qvel);
- observations and rewards are functions of the state after the step, while Gymnasium reads some body positions (a
  fingertip's, say) as they were one physics step earlier.

What a family needs beyond positions and velocities is named in its `derived`, and computed after the step
(`mql.tasks.stepping.derived`). A family that wants the contact forces of an uninterrupted simulation, as Gymnasium has
them, runs on `mql.tasks.stepping.contact` instead, and nothing else about it changes. What can be computed on arrays
over tasks, a family computes itself in `derive`, and what its motors do, where that is more than the action, in
`control`.

Shapes: N tasks, Q positions, V velocities, U actuators, S numbers of a whole state and C of what is put in from outside
(`mql.tasks.stepping.physics_state`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Self

import mujoco
import numpy as np
import numpy.typing as npt
from mujoco.rollout import Rollout

from mql.robots.description import Robot, View
from mql.robots.mjcf.warnings import warn_on_stderr
from mql.tasks.control.controller import Controller
from mql.tasks.distributions import Value
from mql.tasks.family import Array, Task
from mql.tasks.physics.episode import EpisodePhysics
from mql.tasks.physics.fields import Change
from mql.tasks.physics.nuisances import Nuisance
from mql.tasks.scenes.source import MjcfFile, ModelSource
from mql.tasks.stepping import derived as derived_quantities
from mql.tasks.stepping.camera import Camera
from mql.tasks.stepping.contact import ContactDynamics
from mql.tasks.stepping.derived import FROM_PLACES, FROM_SOLVER, TIME, Derived, Deriver
from mql.tasks.stepping.logged import COMPARED, Mechanics
from mql.tasks.stepping.parallel import ParallelFamily
from mql.tasks.stepping.physics_state import STATE, Begin, Layout, PhysicsState
from mql.tasks.stepping.simulation import Simulation
from mql.tasks.stepping.state import Dynamics, State
from mql.tasks.stepping.varying import Models, Varying, models_of


@lru_cache(maxsize=16)
def compiled_model(path: str) -> mujoco.MjModel:
    """Compile an MJCF file, once per process. The model is shared: change a copy, never this one."""
    return mujoco.MjModel.from_xml_path(path)


@dataclass(frozen=True, kw_only=True, eq=False)
class MujocoFamily(ParallelFamily):
    """A parallel family whose laws of motion are a robot's MuJoCo model.

    Args:
        robot: the robot.
        derived: quantities beyond qpos and qvel that `observe` and `outcome` find in ``State.derived``.
        nuisances: what each episode draws of the model's numbers, on top of what the task changes.
    """

    robot: Robot
    derived: tuple[str, ...] = ()
    nuisances: tuple[Nuisance, ...] = ()

    @property
    def physics(self) -> EpisodePhysics | None:
        """What tasks and episodes change in the model; None: nothing."""
        return _physics_of(self)

    def randomised(self, nuisances: Sequence[Nuisance]) -> Self:
        """Return this family with further numbers of the model drawn anew for each episode."""
        family = replace(self, nuisances=(*self.nuisances, *nuisances))
        assert family.physics is not None  # which looks their names up
        return family

    @property
    def source(self) -> ModelSource:
        """The files that the model comes from."""
        return MjcfFile(self.robot.path)

    def base(self) -> mujoco.MjModel:
        """Return the model without any task in it. It is shared: change a copy, never this one."""
        return compiled_model(str(self.robot.path))

    def changes(self) -> Mapping[str, Sequence[Change]]:
        """Return what a task changes in the physics: name -> its changes. Most families change nothing."""
        return {}

    def changed_to(self, parameters: Mapping[str, Value]) -> Mapping[str, Value]:
        """Return the value for each name of `changes`: where these are no task parameters, computed from them."""
        return parameters

    @property
    def moves_by(self) -> tuple[str, ...]:
        """The task parameters that motion depends on: those of `changes`, all where it is computed from some."""
        names = tuple(self.changes())
        return names if set(names) <= self.parameters.keys() else tuple(self.parameters)

    def model(self, task: Task) -> mujoco.MjModel:
        """Return the task's model: a changed copy where the family changes the physics.

        It is built once and used again whenever the task comes back: nobody may change it later.
        """
        physics = self.physics
        if physics is None:
            return self.base()
        return physics.changes.of_copy(self.base(), self.changed_to(task.parameters))

    def task_models(self, tasks: Sequence[Task]) -> Models:
        """Return the models of `tasks`: their own ones where these differ between episodes."""
        physics = self.physics
        if physics is None or not physics.varies:
            return [model_of(self, task) for task in tasks]
        return Varying(physics, self.base(), [self.changed_to(task.parameters) for task in tasks])

    def mechanics(self) -> Mechanics | None:
        """Return what computes observations from logged joints; None where forces are seen."""
        if not FROM_PLACES.issuperset(self.derived):
            return None
        tasks = self.tasks("train")[:COMPARED]
        return Mechanics(
            family=self,
            models=[model_of(self, task) for task in tasks],
            start=self.first_state(np.random.default_rng(0), tasks[0]),
            derived=self.derived,
            observe=self._seen_in_log,
            controller=self.commands(),
        )

    def commands(self) -> Controller | None:
        """Return the controller whose memory is seen; None: actions go to the motors."""
        return None

    def _seen_in_log(self, state: State) -> Mapping[str, Array]:
        full = State(state.qpos, state.qvel, {**state.derived, **self.derive(state)})
        return {"": self.observe(full)}

    def derive(self, state: State) -> Mapping[str, Array]:
        """Return further quantities for ``State.derived``, computed once a control step: name -> [N, ...]."""
        return {}

    def control(self, state: State, action: Array) -> Array | None:
        """Return the control signal [N, U] for an action [N, A]; None maps actions to the actuators' ranges."""
        return None

    def displacement(self, before: Array, after: Array) -> Array:
        """Estimate how far something moves in a control step from its velocities [N, ...] before and after it.

        The velocity is taken to change evenly. MuJoCo's Euler adds in each physics step the velocity at its end, so
        that the later one counts for a little more than half: for 0.6 with five physics steps.
        """
        steps = self.robot.frame_skip
        centred = self.base().opt.integrator == mujoco.mjtIntegrator.mjINT_RK4
        late = 0.5 if centred else (steps + 1) / (2 * steps)
        moved: Array = ((1.0 - late) * before + late * after) * self.control_timestep
        return moved

    def dynamics(self, tasks: Sequence[Task], threads: int) -> Dynamics:
        """Build the simulation of `tasks`."""
        models = self.task_models(tasks)
        if FROM_SOLVER.intersection(self.derived):
            return ContactDynamics(models, self.robot.frame_skip, threads, self.derived, view=self.robot.view)
        return MujocoDynamics(
            models,
            self.robot.frame_skip,
            threads,
            self.derived,
            view=self.robot.view,
            derive=self.derive,
            control=self.control,
        )


@lru_cache(maxsize=64)
def _physics_of(family: MujocoFamily) -> EpisodePhysics | None:
    """Look up once what a family changes; what it keeps can't be pickled with the family."""
    changes = family.changes()
    where = f"family {family.name}"
    if not changes and not family.nuisances:
        return None
    return EpisodePhysics(
        family.base(),
        changes,
        family.nuisances,
        control_timestep=family.control_timestep,
        where=lambda key: f"{where}: {key}",
        source=family.source,
    )


@lru_cache(maxsize=256)
def model_of(family: MujocoFamily, task: Task) -> mujoco.MjModel:
    """Build a task's model: for an arm a fifth of the time that an episode with it takes."""
    return family.model(task)


class MujocoDynamics:
    """N MuJoCo simulations in parallel, each with its own model (all of the same sizes).

    Args:
        models: one model per task; the same object may serve many, if it never changes.
        frame_skip: physics steps in one control step.
        threads: size of the C++ thread pool.
        derived: quantities of `mql.tasks.stepping.derived` to find in ``State.derived``.
        view: from where pictures are taken; None: through the model's own camera.
        derive: as `MujocoFamily.derive`.
        control: as `MujocoFamily.control`.
        begin: what an episode starts from where nobody says it; None: what MuJoCo's reset makes of each model.
    """

    def __init__(
        self,
        models: Models,
        frame_skip: int,
        threads: int,
        derived: Sequence[str | Derived] = (),
        *,
        view: View | None = None,
        derive: Callable[[State], Mapping[str, Array]] | None = None,
        control: Callable[[State, Array], Array | None] | None = None,
        begin: Begin | None = None,
    ) -> None:
        warn_on_stderr()
        self._models, self._varying = models_of(models)
        first = self._models[0]
        self._frame_skip = frame_skip
        threads = min(threads, len(self._models))
        self._data = [mujoco.MjData(first) for _ in range(threads)]
        # One thread: no pool, the physics runs on the caller's thread.
        self._rollout: Rollout | None = Rollout(nthread=threads if threads > 1 else 0)
        self._seen_from, self._camera = view, Camera(view)
        # Two portions of tasks for each thread: fewer hand-overs than MuJoCo's ten, and still some balance.
        self._chunk = max(1, len(self._models) // (2 * threads))
        rows, frames = len(self._models), frame_skip
        self._layout = layout = Layout(first)
        self._step_seconds = np.array([model.opt.timestep for model in self._models]) * frames
        low, high = first.actuator_ctrlrange.T
        self._middle, self._half = (high + low) / 2.0, (high - low) / 2.0
        # Buffers that every step reuses: the states before, after each physics step, and what is put in from outside.
        self._before = np.zeros((rows, layout.state_size))
        self._frames = np.zeros((rows, frames, layout.state_size))
        self._inputs = np.zeros((rows, frames, layout.inputs_size))
        self._control = self._inputs[:, :, layout.ctrl]
        self._derived_before, self._derived_after = (derived_quantities.empty(derived, first, rows) for _ in range(2))
        self._state_before = self._view(self._before, self._derived_before)
        self._state_after = self._view(self._frames[:, -1], self._derived_after)
        self._derive_arrays, self._choose_control, self._begin = derive, control, begin
        self._deriver = Deriver(derived, self._models)
        self._deriver_results = dict(self._derived_after)
        self._began = np.zeros(rows)  # s, the time at which each episode began
        self._lost = np.zeros(rows, np.bool_)  # tasks whose physics has diverged
        mujoco.mj_resetData(first, self._data[0])
        self._harmless = np.zeros(layout.state_size)  # what those go on from, since MuJoCo can't step NaN
        mujoco.mj_getState(first, self._data[0], self._harmless, STATE)

    def place(self, start: PhysicsState) -> State:
        """Put every task into a state, which an episode starts from."""
        if self._varying is not None:
            self._varying.begin(start.drawn)
        start = self._ready(start)
        states, inputs = self._layout.start(self._models, start, self._begin)
        self._frames[:] = 0.0
        self._frames[:, -1] = states
        self._inputs[:] = inputs[:, None]
        self._began[:] = states[:, 0]
        self._lost[:] = False
        self._derive()
        return self._state_after

    def advance(self, action: Array) -> tuple[State, State]:
        """Advance by one control step: `control` says what an action [N, A] in [-1, 1] makes the actuators do.

        A task whose physics diverges becomes NaN, and stays so until it is placed again.
        """
        if self._rollout is None:
            raise RuntimeError("the simulation is closed")
        if self._varying is not None:
            self._varying.advance()
        np.copyto(self._before, self._frames[:, -1])
        control = self._choose_control(self._state_after, action) if self._choose_control is not None else None
        if control is None:
            control = self._middle + self._half * action
        elif self._lost.any():
            control = np.where(self._lost[:, None], 0.0, control)
        np.copyto(self._control, control[:, None])
        for name, values in self._derived_after.items():
            self._derived_before[name] = values.copy()
        # Shapes and types are right by construction, so mujoco's own checks (a tenth of the step) are skipped.
        self._rollout.rollout(
            self._models,
            self._data,
            self._before if not self._lost.any() else np.where(self._lost[:, None], self._harmless, self._before),
            self._inputs,
            control_spec=self._layout.inputs,
            skip_checks=True,
            nstep=self._frame_skip,
            state=self._frames,
            chunk_size=self._chunk,
        )
        self._mark_lost()
        self._derive()
        return self._state_before, self._state_after

    def render(self, row: int) -> npt.NDArray[np.uint8]:
        """Return a picture [480, 480, 3] of one task.

        Raises:
            UserError: OpenGL can't be opened.
        """
        shown = self.simulation(row)
        return self._camera.picture(shown.model, shown.data)

    def simulation(self, row: int) -> Simulation:
        """Return one task's model, with data of its own that have its whole state."""
        model = self._models[row]
        data = mujoco.MjData(model)
        self._layout.put(model, data, self._frames[row, -1], self._inputs[row, -1])
        return Simulation(model, data, self._seen_from)

    def close(self) -> None:
        """Stop the threads and release the rendering context."""
        if self._rollout is not None:
            self._rollout.close()
            self._rollout = None
        self._camera.close()

    def _ready(self, start: PhysicsState) -> PhysicsState:
        """Prepare for an episode, whose physics the models have already; return what it starts from."""
        return start

    def _mark_lost(self) -> None:
        """Find tasks that diverged in this step, and write NaN over those that ever did."""
        # MuJoCo puts a simulation that blows up back to its start, and its clock with it. That must not pass unseen.
        after = self._frames[:, -1]
        in_time = after[:, 0] - self._before[:, 0] >= 0.9 * self._step_seconds
        self._lost |= ~in_time | ~np.isfinite(after).all(axis=1)
        if self._lost.any():
            after[self._lost] = np.nan

    def _derive(self) -> None:
        self._deriver.derive(self._frames[:, -1], self._inputs[:, -1], self._deriver_results)
        if (times := self._deriver_results.get(TIME)) is not None:
            times[:] = self._frames[:, -1, 0] - self._began
        if self._derive_arrays is not None:
            self._derived_after.update(self._derive_arrays(self._state_after))

    def _view(self, states: Array, derived: Mapping[str, Array]) -> State:
        """Show qpos and qvel inside an array [N, S] of states."""
        return State(states[:, self._layout.qpos], states[:, self._layout.qvel], derived)
