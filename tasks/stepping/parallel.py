"""Parallel families: many tasks stepped in parallel as arrays, in one process.

A family states its task as functions of batched state: `initial_state`, `observe` and `outcome`. This file turns them
into a batch: seeds, episode ends, masking of ended episodes, success, and the types of the contract. All
arithmetic is in float64 and row by row, so a task's numbers do not depend on its neighbours; observations and rewards
are rounded to float32 last.

Shapes: N tasks, O observation, A action, Q positions (qpos), V velocities (qvel).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import gymnasium
import numpy as np
import numpy.typing as npt

from mql.errors import UserError
from mql.tasks.distributions import Value
from mql.tasks.family import Array, BatchStep, FloatArray, Task, TaskFamily
from mql.tasks.parameter import visible_values
from mql.tasks.physics.episode import EpisodePhysics
from mql.tasks.stepping.checked import checked_actions, checked_seeds, checked_transitions
from mql.tasks.stepping.logged import Mechanics, observed_parts
from mql.tasks.stepping.physics_state import PhysicsState, stacked
from mql.tasks.stepping.simulation import Simulating, Simulation
from mql.tasks.stepping.single import TaskEnvironment
from mql.tasks.stepping.state import Dynamics, LimitedDynamics, Outcome, State
from mql.tasks.stepping.success import SuccessRule


@dataclass(frozen=True, kw_only=True, eq=False)
class ParallelFamily(TaskFamily):
    """A family whose tasks are functions of batched state."""

    @property
    def physics(self) -> EpisodePhysics | None:
        """What tasks and episodes change in a MuJoCo model; None: nothing, or there is none."""
        return None

    @abstractmethod
    def dynamics(self, tasks: Sequence[Task], threads: int) -> Dynamics:
        """Build the laws of motion of `tasks`, in their order."""

    @abstractmethod
    def initial_state(self, rng: np.random.Generator, parameters: Mapping[str, Value]) -> tuple[Array, Array]:
        """Draw one episode's first qpos [Q] and qvel [V]. What is drawn must not depend on the task parameters."""

    def first_state(self, rng: np.random.Generator, task: Task) -> PhysicsState:
        """Draw all that one episode of `task` starts from: arrays without the axis N.

        What is left open is the task's own model's, or the keyframe's. All episodes of a family leave the same open.
        """
        qpos, qvel = self.initial_state(rng, task.parameters)
        return PhysicsState(qpos, qvel)

    @abstractmethod
    def observe(self, state: State) -> Array:
        """Return what the agent sees, [N, O], without the task parameters."""

    @abstractmethod
    def outcome(self, before: State, after: State, action: Array, parameters: Mapping[str, Array]) -> Outcome:
        """Judge one control step. `parameters` maps a name to [N], or to [N, size] for a vector.

        A task that diverged has NaN in its state: its reward must be NaN too, and it must not count as terminated.
        """

    def seen_states(self, before: Array, after: Array) -> tuple[State, State] | None:
        """Return the states before and after steps as far as observations [N, O] tell, without the task parameters.

        They need to hold what `outcome` makes rewards of, for `reward`; places are left open where all rewards follow
        from a displacement. None: observations don't say enough.
        """
        return None

    def reward(self, before: FloatArray, after: FloatArray, action: npt.ArrayLike, task: Task) -> FloatArray | None:
        """Return what transitions would have been worth in `task`, [n] float32: `outcome` of the `seen_states`.

        See `TaskFamily.reward`.
        """
        transitions = checked_transitions(self, before, after, action, task)
        states = self.seen_states(transitions.before, transitions.after)
        if states is None:
            return None
        with np.errstate(invalid="ignore"):
            outcome = self.outcome(*states, transitions.action, transitions.parameters)
        return outcome.reward.astype(np.float32)

    def succeeded(self, obs: FloatArray, action: FloatArray, task: Task) -> bool | None:
        """Tell whether an episode would have been a success in `task`: `outcome` of the `seen_states`.

        See `TaskFamily.succeeded`.
        """
        transitions = checked_transitions(self, obs[:-1], obs[1:], action, task)
        states = self.seen_states(transitions.before, transitions.after) if self.has_success else None
        if states is None:
            return None
        at_goal = self.outcome(*states, transitions.action, transitions.parameters).at_goal
        if at_goal is None:
            return None
        rule, last = SuccessRule(self), len(at_goal) - 1
        return [rule.judge(bool(there), step == last) for step, there in enumerate(at_goal)][-1]

    def mechanics(self) -> Mechanics | None:
        """Return what computes observations from logged joints, for `observed`; None: nothing does."""
        return None

    def observed(self, signals: Mapping[str, npt.ArrayLike]) -> FloatArray | None:
        """Return the observations that this family would have shown for a log; see `TaskFamily.observed`."""
        known = self.mechanics()
        if known is None:
            return None
        seen = observed_parts(known, signals, constant=self.visible)
        rows = len(next(iter(seen.values())))
        parts = [seen[name] for name in seen if name not in self.visible]
        parameters = {
            name: values if self.parameters[name].distribution.size is not None else values[:, 0]
            for name, values in seen.items()
            if name in self.visible
        }
        return np.concatenate([*parts, self.visible_part(parameters, rows)], axis=1).astype(np.float32)

    def judge(self, rows: int) -> EpisodeJudge:
        """Return what judges the episodes of a batch of N = `rows` tasks: `outcome`, which remembers nothing."""
        return _Memoryless(self)

    def visible_part(self, parameters: Mapping[str, Array], rows: int) -> Array:
        """Return the visible task parameters as they stand at the end of the observation, [N, W]."""
        return visible_values(parameters, self.visible, rows)

    def make(self, task: Task, render_mode: str | None = None) -> gymnasium.Env[FloatArray, FloatArray]:
        """Build one Gymnasium environment for `task`: a view of a batch with this task alone, hence bit-equal to it.

        Raises:
            UserError: a task of another family, or an unknown render mode.
        """
        return TaskEnvironment(self, task, self.make_batch([task]), render_mode=render_mode)

    def make_batch(self, tasks: Sequence[Task], *, threads: int = 1) -> ParallelBatch:
        """Build a batch of `tasks`.

        Raises:
            UserError: no tasks, tasks of another family, or a thread count below 1.
        """
        self.check_batch(tasks, threads)
        return ParallelBatch(self, tasks, threads)


class EpisodeJudge(Protocol):
    """Judges the steps of N tasks, and remembers between them what it needs."""

    def begin(self) -> None:
        """Start an episode of every task."""
        ...

    def judge(self, before: State, after: State, action: Array, parameters: Mapping[str, Array]) -> Outcome:
        """Judge one control step, as `ParallelFamily.outcome` does."""
        ...


@dataclass(frozen=True)
class _Memoryless:
    family: ParallelFamily

    def begin(self) -> None:
        pass

    def judge(self, before: State, after: State, action: Array, parameters: Mapping[str, Array]) -> Outcome:
        return self.family.outcome(before, after, action, parameters)


class ParallelBatch:
    """The `TaskBatch` of a parallel family."""

    def __init__(self, family: ParallelFamily, tasks: Sequence[Task], threads: int) -> None:
        self.family = family
        self.tasks: tuple[Task, ...] = tuple(tasks)
        self._dynamics = family.dynamics(self.tasks, threads)
        self._limited = self._dynamics.limited if isinstance(self._dynamics, LimitedDynamics) else None
        self._parameters = {
            name: np.array([task.parameters[name] for task in self.tasks], dtype=np.float64)
            for name in family.parameters
        }
        self._visible = family.visible_part(self._parameters, len(self.tasks))
        self._steps = 0
        self._judge = family.judge(len(self.tasks))
        self._success = SuccessRule(family)
        self._last: BatchStep | None = None

    def reset(self, seeds: Sequence[int]) -> FloatArray:
        """Start an episode of every task; task i draws its first state from ``numpy.random.default_rng(seeds[i])``.

        Raises:
            UserError: not one non-negative seed per task.
        """
        return self.reset_from([np.random.default_rng(seed) for seed in checked_seeds(seeds, len(self.tasks))])

    def reset_from(self, rngs: Sequence[np.random.Generator]) -> FloatArray:
        """Start an episode of every task, each drawing from its own generator; return obs [N, O]."""
        drawn = [self.family.first_state(rng, task) for rng, task in zip(rngs, self.tasks, strict=True)]
        start, physics = stacked(drawn), self.family.physics
        if physics is not None and physics.draws:
            start = replace(start, drawn=np.stack([physics.draw(rng) for rng in rngs]))
        return self.begin(start)

    def set_state(self, qpos: npt.ArrayLike, qvel: npt.ArrayLike) -> FloatArray:
        """Start an episode of every task from a given state qpos [N, Q], qvel [N, V]; return obs [N, O]."""
        return self.begin(PhysicsState(np.asarray(qpos, dtype=np.float64), np.asarray(qvel, dtype=np.float64)))

    def begin(self, start: PhysicsState) -> FloatArray:
        """Start an episode of every task from a given state; return obs [N, O]."""
        state = self._dynamics.place(start)
        self._steps = 0
        self._judge.begin()
        self._success.reset()
        rows = len(self.tasks)
        flags = np.zeros(rows, dtype=np.bool_)
        obs = self._observe(state)
        self._last = BatchStep(obs, np.zeros(rows, np.float32), flags, flags, {})
        return obs.copy()

    def step(self, actions: npt.ArrayLike) -> BatchStep:
        """Advance every task by one control step.

        A task whose physics diverges shows NaN, in observation and reward, to the end of its episode.

        Raises:
            UserError: actions not of shape [N, A] or not finite, or no reset before the first step.
        """
        last = self._last
        if last is None:
            raise UserError("step before reset", where=f"family {self.family.name}", mend="call reset first")
        action = checked_actions(self.family, len(self.tasks), actions)
        before, after = self._dynamics.advance(action)
        outcome = self._judge.judge(before, after, action, self._parameters)
        self._steps += 1
        terminated = np.zeros(len(self.tasks), np.bool_) if outcome.terminated is None else outcome.terminated
        at_end = self._steps >= self.family.episode_length
        step = BatchStep(
            self._observe(after),
            outcome.reward.astype(np.float32),
            terminated,
            ~terminated if at_end else np.zeros(len(self.tasks), np.bool_),
            dict(outcome.info),
        )
        if self._limited is not None:
            step.info.update(self._limited())
        if outcome.at_goal is not None:
            step.info["success"] = self._success.judge(outcome.at_goal, step.terminated | step.truncated)
        _mask_ended(step, last)
        # The caller owns the arrays of `step`; what masking needs is kept apart.
        self._last = step.copy()
        return step

    def render(self, row: int = 0) -> npt.NDArray[np.uint8]:
        """Return a picture [height, width, 3] of one task."""
        return self._dynamics.render(row)

    def simulation(self, row: int = 0) -> Simulation | None:
        """Return the MuJoCo simulation of one task; None where its laws of motion are others."""
        return self._dynamics.simulation(row) if isinstance(self._dynamics, Simulating) else None

    def close(self) -> None:
        """Release threads and rendering contexts."""
        self._dynamics.close()

    def _observe(self, state: State) -> FloatArray:
        seen = self.family.observe(state)
        if self._visible.size:
            seen = np.concatenate([seen, self._visible], axis=1)
        return seen.astype(np.float32)


def _mask_ended(step: BatchStep, last: BatchStep) -> None:
    """Write the last values of the tasks that had ended before into `step`, with reward 0."""
    ended = last.terminated | last.truncated
    if not ended.any():
        return
    step.obs[ended] = last.obs[ended]
    step.reward[ended] = 0.0
    step.terminated = np.where(ended, last.terminated, step.terminated)
    step.truncated = np.where(ended, last.truncated, step.truncated)
    for name, values in step.info.items():
        kept: npt.NDArray[Any] = np.where(ended, last.info[name], values)
        step.info[name] = kept
