"""Families of Meta-World that are stepped as arrays: the same tasks, observations, rewards and success, but faster.

The environments in `names.STEPPED` are written anew as functions of arrays (`puck`, `drawer`, `door`) around the
package's own MuJoCo models (`sawyer`). They agree with the package step for step, which tests hold them to; families
around the package's environments remain: ``ml1-<environment>-wrapped``, and `SteppedMetaWorldFamily.wrapped`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import gymnasium
import numpy as np

from mql.tasks.distributions import Value
from mql.tasks.families.meta_world import family as wrapped_families
from mql.tasks.families.meta_world.door import DoorClose, DoorOpen
from mql.tasks.families.meta_world.drawer import DrawerClose, DrawerOpen
from mql.tasks.families.meta_world.environment import place, rejected
from mql.tasks.families.meta_world.family import MetaWorldFamily
from mql.tasks.families.meta_world.manipulation import Manipulation
from mql.tasks.families.meta_world.puck import PickPlace, Push, Reach
from mql.tasks.families.meta_world.sawyer import SawyerDynamics, Start, observation, seen_of, start_of
from mql.tasks.family import Array, FloatArray, Task
from mql.tasks.physics.nuisances import Nuisance
from mql.tasks.stepping.parallel import ParallelBatch, ParallelFamily
from mql.tasks.stepping.physics_state import PhysicsState
from mql.tasks.stepping.state import Dynamics, Outcome, State

KINDS: Mapping[str, Manipulation] = {
    "reach": Reach(),
    "push": Push(),
    "pick-place": PickPlace(),
    "door-open": DoorOpen(),
    "door-close": DoorClose(),
    "drawer-open": DrawerOpen(),
    "drawer-close": DrawerClose(),
}


@dataclass(frozen=True, kw_only=True, eq=False)
class SteppedMetaWorldFamily(MetaWorldFamily, ParallelFamily):
    """A family of one of Meta-World's environments, stepped as arrays."""

    native: bool = True

    def wrapped(self) -> MetaWorldFamily:
        """Return the family of the same tasks around the package's own environments, played by workers."""
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        return MetaWorldFamily(**{**given, "native": False})

    def make(self, task: Task, render_mode: str | None = None) -> Any:
        """Build one Gymnasium environment for `task`: a view of a batch with this task alone.

        Raises:
            UserError: a task of another family, or an unknown render mode.
        """
        environment: gymnasium.Env[FloatArray, FloatArray] = ParallelFamily.make(self, task, render_mode)
        return environment

    def make_batch(self, tasks: Sequence[Task], *, threads: int = 1) -> Any:
        """Build a batch of `tasks`.

        Raises:
            UserError: no tasks, tasks of another family, or a thread count below 1.
        """
        batch: ParallelBatch = ParallelFamily.make_batch(self, tasks, threads=threads)
        return batch

    def randomised(self, nuisances: Sequence[Nuisance]) -> Any:
        """Return this family with numbers of the model drawn for each episode: around the package's environments."""
        return self.wrapped().randomised(nuisances)

    def dynamics(self, tasks: Sequence[Task], threads: int) -> Dynamics:
        """Build the simulation of `tasks`."""
        return SawyerDynamics(self._kind, [self._vector(task.parameters) for task in tasks], threads)

    def initial_state(self, rng: np.random.Generator, parameters: Mapping[str, Value]) -> tuple[Array, Array]:
        """Return a task's first positions and velocities, in which nothing is random."""
        start = self._start(parameters)
        return start.qpos, start.qvel

    def first_state(self, rng: np.random.Generator, task: Task) -> PhysicsState:
        """Return what an episode of `task` starts from.

        Raises:
            UserError: the package rejects the task's vector, because object and goal are too close to one another.
        """
        return PhysicsState(*self.initial_state(rng, task.parameters))

    def observe(self, state: State) -> Array:
        """Return the package's observation [N, 39] with the goal hidden."""
        return observation(state)

    def outcome(self, before: State, after: State, action: Array, parameters: Mapping[str, Array]) -> Outcome:
        """Judge one control step as the package does."""
        with np.errstate(all="ignore"):
            return self._kind.outcome(seen_of(after), after.derived, action[:, 3].astype(np.float32))

    @property
    def _kind(self) -> Manipulation:
        assert self._only is not None
        return KINDS[self._only]

    def _vector(self, parameters: Mapping[str, Value]) -> tuple[float, ...]:
        return tuple(float(number) for number in place(parameters, only=self._only)[1])

    def _start(self, parameters: Mapping[str, Value]) -> Start:
        vector = self._vector(parameters)
        if not self._kind.accepts(np.array(vector)):
            raise rejected(str(self._only))
        return start_of(self._kind, vector)


def ml1(environment: str) -> SteppedMetaWorldFamily:
    """Build ``ml1-<environment>`` for one of `names.STEPPED`."""
    one = wrapped_families.ml1(environment)
    given = {field.name: getattr(one, field.name) for field in fields(one)}
    return SteppedMetaWorldFamily(**{**given, "native": True})


def ml1_wrapped(environment: str) -> MetaWorldFamily:
    """Build ``ml1-<environment>-wrapped``."""
    return wrapped_families.ml1(environment).variant("wrapped", "around the package's own environments")
