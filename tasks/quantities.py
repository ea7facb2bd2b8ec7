"""What expressions and observations call by name in any MuJoCo model.

``joint_<name>`` is a joint's position (m or rad; 7 numbers of a free joint, 4 of a ball), ``speed_<name>`` its velocity
(m/s or rad/s; 6 or 3 numbers), ``site_<name>`` and ``body_<name>`` are places in the world (x, y, z in m), and
``sensor_<name>`` is what a sensor of the model reads.

Shapes: quantities of one state are numbers or [D]; of N lanes [N] or [N, D]. Q positions, V velocities.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
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

    ``index`` is behind the axis of lanes, if there is one: a number for a scalar, else a slice or a row.
    """

    source: str
    index: int | slice
    width: int

    @property
    def is_number(self) -> bool:
        """Whether it is one number, not a vector."""
        return self.width == 1 and self.source not in ("site_xpos", "xpos")


def quantities_of(model: mujoco.MjModel) -> dict[str, Quantity]:
    """Return every named quantity of `model`. What has no name in the model has none here."""
    found: dict[str, Quantity] = {}
    for joint in range(model.njnt):
        name = model.joint(joint).name
        positions, velocities = _WIDTHS[mujoco.mjtJoint(model.jnt_type[joint])]
        if name:
            found[f"joint_{name}"] = _run("qpos", int(model.jnt_qposadr[joint]), positions)
            found[f"speed_{name}"] = _run("qvel", int(model.jnt_dofadr[joint]), velocities)
    for site in range(model.nsite):
        if name := model.site(site).name:
            found[f"site_{name}"] = Quantity("site_xpos", site, 3)
    for body in range(model.nbody):
        if name := model.body(body).name:
            found[f"body_{name}"] = Quantity("xpos", body, 3)
    for sensor in range(model.nsensor):
        if name := model.sensor(sensor).name:
            found[f"sensor_{name}"] = _run("sensordata", int(model.sensor_adr[sensor]), int(model.sensor_dim[sensor]))
    return found


def whole_state(model: mujoco.MjModel) -> dict[str, Quantity]:
    """Return all positions and all velocities, free joints whole: what is observed where nothing else is said."""
    sizes = {"qpos": model.nq, "qvel": model.nv}
    return {name: Quantity(name, slice(0, size), size) for name, size in sizes.items()}


def vector_sizes(known: Mapping[str, Quantity]) -> dict[str, int]:
    """Return how many components the vectors have, as ``info.NAME`` -> number."""
    return {f"info.{name}": quantity.width for name, quantity in known.items() if not quantity.is_number}


def chosen(known: Mapping[str, Quantity], names: Sequence[str], *, where: str) -> dict[str, Quantity]:
    """Return the quantities called `names`, in this order.

    Raises:
        UserError: there is none of a name; the message gives the nearest.
    """
    for name in names:
        if name not in known:
            raise UserError(f"the model has no {name!r}", where=where, mend=nearest(name, known))
    return {name: known[name] for name in names}


def check_sensors(model: mujoco.MjModel, names: Collection[str], *, where: str) -> None:
    """Refuse sensors that read forces or accelerations: side by side, only positions and velocities are at hand.

    Raises:
        UserError: `names` holds one.
    """
    for name in names:
        if name.startswith("sensor_"):
            sensor = model.sensor(name.removeprefix("sensor_")).id
            if model.sensor_needstage[sensor] > mujoco.mjtStage.mjSTAGE_VEL.value:
                what = f"{name!r} reads forces or accelerations, which are not known after a step side by side"
                raise UserError(what, where=where, mend="use another quantity, or a task in Python")


def sources_beyond_state(used: Collection[Quantity]) -> tuple[str, ...]:
    """Return the arrays of MjData that `used` needs beside qpos and qvel, sorted."""
    return tuple(sorted({quantity.source for quantity in used} - set(_FROM_STATE)))


def read_lanes(used: Mapping[str, Quantity], arrays: Mapping[str, Array]) -> dict[str, Array]:
    """Return each quantity of N lanes, [N] or [N, D], from arrays with a leading axis of lanes."""
    return {name: arrays[quantity.source][:, quantity.index] for name, quantity in used.items()}


class LiveQuantities:
    """Reads quantities of one MjData as numbers and vectors, as cheaply as Python allows."""

    def __init__(self, used: Mapping[str, Quantity], data: mujoco.MjData) -> None:
        # Views of the data's own memory: they show every later state.
        self._numbers = [(name, getattr(data, q.source), q.index) for name, q in used.items() if q.is_number]
        self._vectors = [(name, getattr(data, q.source)[q.index]) for name, q in used.items() if not q.is_number]

    def read(self) -> dict[str, Any]:
        """Return name -> float or [D]; the vectors are copies."""
        values: dict[str, Any] = {name: float(array[index]) for name, array, index in self._numbers}
        for name, view in self._vectors:
            values[name] = view.copy()
        return values


def _run(source: str, start: int, width: int) -> Quantity:
    return Quantity(source, start if width == 1 else slice(start, start + width), width)
