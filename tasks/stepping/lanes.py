"""MuJoCo simulations that live on from step to step, a whole batch of them advanced by one call without Python.

What a simulation is told before a control step (a mocap body's place, controls) and what is read after it are named
once, as views of MuJoCo's own arrays, and then copied between those and two arrays over all lanes. In contrast to
``mujoco.rollout`` each lane keeps its data, the constraint solver's warm start and all, and ``mj_forward`` follows each
control step: an episode equals bit for bit that of an environment which steps and then looks, and all that is read is
of the state after the step.

The loop is in C (`lanes.c`), around MuJoCo's own functions; without a C compiler it is in Python, with equal numbers.

Shapes: L lanes, I numbers told to each, S numbers seen of each.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import numpy.typing as npt

from mql.compiling import load
from mql.tasks.family import Array, BoolArray

SOURCE = Path(__file__).with_name("lanes.c")
FLAGS = ("-O2",)
# What is left of a physics step where places, velocities and contacts are known from an ``mj_forward``, and only
# controls and the places of mocap bodies have changed since.
FIRST_STEP = (
    "mj_makeConstraint",
    "mj_projectConstraint",
    "mj_referenceConstraint",
    "mj_fwdActuation",
    "mj_fwdAcceleration",
    "mj_fwdConstraint",
    "mj_checkAcc",
    "mj_Euler",
)
_INTEGER, _POINTER = ctypes.c_int64, ctypes.c_void_p
_ARGUMENTS: list[Any] = [
    _INTEGER,
    *[_POINTER] * 3,
    *(_INTEGER, _POINTER) * 2,
    _POINTER,
    *(_INTEGER, *[_POINTER] * 3) * 2,
]


class Lanes:
    """Parallel simulations.

    Args:
        models: one model per lane; the same object may serve many, also where `told` writes into it.
        data: one per lane.
        frame_skip: physics steps in one control step.
        told: for each lane views of MuJoCo's arrays, float64 and contiguous, that are written before a control step;
            the same ones in the same order for each.
        seen: in the same way those that are read after it.
    """

    def __init__(
        self,
        models: Sequence[mujoco.MjModel],
        data: Sequence[mujoco.MjData],
        frame_skip: int,
        told: Sequence[Sequence[Array]],
        seen: Sequence[Sequence[Array]],
    ) -> None:
        self._models, self._data, self._frame_skip = list(models), list(data), frame_skip
        self._told, self._seen = [list(views) for views in told], [list(views) for views in seen]
        self.told_size = sum(view.size for view in self._told[0])
        self.seen_size = sum(view.size for view in self._seen[0])
        self._call = self._bound()

    def advance(self, told: Array, seen: Array, skip: BoolArray) -> None:
        """Advance all lanes but those in `skip` [L] by one control step.

        Args:
            told: [L, I], contiguous: what each lane is told.
            seen: [L, S], contiguous: what is seen of each lane is written here.
            skip: [L].
        """
        if self._call is not None:
            self._call(told, seen, skip)
            return
        for lane, (model, data) in enumerate(zip(self._models, self._data, strict=True)):
            if skip[lane]:
                continue
            self.tell(lane, told[lane])
            mujoco.mj_step(model, data, self._frame_skip)
            self.look(lane, seen[lane])

    def tell(self, lane: int, told: Array) -> None:
        """Write `told` [I] into one lane."""
        start = 0
        for view in self._told[lane]:
            view[...] = told[start : start + view.size].reshape(view.shape)
            start += view.size

    def look(self, lane: int, seen: Array | None) -> None:
        """Compute all that follows from one lane's state, and write what is seen of it into `seen` [S].

        As ``mj_forward`` does, this moves the solver's warm start. A control step goes on from what is computed here,
        so this must come between a new state and that.
        """
        mujoco.mj_forward(self._models[lane], self._data[lane])
        if seen is not None:
            np.concatenate([view.ravel() for view in self._seen[lane]], out=seen)

    def _bound(self) -> Any:
        """Return a function that makes the call in C; None where there is no compiler."""
        functions = _functions()
        if functions is None:
            return None
        advance, firsts, step, forward = functions
        models = _addresses([model._address for model in self._models])
        data = _addresses([each._address for each in self._data])
        kept: list[Any] = [models, data]
        arguments: list[list[Any]] = []
        for lanes in (self._told, self._seen):
            sizes = np.array([view.size for view in lanes[0]], np.int64)
            places = _addresses([view.ctypes.data for views in lanes for view in views])
            kept += [sizes, places]
            arguments.append([len(sizes), sizes.ctypes.data, places.ctypes.data])
        count, (to, source) = len(self._models), arguments

        def call(told: Array, seen: Array, skip: npt.NDArray[np.bool_], _kept: list[Any] = kept) -> None:
            # (a pointer by `ctypes.data` costs a microsecond, one from the interface half)
            at = [array.__array_interface__["data"][0] for array in (told, seen, skip)]
            advance(
                count,
                models.ctypes.data,
                data.ctypes.data,
                at[2],
                len(firsts),
                firsts.ctypes.data,
                self._frame_skip - 1,
                step,
                forward,
                *to,
                at[0],
                *source,
                at[1],
            )

        return call


def _addresses(numbers: Sequence[int]) -> npt.NDArray[np.uint64]:
    return np.array(numbers, np.uint64)


@cache
def _functions() -> tuple[Any, npt.NDArray[np.uint64], int, int] | None:
    """Return the loop in C and the addresses of MuJoCo's functions; None where one of them is missing."""
    library = load(SOURCE, [FLAGS]).library
    found = next(Path(mujoco.__file__).parent.glob("libmujoco*"), None)
    if library is None or found is None:
        return None
    simulator = ctypes.CDLL(str(found))  # the one that Python's mujoco uses, which is loaded already

    def address(name: str) -> int:
        return ctypes.cast(getattr(simulator, name), _POINTER).value or 0

    advance = library.advance_lanes
    advance.argtypes, advance.restype = _ARGUMENTS, None
    return advance, _addresses([address(name) for name in FIRST_STEP]), address("mj_step"), address("mj_forward")
