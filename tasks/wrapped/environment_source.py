"""Environments that are built once and kept: told before every reset which task comes next, and used for many."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import gymnasium

from mql.stopping import NOT_THEIRS
from mql.tasks.distributions import Value
from mql.tasks.family import Task
from mql.tasks.name_choice import plain_name
from mql.tasks.wrapped.answers import BadAnswer
from mql.tasks.wrapped.varied_models import VariedModels

Environment: TypeAlias = gymnasium.Env[Any, Any]

_KEPT_TASKS = 4  # environments built for one task each that stay open


class EnvironmentSource:
    """Where a family's environments come from in this process, and what is read of their answers.

    Args:
        make_env, set_task, observed, success_key, info_keys: see `mql.tasks.wrapped.gymnasium_family.GymnasiumFamily`.
        oracle: the task parameters stand at the end of the observation.
        varied: what of their models each episode draws anew; None: nothing.
    """

    def __init__(
        self,
        make_env: Callable[..., Environment],
        set_task: Callable[[Environment, Mapping[str, Value]], None] | None,
        *,
        observed: tuple[str, ...],
        success_key: str | None,
        info_keys: tuple[str, ...],
        oracle: bool,
        varied: VariedModels | None = None,
    ) -> None:
        self._make_env, self._set_task, self._varied = make_env, set_task, varied
        self.observed, self.success_key, self.info_keys, self.oracle = observed, success_key, info_keys, oracle
        # Environments that nobody uses, by what they suit; the oldest first.
        self._idle: dict[tuple[Any, ...], list[Environment]] = {}
        # All of them are closed when nobody uses the family any more, and at the latest when the process ends: an
        # environment may have started servers.
        self._open: dict[int, Environment] = {}
        weakref.finalize(self, _close_all, self._open)

    def borrow(self, task: Task, render_mode: str | None) -> Environment:
        """Take an idle environment that suits `task`, or build one; `give_back` it afterwards."""
        idle = self._idle.get(self._key(task, render_mode))
        if idle:
            return idle.pop()
        values: dict[str, Any] = {} if self._set_task is not None else told_values(task.parameters)
        if render_mode is not None:
            values["render_mode"] = render_mode
        environment = checked_environment(self._make_env(**values))
        self._open[id(environment)] = environment
        return environment

    def discard(self, environment: Environment) -> None:
        """Close an environment that failed, or is not needed any more."""
        self._open.pop(id(environment), None)
        close_quietly(environment)

    def give_back(self, environment: Environment, task: Task, render_mode: str | None) -> None:
        """Keep an environment for later tasks; where each task has its own, only the last few stay open."""
        self._idle.setdefault(self._key(task, render_mode), []).append(environment)
        while self._set_task is None and len(self._idle) > _KEPT_TASKS:
            for old in self._idle.pop(next(iter(self._idle))):
                self.discard(old)

    def prepare(self, environment: Environment, task: Task, seed: int) -> None:
        """Tell an environment which task its next episode is of, and draw what differs with the episode's seed."""
        if self._varied is not None:
            self._varied.put_back(environment)
        if self._set_task is not None:
            self._set_task(environment, told_values(task.parameters))
        if self._varied is not None:
            self._varied.draw(environment, seed)

    def _key(self, task: Task, render_mode: str | None) -> tuple[Any, ...]:
        return (render_mode, *(task.parameters.values() if self._set_task is None else ()))


def told_values(parameters: Mapping[str, Value]) -> dict[str, Any]:
    """Return task parameters as an environment gets them: numbers, tuples, and names as texts."""
    return {name: plain_name(value) for name, value in parameters.items()}


def checked_environment(made: Any) -> Environment:
    """Return what a function made, if it can be played.

    Raises:
        BadAnswer: it is no environment.
    """
    for name in ("reset", "step", "observation_space", "action_space"):
        if not hasattr(made, name):
            raise BadAnswer(f"gave {'nothing' if made is None else type(made).__name__}, which has no {name!r}")
    if hasattr(made, "num_envs"):
        raise BadAnswer(f"gave {type(made).__name__}, a vector of environments, not one")
    environment: Environment = made
    return environment


def close_quietly(environment: Environment) -> None:
    """Close an environment that nobody needs any more: what goes wrong with it no longer matters."""
    try:
        environment.close()
    except NOT_THEIRS:
        raise
    except BaseException:
        return


def _close_all(environments: dict[int, Environment]) -> None:
    while environments:
        with contextlib.suppress(*NOT_THEIRS):  # so that the next ones are closed
            close_quietly(environments.popitem()[1])
