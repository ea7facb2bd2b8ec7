"""Changes the numbers of a compiled MuJoCo model to those of a task, always from the model's own values.

What was changed before is put back first, so a model can serve one task after another without drift. A changed model
moves like one compiled from a changed file: masses take the inertia along, and MuJoCo recomputes what it derives from
masses, inertias, armatures and places (``mj_setConst``), on scratch data. The gain of a position actuator takes along
the pull that it has from the position; its damping (``kv``) stays.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import mujoco
import numpy as np
import numpy.typing as npt

from mql.config.parts import Mistake
from mql.errors import UserError
from mql.tasks.distributions import Value
from mql.tasks.physics.fields import Change
from mql.tasks.physics.scaling import settle
from mql.tasks.physics.targets import rows_of

_DERIVED_FROM = frozenset({"body_mass", "body_inertia", "body_pos", "dof_armature"})
_TAKEN_ALONG = {"body_mass": "body_inertia", "actuator_gainprm": "actuator_biasprm"}
_STATISTICS = ("meaninertia", "meanmass", "meansize", "extent", "center")
# MuJoCo skips the place of a geom or a site that stood at its body's origin when it was compiled, unless it is told.
_SAME_FRAME = {"geom_pos": "geom_sameframe", "site_pos": "site_sameframe"}

Rows = npt.NDArray[np.intp]


@dataclass(frozen=True)
class _Step:
    """One change: `rows` holds those of each name; plans are made for the size of the value, once."""

    parameter: str
    change: Change
    rows: tuple[tuple[int, ...], ...]
    where: str
    plans: dict[int | None, tuple[tuple[Rows, ...], Rows]] = field(default_factory=dict)


class PhysicsChanges:
    """The changes of a definition's parameters on one model, or on copies of it.

    Args:
        model: the compiled model; its values at this moment are those that changes start from.
        changes: parameter -> what it changes. Where two change the same number, the later acts on the earlier's result.
        where: says where a dotted key of the definition stands, such as ``parameters.mass.apply.0.body``.

    Raises:
        UserError: a name that the model doesn't have, with the nearest that it has, or a change without effect.
    """

    def __init__(
        self, model: mujoco.MjModel, changes: Mapping[str, Sequence[Change]], *, where: Callable[[str], str]
    ) -> None:
        self._steps = [
            _step(model, parameter, change, f"parameters.{parameter}.apply.{n}", where)
            for parameter, listed in changes.items()
            for n, change in enumerate(listed)
        ]
        self._base = {name: (rows, _values(model, name)[rows].copy()) for name, rows in self._touched().items()}
        self._settles = not _DERIVED_FROM.isdisjoint(self._base)
        if self._settles:
            self._scratch = mujoco.MjData(model)
            self._home = (model.body_pos.copy(), model.body_quat.copy())
            self._stated = _stated_statistics(model)

    def apply(self, model: mujoco.MjModel, parameters: Mapping[str, Value]) -> None:
        """Give `model` the values of one task. Its data goes on as it is: reset it to start afresh.

        Raises:
            UserError: a value that physics forbids, or that doesn't have as many components as the change needs.
        """
        for name, (rows, values) in self._base.items():
            if np.ndim(values):
                _values(model, name)[rows] = values
            else:
                setattr(model.opt, name, float(values))
        for step in self._steps:
            _take(model, step, parameters[step.parameter])
        if self._settles:
            self._settle(model)

    def of_copy(self, base: mujoco.MjModel, parameters: Mapping[str, Value]) -> mujoco.MjModel:
        """Return a copy of `base` with the values of one task; `base` stays as it is."""
        model = copy.deepcopy(base)
        self.apply(model, parameters)
        return model

    def _touched(self) -> dict[str, Any]:
        """Return array -> the rows that some change touches; an option is touched as a whole."""
        touched: dict[str, set[int]] = {}
        for step in self._steps:
            array = step.change.kind.array
            for name in (array, _TAKEN_ALONG.get(array, array)):
                touched.setdefault(name, set()).update(row for rows in step.rows for row in rows)
        return {name: np.array(sorted(rows), dtype=np.intp) if rows else ... for name, rows in touched.items()}

    def _settle(self, model: mujoco.MjModel) -> None:
        """Recompute what MuJoCo derives, as if every body that an environment has moved stood in its own place."""
        moved = (model.body_pos.copy(), model.body_quat.copy())
        model.body_pos[:], model.body_quat[:] = self._home
        if "body_pos" in self._base:
            rows = self._base["body_pos"][0]
            model.body_pos[rows] = moved[0][rows]
        mujoco.mj_resetData(model, self._scratch)
        settle(model, self._scratch)
        model.body_pos[:], model.body_quat[:] = moved
        for name, value in self._stated.items():
            _set_statistic(model, name, value)


def _step(model: mujoco.MjModel, parameter: str, change: Change, key: str, where: Callable[[str], str]) -> _Step:
    target, names = change.target
    place = where(f"{key}.{target}" if target else f"{key}.field")
    rows = tuple(tuple(rows_of(model, change, name, place)) for name in names)
    return _Step(parameter, change, rows, where(key))


def _take(model: mujoco.MjModel, step: _Step, value: Value) -> None:
    """Carry out one change."""
    change, array = step.change, step.change.kind.array
    index, pick = _plan(step, np.ndim(_values(model, array)), value)
    numbers = np.asarray(value, dtype=np.float64).reshape(-1)[pick]
    if not index:
        setattr(model.opt, array, _combined(step, np.asarray([getattr(model.opt, array)]), numbers).item())
        return
    values = _values(model, array)
    old = values[index]
    new = _combined(step, old, numbers)
    values[index] = new
    if change.field == "body_mass":
        model.body_inertia[index[0]] *= (new / old)[:, None]
    elif change.field == "position_gain":
        model.actuator_biasprm[index[0], 1] = -new
    elif change.kind.increasing and not (values[index[0], 0] < values[index[0], 1]).all():
        what = f"{step.parameter} makes a range of {change.field} that ends before it begins"
        raise UserError(what, where=step.where, mend="keep the first component below the second")
    elif change.field in _SAME_FRAME:
        getattr(model, _SAME_FRAME[change.field])[index[0]] = 0


def _combined(step: _Step, old: npt.NDArray[Any], numbers: npt.NDArray[Any]) -> npt.NDArray[Any]:
    op, kind = step.change.op, step.change.kind
    new = numbers if op == "set" else old * numbers if op == "scale" else old + numbers
    if not (np.isfinite(new).all() and (new >= kind.low).all()):
        what = f"{step.parameter} makes {step.change.field} {new.min():g}"
        mend = f"physics allows {kind.low:g} {kind.unit} and more" if np.isfinite(kind.low) else "give finite numbers"
        raise UserError(what, where=step.where, mend=mend)
    return new


def _plan(step: _Step, dimensions: int, value: Value) -> tuple[tuple[Rows, ...], Rows]:
    """Return the index of the changed elements, and for each the component of the value that it takes.

    The index is (rows,), (rows, columns), (columns,) of an option that is a vector, or () of one that is a number.
    """
    size = len(value) if np.ndim(value) else None  # type: ignore[arg-type]
    if size in step.plans:
        return step.plans[size]
    try:
        columns = step.change.components(size)
    except Mistake as mistake:
        context = mistake.context or {}
        raise UserError(context["what"], where=step.where, mend=context["mend"]) from None
    one_for_each = size is not None and step.change.kind.width == 1
    elements = [
        (row, column, n if one_for_each else at if size is not None else 0)
        for n, rows in enumerate(step.rows or ((0,),))
        for row in rows
        for at, column in enumerate(columns)
    ]
    rows, places, pick = (np.array(part, dtype=np.intp) for part in zip(*elements, strict=True))
    option = not step.rows
    index = (() if dimensions == 0 else (places,)) if option else ((rows,) if dimensions == 1 else (rows, places))
    step.plans[size] = (index, pick)
    return step.plans[size]


def _values(model: mujoco.MjModel, array: str) -> Any:
    """Return an array of the model, or an option; a number comes as one of no dimensions."""
    owner = model if hasattr(model, array) else model.opt
    return np.asarray(getattr(owner, array))


def _stated_statistics(model: mujoco.MjModel) -> dict[str, Any]:
    """Return the statistics that the MJCF states itself: those that MuJoCo would compute otherwise."""
    computed = copy.deepcopy(model)
    settle(computed)
    pairs = {name: (getattr(model.stat, name), getattr(computed.stat, name)) for name in _STATISTICS}
    return {name: np.copy(own) for name, (own, other) in pairs.items() if not np.allclose(own, other, rtol=1e-6)}


def _set_statistic(model: mujoco.MjModel, name: str, value: Any) -> None:
    if np.ndim(value):
        getattr(model.stat, name)[:] = value
    else:
        setattr(model.stat, name, float(value))
