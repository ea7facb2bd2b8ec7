"""Definitions of a MuJoCo model without Python: stepped side by side, each task in a changed copy of the model.

What expressions find below ``info`` and what is observed are named quantities of the model
(`mql.tasks.definitions.quantities`), as arrays over tasks; only those that are named somewhere are computed. An episode
starts from the keyframe ``home``, else from the model's own pose, with a little noise on the joints that actuators
move, and never ends early.

Success is true at a step when the goal has been kept for as long as the definition's ``hold`` says.

Shapes: N tasks, O observation, A action, W visible parameters.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import mujoco
import numpy as np

from mql.errors import UserError, nearest
from mql.robots.description import View
from mql.tasks.control.effector import ServoEffector
from mql.tasks.control.joints import Control
from mql.tasks.control.mocap import MocapEffector
from mql.tasks.definitions.control import control_of, frame_skip_of, robot_of
from mql.tasks.definitions.file import DefinitionFile
from mql.tasks.definitions.model import Start, compiled_model, reopened, start_of
from mql.tasks.definitions.quantities import (
    Quantity,
    check_clear,
    chosen,
    named_in,
    quantities_of,
    read_rows,
    sources_beyond_state,
    vector_sizes,
    whole_state,
)
from mql.tasks.definitions.terms import Terms, check_names, terms_of
from mql.tasks.distributions import Value
from mql.tasks.family import Array, Task
from mql.tasks.parameter import visible_values
from mql.tasks.physics.changes import PhysicsChanges
from mql.tasks.stepping.derived import Derived
from mql.tasks.stepping.effector import ControlledDynamics, MocapDynamics
from mql.tasks.stepping.parallel import ParallelFamily
from mql.tasks.stepping.rollout import MujocoDynamics
from mql.tasks.stepping.state import Dynamics, Outcome, State


@dataclass(frozen=True)
class Mechanism:
    """A definition's model, compiled once per process, with all that was looked up in it. Change copies only."""

    model: mujoco.MjModel
    changes: PhysicsChanges | None
    terms: Terms
    start: Start
    observed: Mapping[str, Quantity]
    scaling: tuple[Array, Array] | None  # [O - W] each: what is subtracted from the observed, and what divides it then
    read: Mapping[str, Quantity]
    visible: tuple[str, ...]  # parameters that stand in the observation
    commands: Control | ServoEffector | MocapEffector
    frame_skip: int
    view: View | None  # the robot's own, from where pictures are taken
    reads_observation: bool
    changing: threading.Lock = field(default_factory=threading.Lock, repr=False)  # `changes` serve one thread at a time

    @property
    def derived(self) -> tuple[str | Derived, ...]:
        """What is needed beyond qpos and qvel."""
        return sources_beyond_state([*self.observed.values(), *self.read.values()])


@dataclass(frozen=True, kw_only=True, eq=False)
class ParallelDefinedFamily(ParallelFamily):
    """A parallel family that a definition describes.

    Args:
        path: of the definition.
        digest: of the definition and all its files, which must not change while the family lives.
    """

    success_at_any_step: bool = True
    path: str
    digest: str

    @property
    def visible(self) -> tuple[str, ...]:
        """The task parameters that stand at the end of the observation: those that are not hidden."""
        return (*super().visible, *self.mechanism.visible)

    @property
    def mechanism(self) -> Mechanism:
        """The model and what was looked up in it.

        Raises:
            UserError: a file has changed since the family was loaded.
        """
        return _mechanism(self.path, self.digest)

    def dynamics(self, tasks: Sequence[Task], threads: int) -> Dynamics:
        """Build the simulation of `tasks`."""
        known = self.mechanism
        with known.changing:
            models = [
                known.model if known.changes is None else known.changes.of_copy(known.model, task.parameters)
                for task in tasks
            ]

        commands = known.commands
        if isinstance(commands, MocapEffector):
            return MocapDynamics(
                models, known.frame_skip, threads, known.derived, commands, view=known.view, begin=known.start.put
            )
        if isinstance(commands, ServoEffector):
            return ControlledDynamics(
                models, known.frame_skip, threads, known.derived, commands, view=known.view, begin=known.start.put
            )

        def control(state: State, action: Array) -> Array:
            return commands.signal(state.qpos, action)

        return MujocoDynamics(
            models,
            known.frame_skip,
            threads,
            known.derived,
            view=known.view,
            control=control,
            begin=known.start.put,
        )

    def initial_state(self, rng: np.random.Generator, parameters: Mapping[str, Value]) -> tuple[Array, Array]:
        """Draw a pose close to the model's own."""
        return self.mechanism.start.draw(rng)

    def observe(self, state: State) -> Array:
        """Return the observed quantities one after another, [N, O - W]."""
        values = read_rows(self.mechanism.observed, _arrays(state)).values()
        seen: Array = np.concatenate([value.reshape(len(state.qpos), -1) for value in values], axis=1)
        if self.mechanism.scaling is not None:
            minus, per = self.mechanism.scaling
            seen = (seen - minus) / per
        return seen

    def outcome(self, before: State, after: State, action: Array, parameters: Mapping[str, Array]) -> Outcome:
        """Judge one control step by the definition's expressions."""
        known = self.mechanism
        rows = len(after.qpos)
        scope: dict[str, Any] = {
            "info": read_rows(known.read, _arrays(after)),
            "task": parameters,
            "action": action,
        }
        if known.reads_observation:
            scope["obs"] = np.concatenate(
                [self.observe(after), visible_values(parameters, known.visible, rows)], axis=1
            )
        reward, terms = known.terms.reward_rows(scope, rows)
        lost = ~np.isfinite(after.qpos).all(axis=1)
        success = known.terms.success
        at_goal = None if success is None else success.evaluate_rows(scope).astype(bool) & ~lost
        return Outcome(np.where(lost, np.nan, reward), at_goal=at_goal, info=terms)


def parallel_family(file: DefinitionFile, shared: Mapping[str, Any]) -> ParallelDefinedFamily:
    """Build the family of a definition without Python; `shared` are the fields that it says itself.

    Raises:
        UserError: the model can't be used, or a name in the definition is not one of its.
    """
    known = _look_up(file)
    length, success = file.definition.env.episode_length, file.definition.success
    assert length is not None
    named = quantities_of(known.model)
    visible = sum(file.distribution(name).size or 1 for name in known.visible)
    obs_dim = sum(quantity.width for quantity in known.observed.values()) + visible
    sizes = vector_sizes(named) | {"obs": obs_dim, "action": known.commands.action_dim}
    check_names(file, known.terms, info=named, sizes=sizes)
    return ParallelDefinedFamily(
        **shared,
        obs_dim=obs_dim,
        action_dim=known.commands.action_dim,
        episode_length=length,
        control_timestep=known.frame_skip * float(known.model.opt.timestep),
        has_success=success is not None,
        hold_steps=success.hold if success is not None else 0,
        path=str(file.path),
        digest=file.digest,
    )


@lru_cache(maxsize=8)
def _mechanism(path: str, digest: str) -> Mechanism:
    return _look_up(reopened(path, digest))


def _look_up(file: DefinitionFile) -> Mechanism:
    robot, terms, env = robot_of(file), terms_of(file), file.definition.env
    model = compiled_model(file, robot)
    known = quantities_of(model)
    whole = whole_state(model)
    observed = chosen(known, env.observe, where=file.where("env.observe"), whole=whole) if env.observe else whole
    read = named_in(terms.info_names, known, where=file.where("reward"))
    check_clear(read, where=file.where("reward"))
    changes = {name: spec.apply for name, spec in file.definition.parameters.items() if spec.apply}
    for name, listed in changes.items():
        if any(change.field == "timestep" for change in listed):
            mend = "tasks side by side share their clock; write a Python class, or leave the timestep as it is"
            raise UserError(
                "the timestep differs between tasks", where=file.where(f"parameters.{name}.apply"), mend=mend
            )
    return Mechanism(
        model=model,
        changes=PhysicsChanges(model, changes, where=file.where) if changes else None,
        terms=terms,
        start=start_of(model, robot),
        observed=observed,
        scaling=_scaling(file, observed),
        read=read,
        visible=tuple(name for name, spec in file.definition.parameters.items() if not spec.hidden),
        commands=control_of(file, model, robot),
        frame_skip=frame_skip_of(file, model, robot),
        view=None if robot is None else robot.camera(),
        reads_observation=terms.reads_observation,
    )


def _scaling(file: DefinitionFile, observed: Mapping[str, Quantity]) -> tuple[Array, Array] | None:
    """Return what is subtracted from the observed quantities, and what they are divided by; None: they stay."""
    asked = file.definition.env.scaling
    if not asked:
        return None
    for name, each in asked.items():
        where = file.where(f"env.scaling.{name}")
        if name not in observed:
            raise UserError(f"{name!r} is not observed", where=where, mend=nearest(name, observed))
        width = observed[name].width
        if isinstance(each.minus, tuple) and len(each.minus) != width:
            what = f"minus has {len(each.minus)} numbers, {name} {width}"
            raise UserError(what, where=where, mend="give one for each component, or a single one")
    minus = [
        np.broadcast_to(asked[name].minus if name in asked else 0.0, each.width) for name, each in observed.items()
    ]
    per = [np.full(each.width, asked[name].per if name in asked else 1.0) for name, each in observed.items()]
    return np.concatenate(minus), np.concatenate(per)


def _arrays(state: State) -> dict[str, Array]:
    return {"qpos": state.qpos, "qvel": state.qvel, **state.derived}
