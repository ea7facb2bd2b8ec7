"""The tasks of Meta-World's benchmarks as data: where objects and goals are.

The package draws its tasks anew each time a benchmark is built, which takes 30 s and 1.3 GB for ML45. They are drawn
once, with one seed, and stored bit for bit in ``goals.npz`` (`mql.tasks.families.meta_world.draw_goals`).

Shapes: E = 50 environments, in the order of `ENVIRONMENTS`; vectors of 3 numbers are padded with zeros to W = 6.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cache
from importlib import resources

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

SEED = 0  # of the package's benchmarks
WIDTH = 6  # numbers in the longest vector: an object's place and a goal's
FILE = "goals.npz"


@dataclass(frozen=True)
class Goals:
    """Vectors in m: where object and goal are.

    Args:
        size: [E] length of an environment's vector; what stands behind it is padding.
        low: [E, W] lower end of what an environment draws its vectors from.
        high: [E, W] upper end.
        ml1_train: [E, 50, W] training tasks of ML1.
        ml1_test: [E, 50, W] test tasks of ML1.
        ml1_ood: [E, 20, W] tasks of our own outside [low, high].
        ml1_validation: [E, 50, W] tasks to choose settings on: what the package would train on with `SEED` + 2.
        ml1_validation_ood: [E, 20, W] as ml1_ood, drawn anew.
        ml10_train: [10, 50, W] in the order of `ML10_TRAIN`.
        ml10_test: [5, 50, W] in the order of `ML10_TEST`.
        ml45_train: [45, 50, W] in the order of `ML45_TRAIN`.
        ml45_test: [5, 50, W] in the order of `ML45_TEST`.
        mt10: [10, 50, W] in the order of `MT10`.
    """

    size: npt.NDArray[np.int64]
    low: FloatArray
    high: FloatArray
    ml1_train: FloatArray
    ml1_test: FloatArray
    ml1_ood: FloatArray
    ml1_validation: FloatArray
    ml1_validation_ood: FloatArray
    ml10_train: FloatArray
    ml10_test: FloatArray
    ml45_train: FloatArray
    ml45_test: FloatArray
    mt10: FloatArray


@cache
def load() -> Goals:
    """Read the stored tasks."""
    with (resources.files("mql.tasks.families.meta_world") / FILE).open("rb") as file, np.load(file) as arrays:
        return Goals(**{field.name: arrays[field.name] for field in fields(Goals)})
