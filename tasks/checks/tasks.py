"""Tasks that differ in chosen parameters only, and tasks that lie far apart: what the checks compare.

Shapes: N tasks, P numbers of all task parameters.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection

import numpy as np
import numpy.typing as npt

from mql.tasks.checks.inspection import pairs_of
from mql.tasks.distributions import Angle, Choice, Distribution, LogUniform, Normal, Uniform, Value
from mql.tasks.family import Task, TaskFamily

_DRAWS = 64  # draws among which the two ends of a vector are looked for
_LISTED = 60  # listed tasks that are compared with each other: 1770 pairs


def training_source(family: TaskFamily, name: str) -> Distribution:
    """Return what the training split draws a parameter from."""
    source: Distribution = family.splits["train"].override.get(name, family.parameters[name].distribution)
    return source


def variants(family: TaskFamily, names: Collection[str], n: int) -> list[Task]:
    """Return up to `n` tasks that differ in the parameters `names` and in nothing else."""
    if family.splits["train"].listed:
        groups: dict[tuple[Value, ...], dict[tuple[Value, ...], Task]] = {}
        for task in family.tasks("train"):
            rest = tuple(value for key, value in task.parameters.items() if key not in names)
            groups.setdefault(rest, {})[tuple(task.parameters[name] for name in names)] = task
        return list(max(groups.values(), key=len).values())[:n]
    rng = np.random.default_rng(0)
    base = family.tasks("train")[0].parameters
    drawn = [family.task(dict(base) | {name: training_source(family, name).sample(rng) for name in names})]
    for _ in range(4 * n):  # a choice among few options comes up equal now and then
        task = family.task(dict(base) | {name: training_source(family, name).sample(rng) for name in names})
        if task.parameters not in [other.parameters for other in drawn]:
            drawn.append(task)
    return drawn[:n]


def ends(family: TaskFamily, name: str, base: Task | None = None) -> tuple[Task, Task, bool] | None:
    """Return two tasks at the two ends of one parameter, and whether they differ in nothing else.

    In all else they are like `base`, by default the first training task. None where all training tasks have one value.
    """
    if family.splits["train"].listed:
        return _listed_ends(family, name)
    low, high = _end_values(training_source(family, name))
    if low == high:
        return None
    rest = dict((base or family.tasks("train")[0]).parameters)
    return family.task(rest | {name: low}), family.task(rest | {name: high}), True


def of_each_name(family: TaskFamily) -> list[Task]:
    """Return the first training task for each name of each parameter that chooses among names."""
    first: dict[tuple[str, Value], Task] = {}
    for task in family.tasks("train"):
        for name in family.names_of:
            first.setdefault((name, task.parameters[name]), task)
    return list(first.values())


def distant_pairs(family: TaskFamily, n: int) -> list[tuple[Task, Task]]:
    """Return `n` pairs of training tasks that lie far apart, from the farthest on; no task stands in two pairs."""
    tasks = family.tasks("train")[:_LISTED]
    points = np.array([np.hstack(list(task.parameters.values())) for task in tasks], dtype=np.float64)
    spread = points.std(axis=0)
    points = points[:, spread > 0] / spread[spread > 0]
    order = sorted(pairs_of(range(len(tasks))), key=lambda pair: -_distance(points[pair[0]], points[pair[1]]))
    chosen: list[tuple[Task, Task]] = []
    used: set[int] = set()
    for one, other in order:
        if len(chosen) < n and not {one, other} & used and _distance(points[one], points[other]) > 0:
            chosen.append((tasks[one], tasks[other]))
            used |= {one, other}
    return chosen


def _listed_ends(family: TaskFamily, name: str) -> tuple[Task, Task, bool] | None:
    def apart(pair: tuple[Task, Task]) -> tuple[int, float]:
        shared = sum(pair[0].parameters[key] == pair[1].parameters[key] for key in family.parameters)
        return shared, _distance(*(np.atleast_1d(task.parameters[name]) for task in pair))

    tasks = family.tasks("train")[:_LISTED]
    differing = [pair for pair in pairs_of(tasks) if pair[0].parameters[name] != pair[1].parameters[name]]
    if not differing:
        return None
    one, other = max(differing, key=apart)
    return one, other, apart((one, other))[0] == len(family.parameters) - 1


def _end_values(source: Distribution) -> tuple[Value, Value]:
    if source.size is not None:  # corners of a long vector are tasks that nobody would ever draw
        rng = np.random.default_rng(0)
        draws = [source.sample(rng) for _ in range(_DRAWS)]
        return max(pairs_of(draws), key=lambda pair: _distance(np.atleast_1d(pair[0]), np.atleast_1d(pair[1])))
    if isinstance(source, Normal):
        mean, std = float(np.asarray(source.mean)), float(np.asarray(source.std))
        return mean - 2.0 * std, mean + 2.0 * std
    if isinstance(source, Angle):  # its ends are the same direction
        return 0.0, math.pi
    if isinstance(source, Uniform | LogUniform | Choice):
        return source.low, source.high
    rng = np.random.default_rng(0)
    scalars = [source.sample(rng) for _ in range(_DRAWS)]
    key: Callable[[Value], float] = lambda value: float(value)  # type: ignore[arg-type]  # noqa: E731
    return min(scalars, key=key), max(scalars, key=key)


def _distance(one: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> float:
    return float(np.linalg.norm(one - other))
