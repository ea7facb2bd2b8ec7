"""What expressions and observations call by name in any MuJoCo model.

========================= ============================================================================================
``joint_J``, ``speed_J``  a joint's position (m or rad; 7 numbers of a free joint, 4 of a ball) and velocity (6 or 3)
``site_S``, ``body_B``    a place in the world, x, y, z in m
``quat_X``                the orientation of a body or site in the world, w, x, y, z
``zaxis_X``               its z axis in the world
``gravity_X``             where gravity points to, seen from it: what an IMU tells of its tilt; a unit vector
``velocity_X``            velocity of its origin along the world's axes, m/s
``angular_X``             angular velocity about the world's axes, rad/s
``touching_A_B``          1.0 where the geoms or bodies A and B are in contact, else 0.0
``force_A_B``             the sum of the normal forces between them, N
``sensor_N``              what a sensor of the model reads
``time``                  s since the episode's start
========================= ============================================================================================

Other characters of a name than letters, digits and ``_`` are written as ``_``: the site ``robot0:grip`` is
``site_robot0_grip``. Where a body and a site have one name, ``quat_body_X`` and ``quat_site_X`` tell them apart, and
likewise ``touching_geom_A_body_B``; a body stands for its own geoms, not for those of bodies that hang on it. A name
that can mean two things is refused where it is used. Observations may also list ``qpos`` and ``qvel``, all positions
and all velocities.

Shapes: quantities of one state are numbers or [D]; of N tasks [N] or [N, D]. Q positions, V velocities.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import EllipsisType
from typing import Any

import mujoco
import numpy as np
import numpy.typing as npt

from mql.errors import UserError, nearest
from mql.robots.mjcf.lookup import joint_freedoms, joint_width
from mql.tasks.definitions.pairs import Pairs
from mql.tasks.stepping import frames
from mql.tasks.stepping.derived import PROMPT_SENSORS, TIME, Derived, Needs, Reader
from mql.tasks.stepping.frames import Frame

Array = npt.NDArray[np.float64]

_FROM_STATE = ("qpos", "qvel")
_PLACES = ("site_xpos", "xpos")
_OF_FRAMES: Mapping[str, Callable[[str, Frame], Derived]] = {
    "quat": frames.quaternion,
    "zaxis": frames.own_z_axis,
    "gravity": frames.gravity_direction,
    "velocity": frames.linear_velocity,
    "angular": frames.angular_velocity,
}


@dataclass(frozen=True)
class Quantity:
    """Where a quantity stands: a place in one of MjData's arrays, or in one of its own.

    Args:
        source: the array.
        index: behind the axis of tasks, if there is one: a number for a scalar, else a slice or a row.
        width: how many numbers it has.
        owner: what the model calls that which has it, such as ``site 'robot0:grip'``.
        rival: what else would be called the same, so that neither can be used; None: nothing.
        clearer: names that tell the two apart; "": there are none.
        derived: how the array is computed, where it is none of MjData's.
    """

    source: str
    index: int | slice | EllipsisType
    width: int
    owner: str = ""
    rival: str | None = None
    clearer: str = ""
    derived: Derived | None = None

    @property
    def is_number(self) -> bool:
        """Whether it is one number, not a vector."""
        return self.width == 1 and self.source not in _PLACES


class Quantities(Mapping[str, Quantity]):
    """Every named quantity of a model. Pairs of geoms or bodies are found by their names, but not listed."""

    def __init__(self, model: mujoco.MjModel) -> None:
        self._listed = _listed(model)
        self._pairs = Pairs(model, plain_name)

    def __getitem__(self, name: str) -> Quantity:
        if name in self._listed:
            return self._listed[name]
        found = self._pairs.find(name)
        if found is None:
            raise KeyError(name)
        derived, meanings = found
        rival = meanings[-2].said if meanings[1:] else None
        clearer = _clearer(name, [each.clear for each in meanings]) if rival else ""
        return Quantity(name, 0, 1, meanings[-1].said, rival, clearer, derived)

    def __iter__(self) -> Iterator[str]:
        return iter(self._listed)

    def __len__(self) -> int:
        return len(self._listed)

    def check_pair(self, name: str, *, where: str) -> None:
        """Refuse ``touching_A_B`` or ``force_A_B`` of what is not there, or never touches.

        Raises:
            UserError: one of these.
        """
        if name not in self._listed:
            self._pairs.check(name, where=where)


def quantities_of(model: mujoco.MjModel) -> Quantities:
    """Return every named quantity of `model`. What has no name in the model has none here."""
    return Quantities(model)


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


def chosen(
    known: Quantities, names: Sequence[str], *, where: str, whole: Mapping[str, Quantity] | None = None
) -> dict[str, Quantity]:
    """Return the quantities called `names`, in this order; names in `whole` are known, too.

    Raises:
        UserError: there is none of a name (the message gives the nearest), or two.
    """
    found = {}
    for name in names:
        known.check_pair(name, where=where)
        each = (whole or {}).get(name) or known.get(name)
        if each is None:
            raise UserError(f"the model has no {name!r}", where=where, mend=nearest(name, [*(whole or {}), *known]))
        found[name] = each
    check_clear(found, where=lambda _: where)
    return found


def named_in(names: Collection[str], known: Quantities, *, where: Callable[[str], str]) -> dict[str, Quantity]:
    """Return the quantities among `names`, sorted; other names below ``info`` may be something else's.

    Args:
        names: those that are read somewhere.
        known: the model's.
        where: says where a name is read, for messages.

    Raises:
        UserError: two geoms or bodies are named that never touch, or are not there.
    """
    for name in sorted(names):
        known.check_pair(name, where=where(name))
    return {name: known[name] for name in sorted(names) if name in known}


def check_clear(used: Mapping[str, Quantity], *, where: Callable[[str], str] | None = None) -> None:
    """Refuse a name that two things of the model have; `where` says where it is read.

    Raises:
        UserError: `used` holds one; the message names both.
    """
    for name, quantity in used.items():
        if quantity.rival is not None:
            what = f"{name!r} could be {quantity.rival} or {quantity.owner} of the model"
            mend = f"write {quantity.clearer}" if quantity.clearer else "give one of them another name in the MJCF"
            raise UserError(what, where=None if where is None else where(name), mend=mend)


def sources_beyond_state(used: Collection[Quantity]) -> tuple[str | Derived, ...]:
    """Return what `used` needs beside qpos and qvel: arrays of MjData, and others, sorted by their names."""
    found = {quantity.source: quantity.derived or quantity.source for quantity in used}
    return tuple(found[source] for source in sorted(found.keys() - set(_FROM_STATE)))


def read_rows(used: Mapping[str, Quantity], arrays: Mapping[str, Array]) -> dict[str, Array]:
    """Return each quantity of N tasks, [N] or [N, D], from arrays with a leading axis of tasks."""
    return {name: arrays[quantity.source][:, quantity.index] for name, quantity in used.items()}


class LiveQuantities:
    """Reads quantities of one MjData as numbers and vectors, as cheaply as Python allows.

    All that `data` holds must be that of its present state, forces included.

    Args:
        used: the quantities.
        data: where they are read.
        where: says where a name is read, for messages.

    Raises:
        UserError: `used` holds a name that two things have.
    """

    def __init__(
        self, used: Mapping[str, Quantity], data: mujoco.MjData, *, where: Callable[[str], str] | None = None
    ) -> None:
        check_clear(used, where=where)
        self._model, self._data = data.model, data
        self._timed, self._began = TIME in used, 0.0
        plain = {name: q for name, q in used.items() if q.derived is None and q.source != TIME}
        # Views of the data's own memory: they show every later state.
        self._numbers = [(name, getattr(data, q.source), q.index) for name, q in plain.items() if q.is_number]
        self._vectors = [(name, getattr(data, q.source)[q.index]) for name, q in plain.items() if not q.is_number]
        others = [(name, q.derived, q.is_number) for name, q in used.items() if q.derived is not None]
        self._others = [(name, each.bind(data), each.width, is_number) for name, each, is_number in others]

    def start(self) -> None:
        """Start an episode: time counts from here."""
        self._began = self._data.time

    def read(self) -> dict[str, Any]:
        """Return name -> float or [D]; the vectors are copies."""
        values: dict[str, Any] = {name: float(array[index]) for name, array, index in self._numbers}
        for name, view in self._vectors:
            values[name] = view.copy()
        for name, read, width, is_number in self._others:
            value = np.zeros(width)
            read(self._model, value)
            values[name] = float(value[0]) if is_number else value
        if self._timed:
            values[TIME] = self._data.time - self._began
        return values


def _listed(model: mujoco.MjModel) -> dict[str, Quantity]:
    """Return the quantities by their names, but for pairs."""
    found: dict[str, list[tuple[str, Quantity]]] = {}
    for called, clear, quantity in _elements(model):
        found.setdefault(called, []).append((clear, quantity))
    listed = {TIME: Quantity(TIME, ..., 1, "the time since the episode's start")}
    for called, meanings in found.items():
        rival = meanings[-2][1].owner if meanings[1:] else None
        clearer = _clearer(called, [clear for clear, _ in meanings])
        listed[called] = replace(meanings[-1][1], rival=rival, clearer=clearer if rival else "")
    return listed


def _clearer(called: str, clear: Sequence[str]) -> str:
    """Say which names tell apart what is `called` the same; "": there are none."""
    apart = list(dict.fromkeys(name for name in clear if name not in ("", called)))
    return " or ".join(apart) if apart[1:] else ""


def _elements(model: mujoco.MjModel) -> Iterator[tuple[str, str, Quantity]]:
    """Yield (name, a clearer name or "", quantity) of what has a name in the model."""
    for joint in range(model.njnt):
        name = model.joint(joint).name
        positions, velocities = joint_width(model, joint), joint_freedoms(model, joint)
        if name:
            owner = f"joint {name!r}"
            yield f"joint_{plain_name(name)}", "", _run("qpos", int(model.jnt_qposadr[joint]), positions, owner)
            yield f"speed_{plain_name(name)}", "", _run("qvel", int(model.jnt_dofadr[joint]), velocities, owner)
    for kind, source, count in (("site", "site_xpos", model.nsite), ("body", "xpos", model.nbody)):
        for number in range(count):
            name = (model.site if kind == "site" else model.body)(number).name
            if name:
                owner = f"{kind} {name!r}"
                yield f"{kind}_{plain_name(name)}", "", Quantity(source, number, 3, owner)
                yield from _of_frame(kind, name, owner, Frame(kind == "site", number))
    for sensor in range(model.nsensor):
        name = model.sensor(sensor).name
        if name:
            called = f"sensor_{plain_name(name)}"
            yield called, "", _reading(model, sensor, called, f"sensor {name!r}")


def _of_frame(kind: str, name: str, owner: str, frame: Frame) -> Iterator[tuple[str, str, Quantity]]:
    for what, derive in _OF_FRAMES.items():
        clear = f"{what}_{kind}_{plain_name(name)}"
        for called in (clear, f"{what}_{plain_name(name)}"):
            derived = derive(called, frame)
            index = slice(0, derived.width)
            yield called, clear, Quantity(called, index, derived.width, owner, derived=derived)


def _reading(model: mujoco.MjModel, sensor: int, called: str, owner: str) -> Quantity:
    """Return what a sensor reads: of the array of all sensors, or, where that takes forces, on its own."""
    start, width = int(model.sensor_adr[sensor]), int(model.sensor_dim[sensor])
    if model.sensor_type[sensor] in PROMPT_SENSORS:
        return _run("sensordata", start, width, owner)

    kinetic = model.sensor_type[sensor] == mujoco.mjtSensor.mjSENS_E_KINETIC.value and not model.sensor_cutoff[sensor]

    def bind(data: mujoco.MjData) -> Reader:
        view, energy = data.sensordata[start : start + width], data.energy

        def read(model: mujoco.MjModel, out: Array) -> None:
            if kinetic:  # MuJoCo 4.0.0 leaves the one of the evaluation before
                mujoco.mj_energyVel(model, data)
                out[:] = energy[1]
            else:
                out[:] = view

        return read

    index = 0 if width == 1 else slice(0, width)
    return Quantity(called, index, width, owner, derived=Derived(called, width, Needs.FORCES, bind))


def _run(source: str, start: int, width: int, owner: str) -> Quantity:
    return Quantity(source, start if width == 1 else slice(start, start + width), width, owner)
