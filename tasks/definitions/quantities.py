"""What expressions and observations call by name in any MuJoCo model.

``joint_<name>`` is a joint's position (m or rad; 7 numbers of a free joint, 4 of a ball), ``speed_<name>`` its velocity
(m/s or rad/s; 6 or 3 numbers), ``site_<name>`` and ``body_<name>`` are places in the world (x, y, z in m), and
``sensor_<name>`` is what a sensor of the model reads. Other characters of a name than letters, digits and ``_`` are
written as ``_``: the site ``robot0:grip`` is ``site_robot0_grip``. Where two names become the same so, neither can be
used. Observations may also list ``qpos`` and ``qvel``, all positions and all velocities.

Shapes: quantities of one state are numbers or [D]; of N tasks [N] or [N, D]. Q positions, V velocities.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import mujoco
import numpy as np
import numpy.typing as npt

from mql.errors import UserError, nearest

Array = npt.NDArray[np.float64]

# The kinds of joint, and how many positions and velocities each has.
_WIDTHS = {
    mujoco.mjtJoint.mjJNT_FREE: (7, 6),
    mujoco.mjtJoint.mjJNT_BALL: (4, 3),
    mujoco.mjtJoint.mjJNT_SLIDE: (1, 1),
    mujoco.mjtJoint.mjJNT_HINGE: (1, 1),
}
_FROM_STATE = ("qpos", "qvel")


@dataclass(frozen=True)
class Quantity:
    """Where a quantity stands: a place in one of MjData's arrays.

    Args:
        source: the array.
        index: behind the axis of tasks, if there is one: a number for a scalar, else a slice or a row.
        width: how many numbers it has.
        owner: what the model calls it, such as ``site 'robot0:grip'``.
        rival: what else would be called the same, so that neither can be used; None: nothing.
    """

    source: str
    index: int | slice
    width: int
    owner: str = ""
    rival: str | None = None

    @property
    def is_number(self) -> bool:
        """Whether it is one number, not a vector."""
        return self.width == 1 and self.source not in ("site_xpos", "xpos")


def quantities_of(model: mujoco.MjModel) -> dict[str, Quantity]:
    """Return every named quantity of `model`. What has no name in the model has none here."""
    found: dict[str, Quantity] = {}
    for kind, name, quantity in _elements(model):
        if name:
            called = f"{kind}_{plain_name(name)}"
            owner = f"{'joint' if kind == 'speed' else kind} {name!r}"
            other = found.get(called)
            found[called] = replace(quantity, owner=owner, rival=other.owner if other is not None else None)
    return found


def plain_name(name: str) -> str:
    """Return a name as expressions say it: with ``_`` in place of all but letters, digits and ``_``."""
    # Python reads names in this normal form.
    letters = unicodedata.normalize("NFKC", name)
    return "".join(letter if f"_{letter}".isidentifier() else "_" for letter in letters)


def whole_state(model: mujoco.MjModel) -> dict[str, Quantity]:
    """Return all positions and all velocities, free joints whole: what is observed where nothing else is said.

    An observation may name them beside others.
    """
    sizes = {"qpos": model.nq, "qvel": model.nv}
    return {name: Quantity(name, slice(0, size), size) for name, size in sizes.items()}


def vector_sizes(known: Mapping[str, Quantity]) -> dict[str, int]:
    """Return how many components the vectors have, as ``info.NAME`` -> number."""
    return {f"info.{name}": quantity.width for name, quantity in known.items() if not quantity.is_number}


def chosen(known: Mapping[str, Quantity], names: Sequence[str], *, where: str) -> dict[str, Quantity]:
    """Return the quantities called `names`, in this order.

    Raises:
        UserError: there is none of a name (the message gives the nearest), or two.
    """
    for name in names:
        if name not in known:
            raise UserError(f"the model has no {name!r}", where=where, mend=nearest(name, known))
    found = {name: known[name] for name in names}
    check_clear(found, where=where)
    return found


def check_clear(used: Mapping[str, Quantity], *, where: str | None) -> None:
    """Refuse a name that two things of the model have.

    Raises:
        UserError: `used` holds one; the message names both.
    """
    for name, quantity in used.items():
        if quantity.rival is not None:
            what = f"{name!r} could be {quantity.rival} or {quantity.owner} of the model"
            raise UserError(what, where=where, mend="give one of them another name in the MJCF")


def check_readable(model: mujoco.MjModel, used: Mapping[str, Quantity], *, where: str) -> None:
    """Refuse what can't be read side by side.

    Raises:
        UserError: `used` holds a name that two things have, or a sensor of forces or accelerations: only positions and
            velocities are at hand.
    """
    check_clear(used, where=where)
    late = model.sensor_adr[model.sensor_needstage > mujoco.mjtStage.mjSTAGE_VEL.value]
    for name, quantity in used.items():
        start = quantity.index.start if isinstance(quantity.index, slice) else quantity.index
        if quantity.source == "sensordata" and start in late:
            what = f"{name!r} reads forces or accelerations, which are not known after a step side by side"
            raise UserError(what, where=where, mend="use another quantity, or a task in Python")


def sources_beyond_state(used: Collection[Quantity]) -> tuple[str, ...]:
    """Return the arrays of MjData that `used` needs beside qpos and qvel, sorted."""
    return tuple(sorted({quantity.source for quantity in used} - set(_FROM_STATE)))


def read_rows(used: Mapping[str, Quantity], arrays: Mapping[str, Array]) -> dict[str, Array]:
    """Return each quantity of N tasks, [N] or [N, D], from arrays with a leading axis of tasks."""
    return {name: arrays[quantity.source][:, quantity.index] for name, quantity in used.items()}


class LiveQuantities:
    """Reads quantities of one MjData as numbers and vectors, as cheaply as Python allows.

    Args:
        used: the quantities.
        data: where they are read.
        where: the place of the expressions that use them, for messages.

    Raises:
        UserError: `used` holds a name that two things have.
    """

    def __init__(self, used: Mapping[str, Quantity], data: mujoco.MjData, *, where: str | None = None) -> None:
        check_clear(used, where=where)
        # Views of the data's own memory: they show every later state.
        self._numbers = [(name, getattr(data, q.source), q.index) for name, q in used.items() if q.is_number]
        self._vectors = [(name, getattr(data, q.source)[q.index]) for name, q in used.items() if not q.is_number]

    def read(self) -> dict[str, Any]:
        """Return name -> float or [D]; the vectors are copies."""
        values: dict[str, Any] = {name: float(array[index]) for name, array, index in self._numbers}
        for name, view in self._vectors:
            values[name] = view.copy()
        return values


def _elements(model: mujoco.MjModel) -> Iterator[tuple[str, str, Quantity]]:
    """Yield (kind, name, quantity) of what may have a name."""
    for joint in range(model.njnt):
        name = model.joint(joint).name
        positions, velocities = _WIDTHS[mujoco.mjtJoint(model.jnt_type[joint])]
        yield "joint", name, _run("qpos", int(model.jnt_qposadr[joint]), positions)
        yield "speed", name, _run("qvel", int(model.jnt_dofadr[joint]), velocities)
    for site in range(model.nsite):
        yield "site", model.site(site).name, Quantity("site_xpos", site, 3)
    for body in range(model.nbody):
        yield "body", model.body(body).name, Quantity("xpos", body, 3)
    for sensor in range(model.nsensor):
        start, width = int(model.sensor_adr[sensor]), int(model.sensor_dim[sensor])
        yield "sensor", model.sensor(sensor).name, _run("sensordata", start, width)


def _run(source: str, start: int, width: int) -> Quantity:
    return Quantity(source, start if width == 1 else slice(start, start + width), width)
