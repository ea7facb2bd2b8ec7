"""What is seen of the true observations of tasks in parallel: noise, bias, delay and history, on arrays.

All arithmetic is row by row, and a row's random numbers come from its own seed: a task is seen the same alone and
beside others. A reading is made once: what is seen later of it, by a delay or in the history, is the same number.

Shapes: N tasks, O true observation, C the numbers of it that are no visible task parameters (which stand at its end and
are seen as they are), S what is seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mql.tasks.disturbances.settings import Number, Sensed, parameter_of
from mql.tasks.family import Array, FloatArray, Task

_STREAM = 0x5E25E  # sets the random numbers apart from all that a family draws from the same seed
_BIAS, _NOISE = 0, 1
_BLOCK = 32  # steps whose noise is drawn at once; part of what a seed means


@dataclass(frozen=True)
class Layout:
    """Where what is seen comes from: of S numbers, the first ones are C columns, some of them from steps before.

    Args:
        columns: of each number that is seen, its place in the true observation.
        age: of each, how many steps before the newest reading it was read.
    """

    columns: npt.NDArray[np.int64]
    age: npt.NDArray[np.int64]

    @classmethod
    def of(cls, sensed: Sequence[Sensed], width: int) -> Layout:
        """Lay out `width` numbers: the newest first, in their order, then those of each step before that are seen."""
        history = np.ones(width, np.int64)
        for each in sensed:
            history[list(each.columns)] = each.sensing.history
        pairs = [(column, age) for age in range(history.max(initial=1)) for column in np.flatnonzero(history > age)]
        return cls(np.array([pair[0] for pair in pairs], np.int64), np.array([pair[1] for pair in pairs], np.int64))


class Sensors:
    """The senses of N tasks.

    Args:
        sensed: how the columns are seen; those that it doesn't name, as they are.
        tasks: the tasks.
        width: C.
        control_timestep: s.
        depth: tells the random numbers of disturbances apart that lie around one another.
    """

    def __init__(
        self, sensed: Sequence[Sensed], tasks: Sequence[Task], width: int, control_timestep: float, depth: int
    ) -> None:
        rows = len(tasks)
        self._width, self._depth = width, depth
        self._noise, self._bias = np.zeros((rows, width)), np.zeros((rows, width))
        self._delay = np.zeros((rows, width), np.int64)
        for each in sensed:
            columns = list(each.columns)
            self._noise[:, columns] = values_of(each.sensing.noise, tasks) / np.asarray(each.per)
            self._bias[:, columns] = values_of(each.sensing.bias, tasks) / np.asarray(each.per)
            self._delay[:, columns] = steps_of(values_of(each.sensing.delay_s, tasks), control_timestep)
        self._layout = Layout.of(sensed, width)
        # [N, S]: how many steps before now each number that is seen was read.
        self._ages = self._delay[:, self._layout.columns] + self._layout.age
        self._kept = int(self._ages.max(initial=0)) + 1
        self._plain = self._kept == 1 and len(self._layout.columns) == width
        self._noisy, self._biased = bool(self._noise.any()), bool(self._bias.any())
        self._readings = np.zeros((self._kept, rows, width), np.float32)
        self._rows = np.arange(rows)[:, None]
        self._offset = np.zeros((rows, width))
        self._block = np.zeros((_BLOCK, rows, width))
        self._rngs: list[np.random.Generator] = []
        self._steps = 0

    def begin(self, obs: FloatArray, seeds: Sequence[int]) -> FloatArray:
        """Start an episode of every task; return what is seen [N, S] of the first observations [N, O]."""
        if self._biased:
            drawn = [_generator(seed, self._depth, _BIAS).uniform(-1.0, 1.0, self._width) for seed in seeds]
            self._offset = self._bias * np.stack(drawn)
        if self._noisy:
            self._rngs = [_generator(seed, self._depth, _NOISE) for seed in seeds]
        self._steps = 0
        return self._seen(obs)

    def read(self, obs: FloatArray) -> FloatArray:
        """Return what is seen [N, S] after a step, of the true observations [N, O]."""
        self._steps += 1
        return self._seen(obs)

    def _seen(self, obs: FloatArray) -> FloatArray:
        reading = self._reading(obs[:, : self._width])
        if not self._plain:
            self._readings[self._steps % self._kept] = reading
            times = np.maximum(self._steps - self._ages, 0) % self._kept
            reading = self._readings[times, self._rows, self._layout.columns]
        seen: FloatArray = np.concatenate([reading, obs[:, self._width :]], axis=1)
        return seen

    def _reading(self, obs: FloatArray) -> FloatArray:
        if not (self._noisy or self._biased):
            return obs
        error = self._offset
        if self._noisy:
            place = self._steps % _BLOCK
            if place == 0:
                for row, rng in enumerate(self._rngs):
                    self._block[:, row] = rng.standard_normal((_BLOCK, self._width))
            error = error + self._noise * self._block[place]
        reading: FloatArray = (obs + error).astype(np.float32)
        return reading


def values_of(number: Number, tasks: Sequence[Task]) -> Array:
    """Return a number's value in each task [N, 1], or [N, D] where it is a vector's."""
    name = parameter_of(number)
    if name is None:
        return np.full((len(tasks), 1), number, np.float64)
    return np.array([task.parameters[name] for task in tasks], np.float64).reshape(len(tasks), -1)


def steps_of(seconds: Array, control_timestep: float) -> npt.NDArray[np.int64]:
    """Return the whole numbers of control steps that are nearest to times in s."""
    return np.floor(seconds / control_timestep + 0.5).astype(np.int64)


def _generator(seed: int, depth: int, purpose: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_STREAM, depth, purpose)))
