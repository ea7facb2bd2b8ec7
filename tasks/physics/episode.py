"""The physics of episodes: what the task changes in the model, what is drawn anew each time, and what changes when.

Shapes: K numbers that an episode draws.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import mujoco
import numpy as np

from mql.errors import UserError
from mql.tasks.distributions import Value
from mql.tasks.family import Array
from mql.tasks.physics import nuisances as drawing
from mql.tasks.physics.changes import PhysicsChanges
from mql.tasks.physics.fields import FIELDS, Change
from mql.tasks.physics.nuisances import Nuisance
from mql.tasks.physics.schedule import Schedule
from mql.tasks.scenes.source import ModelSource


class EpisodePhysics:
    """How a model is changed for an episode, and within one. Models are changed in place, in microseconds.

    Args:
        model: the compiled model; its values at this moment are those that changes start from.
        changes: task parameter -> what it changes.
        nuisances: what each episode draws, in this order, on top of these.
        schedules: task parameter -> when it acts; others always do.
        control_timestep: s.
        where: says where a dotted key stands, such as ``parameters.mass.apply.0.body``.
        source: what the model was compiled from.

    Raises:
        UserError: what `PhysicsChanges` refuses; or a number that can't change from episode to episode or within one,
            as the model would have to be compiled for it, or that nothing would come of.
    """

    def __init__(
        self,
        model: mujoco.MjModel,
        changes: Mapping[str, Sequence[Change]],
        nuisances: Sequence[Nuisance] = (),
        schedules: Mapping[str, Schedule] | None = None,
        *,
        control_timestep: float,
        where: Callable[[str], str],
        source: ModelSource | None = None,
    ) -> None:
        self._nuisances, self._schedules = tuple(nuisances), dict(schedules or {})
        self._changed, self._timestep = dict(changes), control_timestep
        places = {f"parameters.{each.parameter}": each.place for each in nuisances}

        def at(key: str) -> str:
            for name, place in places.items():
                if key.startswith(f"{name}."):
                    return where(place + key.removeprefix(name))
            return where(key)

        self.changes = PhysicsChanges(
            model,
            {**changes, **{each.parameter: each.changes for each in nuisances}},
            where=at,
            source=source,
            each=[each.parameter for each in nuisances if each.each],
        )
        self._counts = {each.parameter: self.changes.count(each.parameter) for each in nuisances if each.each}
        self._refuse(where)

    @property
    def varies(self) -> bool:
        """Whether episodes of one task may have different physics, or one episode changing ones."""
        return bool(self._nuisances or self._schedules)

    @property
    def varying_arrays(self) -> frozenset[str]:
        """The model's arrays in which episodes of one task may differ, or that may change within one."""
        drawn = [change for each in self._nuisances for change in each.changes]
        timed = [change for name in self._schedules for change in self._changed[name]]
        return frozenset(FIELDS[change.field].array for change in (*drawn, *timed))

    @property
    def draws(self) -> bool:
        """Whether an episode draws anything."""
        return bool(self._nuisances)

    def draw(self, rng: np.random.Generator) -> Array:
        """Draw what differs from episode to episode, [K]; `rng`, the episode's own, goes on as if not asked."""
        return drawing.drawn(self._nuisances, self._counts, drawing.stream_of(rng))

    def moments(self, parameters: Mapping[str, Value]) -> frozenset[int]:
        """Return the control steps of a task's episode at whose begin the physics change."""
        timestep = self._timestep
        return frozenset(s for schedule in self._schedules.values() for s in schedule.steps(parameters, timestep))

    def apply(
        self, model: mujoco.MjModel, parameters: Mapping[str, Value], drawn: Array | None = None, step: int = 0
    ) -> None:
        """Give `model` the physics of a control step of an episode.

        Args:
            model: the one that was looked up, or a copy of it. Its data go on as they are.
            parameters: of the task.
            drawn: [K], what the episode has drawn; None: as if nothing differed.
            step: from 0.

        Raises:
            UserError: a value that physics forbids.
        """
        values: dict[str, Value] = dict(parameters)
        for name, schedule in self._schedules.items():
            value = schedule.value(parameters[name], self._changed[name], parameters, step, self._timestep)
            if value is None:
                del values[name]
            else:
                values[name] = value
        if drawn is not None:
            values |= drawing.split(self._nuisances, self._counts, drawn)
        self.changes.apply(model, values)

    def _refuse(self, where: Callable[[str], str]) -> None:
        compiled = self.changes.compiled_parameters
        for each in self._nuisances:
            if each.parameter in compiled:
                mend = "make it a task parameter: its values are compiled once"
                raise UserError(f"{each.name} needs the compiler for each value", where=where(each.place), mend=mend)
            if any(change.field == "timestep" for change in each.changes):
                raise UserError("the timestep can't differ", where=where(each.place), mend="leave it as it is")
            if each.parameter in self.changes.idle_parameters:
                what = f"{each.name} scales numbers that are all 0 in this model, which changes nothing"
                raise UserError(what, where=where(each.place), mend="leave it out")
        for name in self._schedules:
            if name in compiled:
                fields = ", ".join(sorted({change.field for change in self._changed[name]}))
                what = f"{name} can't change within an episode: MuJoCo compiles the model anew for {fields}"
                raise UserError(what, where=where(f"parameters.{name}.schedule"), mend="leave the schedule out")
            if any(change.field == "timestep" for change in self._changed[name]):
                what = "the timestep can't change within an episode"
                raise UserError(what, where=where(f"parameters.{name}.schedule"), mend="leave the schedule out")


class ChangingModel:
    """One model in the course of an episode, changed in place.

    Args:
        physics: what changes.
        model: the one that was looked up, or a copy.
    """

    def __init__(self, physics: EpisodePhysics, model: mujoco.MjModel) -> None:
        self._physics, self.model = physics, model
        self._parameters: Mapping[str, Value] = {}
        self._drawn: Array | None = None
        self._moments: frozenset[int] = frozenset()
        self._step = 0

    def begin(self, parameters: Mapping[str, Value], drawn: Array | None) -> None:
        """Give the model the physics with which an episode of a task starts; `drawn` is what this draws, [K]."""
        if parameters is not self._parameters:
            self._parameters, self._moments = parameters, self._physics.moments(parameters)
        self._drawn, self._step = drawn, 0
        self._physics.apply(self.model, parameters, drawn)

    def advance(self) -> bool:
        """Give the model the physics of the next control step: to be called before each. Tell whether they changed."""
        changes = self._step > 0 and self._step in self._moments
        if changes:
            self._physics.apply(self.model, self._parameters, self._drawn, self._step)
        self._step += 1
        return changes
