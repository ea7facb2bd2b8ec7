"""Does everything that a definition states act? What nothing simulates is a fault, not a decoration.

Only what can be told for certain is told: a key that is named here acts nowhere. Whether what remains shows in an
episode is the question of the check `effect`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import mujoco
import numpy as np

from mql.robots.acting import INSTEAD, not_simulated
from mql.robots.checks.verdict import Verdict, judged, passed
from mql.tasks.checks.idle_changes import why_idle
from mql.tasks.checks.inspection import Inspection
from mql.tasks.definitions.control import robot_of
from mql.tasks.definitions.episode_schema import ROBOT
from mql.tasks.definitions.family import DefinedFamily, EnvironmentMaker
from mql.tasks.definitions.file import DefinitionFile, read_definition
from mql.tasks.definitions.parallel import ParallelDefinedFamily
from mql.tasks.definitions.sensing import unsimulated
from mql.tasks.disturbances.family import undisturbed
from mql.tasks.family import TaskFamily

_FOR_PEOPLE = {"schema", "name", "version", "description", "unit", "doc"}  # keys that are no part of a simulation


def check_stated(inspection: Inspection) -> Verdict:
    """Every key of a definition, and of the robot that it uses, acts somewhere."""
    family = undisturbed(inspection.family)
    file = definition_of(family)
    if file is None:
        return passed("not looked at: only definitions in YAML are")
    model = _model_of(family)
    faults = [*_parameters(file), *_rewards(file)]
    if model is not None:
        faults += _changes(file, family, model)
    remarks = list(_robot(file, family, model))
    return judged(faults=faults, remarks=remarks, fine="every key of the definition acts")


def definition_of(family: TaskFamily) -> DefinitionFile | None:
    """Return the definition that a family was built from; None: it is none of a file.

    Raises:
        UserError: the file is no longer in order.
    """
    family = undisturbed(family)
    if isinstance(family, ParallelDefinedFamily):
        return read_definition(Path(family.path))
    if isinstance(family, DefinedFamily) and isinstance(family.make_env, EnvironmentMaker):
        return read_definition(Path(family.make_env.path))
    return None


def _model_of(family: TaskFamily) -> mujoco.MjModel | None:
    """Return the model as it is compiled, before a task has changed it; None: what is simulated has none."""
    if isinstance(family, ParallelDefinedFamily):
        return family.mechanism.model
    assert isinstance(family, DefinedFamily)
    environment = family.make_env()
    try:
        model = getattr(environment.unwrapped, "model", None)
        return model if isinstance(model, mujoco.MjModel) else None
    finally:
        environment.close()


def _parameters(file: DefinitionFile) -> Iterator[str]:
    """Find parameters that change nothing, are read by nothing, and are not seen."""
    definition = file.definition
    if definition.env.python is not None:
        return  # the class may read any of them
    tree = definition.model_dump(by_alias=True)
    for name, spec in definition.parameters.items():
        others = {key: value for key, value in tree.items() if key != "splits"}
        others["parameters"] = {other: value for other, value in tree["parameters"].items() if other != name}
        if not spec.apply and spec.hidden and not _named(others, name):
            yield (
                f"{file.where(f'parameters.{name}')}: the parameter is applied to nothing and read by nothing: add "
                f"'apply', let an expression read task.{name}, or delete it"
            )


def _named(tree: Any, name: str) -> bool:
    """Whether a text of the tree, but for those that people read, names something."""
    if isinstance(tree, Mapping):
        return any(_named(value, name) for key, value in tree.items() if key not in _FOR_PEOPLE)
    if isinstance(tree, list | tuple):
        return any(_named(value, name) for value in tree)
    return isinstance(tree, str) and re.search(rf"(?<![\w.]){name}(?!\w)|\btask\.{name}(?!\w)", tree) is not None


def _rewards(file: DefinitionFile) -> Iterator[str]:
    reward = file.definition.reward
    for name, term in (reward.terms if reward is not None else {}).items():
        if term.weight == 0.0:
            yield f"{file.where(f'reward.terms.{name}.weight')}: a weight of 0 makes the term nothing: delete the term"


def _changes(file: DefinitionFile, family: TaskFamily, model: mujoco.MjModel) -> Iterator[str]:
    """Find changes of the physics that move nothing."""
    parameters = file.definition.parameters
    tasks = [task for split in family.split_names for task in family.tasks(split)]
    every = [change for spec in parameters.values() for change in spec.apply]
    for name, spec in parameters.items():
        values = np.array([task.parameters[name] for task in tasks], np.float64)
        for n, change in enumerate(spec.apply):
            # What scales a 0 still acts where another change has set it before.
            also = {
                other.field
                for other in every
                if other.field != change.field or (other.target == change.target and other.op != "scale")
            }
            for reason in why_idle(model, change, values, also_changed=also):
                yield f"{file.where(f'parameters.{name}.apply.{n}')}: {reason}"


def _robot(file: DefinitionFile, family: TaskFamily, model: mujoco.MjModel | None) -> Iterator[str]:
    """Find what the robot's spec says of the real robot and no task with it simulates."""
    spec, env = robot_of(file), file.definition.env
    if spec is None or model is None:
        return
    for each in unsimulated(spec, model, family.control_timestep, own_observation=env.python is not None):
        yield f"{each.where}: {each.why}"
    if spec.randomise and ROBOT not in file.definition.randomise:
        yield f"{spec.where('randomise')}: nothing simulates it: write 'randomise: robot' in the definition"
    for key in not_simulated(spec):
        yield f"{spec.where(key)}: nothing simulates it: {INSTEAD[key]}"
