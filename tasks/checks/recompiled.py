"""Is a changed model what MuJoCo's compiler would make of it? Otherwise it collides or weighs as another one does."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, NamedTuple, cast

import gymnasium
import mujoco
import numpy as np

from mql.robots.checks.verdict import Verdict, failed, passed
from mql.robots.mjcf.warnings import unheard_warnings
from mql.tasks.checks.inspection import Inspection, name_tasks
from mql.tasks.definitions.parallel import ParallelDefinedFamily
from mql.tasks.definitions.python_environment import PythonEnvironment
from mql.tasks.disturbances.family import undisturbed
from mql.tasks.family import Task, TaskFamily
from mql.tasks.physics.rebuild import NotComparableError, rebuilt, unlike
from mql.tasks.scenes.source import MjcfFile, ModelSource
from mql.tasks.stepping.rollout import MujocoFamily

_STEPS = 200  # physics steps
_ALIKE = 1e-6  # m, rad and their rates; models that are the same but for rounding stay this near
_NAMED = 4  # arrays that a message names
_MEND = (
    "say under `apply` what a parameter changes, or change the model by mql.tasks.physics.changes; "
    "a place or a size that is written into a compiled model leaves MuJoCo's volumes and inertias behind"
)


class _Found(NamedTuple):
    model: mujoco.MjModel
    source: ModelSource | None
    own: bool = True  # a family of this project or a lab's definition; else what a package's environment makes of it


def check_recompiled(inspection: Inspection) -> Verdict:
    """A task's model equals its files compiled anew with its numbers, and moves like it."""
    family, many = undisturbed(inspection.family), inspection.amount.compiled_tasks
    tasks = [*family.tasks("train")[:many], *(family.tasks("ood")[:1] if "ood" in family.splits else [])]
    most, contacts, before = 0.0, 0, None
    for task in tasks:
        with inspection.playing(task):
            found = _model_of(family, task)
            if found is None:
                return passed("nothing is compared: there is no MuJoCo model")
            if found.source is None:
                return passed("nothing is compared: nobody knows the file of the environment's model")
            if before is not None and not unlike(found.model, before):
                continue  # no parameter changes it
            before = found.model
            with unheard_warnings():
                try:
                    other = rebuilt(found.model, found.source)
                except NotComparableError as reason:
                    return passed(f"nothing is compared: {reason}")
                away, mine, theirs = _apart(found.model, other)
        differing = unlike(found.model, other)
        if not found.own:  # a package's marks move nothing, and what it observes is its own
            differing = [name for name in differing if not name.startswith("site_")]
        if differing:
            names = ", ".join(differing[:_NAMED]) + (", ..." if len(differing) > _NAMED else "")
            return failed(
                f"the model differs from a compiled one in {names}; in {_STEPS} steps it comes {away:.2g} away, "
                f"with {mine} contacts instead of {theirs} [task {name_tasks([task])}]: {_MEND}"
            )
        most, contacts = max(most, away), max(contacts, theirs)
    text = f"the models of {len(tasks)} task{'s' if len(tasks) > 1 else ''} are what compiling gives"
    if most > _ALIKE:  # rounding that contacts have blown up: the models are the same in every number
        return passed(f"{text}; after {contacts} contacts in {_STEPS} steps they are {most:.2g} apart by rounding")
    return passed(f"{text}; {_STEPS} steps with {contacts} contacts go alike")


def _model_of(family: TaskFamily, task: Task) -> _Found | None:
    """Return the model that a task is played in, and what it came from; None: there is no MuJoCo model."""
    if isinstance(family, MujocoFamily):
        return _Found(family.model(task), family.source)
    if isinstance(family, ParallelDefinedFamily):
        return _Found(family.model(task), family.mechanism.source)
    env: Any = family.make(task)
    try:
        env.reset(seed=0)
        return _model_within(env)
    finally:
        env.close()


def _model_within(env: Any) -> _Found | None:
    """Look through an environment's wrappers for the one that holds a model; the outermost source counts."""
    source: ModelSource | None = None
    own = False
    while env is not None:
        source, own = source or _source_of(env), own or isinstance(env, PythonEnvironment)
        model = getattr(env, "model", None)
        if isinstance(model, mujoco.MjModel):
            for part in vars(env).values():  # some keep the robot, with its file, as an environment of its own
                if source is None and isinstance(part, gymnasium.Env) and getattr(part, "model", None) is model:
                    source = _source_of(part)
            return _Found(copy.deepcopy(model), source, own)
        inner = getattr(env, "inner", getattr(env, "env", None))
        env = inner if inner is not None else env.unwrapped if env.unwrapped is not env else None
    return None


def _source_of(env: Any) -> ModelSource | None:
    own, path = getattr(env, "source", None), getattr(env, "fullpath", None)
    if hasattr(own, "spec"):
        return cast(ModelSource, own)
    return MjcfFile(Path(path)) if isinstance(path, str) and Path(path).is_file() else None


def _apart(one: mujoco.MjModel, other: mujoco.MjModel) -> tuple[float, int, int]:
    """Step both models with the same random control; return how far they come apart, and each one's contacts."""
    rng, data = np.random.default_rng(0), [mujoco.MjData(one), mujoco.MjData(other)]
    home = mujoco.mj_name2id(one, mujoco.mjtObj.mjOBJ_KEY, "home")
    if home >= 0:
        for model, each in zip((one, other), data, strict=True):
            mujoco.mj_resetDataKeyframe(model, each, home)
    limited = one.actuator_ctrllimited.astype(bool)
    low, high = np.where(limited[:, None], one.actuator_ctrlrange, (-1.0, 1.0)).T
    most, met = 0.0, [0, 0]
    for _ in range(_STEPS):
        control = rng.uniform(low, high)
        for n, (model, each) in enumerate(zip((one, other), data, strict=True)):
            each.ctrl[:] = control
            mujoco.mj_step(model, each)
            met[n] += each.ncon
        away = np.abs(np.concatenate([data[0].qpos - data[1].qpos, data[0].qvel - data[1].qvel]))
        most = max(most, float(np.nan_to_num(away, nan=np.inf).max(initial=0.0)))
    return most, met[0], met[1]
