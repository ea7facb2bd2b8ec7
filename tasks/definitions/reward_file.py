"""A definition's reward as one Python file that needs numpy alone: for a robot, whose agent wants its reward told.

The file holds the functions of expressions (a copy of ``expressions/functions.py``) and the definition's own terms as
they are compiled here. On the robot, the observation shows what that robot's task is like; only what the reward reads
of the task parameters (where it is to go, say) has to be given.
"""

from __future__ import annotations

import pprint
from collections.abc import Mapping, Sequence
from importlib.resources import files
from string import Template

import mujoco
import numpy as np

from mql.tasks.definitions.family import DefinedFamily, stated_reward
from mql.tasks.definitions.parallel import ParallelDefinedFamily
from mql.tasks.definitions.quantities import read_rows
from mql.tasks.definitions.seen_reward import SeenReward
from mql.tasks.family import Array, Task, TaskFamily

_COMPARED = 8  # tasks whose places must be those that the file computes
_SAME, _DIGITS = 1e-9, 12  # m, by which they may differ; decimals that are kept

Places = Mapping[str, list[float]]
Moved = dict[str, dict[str, list[float] | list[list[float]]]]  # place -> task parameter -> its effect

_FILE = Template('''$functions

# From here on: the reward of $family. An observation's number is (value - MINUS) / PER.
MINUS, PER = np.array($minus), np.array($per)
INFO = $info
PLACES = $places  # in the world, m, where all that moves them is 0
MOVED = $moved  # place -> task parameter -> how far 1 of it moves the place along x, y, z
PARTS = $parts
TERMS = $terms  # name, weight, and the term of `expr`
TASK = $task  # $whose

_TERMS = [(weight, eval(code, {"__builtins__": {}, **FOR_ONE, **CONSTANTS})) for _, weight, code in TERMS]


def reward(before, action, after, task=TASK):
    """Return what a control step is worth: a float.

    Args:
        before: the observation before it [$obs], as the policy gets it.
        action: [$action].
        after: the observation after it.
        task: $reads.
    """
    action = np.clip(np.asarray(action, np.float64), -1.0, 1.0)
    scope = {"action": action, "task": {name: _plain(value) for name, value in task.items()}}
    places = {name: place + _moved(name, task) for name, place in PLACES.items()}
    for root, seen in (("", after), ("last.", before)):
        seen = np.asarray(seen, np.float32).astype(np.float64)
        values = seen[: len(PER)] * PER + MINUS
        scope[root + "info"] = {name: values[place] for name, place in INFO.items()} | places
        scope[root + "obs"] = seen
        scope[root + "obs.NAME"] = {name: seen[first:end] for name, (first, end) in PARTS.items()}
    return float(sum(weight * _scalar(term(scope)) for weight, term in _TERMS))


def _moved(name, task):
    ways = MOVED.get(name, {})
    return sum((np.atleast_1d(task[each]) @ np.atleast_2d(way) for each, way in ways.items()), np.zeros(3))


def _plain(value):
    return float(value) if np.ndim(value) == 0 else np.asarray(value, np.float64)


def _scalar(value):
    return float(value.items[0] if isinstance(value, Vector) else value)
''')


def reward_file(family: TaskFamily, task: Task, *, adapted: bool) -> str | None:
    """Return the text of a file with ``reward(before, action, after, task)``; None: there can't be one.

    Args:
        family: whose reward it is.
        task: what stands in the file as the task.
        adapted: that is the robot's task; else it is an example, and the places that a task puts somewhere must be the
            same in all tasks.
    """
    if isinstance(family, ParallelDefinedFamily):
        found = family.mechanism.seen_reward
    elif isinstance(family, DefinedFamily):
        found = stated_reward(family)[0]
    else:
        return None
    if found is None:
        return None
    known = _places(family, found, task, adapted=adapted)
    if known is None:
        return None
    places, moved = known
    named = {name for term in found.terms for root, name in term.expression.names if root == "task"}
    read = sorted(named.union(*moved.values()))
    own = {name: _plain(task.parameters[name]) for name in read}
    units = ", ".join(f"{name} ({family.parameters[name].unit})" for name in read)
    whose = "what it was adapted to" if adapted else "the first training task: put what is asked of your robot"
    return _FILE.substitute(
        functions=(files("mql.tasks.definitions.expressions") / "functions.py").read_text(encoding="utf-8").rstrip(),
        family=family.name,
        minus=found.parts.minus.tolist(),
        per=found.parts.per.tolist(),
        info=_literal(dict(found.info)),
        places=_literal(places),
        moved=_literal(moved),
        parts=_literal({name: (place.start, place.stop) for name, place in found.parts.slices.items()}),
        terms=_literal([(term.key, term.weight, term.expression.code) for term in found.terms]),
        task=_literal(own),
        whose=whose if read else "it reads none of the task parameters",
        obs=family.obs_dim,
        action=family.action_dim,
        reads=f"name -> value of {units}" if read else "not read",
    )


def _places(family: TaskFamily, found: SeenReward, task: Task, *, adapted: bool) -> tuple[Places, Moved] | None:
    """Return the places that the reward reads, and what moves them; None: they can't be told from task parameters.

    Where task parameters move a place in proportion to them, as a target that is put somewhere, the file computes it.
    Where they do otherwise, it is known for the task that an agent was adapted to, and for no other.
    """
    if not found.fixed or not isinstance(family, ParallelDefinedFamily):
        return {}, {}
    own = _fixed(family, found, task)
    begin: dict[str, Array] = {name: np.array(place) for name, place in own.items()}
    others = family.tasks("train")[:_COMPARED]
    moved: Moved = {}
    for parameter, at in task.parameters.items():
        ways = _ways(family, found, task, parameter, others)
        for name, way in (ways or {}).items():
            if np.any(way):
                begin[name] = begin[name] - np.atleast_1d(np.asarray(at, np.float64)) @ np.atleast_2d(way)
                moved.setdefault(name, {})[parameter] = way.tolist()
    for other in others:
        for name, place in _fixed(family, found, other).items():
            ways_here = moved.get(name, {}).items()
            steps = (np.atleast_1d(_plain(other.parameters[each])) @ np.atleast_2d(way) for each, way in ways_here)
            if np.abs(begin[name] + sum(steps, np.zeros(len(place))) - place).max() > _SAME:
                return (own, {}) if adapted else None
    return {name: np.round(place, _DIGITS).tolist() for name, place in begin.items()}, moved


def _ways(
    family: ParallelDefinedFamily, found: SeenReward, task: Task, parameter: str, others: Sequence[Task]
) -> dict[str, Array] | None:
    """Return how far 1 of a task parameter moves each place, [3], or [size, 3] of a vector; None: it is no number."""
    at = np.asarray(task.parameters[parameter])
    if at.dtype.kind not in "fiu":
        return None
    own = _fixed(family, found, task)
    ways = {name: np.zeros((*at.shape, len(place))) for name, place in own.items()}
    for component in np.ndindex(at.shape):
        for other in others:
            changed = np.array(at, np.float64)
            changed[component] = np.asarray(other.parameters[parameter])[component]
            step = float(changed[component] - at[component])
            if step:
                value = float(changed) if changed.ndim == 0 else tuple(changed.tolist())
                there = _fixed(family, found, family.task({**task.parameters, parameter: value}))
                for name, place in there.items():
                    ways[name][component] = np.round((np.array(place) - own[name]) / step, _DIGITS)
                break
    return ways


def _fixed(family: ParallelDefinedFamily, found: SeenReward, task: Task) -> dict[str, list[float]]:
    model = family.model(task)
    data = mujoco.MjData(model)
    mujoco.mj_kinematics(model, data)
    arrays = {each.source: getattr(data, each.source)[None] for each in found.fixed.values()}
    return {name: value[0].tolist() for name, value in read_rows(found.fixed, arrays).items()}


def _plain(value: object) -> float | list[float]:
    """Return a task parameter's value as it is computed with: the place of a name among its names, too."""
    array = np.asarray(value, np.float64)
    return float(array) if array.ndim == 0 else array.tolist()


def _literal(value: object) -> str:
    return pprint.pformat(value, width=110, sort_dicts=False)
