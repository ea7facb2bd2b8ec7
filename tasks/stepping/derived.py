"""Quantities that follow from a state and its inputs but are not part of it: bodies' places, sensors, contacts.

``mujoco.rollout`` returns positions, velocities and activations. What a family names in `derived` is computed from
them task by task after each control step, at the new state and with the controls that led there: by the few stages of
MuJoCo's forward pass that it takes, a few microseconds; and by the whole pass, as long as a physics step, where a force
is named. The readings that ``mujoco.rollout`` returns, too, are not used: they are those before the last physics step,
so a touch would be felt one physics step late.

Forces come out of MuJoCo's solver, which is started afresh each time. So a number does not depend on what was computed
before it, and is the same whether a task is alone or beside others.

Shapes: N tasks, B bodies with the world, V velocities, D numbers of a quantity, S numbers of a state, C of the inputs.
Names are those of MuJoCo's MjData.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Flag, auto

import mujoco
import numpy as np

from mql.tasks.family import Array
from mql.tasks.stepping.physics_state import Layout

Reader = Callable[[mujoco.MjModel, Array], None]  # writes a quantity into [D]


class Needs(Flag):
    """What must be computed before a quantity can be read, beside the places of bodies and sites."""

    PLACES = 0
    MOTION = auto()  # velocities of bodies
    MOTORS = auto()  # forces of actuators
    SENSORS = auto()  # sensors of positions and velocities
    CONTACTS = auto()  # where geoms touch
    FORCES = auto()  # forces and accelerations, and all else


@dataclass(frozen=True)
class Derived:
    """A quantity that is no array of MjData.

    Args:
        name: where it stands in ``State.derived``, as [N, D].
        width: D.
        needs: what must be computed before.
        bind: looks it up in the data that it is to be read from, once. All models of that data have the same sizes.
    """

    name: str
    width: int
    needs: Needs
    bind: Callable[[mujoco.MjData], Reader] = field(compare=False, repr=False)


# subtree_com [B, 3] m: centre of mass of each body with all that hangs on it, so that of body 0 is the robot's.
# cinert [B, 10] and cvel [B, 6]: inertia and velocity of each body, seen from the robot's centre of mass.
# qfrc_actuator [V] N m: what the motors do.
# xpos [B, 3] and site_xpos [sites, 3] m: where bodies and sites are in the world.
# sensordata: what sensors read, those of `PROMPT_SENSORS` only; the others' numbers mean nothing.
_NEEDS = {
    "subtree_com": Needs.PLACES,
    "cinert": Needs.PLACES,
    "cvel": Needs.MOTION,
    "qfrc_actuator": Needs.MOTORS,
    "xpos": Needs.PLACES,
    "site_xpos": Needs.PLACES,
    "sensordata": Needs.SENSORS,
}
FROM_STATE = frozenset(_NEEDS)
FROM_PLACES = FROM_STATE - {"qfrc_actuator"}  # what follows from positions and velocities alone
# Contact forces on bodies [B, 6] N m and N, which only a simulation of its own that keeps them can tell.
FROM_SOLVER = frozenset({"cfrc_ext"})
# [N] s since an episode's start. Every simulation knows it; nothing is computed.
TIME = "time"

# Sensors that need neither contacts nor constraints. What limits, forces, energies and plugins read needs them.
PROMPT_SENSORS = frozenset(
    getattr(mujoco.mjtSensor, f"mjSENS_{name}").value
    for name in (
        *("VELOCIMETER", "GYRO", "MAGNETOMETER", "RANGEFINDER", "CAMPROJECTION", "JOINTPOS", "JOINTVEL", "TENDONPOS"),
        *("TENDONVEL", "ACTUATORPOS", "ACTUATORVEL", "BALLQUAT", "BALLANGVEL", "FRAMEPOS", "FRAMEQUAT", "FRAMEXAXIS"),
        *("FRAMEYAXIS", "FRAMEZAXIS", "FRAMELINVEL", "FRAMEANGVEL", "SUBTREECOM", "SUBTREELINVEL", "SUBTREEANGMOM"),
        *("GEOMDIST", "GEOMNORMAL", "GEOMFROMTO", "CLOCK"),
    )
)


def name_of(wanted: str | Derived) -> str:
    """Return where a quantity stands in ``State.derived``."""
    return wanted if isinstance(wanted, str) else wanted.name


def empty(wanted: Sequence[str | Derived], model: mujoco.MjModel, rows: int) -> dict[str, Array]:
    """Return zeros for each quantity: [N, ...]."""
    data = mujoco.MjData(model)
    return {
        name_of(each): np.zeros(
            (rows, *((each.width,) if isinstance(each, Derived) else np.shape(getattr(data, each))))
        )
        for each in wanted
    }


def needs_forces(wanted: Sequence[str | Derived]) -> bool:
    """Tell whether one of the quantities is a force, or follows from forces."""
    return any(isinstance(each, Derived) and Needs.FORCES in each.needs for each in wanted)


class Deriver:
    """Computes quantities of simulations in parallel, each with its own model (all of the same sizes).

    Args:
        wanted: names of arrays of MjData, among `FROM_STATE`, and other quantities; `TIME` is passed over.
        models: one per task. The list may change later: it is read at each step.

    Raises:
        ValueError: a name that does not follow from the state.
    """

    def __init__(self, wanted: Sequence[str | Derived], models: Sequence[mujoco.MjModel]) -> None:
        names = [each for each in wanted if isinstance(each, str) and each != TIME]
        others = [each for each in wanted if isinstance(each, Derived)]
        if not FROM_STATE.issuperset(names):
            raise ValueError(f"{sorted(set(names) - FROM_STATE)} do not follow from the state")
        self._models = models
        self._data = mujoco.MjData(models[0])
        self._layout = Layout(models[0])
        needs = Needs.PLACES
        for need in (*(_NEEDS[name] for name in names), *(each.needs for each in others)):
            needs |= need
        self._forces = Needs.FORCES in needs
        self._sensing = Needs.SENSORS in needs
        self._moving = Needs.MOTION in needs or self._sensing
        self._driven = Needs.MOTORS in needs
        self._touching = Needs.CONTACTS in needs
        # Views, since each access to an attribute of MjData makes a new one.
        self._warmstart = self._data.qacc_warmstart
        self._arrays = {name: getattr(self._data, name) for name in names}
        self._readers = {each.name: each.bind(self._data) for each in others}

    def derive(self, states: Array, inputs: Array, out: Mapping[str, Array]) -> None:
        """Write the quantities of states [N, S] under inputs [N, C] into `out`: name -> [N, ...].

        A task that is not finite gets NaN.
        """
        if not (self._arrays or self._readers):
            return
        finite = np.asarray(np.isfinite(states).all(axis=1))
        for row, model in enumerate(self._models):
            if not finite[row]:
                for name in (*self._arrays, *self._readers):
                    out[name][row] = np.nan
                continue
            self._layout.put(model, self._data, states[row], inputs[row])
            self._compute(model)
            for name, result in self._arrays.items():
                out[name][row] = result
            for name, read in self._readers.items():
                read(model, out[name][row])

    def _compute(self, model: mujoco.MjModel) -> None:
        data = self._data
        if self._forces:
            self._warmstart[:] = 0.0
            mujoco.mj_forward(model, data)
            return
        mujoco.mj_kinematics(model, data)
        mujoco.mj_comPos(model, data)
        if self._moving:
            mujoco.mj_comVel(model, data)
        if self._driven:
            mujoco.mj_tendon(model, data)
            mujoco.mj_transmission(model, data)
            mujoco.mj_fwdActuation(model, data)
        if self._touching:
            mujoco.mj_collision(model, data)
        if self._sensing:
            mujoco.mj_camlight(model, data)
            mujoco.mj_tendon(model, data)
            mujoco.mj_transmission(model, data)
            mujoco.mj_sensorPos(model, data)
            mujoco.mj_fwdVelocity(model, data)
            mujoco.mj_sensorVel(model, data)
