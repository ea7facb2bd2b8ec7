"""Draws the tasks of Meta-World's benchmarks with the package, and stores them in ``goals.npz``: two minutes.

``python -m mql.tasks.families.meta_world.draw_goals`` does it again, bit for bit.

What the seed does in the package: ML1 draws the training tasks with `SEED` and the test tasks with `SEED` + 1; so
ML1's test tasks of one seed are the training tasks of the next, and the validation tasks, which the package does not
have, are drawn with `SEED` + 2. ML10, ML45 and MT10 draw all with `SEED`, class by
class (train and test have no class in common).

Shapes: E = 50 environments, in the order of `ENVIRONMENTS`; vectors of 3 numbers are padded with zeros to W = 6.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import metaworld
import numpy as np

from mql.errors import UserError
from mql.tasks.families.meta_world.environment import MetaWorldEnvironment, package_class
from mql.tasks.families.meta_world.goals import FILE, SEED, WIDTH, FloatArray, Goals
from mql.tasks.families.meta_world.names import (
    ENVIRONMENTS,
    ML10_TEST,
    ML10_TRAIN,
    ML45_TEST,
    ML45_TRAIN,
    MT10,
    number_of,
)

OOD_TASKS = 20  # per environment
OOD_SHIFT = (0.1, 0.3)  # how far outside, as a fraction of the range's width
OOD_WIDTH = 0.02  # m; narrower ranges are noise or fixed, not a choice of place
HEIGHT_AXIS = 2  # x, y, z
VALIDATION = 2  # seeds behind `SEED`: the next one has the test tasks


def draw_goals() -> Goals:
    """Draw all tasks with the package: two minutes."""
    ml1 = [draw_ml1(name) for name in ENVIRONMENTS]
    ml10, ml45, mt10 = _benchmark("ML10"), _benchmark("ML45"), _benchmark("MT10")
    boxes = [_box(name) for name in ENVIRONMENTS]
    return Goals(
        size=np.array([len(low) for low, _ in boxes]),
        low=_padded(low for low, _ in boxes),
        high=_padded(high for _, high in boxes),
        ml1_train=np.stack([train for train, _ in ml1]),
        ml1_test=np.stack([test for _, test in ml1]),
        ml1_ood=np.stack([draw_outside(name) for name in ENVIRONMENTS]),
        ml1_validation=np.stack([draw_validation(name) for name in ENVIRONMENTS]),
        ml1_validation_ood=np.stack([draw_outside(name, VALIDATION) for name in ENVIRONMENTS]),
        ml10_train=_by_class(ml10.train_tasks, ML10_TRAIN),
        ml10_test=_by_class(ml10.test_tasks, ML10_TEST),
        ml45_train=_by_class(ml45.train_tasks, ML45_TRAIN),
        ml45_test=_by_class(ml45.test_tasks, ML45_TEST),
        mt10=_by_class(mt10.train_tasks, MT10),
    )


def draw_ml1(name: str) -> tuple[FloatArray, FloatArray]:
    """Draw the training and test tasks of ML1 of one environment with the package: [50, W] each."""
    benchmark = _benchmark("ML1", f"{name}-v3")
    return _by_class(benchmark.train_tasks, [name])[0], _by_class(benchmark.test_tasks, [name])[0]


def draw_validation(name: str) -> FloatArray:
    """Draw tasks of one environment that ML1 neither trains nor tests on with `SEED`: [50, W]."""
    benchmark = _benchmark("ML1", f"{name}-v3", seed=SEED + VALIDATION)
    return np.asarray(_by_class(benchmark.train_tasks, [name])[0])


def draw_outside(name: str, *stream: int) -> FloatArray:
    """Draw tasks outside an environment's box, others in another `stream`: [20, W].

    A vector from the box gets one component, taken in turn, moved beyond its lower or upper end: a component of the
    goal (the last three numbers), or of the object where the goal is all but fixed. Heights are only raised: below is
    the table. A vector that the package rejects (goal too near the object) gives way to the next component's. Whether
    each task can be solved is not known.
    """
    low, high = _box(name)
    components = _movable(low, high)
    environment = _environment(name)
    rng = np.random.default_rng([SEED, number_of(name), *stream])
    vectors: list[FloatArray] = []
    for component, upwards in cycle(components):
        if len(vectors) == OOD_TASKS:
            break
        vector = rng.uniform(low, high)
        shift = rng.uniform(*OOD_SHIFT) * (high - low)[component]
        vector[component] = high[component] + shift if upwards else low[component] - shift
        if _accepted(environment, name, vector):
            vectors.append(vector)
    environment.close()
    return _padded(vectors)


def main() -> None:
    """Draw all tasks and write them beside this module."""
    path = Path(__file__).with_name(FILE)
    arrays: dict[str, Any] = vars(draw_goals())
    np.savez_compressed(path, **arrays)
    print(f"{path}: {path.stat().st_size} bytes")


def _movable(low: FloatArray, high: FloatArray) -> list[tuple[int, bool]]:
    """List (component, upwards) of what `draw_outside` may move."""
    wide = [index for index in range(len(low)) if high[index] - low[index] >= OOD_WIDTH]
    goal = [index for index in wide if index >= len(low) - 3]
    chosen = goal or wide
    return [(index, upwards) for index in chosen for upwards in (False, True) if upwards or index % 3 != HEIGHT_AXIS]


def _accepted(environment: Any, name: str, vector: FloatArray) -> bool:
    environment.set_task(name, vector)
    try:
        obs, _ = environment.reset()
    except UserError:
        return False
    return bool(np.isfinite(obs).all())


def _environment(name: str) -> Any:
    return MetaWorldEnvironment([name])


def _benchmark(kind: str, *arguments: str, seed: int = SEED) -> Any:
    return getattr(metaworld, kind)(*arguments, seed=seed)


def _box(name: str) -> tuple[FloatArray, FloatArray]:
    environment = package_class(name)()
    space = environment._random_reset_space
    environment.close()
    return np.array(space.low, dtype=np.float64), np.array(space.high, dtype=np.float64)


def _by_class(tasks: Iterable[Any], names: Sequence[str]) -> FloatArray:
    """Stack the vectors of the package's tasks: [environments in `names`, tasks of each, W]."""
    vectors: dict[str, list[FloatArray]] = {}
    for task in tasks:
        vectors.setdefault(task.env_name, []).append(np.asarray(pickle.loads(task.data)["rand_vec"], dtype=np.float64))
    return np.stack([_padded(vectors[f"{name}-v3"]) for name in names])


def _padded(vectors: Iterable[FloatArray]) -> FloatArray:
    return np.stack([np.pad(vector, (0, WIDTH - len(vector))) for vector in vectors])


if __name__ == "__main__":
    main()
