"""One MuJoCo simulation of a Fetch scene that serves many tasks, one after another.

A task is written into it, its model's numbers and its state, and read back. Simulations are kept when nobody uses them:
building one takes as long as an episode.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import mujoco
import numpy as np

from mql.tasks.families.robotics.fetch_collisions import Masks
from mql.tasks.families.robotics.fetch_scenes import GRIPPER, LINK, OBJECT, Scene, started
from mql.tasks.family import Array

Numbers = Mapping[str, Array]  # what differs from the scene's model, such as "body_mass" or "opt.gravity" -> values

UNCHANGED: Numbers = {}

_IDLE = 4  # simulations of a scene that are kept
# What a task or an episode may change without moving what can touch: with anything else all pairs are looked at.
_HARMLESS = frozenset(
    {"body_mass", "body_inertia", "geom_friction", "dof_damping", "dof_frictionloss", "dof_armature"}
    | {"actuator_gainprm", "actuator_biasprm", "actuator_gear"}
    # What MuJoCo derives from masses and armatures.
    | {"body_subtreemass", "body_invweight0", "dof_invweight0", "dof_M0", "light_poscom0", "cam_poscom0"}
    | {"stat.meaninertia", "stat.meanmass"}
)
_LARGE = ("mesh_", "tex_", "bvh_", "skin_", "hfield_", "names", "text_", "paths")  # what no change touches


class SharedSimulation:
    """A scene's model and data.

    Args:
        scene: the scene.
    """

    def __init__(self, scene: Scene) -> None:
        base = started(scene).model
        self.model = copy.deepcopy(base)
        self.data = data = mujoco.MjData(self.model)
        self._base, self._masks = base, Masks.of(base)
        self._few, self._loaded = False, UNCHANGED
        self.harmless = True
        # Views, since each access to an attribute of MjData makes a new one.
        self.qpos, self.qvel, self.ctrl, self.warm = data.qpos, data.qvel, data.ctrl, data.qacc_warmstart
        self.mocap_pos, self.mocap_quat = data.mocap_pos[0], data.mocap_quat[0]
        self.gripper_site = int(base.site(GRIPPER).id)
        self.gripper = data.site_xpos[self.gripper_site]
        link = int(base.body(LINK).id)
        self.link_pos, self.link_quat = data.xpos[link], data.xquat[link]
        thing = int(base.site(OBJECT).id) if scene.has_object else self.gripper_site
        self.object, self.rotation = data.site_xpos[thing], data.site_xmat[thing]

    def put(self, qpos: Array, qvel: Array, warm: Array, time: float) -> None:
        """Go on from a state: qpos [Q], qvel [V], the solver's starting point [V] and the time in s."""
        self.qpos[:], self.qvel[:], self.warm[:], self.data.time = qpos, qvel, warm, time

    def load(self, numbers: Numbers) -> None:
        """Have the numbers of a task; all others are the scene's."""
        if numbers is self._loaded:
            return
        for name in self._loaded:
            if name not in numbers:
                _write(self.model, name, _read(self._base, name))
        for name, values in numbers.items():
            _write(self.model, name, values)
        self._loaded = numbers
        self.harmless = _HARMLESS.issuperset(numbers)

    def look(self, *, few: bool) -> None:
        """Look for contacts of all pairs of geoms, or of few (`mql.tasks.families.robotics.fetch_collisions`)."""
        if few is not self._few:
            for name, values in (self._masks.few if few else self._masks.all).items():
                getattr(self.model, name)[:] = values
            self._few = few

    def differences(self) -> Numbers:
        """Return how the model differs from the scene's, after someone has changed it; all pairs are looked at."""
        pairs = ((name, _read(self._base, name), _read(self.model, name)) for name in self._names)
        return {name: np.copy(own) for name, base, own in pairs if not np.array_equal(base, own)} or UNCHANGED

    @cached_property
    def _names(self) -> tuple[str, ...]:
        """All numbers of a model, but for the large arrays that nobody changes."""
        owners = (("", self._base), ("opt.", self._base.opt), ("stat.", self._base.stat))
        names = [
            prefix + name for prefix, owner in owners for name in dir(owner) if not name.startswith(("_", *_LARGE))
        ]
        return tuple(name for name in names if isinstance(_read(self._base, name), np.ndarray | float))


def borrow(scene: Scene) -> SharedSimulation:
    """Take a simulation that nobody uses, or build one; `give_back` it afterwards."""
    with _lock:
        kept = _idle.get(scene)
        if kept:
            return kept.pop()
    return SharedSimulation(scene)


def give_back(scene: Scene, simulation: SharedSimulation) -> None:
    """Let others have a simulation."""
    with _lock:
        kept = _idle.setdefault(scene, [])
        if len(kept) < _IDLE:
            kept.append(simulation)


_idle: dict[Scene, list[SharedSimulation]] = {}
_lock = threading.Lock()


def _read(model: mujoco.MjModel, name: str) -> Any:
    owner, _, field = name.rpartition(".")
    return getattr(getattr(model, owner) if owner else model, field)


def _write(model: mujoco.MjModel, name: str, values: Array) -> None:
    owner, _, field = name.rpartition(".")
    whole = getattr(model, owner) if owner else model
    if np.ndim(values):
        getattr(whole, field)[:] = values
    else:
        setattr(whole, field, float(values))
