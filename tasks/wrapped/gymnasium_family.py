"""Families around any Gymnasium environment.

An environment is built once, kept, and told before every reset which task comes next. Episodes are collected by worker
processes (`mql.collecting.workers`), because most such environments step in Python; `make` and `make_batch` build them
in this process, one after another. A family's `probe` gets what `make` returned: `environment.inner` is what `make_env`
built, and `environment.inner.unwrapped` the original simulation.

Shapes: N tasks, O observation, A action.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, Self

from mql.tasks.distributions import Value
from mql.tasks.family import Task, TaskFamily
from mql.tasks.physics.nuisances import Nuisance
from mql.tasks.wrapped.environment_batch import EnvironmentBatch
from mql.tasks.wrapped.environment_source import Environment, EnvironmentSource
from mql.tasks.wrapped.gymnasium_environment import GymnasiumEnvironment
from mql.tasks.wrapped.varied_models import VariedModels


@dataclass(frozen=True, kw_only=True, eq=False)
class GymnasiumFamily(TaskFamily):
    """A family whose tasks are an environment's settings.

    Args:
        make_env: builds an environment; a function of a module, or a `functools.partial` of one. It is called with
            ``render_mode=...`` only where pictures are wanted.
        set_task: called with (environment, task parameters) before every reset; whatever it changes it must set from
            saved original values, or tasks drift. None: ``make_env(**parameters)`` builds an environment for each task.
        observed_keys: keys of a Dict observation that the agent sees, in this order; () for all there is.
        success_key: the entry of ``info`` that is true while a task is at its goal; None: the family has no success.
        info_keys: numbers of ``info`` that are reported; every step must give them.
        nuisances: what each episode draws of the numbers of the environment's MuJoCo model, on top of the task's.
    """

    native: bool = False
    make_env: Callable[..., Environment]
    set_task: Callable[[Environment, Mapping[str, Value]], None] | None = None
    observed_keys: tuple[str, ...] = ()
    success_key: str | None = None
    info_keys: tuple[str, ...] = ()
    nuisances: tuple[Nuisance, ...] = ()

    def __post_init__(self) -> None:
        if self.has_success != (self.success_key is not None):
            raise ValueError(f"{self.name}: a success needs success_key, and only a success does")

    def make(self, task: Task, render_mode: str | None = None) -> GymnasiumEnvironment:
        """Build one environment for `task`, with the family's spaces: observation [O] float32, action [-1, 1]^A.

        Raises:
            UserError: a task of another family, or an unknown render mode.
            EpisodeFault: the environment can't be built, or has other spaces than the family says.
        """
        self.check_batch([task], 1)
        return GymnasiumEnvironment(self, self._source, task, render_mode=render_mode)

    def make_batch(self, tasks: Sequence[Task], *, threads: int = 1) -> EnvironmentBatch:
        """Build `tasks` in this process, stepped one after another (`threads` makes no difference).

        Raises:
            UserError: no tasks, tasks of another family, or a thread count below 1.
            EpisodeFault: an environment can't be built, or has other spaces than the family says.
        """
        self.check_batch(tasks, threads)
        return EnvironmentBatch(self, tasks, [GymnasiumEnvironment(self, self._source, task) for task in tasks])

    def randomised(self, nuisances: Sequence[Nuisance]) -> Self:
        """Return this family with further numbers of its environments' model drawn anew for each episode."""
        family = replace(self, nuisances=(*self.nuisances, *nuisances))
        environment = family.make(family.tasks("train")[0])
        try:
            environment.reset(seed=0)  # which looks their names up
        finally:
            environment.close()
        return family

    @cached_property
    def _source(self) -> EnvironmentSource:
        return EnvironmentSource(
            self.make_env,
            self.set_task,
            observed=self.observed_keys,
            success_key=self.success_key,
            info_keys=self.info_keys,
            oracle=self.oracle,
            varied=VariedModels(self.nuisances, self.name, self.control_timestep) if self.nuisances else None,
        )

    def __getstate__(self) -> dict[str, Any]:
        """Only what the family was made from: environments stay in their process, lists of tasks are drawn again."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
