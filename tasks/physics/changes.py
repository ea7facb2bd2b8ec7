"""Changes the numbers of a compiled MuJoCo model to those of a task, always from the model's own values.

What was changed before is put back first, so a model can serve one task after another without drift. A changed model
moves, collides and weighs like one compiled from a changed file. Most fields are changed in the model as it is, within
microseconds, and MuJoCo recomputes what it derives from masses, inertias, armatures and places (``mj_setConst``), on
scratch data. Where that is not exact (sizes, places of geoms, meshes) the model's file is compiled anew and what comes
out otherwise is written into the model, so that whoever holds the model goes on with it; these come before the others.

A mass takes the inertia along. The gain of a position actuator takes along the pull that it has from the position.
Numbers that MuJoCo finds from a ratio of damping when it compiles are the model's own: a load doesn't change them.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Collection, Mapping, Sequence

import mujoco
import numpy as np
import numpy.typing as npt

from mql.errors import UserError
from mql.tasks.distributions import Value
from mql.tasks.physics.fields import PLACE, SHAPE, Change
from mql.tasks.physics.recompile import Recompiler
from mql.tasks.physics.settle import Settler
from mql.tasks.physics.step import Step
from mql.tasks.scenes.source import ModelSource

_TAKEN_ALONG = {"body_mass": "body_inertia", "position_gain": "actuator_biasprm"}
# MuJoCo skips the place of a site that stood at its body's origin when it was compiled, unless it is told.
_SAME_FRAME = {"site_pos": "site_sameframe"}


class PhysicsChanges:
    """The changes of a family's parameters on one model, or on copies of it.

    Args:
        model: the compiled model; its values at this moment are those that changes start from.
        changes: parameter -> what it changes. Where two change the same number, the later acts on the earlier's result.
        where: says where a dotted key of the definition stands, such as ``parameters.mass.apply.0.body``.
        source: what the model was compiled from; None: nobody knows, and what needs it is refused.
        each: parameters whose value has a number for each row that they change, such as each body's mass (`count`).

    Raises:
        UserError: a name that the model doesn't have, with the nearest that it has, a change without effect, or one
            that needs a source where there is none, or where it gives another model.
    """

    def __init__(
        self,
        model: mujoco.MjModel,
        changes: Mapping[str, Sequence[Change]],
        *,
        where: Callable[[str], str],
        source: ModelSource | None = None,
        each: Collection[str] = (),
    ) -> None:
        steps = [
            Step.of(model, parameter, change, f"parameters.{parameter}.apply.{n}", where, each=parameter in each)
            for parameter, listed in changes.items()
            for n, change in enumerate(listed)
        ]
        needed = {SHAPE, PLACE} if _fixed_by_compiler(model) else {SHAPE}
        self._compiled = tuple(step for step in steps if step.change.kind.carried in needed)
        self._live = tuple(step for step in steps if step.change.kind.carried not in needed)
        self._counts = {parameter: _count(parameter, steps) for parameter in each}
        idle = [step.parameter for step in steps if step.is_idle(model)]
        self._idle = frozenset(idle) - {step.parameter for step in steps if not step.is_idle(model)}
        touched = self._touched()
        self._base = [(name, rows, getattr(model, name)[rows].copy()) for name, rows in touched.items() if len(rows)]
        self._options = [(name, np.copy(getattr(model.opt, name))) for name, rows in touched.items() if not len(rows)]
        self._recompiler = Recompiler(model, self._compiled, source) if self._compiled else None
        self._settler = Settler(model) if any(step.change.kind.derived for step in steps) else None
        placed = [step for step in steps if step.change.kind.array in ("body_pos", "body_quat")]
        self._moved = sorted({row for step in placed for row in step.all_rows})
        self._lock = threading.Lock()  # the scratch data serve one thread at a time

    @property
    def compiled_parameters(self) -> frozenset[str]:
        """Parameters whose changes need the compiler: milliseconds for each new value."""
        return frozenset(step.parameter for step in self._compiled)

    @property
    def idle_parameters(self) -> frozenset[str]:
        """Parameters that only scale numbers which are 0 in the model."""
        return self._idle

    def count(self, parameter: str) -> int:
        """Return how many numbers the value of a parameter has that has one for each row."""
        return self._counts[parameter]

    def apply(self, model: mujoco.MjModel, parameters: Mapping[str, Value]) -> None:
        """Give `model` the values of one task. Its data goes on as it is: reset it to start afresh.

        A parameter that is left out leaves the model's own numbers; one whose changes need the compiler must be there.

        Raises:
            UserError: a value that physics forbids, that MuJoCo refuses, or that doesn't have as many components as the
                change needs.
        """
        with self._lock:
            if self._recompiler is not None:
                self._recompiler.put_back(model)
            for name, rows, values in self._base:
                getattr(model, name)[rows] = values
            for name, values in self._options:
                setattr(model.opt, name, values if values.ndim else values.item())
            if self._recompiler is not None:
                self._recompiler.write(model, parameters)
            for step in self._live:
                if step.parameter in parameters:
                    _change(model, step, parameters[step.parameter])
            if self._settler is not None:
                self._settler.settle(model, self._moved)

    def rebase(self, model: mujoco.MjModel) -> None:
        """Start from the values that `model` has now, as an environment of its own may have set them."""
        with self._lock:
            self._base = [(name, rows, getattr(model, name)[rows].copy()) for name, rows, _ in self._base]
            self._options = [(name, np.copy(getattr(model.opt, name))) for name, _ in self._options]

    def of_copy(self, base: mujoco.MjModel, parameters: Mapping[str, Value]) -> mujoco.MjModel:
        """Return a copy of `base` with the values of one task; `base` stays as it is."""
        model = copy.deepcopy(base)
        self.apply(model, parameters)
        return model

    def _touched(self) -> dict[str, npt.NDArray[np.intp]]:
        """Return array -> the rows that some live change touches; none for an option."""
        touched: dict[str, set[int]] = {}
        for step in self._live:
            field = step.change.field
            for name in {step.change.kind.array, _TAKEN_ALONG.get(field), _SAME_FRAME.get(field)} - {None}:
                touched.setdefault(str(name), set()).update(step.all_rows)
        return {name: np.array(sorted(rows), dtype=np.intp) for name, rows in touched.items()}


def _count(parameter: str, steps: Sequence[Step]) -> int:
    """Return how many rows each change of a parameter changes, which must be one number for all of them.

    Raises:
        UserError: it is not.
    """
    own = [step for step in steps if step.parameter == parameter]
    counts = [len(step.all_rows) for step in own]
    for step, count in zip(own, counts, strict=True):
        if not count:
            raise UserError(f"{step.change.field} is one number", where=step.where, mend="leave 'each' out")
        if count != counts[0]:
            what = f"the changes of {parameter} act on {counts[0]} and on {count} things"
            raise UserError(what, where=step.where, mend="write two, each with a value of its own")
    return counts[0]


def _fixed_by_compiler(model: mujoco.MjModel) -> bool:
    """Whether MuJoCo has fixed lengths or poses when it compiled, which ``mj_setConst`` leaves as they are.

    Springs of tendons, what a muscle can reach, and the pose that a weld keeps.
    """
    return bool(model.ntendon or model.neq or model.actuator_lengthrange.any())


def _change(model: mujoco.MjModel, step: Step, value: Value) -> None:
    """Carry out one change on the model as it is."""
    field, array = step.change.field, step.change.kind.array
    if not step.rows:
        numbers = np.atleast_1d(getattr(model.opt, array))  # a copy, where the option is one number
        step.take(numbers, value)
        if not np.ndim(getattr(model.opt, array)):
            setattr(model.opt, array, numbers.item())
        return
    rows, old, new = step.take(getattr(model, array), value)
    if field == "body_mass":
        model.body_inertia[rows] *= (new / old)[:, None]
    elif field == "position_gain":
        model.actuator_biasprm[rows, 1] = -new
    elif field in _SAME_FRAME:
        getattr(model, _SAME_FRAME[field])[rows] = 0
