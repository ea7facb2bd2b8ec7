"""Definitions of a MuJoCo model without Python: stepped in parallel, each task in a changed copy of the model.

What expressions find below ``info`` and what is observed are named quantities of the model
(`mql.tasks.definitions.quantities`), as arrays over tasks; only those that are named somewhere are computed. An episode
starts from the keyframe ``home``, else from the model's own pose, with a little noise on the joints that actuators
move and what ``start`` draws, and ends early where the definition says so.

Shapes: N tasks, O observation, A action, W visible parameters.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Self

import mujoco
import numpy as np
import numpy.typing as npt

from mql.errors import UserError
from mql.robots.description import View
from mql.tasks.control.controller import Controller
from mql.tasks.control.mocap import MocapEffector
from mql.tasks.control.rest import Resting
from mql.tasks.definitions.commanded import SOURCES, commanded
from mql.tasks.definitions.control import control_of, end_of, frame_skip_of, robot_of
from mql.tasks.definitions.episodes import episode_physics
from mql.tasks.definitions.file import DefinitionFile
from mql.tasks.definitions.influence import moving, paying
from mql.tasks.definitions.judge import RowsJudge
from mql.tasks.definitions.model import Start, as_travelling, compiled_model, reopened, source_of, start_of
from mql.tasks.definitions.probe import probe_of
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
from mql.tasks.definitions.scaling import scaled, scaling_of, visible_names, visible_part
from mql.tasks.definitions.schema import Scaling
from mql.tasks.definitions.seen_reward import PLACING, SeenReward, fixed_places, parts_of, seen_reward, shows_task
from mql.tasks.definitions.sensing import as_sensed, observed_quantities
from mql.tasks.definitions.start import HOME_NOISE, DrawnStart
from mql.tasks.definitions.terms import Terms, check_names, terms_of
from mql.tasks.distributions import Value
from mql.tasks.family import Array, BoolArray, Definition, FloatArray, Task, TaskFamily
from mql.tasks.physics.episode import EpisodePhysics
from mql.tasks.physics.nuisances import Nuisance
from mql.tasks.scenes.source import ModelSource
from mql.tasks.stepping.checked import checked_transitions
from mql.tasks.stepping.derived import Derived, name_of
from mql.tasks.stepping.effector import ControlledDynamics, MocapDynamics
from mql.tasks.stepping.logged import COMPARED, FROM_FORCES, Mechanics
from mql.tasks.stepping.parallel import EpisodeJudge, ParallelFamily
from mql.tasks.stepping.physics_state import PhysicsState
from mql.tasks.stepping.state import Dynamics, Outcome, State
from mql.tasks.stepping.varying import Models, Varying


@dataclass(frozen=True)
class Mechanism:
    """A definition's model, compiled once per process, with all that was looked up in it. Change copies only."""

    model: mujoco.MjModel
    physics: EpisodePhysics | None  # what tasks and episodes change in the model
    terms: Terms
    start: Start
    drawn: DrawnStart
    observed: Mapping[str, Quantity]
    scaling: Mapping[str, Scaling]  # how observed quantities and visible parameters are seen, where not as they are
    read: Mapping[str, Quantity]
    seen_reward: SeenReward | None  # None: observations don't tell it
    visible: tuple[str, ...]  # parameters that stand in the observation
    commands: Controller | MocapEffector
    end: str | None  # the site of the robot's end effector
    frame_skip: int
    view: View | None  # the robot's own, from where pictures are taken
    source: ModelSource
    moving: frozenset[str]  # parameters that motion or an episode's end depends on
    paying: frozenset[str]  # parameters that `seen_reward` depends on

    @property
    def derived(self) -> tuple[str | Derived, ...]:
        """What is needed beyond qpos and qvel."""
        used = [*self.observed.values(), *self.read.values()]
        return sources_beyond_state([quantity for quantity in used if quantity.source not in SOURCES])


@dataclass(frozen=True, kw_only=True, eq=False)
class ParallelDefinedFamily(ParallelFamily):
    """A parallel family that a definition describes.

    Args:
        path: of the definition.
        digest: of the definition and all its files, which must not change while the family lives.
        nuisances: what each episode draws of the model's numbers, besides what the definition says.
    """

    path: str
    digest: str
    nuisances: tuple[Nuisance, ...] = ()

    @property
    def visible(self) -> tuple[str, ...]:
        """The task parameters that stand at the end of the observation: those that are not hidden."""
        return (*super().visible, *self.mechanism.visible)

    @property
    def definition(self) -> Definition:
        """The file that describes it."""
        return as_travelling(self.path, self.digest)

    @property
    def mechanism(self) -> Mechanism:
        """The model and what was looked up in it.

        Raises:
            UserError: a file has changed since the family was loaded.
        """
        return _mechanism(self.path, self.digest, self.nuisances)

    @property
    def physics(self) -> EpisodePhysics | None:
        """What tasks and episodes change in the model; None: nothing."""
        return self.mechanism.physics

    @property
    def moves_by(self) -> tuple[str, ...]:
        """The task parameters that motion, where it starts, or an episode's end depends on."""
        return tuple(name for name in self.parameters if name in self.mechanism.moving)

    @property
    def pays_by(self) -> tuple[str, ...]:
        """The task parameters that rewards read, or that put somewhere what rewards read."""
        return tuple(name for name in self.parameters if name in self.mechanism.paying)

    def randomised(self, nuisances: Sequence[Nuisance]) -> Self:
        """Return this family with further numbers of the model drawn anew for each episode."""
        family = replace(self, nuisances=(*self.nuisances, *nuisances))
        assert family.physics is not None  # which looks their names up
        return family

    def model(self, task: Task) -> mujoco.MjModel:
        """Return the task's model: a changed copy where a parameter changes the physics."""
        known = self.mechanism
        return known.model if known.physics is None else known.physics.changes.of_copy(known.model, task.parameters)

    def task_models(self, tasks: Sequence[Task]) -> Models:
        """Return the models of `tasks`: their own ones where these differ between episodes, or change within one."""
        known = self.mechanism
        if known.physics is None or not known.physics.varies:
            return [self.model(task) for task in tasks]
        return Varying(known.physics, known.model, [task.parameters for task in tasks])

    def visible_part(self, parameters: Mapping[str, Array], rows: int) -> Array:
        """Return the visible task parameters as the agent sees them, scaled where the definition says so, [N, W]."""
        return visible_part(self.mechanism.scaling, parameters, self.visible, rows)

    def dynamics(self, tasks: Sequence[Task], threads: int) -> Dynamics:
        """Build the simulation of `tasks`."""
        known = self.mechanism
        models = self.task_models(tasks)
        commands = known.commands
        if isinstance(commands, MocapEffector):
            return MocapDynamics(
                models, known.frame_skip, threads, known.derived, commands, view=known.view, begin=known.start.put
            )
        return ControlledDynamics(
            models, known.frame_skip, threads, known.derived, commands, view=known.view, begin=known.start.put
        )

    def resting(self, task: Task) -> Resting | None:
        """Return the robot of a task that is asked to stay where it starts; None: no action asks for that.

        An end effector has to be stated, whose place can be watched.
        """
        known = self.mechanism
        if known.end is None or not known.commands.stays:
            return None
        none, start = np.zeros(known.commands.action_dim), known.start
        return Resting(
            self.model(task), start.qpos, start.qvel, known.end, known.commands, none, known.frame_skip, start.put
        )

    def initial_state(self, rng: np.random.Generator, parameters: Mapping[str, Value]) -> tuple[Array, Array]:
        """Draw a pose close to the model's own, or where ``start`` puts it."""
        start = self.mechanism.drawn.draw(rng, parameters)
        return start.qpos, start.qvel

    def first_state(self, rng: np.random.Generator, task: Task) -> PhysicsState:
        """Draw all that one episode of `task` starts from, its mocap bodies, too."""
        return self.mechanism.drawn.draw(rng, task.parameters)

    def observe(self, state: State) -> Array:
        """Return the observed quantities one after another, [N, O - W]."""
        seen: Array = np.concatenate([*self.observed_parts(state).values()], axis=1)
        return seen

    def observed_parts(self, state: State) -> dict[str, Array]:
        """Return each observed quantity by its name, as the agent sees it: [N, D]."""
        known = self.mechanism
        return {
            name: scaled(known.scaling.get(name), value.reshape(len(state.qpos), -1))
            for name, value in read_rows(known.observed, _arrays(state)).items()
        }

    def mechanics(self) -> Mechanics:
        """Return what computes observations from logged joints."""
        known, tasks = self.mechanism, self.tasks("train")[:COMPARED]
        forced = [
            name
            for name, quantity in known.observed.items()
            if quantity.derived is not None and quantity.derived.needs & FROM_FORCES
        ]
        seen = {quantity.source for quantity in known.observed.values()}
        return Mechanics(
            family=self,
            models=[self.model(task) for task in tasks],
            start=self.first_state(np.random.default_rng(0), tasks[0]),
            begin=known.start.put,
            derived=[each for each in known.derived if name_of(each) in seen],
            controller=None if isinstance(known.commands, MocapEffector) else known.commands,
            observe=self.observed_parts,
            forced=forced,
            known=list(known.observed),
        )

    def reward(self, before: FloatArray, after: FloatArray, action: npt.ArrayLike, task: Task) -> FloatArray | None:
        """Return what transitions are worth in `task`, [n] float32, by the definition's expressions.

        See `TaskFamily.reward`. None: they read what is not observed, or what a task itself puts somewhere.
        """
        given, known = checked_transitions(self, before, after, action, task), self.mechanism
        if known.seen_reward is None or _shows_task(self):
            return None
        visible = visible_part(known.scaling, given.parameters, known.visible, len(given.action))
        model = self.model(task) if known.seen_reward.fixed else None
        return known.seen_reward(given, visible, model).astype(np.float32)

    def judge(self, rows: int) -> EpisodeJudge:
        """Return what judges the episodes of a batch of N = `rows` tasks by the definition's expressions."""
        return _DefinedJudge(self, rows)

    def outcome(self, before: State, after: State, action: Array, parameters: Mapping[str, Array]) -> Outcome:
        """Judge one control step by the definition's expressions, as if it were an episode's first."""
        return self.judge(len(after.qpos)).judge(before, after, action, parameters)


class _DefinedJudge:
    """Hands a step of a batch to the definition's expressions."""

    def __init__(self, family: ParallelDefinedFamily, rows: int) -> None:
        terms = family.mechanism.terms
        self._family, self._rows = family, rows
        self._memory = RowsJudge(terms, rows, family.action_dim)
        self._before, self._seen = bool(terms.names("last.info")), bool(terms.names("obs"))
        self._seen_before = bool(terms.names("last.obs"))

    def begin(self) -> None:
        self._memory.begin()

    def judge(self, before: State, after: State, action: Array, parameters: Mapping[str, Array]) -> Outcome:
        scope = {"info": self._info(after), "task": parameters, "action": action}
        if self._before:
            scope["last.info"] = self._info(before)
        if self._seen:
            scope |= self._observed("obs", after, parameters)
        if self._seen_before:
            scope |= self._observed("last.obs", before, parameters)
        lost: BoolArray = np.logical_not(np.isfinite(after.qpos).all(axis=1))
        return self._memory.judge(scope, lost)

    def _info(self, state: State) -> dict[str, Array]:
        return read_rows(self._family.mechanism.read, _arrays(state))

    def _observed(self, root: str, state: State, parameters: Mapping[str, Array]) -> dict[str, Any]:
        known, parts = self._family.mechanism, self._family.observed_parts(state)
        # Of an oracle, expressions see what its definition lets be seen.
        visible = visible_part(known.scaling, parameters, known.visible, self._rows)
        whole = np.concatenate([*parts.values(), visible], axis=1)
        return {root: whole, f"{root}.NAME": parts}


def parallel_family(file: DefinitionFile, shared: Mapping[str, Any]) -> TaskFamily:
    """Build the family of a definition without Python; `shared` are the fields that it says itself.

    Raises:
        UserError: the model can't be used, or a name in the definition is not one of its.
    """
    known = _look_up(file, ())
    length = file.definition.env.episode_length
    assert length is not None
    named = ChainMap(commanded(known.commands), quantities_of(known.model))  # type: ignore[arg-type]  # only read
    visible = sum(file.distribution(name).size or 1 for name in known.visible)
    obs_dim = sum(quantity.width for quantity in known.observed.values()) + visible
    sizes = vector_sizes(named) | {"obs": obs_dim, "action": known.commands.action_dim}
    sizes |= {f"obs.{name}": quantity.width for name, quantity in known.observed.items()}
    check_names(file, known.terms, info=named, obs=known.observed, sizes=sizes)
    family = ParallelDefinedFamily(
        **{**shared, "parameters": known.drawn.known(shared["parameters"])},
        obs_dim=obs_dim,
        action_dim=known.commands.action_dim,
        episode_length=length,
        control_timestep=known.frame_skip * float(known.model.opt.timestep),
        has_success=file.definition.success is not None,
        probe=probe_of(file, known.commands.action_dim),
        path=str(file.path),
        digest=file.digest,
    )
    known.drawn.draw(np.random.default_rng(0), family.tasks("train")[0].parameters)  # what can't be placed shows now
    observed = observed_quantities(known.observed, known.scaling)
    return as_sensed(file, family, observed, robot=robot_of(file), model=known.model)


@lru_cache(maxsize=8)
def _mechanism(path: str, digest: str, nuisances: tuple[Nuisance, ...]) -> Mechanism:
    return _look_up(reopened(path, digest), nuisances)


def _look_up(file: DefinitionFile, nuisances: Sequence[Nuisance]) -> Mechanism:
    robot, terms, env = robot_of(file), terms_of(file), file.definition.env
    model, source = compiled_model(file, robot), source_of(file, robot)
    known = quantities_of(model)
    commands = control_of(file, model, robot)
    own = commanded(commands)
    observed = whole_state(model)
    if env.observe:
        observed = chosen(known, env.observe, where=file.where("env.observe"), whole=observed | own)
    read = named_in(terms.info_names, known, where=lambda name: file.where(terms.reads(name)))
    read |= {name: own[name] for name in sorted(terms.info_names & own.keys())}
    check_clear(read, where=lambda name: file.where(terms.reads(name)))
    changes = {name: spec.apply for name, spec in file.definition.parameters.items() if spec.apply}
    for name, listed in changes.items():
        if any(change.field == "timestep" for change in listed):
            mend = "the tasks of a batch share one timestep; write a Python class, or leave the timestep as it is"
            raise UserError(
                "the timestep differs between tasks", where=file.where(f"parameters.{name}.apply"), mend=mend
            )
    frame_skip, start = frame_skip_of(file, model, robot), start_of(model, robot)
    physics = episode_physics(
        file,
        model,
        control_timestep=frame_skip * float(model.opt.timestep),
        robot=robot,
        source=source,
        nuisances=nuisances,
    )
    apply = physics.apply if physics is not None else None
    fixed = fixed_places(model, read)
    if physics is not None and not physics.varying_arrays.isdisjoint(PLACING):
        fixed = {}
    widths = {name: quantity.width for name, quantity in observed.items()}
    scaling = scaling_of(file, widths)
    drawn = DrawnStart(file, model, start, home_noise=HOME_NOISE, apply=apply)
    return Mechanism(
        model=model,
        physics=physics,
        terms=terms,
        start=start,
        drawn=drawn,
        observed=observed,
        scaling=scaling,
        read=read,
        seen_reward=seen_reward(terms, parts_of(widths, scaling), observed=observed, read=read, fixed=fixed),
        visible=visible_names(file),
        commands=commands,
        end=end_of(model, robot),
        frame_skip=frame_skip,
        view=None if robot is None else robot.camera(),
        source=source,
        moving=moving(file, changes, drawn, terms, physics),
        paying=paying(file, terms, places=bool(fixed)),
    )


@lru_cache(maxsize=64)
def _shows_task(family: ParallelDefinedFamily) -> bool:
    found = family.mechanism.seen_reward
    return found is not None and shows_task(family, found.columns)


def _arrays(state: State) -> dict[str, Array]:
    return {"qpos": state.qpos, "qvel": state.qvel, **state.derived}
