"""A family of tasks from any Gymnasium environment::

    from functools import partial
    import gymnasium
    from mql import tasks
    from mql.tasks.distributions import Uniform

    family = tasks.from_gymnasium(
        partial(gymnasium.make, "Pendulum-v1"), {"g": Uniform(5.0, 15.0)}, name="pendulum-gravity"
    )

``mql.training.loop`` and everything else that takes a family takes this one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, get_args

import numpy as np
from gymnasium.spaces import Discrete, MultiBinary

from mql.errors import UserError, nearest
from mql.tasks.distributions import Distribution, Value
from mql.tasks.family import Split, SuccessAt
from mql.tasks.parameter import Parameter
from mql.tasks.wrapped.answers import what_went_wrong
from mql.tasks.wrapped.environment_source import Environment, checked_environment, close_quietly, told_values
from mql.tasks.wrapped.gymnasium_family import GymnasiumFamily
from mql.tasks.wrapped.spaces import FlatObservation, action_size

SPLITS = {"train": Split(n=50, seed=1), "test": Split(n=20, seed=2)}


def from_gymnasium(
    make_env: Callable[..., Environment],
    parameters: Mapping[str, Parameter | Distribution],
    *,
    name: str,
    set_task: Callable[[Environment, Mapping[str, Value]], None] | None = None,
    splits: Mapping[str, Split] = SPLITS,
    summary: str | None = None,
    episode_length: int | None = None,
    control_timestep: float | None = None,
    observed: tuple[str, ...] = (),
    success_key: str | None = None,
    hold_steps: int = 1,
    success_at: SuccessAt = "any",
    info_keys: tuple[str, ...] = (),
    episode_timeout: float = 120.0,
    shared_splits: bool = False,
    choices: bool = False,
) -> GymnasiumFamily:
    """Return a family whose tasks are settings of one environment; one is built here to see its spaces.

    Episodes are collected by worker processes: one that crashes or hangs is restarted, its episode dropped and counted.

    Args:
        make_env: builds an environment; called as ``make_env(**task parameters)``, or, with `set_task`, as
            ``make_env()``. ``render_mode="rgb_array"`` is added where pictures are wanted.
        parameters: what varies between tasks: name -> distribution, or a `Parameter` with unit, text and bounds.
        set_task: called as ``set_task(environment, task parameters)`` before every reset, so that one environment
            serves all tasks. What it changes it must set from saved original values.
        splits: fixed lists of tasks; by default 50 for training and 20 held out.
        episode_length: control steps; by default the environment's own time limit.
        control_timestep: seconds; by default the environment's ``dt``, or what its pictures are played with.
        observed: keys of a Dict observation that the agent sees, in this order; () for all there are. Dicts and tuples
            within it are walked through, in the order of their space.
        success_key: the entry of ``info`` that is true while a task is at its goal.
        hold_steps: control steps in a row at the goal that make a success.
        success_at: when these count: at any time of the episode, or only as its last steps (``end``).
        info_keys: numbers of ``info`` that are reported.
        episode_timeout: seconds after which an episode counts as hanging.
        shared_splits: splits may share tasks, so that nothing is held out.
        choices: its actions may be one of n choices (a Discrete space), for methods that choose; others are refused.

    Raises:
        UserError: the environment can't be built, its spaces don't suit, nothing says how long an episode is, or none
            can succeed.
    """
    where = f"family {name}"
    if "train" not in splits or "test" not in splits:
        raise UserError("the splits train and test are needed", where=where, mend="give both, and ood if you like")
    known = {key: _parameter(key, given, where) for key, given in parameters.items()}
    rng = np.random.default_rng(0)
    example = splits["train"].listed[0] if splits["train"].listed else {}
    values: dict[str, Any] = {}
    if set_task is None:
        values = told_values({key: example.get(key, spec.distribution.sample(rng)) for key, spec in known.items()})
    try:
        environment = checked_environment(make_env(**values))
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        what = f"make_env({', '.join(f'{k}={v}' for k, v in values.items())}) {what_went_wrong(error)}"
        raise UserError(what, where=where, mend="give a function that builds the environment") from error
    spec = getattr(environment, "spec", None)
    try:
        space = environment.action_space
        chosen = choices and isinstance(space, Discrete)
        action_dim = int(space.n) if choices and isinstance(space, Discrete) else action_size(space, where)
        obs_dim = FlatObservation(environment.observation_space, observed, where=where).size
        if episode_length is None:
            episode_length = spec.max_episode_steps if spec else None
        if episode_length is None:
            raise UserError("nothing says how long an episode is", where=where, mend="give episode_length")
        _check_success(hold_steps, success_at, episode_length, where)
        return GymnasiumFamily(
            name=name,
            summary=summary or (spec.id if spec else name) + (f" with hidden {', '.join(known)}" if known else ""),
            obs_dim=obs_dim,
            action_dim=action_dim,
            episode_length=episode_length,
            control_timestep=timestep_of(environment) if control_timestep is None else control_timestep,
            parameters=known,
            splits=splits,
            shared_splits=shared_splits,
            choices=chosen,
            planes=_planes(environment.observation_space),
            has_success=success_key is not None,
            make_env=make_env,
            set_task=set_task,
            observed_keys=observed,
            success_key=success_key,
            hold_steps=hold_steps,
            success_at=success_at,
            info_keys=info_keys,
            episode_timeout=episode_timeout,
        )
    finally:
        close_quietly(environment)


def _planes(space: Any) -> tuple[int, int, int] | None:
    """Return the shape of an observation that is planes of zeros and ones."""
    shape = space.shape if isinstance(space, MultiBinary) else None
    return shape if shape is not None and len(shape) == 3 else None


def _parameter(name: str, given: Parameter | Distribution, where: str) -> Parameter:
    if isinstance(given, Parameter):
        return given
    if not hasattr(given, "sample"):
        mend = "give a distribution, such as Uniform(0.5, 2.0)"
        raise UserError(f"task parameter {name!r} is {given!r}", where=where, mend=mend)
    return Parameter(distribution=given, unit="1", doc=name)


def _check_success(hold_steps: int, success_at: str, episode_length: int, where: str) -> None:
    if not 1 <= hold_steps <= episode_length:
        mend = f"give 1 to {episode_length}: an episode has as many control steps"
        raise UserError(f"hold_steps is {hold_steps}", where=where, mend=mend)
    if success_at not in get_args(SuccessAt):
        raise UserError(f"success_at is {success_at!r}", where=where, mend=nearest(success_at, get_args(SuccessAt)))


def timestep_of(environment: Environment) -> float:
    """Return the seconds of a control step: the environment's ``dt``, or what its pictures are played with."""
    plain = getattr(environment, "unwrapped", environment)
    dt = getattr(plain, "dt", None)
    if isinstance(dt, int | float | np.number) and dt > 0:
        return float(dt)
    fps = (getattr(environment, "metadata", None) or {}).get("render_fps")
    return 1.0 / fps if isinstance(fps, int | float) and fps > 0 else 1.0
