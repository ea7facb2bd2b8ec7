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
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Dict, Space

from mql.errors import UserError, nearest
from mql.tasks.distributions import Distribution, Value
from mql.tasks.family import Split, SuccessAt
from mql.tasks.parameter import Parameter
from mql.tasks.wrapped.environment_source import Environment, affine_to
from mql.tasks.wrapped.gymnasium_family import GymnasiumFamily

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
        observed: keys of a Dict observation that the agent sees, in this order; () for all there are.
        success_key: the entry of ``info`` that is true while a task is at its goal.
        hold_steps: control steps in a row at the goal that make a success.
        success_at: when these count: at any time of the episode, or only as its last steps (``end``).
        info_keys: numbers of ``info`` that are reported.
        episode_timeout: seconds after which an episode counts as hanging.

    Raises:
        UserError: the environment can't be built, its spaces don't suit, or nothing says how long an episode is.
    """
    where = f"family {name}"
    if "train" not in splits or "test" not in splits:
        raise UserError("the splits train and test are needed", where=where, mend="give both, and ood if you like")
    known = {key: _parameter(key, given, where) for key, given in parameters.items()}
    rng = np.random.default_rng(0)
    example = splits["train"].listed[0] if splits["train"].listed else {}
    values = {} if set_task else {key: example.get(key, spec.distribution.sample(rng)) for key, spec in known.items()}
    try:
        environment = make_env(**values)
    except Exception as error:
        what = f"make_env({', '.join(f'{k}={v}' for k, v in values.items())}) raised {type(error).__name__}: {error}"
        raise UserError(what, where=where, mend="give a function that builds the environment") from error
    try:
        if episode_length is None:
            limit = environment.spec.max_episode_steps if environment.spec else None
            if limit is None:
                raise UserError("nothing says how long an episode is", where=where, mend="give episode_length")
            episode_length = limit
        return GymnasiumFamily(
            name=name,
            summary=summary or f"{environment.spec.id if environment.spec else name} with hidden {', '.join(known)}",
            obs_dim=_obs_dim(environment.observation_space, observed, where),
            action_dim=_action_dim(environment.action_space, where),
            episode_length=episode_length,
            control_timestep=timestep_of(environment) if control_timestep is None else control_timestep,
            parameters=known,
            splits=splits,
            has_success=success_key is not None,
            make_env=make_env,
            set_task=set_task,
            observed=observed,
            success_key=success_key,
            hold_steps=hold_steps,
            success_at=success_at,
            info_keys=info_keys,
            episode_timeout=episode_timeout,
        )
    finally:
        environment.close()


def _parameter(name: str, given: Parameter | Distribution, where: str) -> Parameter:
    if isinstance(given, Parameter):
        return given
    if not hasattr(given, "sample"):
        mend = "give a distribution, such as Uniform(0.5, 2.0)"
        raise UserError(f"task parameter {name!r} is {given!r}", where=where, mend=mend)
    return Parameter(distribution=given, unit="1", doc=name)


def _obs_dim(space: Space[Any], observed: tuple[str, ...], where: str) -> int:
    if isinstance(space, Dict):
        for key in observed:
            if key not in space.spaces:
                raise UserError(f"no {key!r} in the observation", where=where, mend=nearest(key, space.spaces))
        return sum(_obs_dim(space[key], (), where) for key in observed or tuple(space.spaces))
    if observed:
        raise UserError("observed names keys, but the observation is not a Dict", where=where, mend="leave it out")
    if not isinstance(space, Box):
        raise UserError(f"observations of {space}", where=where, mend="wrap it: a Box, or a Dict of Boxes, is needed")
    return int(np.prod(space.shape))


def _action_dim(space: Space[Any], where: str) -> int:
    if not isinstance(space, Box):
        raise UserError(f"actions of {space}", where=where, mend="wrap it: a finite Box with one axis is needed")
    affine_to(space)
    return int(space.shape[0])


def timestep_of(environment: Environment) -> float:
    """Return the seconds of a control step: the environment's ``dt``, or what its pictures are played with."""
    dt = getattr(environment.unwrapped, "dt", None)
    if isinstance(dt, int | float) and dt > 0:
        return float(dt)
    fps = environment.metadata.get("render_fps")
    return 1.0 / fps if fps else 1.0
