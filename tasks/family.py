"""The contract of a task family: a distribution of tasks that share spaces and differ in task parameters.

Everything that learns meets tasks through this file only::

    family = registry.load("cheetah-vel")
    tasks = family.sample("train", 32, rng)
    batch = family.make_batch(tasks, threads=2)
    obs = batch.reset(seeds)                         # [N, O]
    for _ in range(family.episode_length):
        step = batch.step(actions)                   # actions [N, A] in [-1, 1]
    batch.close()

Shapes: N tasks in parallel, O observation, A action.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, Self

import gymnasium
import numpy as np
import numpy.typing as npt

from mql.errors import UserError, nearest
from mql.tasks.distributions import Value
from mql.tasks.handling import Handling as Handling
from mql.tasks.name_choice import Name, NameChoice, all_names
from mql.tasks.parameter import Parameter, missing_values
from mql.tasks.splits import Split as Split
from mql.tasks.splits import derived
from mql.tasks.task import Array as Array
from mql.tasks.task import BatchStep as BatchStep
from mql.tasks.task import BoolArray as BoolArray
from mql.tasks.task import FloatArray as FloatArray
from mql.tasks.task import Task as Task
from mql.tasks.task import TaskBatch as TaskBatch
from mql.tasks.travelling import Definition as Definition

SuccessAt = Literal["any", "end"]


@dataclass(frozen=True, kw_only=True, eq=False)
class TaskFamily(ABC):
    """A family of tasks: what varies, what is seen, how long an episode is, and how to build environments.

    Args:
        name: the registered name, such as ``cheetah-vel``.
        summary: one line of text.
        obs_dim: length O of an observation.
        action_dim: length A of an action.
        episode_length: control steps in an episode.
        control_timestep: seconds between two actions.
        parameters: the task parameters, in a fixed order.
        splits: train and test, and ood where the family has tasks outside the training ranges. validation and, beside
            ood, validation-ood follow from them where they are not stated (`mql.tasks.splits`).
        has_success: whether ``info["success"]`` exists.
        hold_steps: control steps in a row at the goal that make a success.
        success_at: when these count: at any time of the episode, or only as its last steps.
        shared_splits: train and test are the same tasks, so a test says nothing about unseen ones.
        oracle: the task parameters stand at the end of the observation (an upper bound for what inference can reach).
        native: stepped in parallel in one process (not by worker processes).
        choices: an action is one of A choices: the one whose number is the largest is made.
        planes: the observation is planes [height, width, C] of zeros and ones, in one row; None: it is numbers.
        episode_timeout: seconds after which an episode in a worker process counts as hanging; those in which it waits
            for a processor that others use don't count.
        probe: chooses actions that let the task parameters show (by pushing the object, say), for `mql tasks check`:
            called with (what `make` returned, the observation [O], the step) it returns an action [A]. None: random
            actions show them.
        episodes: what episodes of one task differ in, what changes within one, and how it is sensed and moved, a line
            of text each, where the family can say it.
    """

    name: str
    summary: str
    obs_dim: int
    action_dim: int
    episode_length: int
    control_timestep: float
    parameters: Mapping[str, Parameter]
    splits: Mapping[str, Split]
    has_success: bool = False
    hold_steps: int = 1
    success_at: SuccessAt = "any"
    shared_splits: bool = False
    oracle: bool = False
    native: bool = True
    choices: bool = False
    planes: tuple[int, int, int] | None = None
    episode_timeout: float = 120.0
    probe: Callable[[gymnasium.Env[Any, Any], FloatArray, int], FloatArray] | None = None
    episodes: tuple[str, ...] = ()

    @cached_property
    def observation_space(self) -> gymnasium.spaces.Box:
        """Unbounded Box [O], float32."""
        return gymnasium.spaces.Box(-np.inf, np.inf, (self.obs_dim,), np.float32)

    @cached_property
    def action_space(self) -> gymnasium.spaces.Box:
        """Box [-1, 1]^A, float32."""
        return gymnasium.spaces.Box(-1.0, 1.0, (self.action_dim,), np.float32)

    @property
    def visible(self) -> tuple[str, ...]:
        """The task parameters that stand at the end of the observation: an oracle's are all."""
        return tuple(self.parameters) if self.oracle else ()

    @abstractmethod
    def make(self, task: Task, render_mode: str | None = None) -> gymnasium.Env[FloatArray, FloatArray]:
        """Build one Gymnasium environment for `task`."""

    @abstractmethod
    def make_batch(self, tasks: Sequence[Task], *, threads: int = 1) -> TaskBatch:
        """Build a batch of `tasks` on `threads` CPU threads; the numbers do not depend on the thread count."""

    @property
    def split_names(self) -> tuple[str, ...]:
        """The lists of tasks that there are: those of `splits`, then those that follow from them."""
        return tuple(self._lists)

    def held_out(self, split: str) -> bool:
        """Tell whether no task of a split is one of the training tasks."""
        trained = {frozenset(task.parameters.items()) for task in self.tasks("train")}
        return not any(frozenset(task.parameters.items()) in trained for task in self.tasks(split))

    def reward(self, before: FloatArray, after: FloatArray, action: npt.ArrayLike, task: Task) -> FloatArray | None:
        """Return what transitions are worth in `task`, [n] float32; None: observations don't say enough.

        They may come from any task. Rewards depend on the task parameters as the environment's own. What is not seen,
        such as the mean speed in a step, is estimated; `mql tasks check NAME` says how well. Similar tasks share the
        error, so that ``stored + reward(..., new task) - reward(..., old task)`` is nearer to the truth.

        Args:
            before: observations [n, O] before the steps, `after` those after them.
            action: [n, A]; values are clipped to [-1, 1].
            task: a task of this family.

        Raises:
            UserError: arrays of other shapes, an action that is not finite, or a task of another family.
        """
        return None

    @property
    def moves_by(self) -> tuple[str, ...] | None:
        """The task parameters that motion, or an episode's end, depends on; None: the family does not say.

        Tasks that agree in these move alike: equal starts and actions lead through equal observations. All others are
        for rewards and success alone.
        """
        return None

    @property
    def pays_by(self) -> tuple[str, ...] | None:
        """The task parameters that `reward` depends on; None: the family does not say, and values have to be tried."""
        return None

    @property
    def definition(self) -> Definition | None:
        """The file that defines this family, for whoever sends it elsewhere; None: an installed package does."""
        return None

    @property
    def handling(self) -> Handling | None:
        """Where hand and object are seen, for random play with the object; None: there are none, or nobody says."""
        return None

    def succeeded(self, obs: FloatArray, action: FloatArray, task: Task) -> bool | None:
        """Tell whether an episode, of any task, would have been a success in `task`; None: observations don't say.

        Args:
            obs: [T+1, O].
            action: [T, A].
            task: a task of this family.

        Raises:
            UserError: as `reward`.
        """
        return None

    def observed(self, signals: Mapping[str, npt.ArrayLike]) -> FloatArray | None:
        """Return the observations [T+1, O] that this family would have shown for a log of T control steps.

        A robot's log holds joint angles and speeds; what an agent sees is computed from them by the family's own model.
        Sensors are taken to have measured what they did: no noise, bias or delay is added. None: the family can't.

        Args:
            signals: by name. ``positions`` [T+1, nq] and ``velocities`` [T+1, nv], of all joints in the model's order,
                or, with fewer columns, of those that actuators drive. Further ones where these don't tell all:
                ``joint_NAME`` and ``speed_NAME``, ``actions`` [T, A], an observed quantity or a visible task parameter
                by its name [T+1, D]; a constant may be given without its axis of time.

        Raises:
            UserError: something that is observed does not follow from these (the message names what to give besides),
                or an array is of another shape or not finite.
        """
        return None

    def tasks(self, split: str) -> list[Task]:
        """Return the fixed list of tasks of one split.

        Raises:
            UserError: the family has no such split.
        """
        if split not in self._lists:
            raise UserError(f"no split {split!r}", where=f"family {self.name}", mend=nearest(split, self._lists))
        return list(self._lists[split])

    def sample(self, split: str, n: int, rng: np.random.Generator) -> list[Task]:
        """Draw `n` tasks of a split's list, each task equally often: the list is dealt out in shuffled rounds.

        Raises:
            UserError: the family has no such split, or `n` is negative.
        """
        tasks = self.tasks(split)
        if n < 0:
            raise UserError(f"can't sample {n} tasks", where=f"family {self.name}", mend="ask for 0 or more")
        rounds = -(-n // len(tasks))
        order = [index for _ in range(rounds) for index in rng.permutation(len(tasks))]
        return [tasks[index] for index in order[:n]]

    def task(self, parameters: Mapping[str, object] | str) -> Task:
        """Build a task of your own from a value for every task parameter, or take a listed one by its name.

        Values outside the training range are allowed and marked; only what physics forbids is refused.

        Args:
            parameters: name -> value; or a text such as ``test:3``, a split and a place in its list, counted from 0.

        Raises:
            UserError: an unknown or missing name, a value of the wrong type or size, NaN, a forbidden value, or no such
                task in the list.
        """
        where = f"family {self.name}"
        if isinstance(parameters, str):
            return self._listed(parameters, where)
        if not hasattr(parameters, "items"):
            mend = "give a value for every task parameter, {NAME: VALUE}, or a listed task, such as 'test:0'"
            raise UserError(f"the task is {parameters!r}", where=where, mend=mend)
        for name in parameters:
            if name not in self.parameters:
                mend = nearest(str(name), self.parameters)
                raise UserError(f"unknown task parameter {name!r}", where=where, mend=mend)
        if missing := [name for name in self.parameters if name not in parameters]:
            raise missing_values(missing, self.parameters, where=where)
        known = {
            name: replace(spec, distribution=self.names_of[name]) if name in self.names_of else spec
            for name, spec in self.parameters.items()
        }
        values = {name: spec.read(name, parameters[name], where=where) for name, spec in known.items()}
        return Task(self.name, "custom", 0, values, self._in_training_range(values))

    def _listed(self, name: str, where: str) -> Task:
        split, colon, place = name.partition(":")
        if not colon or not split.strip():
            mend = "write a split and a place in its list, such as test:0"
            raise UserError(f"no task is called {name!r}", where=where, mend=mend)
        tasks = self.tasks(split.strip())
        try:
            index = int(place)
        except ValueError:
            index = -1
        if not 0 <= index < len(tasks):
            mend = f"the {len(tasks)} tasks of {split.strip()} are counted from 0 to {len(tasks) - 1}"
            raise UserError(f"there is no task {name!r}", where=where, mend=mend)
        return tasks[index]

    def variant(self, suffix: str, note: str, **changes: Any) -> Self:
        """Return this family under the name ``<name>-<suffix>`` with some fields changed; the summary gets `note`."""
        return replace(self, name=f"{self.name}-{suffix}", summary=f"{self.summary} ({note})", **changes)

    def randomised(self, nuisances: Sequence[Any]) -> TaskFamily:
        """Return this family with numbers of its MuJoCo model drawn anew for each episode, and hidden.

        Args:
            nuisances: what is drawn, each a `mql.tasks.physics.nuisances.Nuisance`.

        Raises:
            UserError: there is no such model, or it lacks what they name.
        """
        mend = f"leave out {nuisances[0].place}" if nuisances else "leave it out"
        raise UserError("there is no MuJoCo model whose numbers could differ", where=f"family {self.name}", mend=mend)

    def as_oracle(self) -> Self:
        """Return the ``-oracle`` variant: the same tasks, with the task parameters at the end of the observation."""
        return self.variant(
            "oracle",
            "task parameters visible",
            obs_dim=self.obs_dim + sum(parameter.width for parameter in self.parameters.values()),
            parameters={name: replace(parameter, hidden=False) for name, parameter in self.parameters.items()},
            oracle=True,
        )

    def summary_row(self) -> dict[str, Any]:
        """Return what a list of families shows of this one, as plain data."""
        return {
            "name": self.name,
            "summary": self.summary,
            "obs_dim": self.obs_dim,
            "action_dim": self.action_dim,
            "episode_length": self.episode_length,
            "native": self.native,
            "splits": {name: len(tasks) for name, tasks in self._lists.items()},
        }

    def describe(self) -> dict[str, Any]:
        """Return the summary row, the rule of success, what the parameters mean and every task's, as plain data."""
        success = {"hold_steps": self.hold_steps, "at": self.success_at} if self.has_success else None
        return self.summary_row() | {
            "success": success,
            "parameters": {name: parameter.to_json() for name, parameter in self.parameters.items()},
            "splits": {split: [task.to_json() for task in tasks] for split, tasks in self._lists.items()},
            "episodes": list(self.episodes),
        }

    def check_batch(self, tasks: Sequence[Task], threads: int) -> None:
        """Refuse tasks of another family, an empty batch and a thread count below 1.

        Raises:
            UserError: one of these.
        """
        where = f"family {self.name}"
        if not tasks:
            raise UserError("no tasks given", where=where, mend="a batch needs at least one task")
        if isinstance(threads, bool) or not isinstance(threads, int) or threads < 1:
            raise UserError(f"can't run on {threads!r} threads", where=where, mend="give a whole number of at least 1")
        for task in tasks:
            if not isinstance(task, Task):
                raise UserError(f"{task!r} is not a Task", where=where, mend="build one with family.task({...})")
            if task.family != self.name:
                raise UserError(f"a task of family {task.family!r}", where=where, mend="give tasks of this family")

    @cached_property
    def _lists(self) -> dict[str, tuple[Task, ...]]:
        lists = {name: self._draw(name, split) for name, split in self.splits.items()}
        seen: dict[tuple[Value, ...], str] = {}
        for name, tasks in lists.items():
            for task in tasks:
                owner = seen.setdefault(tuple(task.parameters.values()), name)
                if owner != name and not self.shared_splits:
                    what = f"splits {owner} and {name} share a task"
                    raise UserError(what, where=f"family {self.name}", mend="give them other seeds")
        stated = {name: [task.parameters for task in tasks] for name, tasks in lists.items()}
        more = derived(self.splits, stated, self._draw_one, shared=self.shared_splits)
        return lists | {name: self._listed_as(name, drawn) for name, drawn in more.items()}

    @cached_property
    def names_of(self) -> Mapping[str, NameChoice]:
        """Every name that a parameter of names has in any split, in one order: a name's place is the same everywhere.

        Raises:
            UserError: a split draws numbers where there should be names, or names where there should be numbers.
        """
        choices = {}
        for key, spec in self.parameters.items():
            splits = self.splits.values()
            sources = [spec.distribution, *(split.override[key] for split in splits if key in split.override)]
            listed = [each[key] for split in splits for each in split.listed if key in each]
            if (choice := all_names(key, sources, listed, where=f"family {self.name}")) is not None:
                choices[key] = choice
        return choices

    def _draw(self, name: str, split: Split) -> tuple[Task, ...]:
        rng = np.random.default_rng(split.seed)
        drawn = [self._named(values) for values in split.listed] or [self._draw_one(split, rng) for _ in range(split.n)]
        if not drawn:
            raise UserError(f"split {name} is empty", where=f"family {self.name}", mend="give it n of at least 1")
        return self._listed_as(name, drawn)

    def _draw_one(self, split: Split, rng: np.random.Generator) -> Mapping[str, Value]:
        sources = {key: split.override.get(key, spec.distribution) for key, spec in self.parameters.items()}
        return self._named({key: source.sample(rng) for key, source in sources.items()})

    def _listed_as(self, split: str, drawn: Sequence[Mapping[str, Value]]) -> tuple[Task, ...]:
        return tuple(
            Task(self.name, split, index, values, self._in_training_range(values)) for index, values in enumerate(drawn)
        )

    def _named(self, values: Mapping[str, Any]) -> Mapping[str, Value]:
        """Give names the places that they have in the whole family."""
        if not self.names_of:
            return values
        return {
            key: self.names_of[key].named(value.text if isinstance(value, Name) else value)
            if key in self.names_of
            else value
            for key, value in values.items()
        }

    def _in_training_range(self, values: Mapping[str, Value]) -> bool:
        train = self.splits["train"]
        if train.listed:
            return any(dict(values) == dict(listed) for listed in train.listed)
        sources = {key: train.override.get(key, spec.distribution) for key, spec in self.parameters.items()}
        return all(source.contains(values[key]) for key, source in sources.items())
