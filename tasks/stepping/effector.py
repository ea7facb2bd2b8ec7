"""Simulations of robots that a controller commands: many tasks, each with its own memory of what was asked for.

By actuators, tasks are stepped in parallel like all parallel families. What a mocap body does is no actuator's
signal, so with one each task is a simulation of its own, advanced by plain ``mj_step`` with the solver's warm start.

Shapes: N tasks, Q positions, V velocities, U actuators, A numbers of an action.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import mujoco
import numpy as np

from mql.robots.description import View
from mql.tasks.control.controller import Controller, Episode
from mql.tasks.control.mocap import MocapEffector
from mql.tasks.family import Array
from mql.tasks.stepping.advance import whole_stepper
from mql.tasks.stepping.derived import Derived
from mql.tasks.stepping.live import LiveDynamics
from mql.tasks.stepping.physics_state import Begin, PhysicsState
from mql.tasks.stepping.rollout import MujocoDynamics
from mql.tasks.stepping.state import State
from mql.tasks.stepping.varying import Models


class ControlledDynamics(MujocoDynamics):
    """N MuJoCo simulations in parallel whose actuators a controller commands.

    What the controller knows of the robots stands in ``State.derived``.

    Args:
        models: one model per task; the same object may serve many.
        frame_skip: physics steps in one control step.
        threads: size of the C++ thread pool.
        derived: quantities of `mql.tasks.stepping.derived` to find in ``State.derived``.
        controller: what actions do.
        view: from where pictures are taken; None: through the model's own camera.
        begin: as for other simulations.
    """

    def __init__(
        self,
        models: Models,
        frame_skip: int,
        threads: int,
        derived: Sequence[str | Derived],
        controller: Controller,
        *,
        view: View | None = None,
        begin: Begin | None = None,
    ) -> None:
        super().__init__(
            models, frame_skip, threads, derived, view=view, derive=self._see, control=self._command, begin=begin
        )
        self._controller, self._start_from = controller, begin
        self._scratch = mujoco.MjData(self._models[0])
        self._episode: Episode | None = None

    def _ready(self, start: PhysicsState) -> PhysicsState:
        holding = self._controller.holding
        resting = holding.of_rows(self._models, self._scratch, start.qpos)
        self._episode = self._controller.begin(start.qpos, resting)
        if holding.filters and start.act is None:
            start = replace(start, act=self._settled(resting))
        return start

    def _settled(self, resting: Array) -> Array:
        """Return activations [N, X] with which an episode starts under controls [N, U] that hold all as it is."""
        settled, data = np.zeros((len(self._models), self._models[0].na)), mujoco.MjData(self._models[0])
        for row, model in enumerate(self._models):
            mujoco.mj_resetData(model, data)
            if self._start_from is not None:
                self._start_from(model, data)
            settled[row] = data.act
            self._controller.holding.settle(settled[row], resting[row])
        return settled

    def limited(self) -> Mapping[str, Array]:
        """Return which stated limits cut the last action: name -> [N], 1 where one did."""
        stated = {} if self._episode is None else self._episode.limited
        return {name: cut.astype(np.float64) for name, cut in stated.items()}

    def _see(self, state: State) -> Mapping[str, Array]:
        assert self._episode is not None
        return self._episode.see(state.qpos, state.qvel)

    def _command(self, state: State, action: Array) -> Array:
        if self._episode is None:
            raise RuntimeError("the robots are nowhere yet: place them first")
        return self._episode.controls(action)


class MocapDynamics(LiveDynamics):
    """N MuJoCo simulations in parallel whose end effectors are pulled by mocap bodies.

    Args:
        models: one model per task; the same object may serve many.
        frame_skip: physics steps in one control step.
        threads: tasks that are stepped at the same time.
        derived: quantities of `mql.tasks.stepping.derived` to find in ``State.derived``, those of the motors excepted.
        effector: what actions do.
        view: from where pictures are taken; None: through the model's own camera.
        begin: as for other simulations.
    """

    def __init__(
        self,
        models: Models,
        frame_skip: int,
        threads: int,
        derived: Sequence[str | Derived],
        effector: MocapEffector,
        *,
        view: View | None = None,
        begin: Begin | None = None,
    ) -> None:
        super().__init__(models, threads, derived, view=view, begin=begin)
        rows = list(zip(self._models, self._data, strict=True))
        self._drives = [effector.drive(model, data) for model, data in rows]
        self._advance = [whole_stepper(model, data, frame_skip) for model, data in rows]

    def limited(self) -> Mapping[str, Array]:
        """Return which stated limits cut the last action: name -> [N], 1 where one did."""
        told = [drive.limited for drive in self._drives]
        return {name: np.array([each[name] for each in told], np.float64) for name in told[0]}

    def _begin(self, row: int) -> None:
        self._drives[row].start()

    def _step(self, row: int, action: Array) -> None:
        self._drives[row].act(action)
        self._advance[row]()
