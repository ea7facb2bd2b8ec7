"""One MuJoCo simulation of a Fetch scene that serves many tasks, one after another.

A task is written into it, its model's numbers and its state, and read back. Simulations are kept when nobody uses them:
building one takes as long as an episode.

Shapes: Q positions (qpos), S numbers of a whole state.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Mapping
from functools import cached_property, partial
from typing import Any

import mujoco
import numpy as np

from mql.tasks.families.robotics.fetch_collisions import Masks
from mql.tasks.families.robotics.fetch_scenes import GRIPPER, LINK, OBJECT, Scene, started
from mql.tasks.family import Array

Numbers = Mapping[str, Array]  # what differs from the scene's model, such as "body_mass" or "opt.gravity" -> values

UNCHANGED: Numbers = {}

_KIND = mujoco.mjtState
# All that a physics step depends on, and that differs between tasks.
WHOLE = int(
    _KIND.mjSTATE_FULLPHYSICS.value
    | _KIND.mjSTATE_WARMSTART.value
    | _KIND.mjSTATE_CTRL.value
    | _KIND.mjSTATE_MOCAP_POS.value
    | _KIND.mjSTATE_MOCAP_QUAT.value
)
_IDLE = 4  # simulations of a scene that are kept
# What a task or an episode may change without moving what can touch: with anything else all pairs are looked at.
_HARMLESS = frozenset(
    {"body_mass", "body_inertia", "geom_friction", "dof_damping", "dof_frictionloss", "dof_armature"}
    | {"actuator_gainprm", "actuator_biasprm", "actuator_gear"}
    # What MuJoCo derives from masses and armatures.
    | {"body_subtreemass", "body_invweight0", "dof_invweight0", "dof_M0", "stat.meaninertia"}
)
# What moves nothing: lights, cameras, and statistics for pictures.
_UNUSED = ("light_", "cam_", "vis", "stat.meanmass", "stat.meansize", "stat.extent", "stat.center")
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
        self.owner: int | None = None  # the task that goes on in it, without being read and written
        # Views, since each access to an attribute of MjModel or MjData makes a new one.
        self._writers: list[Callable[[Any], None]] = []  # of the numbers that are loaded
        self._masking = [self._writer(name) for name in self._masks.all]
        self.qpos = data.qpos
        self.gripper_site = int(base.site(GRIPPER).id)
        link = int(base.body(LINK).id)
        places = {"gripper": data.site_xpos[self.gripper_site], "link": data.xpos[link], "link_quat": data.xquat[link]}
        if scene.has_object:
            thing = int(base.site(OBJECT).id)
            places |= {"object": data.site_xpos[thing], "rotation": data.site_xmat[thing]}
        self.places = places  # as they were last computed: name -> [3], [4] for a quaternion, [9] for a rotation

    def put(self, whole: Array) -> None:
        """Go on from a whole state [S]."""
        mujoco.mj_setState(self.model, self.data, whole, WHOLE)

    def get(self, whole: Array) -> None:
        """Write the whole state into [S]."""
        mujoco.mj_getState(self.model, self.data, whole, WHOLE)

    def load(self, numbers: Numbers) -> None:
        """Have the numbers of a task; all others are the scene's."""
        if numbers is self._loaded:
            return
        if numbers.keys() != self._loaded.keys():
            for name in self._loaded:
                self._writer(name)(_read(self._base, name))
            self._writers = [self._writer(name) for name in numbers]
            self.harmless = _HARMLESS.issuperset(numbers)
        for write, values in zip(self._writers, numbers.values(), strict=True):
            write(values)
        self._loaded = numbers

    def look(self, *, few: bool) -> None:
        """Look for contacts of all pairs of geoms, or of few (`mql.tasks.families.robotics.fetch_collisions`)."""
        if few is not self._few:
            for write, values in zip(
                self._masking, (self._masks.few if few else self._masks.all).values(), strict=True
            ):
                write(values)
            self._few = few

    def differences(self) -> Numbers:
        """Return how the model differs from the scene's, after someone has changed it; all pairs are looked at."""
        pairs = ((name, _read(self._base, name), _read(self.model, name)) for name in self._names)
        return {name: np.copy(own) for name, base, own in pairs if not np.array_equal(base, own)} or UNCHANGED

    def _writer(self, name: str) -> Callable[[Any], None]:
        """Return what writes a number, or an array of them, into the model."""
        now = _read(self.model, name)
        if isinstance(now, np.ndarray):
            return partial(now.__setitem__, ...)
        owner, _, field = name.rpartition(".")
        return lambda value: setattr(getattr(self.model, owner), field, float(value))

    @cached_property
    def _names(self) -> tuple[str, ...]:
        """All numbers of a model that a step depends on, but for the large arrays that nobody changes."""
        owners = (("", self._base), ("opt.", self._base.opt), ("stat.", self._base.stat))
        names = [prefix + name for prefix, owner in owners for name in dir(owner)]
        left = [name for name in names if not name.rpartition(".")[2].startswith("_")]
        left = [name for name in left if not name.startswith((*_LARGE, *_UNUSED))]
        return tuple(name for name in left if isinstance(_read(self._base, name), np.ndarray | float))


def part(model: mujoco.MjModel, kind: mujoco.mjtState) -> slice:
    """Return where `kind` stands in a whole state: MuJoCo lines its parts up in the order of their bits."""
    start = mujoco.mj_stateSize(model, WHOLE & (kind.value - 1))
    return slice(start, start + mujoco.mj_stateSize(model, kind.value))


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
