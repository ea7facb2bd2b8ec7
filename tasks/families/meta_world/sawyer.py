"""Meta-World's arm at its table, simulated in parallel: the model, how an episode starts, and a control step.

The numbers are the package's to the last bit: that takes an ``mj_forward`` after each control step, too, since it moves
the solver's warm start. The model is stripped of what is only looked at, which no number of the physics depends on:
shapes that touch nothing, textures, lights. As in the package, the hand is first brought to its start in 50 control
steps, and then the object is put where the task has it; nothing in this is random, so the state that an episode
starts from is computed once for each task.

Shapes: N tasks, W numbers of a task's vector, S numbers of a simulation's state, R numbers read of it.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import numpy.typing as npt

from mql.robots.additions import delete_element
from mql.robots.mjcf.warnings import warn_on_stderr
from mql.tasks.families.meta_world.manipulation import Element, Facts, Manipulation, Seen
from mql.tasks.families.meta_world.rewards import distance
from mql.tasks.family import Array
from mql.tasks.scenes.source import MjcfFile, compiled
from mql.tasks.stepping.camera import Camera
from mql.tasks.stepping.lanes import Lanes
from mql.tasks.stepping.physics_state import PhysicsState
from mql.tasks.stepping.simulation import Simulation
from mql.tasks.stepping.state import State

FRAME_SKIP = 5  # physics steps in a control step
STROKE = np.float32(0.01)  # m; what a full action moves the hand's target, in the package's float32
LOW, HIGH = np.array([-0.5, 0.40, 0.05]), np.array([0.5, 1.0, 0.5])  # m; the target stays between these
POINTING = np.array([1.0, 0.0, 1.0, 0.0])  # the target's orientation: the gripper points down
WELD = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 5.0])  # how the hand hangs on its target
HAND_STEPS = 50  # control steps that bring the hand to its start, the gripper opening
OPENING_FULL = 0.1  # m between the fingers
PADDING = 7  # zeros where other environments show a second object
# What an observation shows of the hand lies within these, m.
SEEN_LOW, SEEN_HIGH = np.array([-0.525, 0.348, -0.0525]), np.array([0.525, 1.025, 0.7])
ARM: Mapping[str, Element] = {
    "hand": ("body", "hand", "xpos"),
    "right_claw": ("body", "rightclaw", "xpos"),
    "left_claw": ("body", "leftclaw", "xpos"),
    "right_finger": ("site", "rightEndEffector", "xpos"),
    "left_finger": ("site", "leftEndEffector", "xpos"),
    "left_pad": ("body", "leftpad", "xpos"),
    "right_pad": ("body", "rightpad", "xpos"),
}
_WHOLE = mujoco.mjtState.mjSTATE_INTEGRATION.value  # with the solver's warm start
_STATE = ("target", "qpos", "qvel")  # read first


@dataclass(frozen=True)
class Start:
    """What an episode of one task starts from.

    Args:
        state: [S].
        seen: [R], as the package's observation at the start has it: in part of the physics step before.
        facts: name -> [3] or [].
        qpos: positions, as they stand in `state`.
        qvel: velocities.
    """

    state: Array
    seen: Array
    facts: Facts
    qpos: Array
    qvel: Array


def package_model(file: str) -> mujoco.MjModel:
    """Compile a model of the package as its environments have it, to be drawn."""
    model = mujoco.MjModel.from_xml_path(_path(file))
    _hang(model)
    return model


@cache
def bare_model(file: str) -> mujoco.MjModel:
    """Compile a model of the package without what is only looked at. It is shared: change a copy, never this one."""
    spec = MjcfFile(Path(_path(file))).spec()
    masks = [(geom.contype, geom.conaffinity) for geom in spec.geoms]
    for geom in list(spec.geoms):
        touching = any(geom.contype & affinity or kind & geom.conaffinity for kind, affinity in masks)
        if not touching and not geom.name:  # those with a name are asked where they are
            delete_element(spec, geom)
    for each in [*spec.geoms, *spec.sites]:
        each.material = ""
    meshes = {geom.meshname for geom in spec.geoms}
    unseen = [mesh for mesh in spec.meshes if mesh.name not in meshes]
    for element in [*unseen, *spec.materials, *spec.textures, *spec.cameras, *spec.lights]:
        delete_element(spec, element)
    model = compiled(spec)
    _hang(model)
    return model


@lru_cache(maxsize=1024)
def start_of(kind: Manipulation, vector: tuple[float, ...]) -> Start:
    """Compute what an episode of a task starts from."""
    model = _standing(kind, np.array(vector))
    same = kind.stands is None
    data = copy.copy(_hand_at_start(kind.file, kind.hand)) if same else _bring_hand(model, kind.hand)
    # The middle between the fingertips, as it was before the last physics step.
    tool = (data.site("rightEndEffector").xpos + data.site("leftEndEffector").xpos) / 2.0
    found = kind.begin(model, data, np.array(vector))
    state = np.zeros(mujoco.mj_stateSize(model, _WHOLE))
    mujoco.mj_getState(model, data, state, _WHOLE)
    views = _views(kind, data)
    seen = np.concatenate([view.ravel() for view in views])
    read = {name: view.copy()[None] for name, view in zip(_names(kind), views, strict=True)}
    thing = kind.thing(read)[0][0]
    facts = kind.facts(np.array(vector), found, thing, tool)
    return Start(state, seen, facts, data.qpos.copy(), data.qvel.copy())


class SawyerDynamics:
    """The laws of motion of N tasks of one environment.

    What observations and rewards need stands in ``State.derived``: what was read and the facts of the episode, ``tool``
    (`Manipulation.outcome`), and ``shown`` [N, 36], what is shown of now and of the step before.

    Args:
        kind: the environment.
        vectors: each task's.
        threads: shares of the tasks that are stepped at the same time.
    """

    def __init__(self, kind: Manipulation, vectors: Sequence[tuple[float, ...]], threads: int) -> None:
        warn_on_stderr()
        self._kind, self._vectors = kind, [tuple(vector) for vector in vectors]
        rows, base = len(vectors), bare_model(kind.file)
        threads = min(threads, rows)
        self._data = [mujoco.MjData(base) for _ in vectors]
        self._pool = ThreadPoolExecutor(threads) if threads > 1 else None
        self._shares = [slice(part[0], part[-1] + 1) for part in np.array_split(np.arange(rows), threads)]
        self._lanes = [self._share(share) for share in self._shares]
        self._told = np.zeros((rows, self._lanes[0].told_size))
        if kind.stands is not None:
            self._told[:, 8:] = self._vectors
        self._target, self._place, self._control = self._told[:, :3], self._told[:, 3:6], self._told[:, 6:8]
        self._seen = [np.zeros((rows, self._lanes[0].seen_size)) for _ in range(2)]  # before and after a step
        self._read = [self._named(seen) for seen in self._seen]
        self._shown = np.zeros((2, rows, 18 - PADDING))
        self._facts: Mapping[str, Array] = {}
        self._lost = np.zeros(rows, np.bool_)  # tasks whose physics has diverged
        self._camera = Camera(None)
        self._after = State(np.zeros((rows, base.nq)), np.zeros((rows, base.nv)))

    def place(self, start: PhysicsState) -> State:
        """Put every task where its episode starts; other positions and velocities are taken from `start`."""
        starts = [start_of(self._kind, vector) for vector in self._vectors]
        seen, read = self._seen[1], self._read[1]
        model = bare_model(self._kind.file)
        for row, (own, data) in enumerate(zip(starts, self._data, strict=True)):
            mujoco.mj_resetData(model, data)
            mujoco.mj_setState(model, data, own.state, _WHOLE)
            self._target[row], seen[row] = data.mocap_pos[0], own.seen
            given = start.qpos[row], start.qvel[row]
            as_ever = np.array_equal(data.qpos, given[0]) and np.array_equal(data.qvel, given[1])
            data.qpos, data.qvel = given
            self._look(row, at=None if as_ever else seen[row])
        self._facts = {name: np.stack([own.facts[name] for own in starts]) for name in starts[0].facts}
        self._lost[:] = False
        self._shown[:] = self._show(read)
        self._after = self._state(read)
        return self._after

    def advance(self, action: Array) -> tuple[State, State]:
        """Advance by one control step with action [N, 4] in [-1, 1]: the hand's target moves, the gripper pulls.

        A task whose physics diverges becomes NaN, and stays so until it is placed again.
        """
        before = self._after
        self._seen.reverse()
        self._read.reverse()
        seen, read = self._seen[1], self._read[1]
        single = action.astype(np.float32)
        np.clip(self._target + single[:, :3] * STROKE, LOW, HIGH, out=self._target)
        self._place[:] = self._target
        self._control[:, 0], self._control[:, 1] = single[:, 3], -single[:, 3]
        if self._pool is None:
            self._run(0)
        else:
            list(self._pool.map(self._run, range(len(self._lanes))))
        # MuJoCo puts a simulation that blows up back to its start, and the hand's target with it.
        self._lost |= (read["target"] != self._target).any(axis=1) | ~np.isfinite(seen).all(axis=1)
        if self._lost.any():
            seen[self._lost] = np.nan
        self._shown[0] = self._shown[1]
        self._shown[1] = self._show(read)
        self._after = self._state(read)
        return before, self._after

    def render(self, row: int) -> npt.NDArray[np.uint8]:
        """Return a picture [480, 480, 3] of one task.

        Raises:
            UserError: OpenGL can't be opened.
        """
        shown = self.simulation(row)
        return self._camera.picture(shown.model, shown.data)

    def simulation(self, row: int) -> Simulation:
        """Return one task's whole model, with data of its own that have the task's state."""
        model = package_model(self._kind.file)
        if self._kind.stands is not None:
            model.body(self._kind.stands).pos = self._vectors[row]
        if self._facts:
            model.site("goal").pos = self._facts["goal"][row]
        data = mujoco.MjData(model)
        state = np.zeros(mujoco.mj_stateSize(model, _WHOLE))
        mujoco.mj_getState(bare_model(self._kind.file), self._data[row], state, _WHOLE)
        mujoco.mj_setState(model, data, state, _WHOLE)
        mujoco.mj_forward(model, data)
        return Simulation(model, data)

    def close(self) -> None:
        """Stop the threads and release the rendering context."""
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None
        self._camera.close()

    def _share(self, share: slice) -> Lanes:
        """Return the lanes of one thread. Where objects stand is written into a model of its own before each step."""
        base, data, kind = bare_model(self._kind.file), self._data[share], self._kind
        model = base if kind.stands is None else copy.copy(base)
        stand = [] if kind.stands is None else [model.body(kind.stands).pos]
        told = [[each.mocap_pos[0], each.body("mocap").xpos, each.ctrl, *stand] for each in data]
        return Lanes([model] * len(data), data, FRAME_SKIP, told, [_views(kind, each) for each in data])

    def _run(self, number: int) -> None:
        share = self._shares[number]
        self._lanes[number].advance(self._told[share], self._seen[1][share], self._lost[share])

    def _look(self, row: int, at: Array | None) -> None:
        """Compute what follows from a task's state, which stays as it is, and read it into `at` [R]."""
        data = self._data[row]
        kept = data.qacc_warmstart.copy()
        for share, lanes in zip(self._shares, self._lanes, strict=True):
            if share.start <= row < share.stop:
                lanes.tell(row - share.start, self._told[row])
                lanes.look(row - share.start, at)
        data.qacc_warmstart[:] = kept

    def _named(self, seen: Array) -> dict[str, Array]:
        """Show what was read by name, as parts of `seen` [N, R]."""
        sizes = [view.size for view in _views(self._kind, self._data[0])]
        ends = np.cumsum(sizes)
        parts = zip(_names(self._kind), ends - sizes, ends, strict=True)
        return {name: seen[:, start:end] for name, start, end in parts}

    def _show(self, read: Mapping[str, Array]) -> Array:
        """Return what an observation shows of now, without the padding: [N, 11]."""
        place, turned = self._kind.thing(read)
        opening = np.clip(distance(read["right_claw"], read["left_claw"]) / OPENING_FULL, 0.0, 1.0)
        hand = np.clip(read["hand"], SEEN_LOW, SEEN_HIGH)
        return np.concatenate([hand, opening[:, None], place, turned], axis=1)

    def _state(self, read: Mapping[str, Array]) -> State:
        derived = {
            **read,
            **self._facts,
            "tool": (read["right_finger"] + read["left_finger"]) / 2.0,
            "shown": self._shown[1],
            "shown_before": self._shown[0],
        }
        return State(read["qpos"], read["qvel"], derived)


def seen_of(state: State) -> Seen:
    """Return what the agent sees of the tasks' present."""
    shown = state.derived["shown"]
    return Seen(hand=shown[:, :3], opening=shown[:, 3], thing=shown[:, 4:7])


def observation(state: State) -> Array:
    """Return the package's observation [N, 39]: now, the step before, and zeros for the hidden goal."""
    now, before = state.derived["shown"], state.derived["shown_before"]
    rows, width = now.shape
    obs = np.zeros((rows, 2 * (width + PADDING) + 3))
    obs[:, :width], obs[:, width + PADDING : 2 * width + PADDING] = now, before
    return obs


def _standing(kind: Manipulation, vector: Array) -> mujoco.MjModel:
    """Return a model whose object stands where the task has it; the shared one where that makes no difference."""
    base = bare_model(kind.file)
    if kind.stands is None:
        return base
    model = copy.copy(base)
    model.body(kind.stands).pos = vector
    return model


@cache
def _hand_at_start(file: str, hand: tuple[float, ...]) -> mujoco.MjData:
    """Bring the hand to its start where no task moves what stands about. The data are shared: copy them."""
    return _bring_hand(bare_model(file), hand)


def _bring_hand(model: mujoco.MjModel, hand: tuple[float, ...]) -> mujoco.MjData:
    """Draw the hand to its start."""
    data = mujoco.MjData(model)
    for _ in range(HAND_STEPS):
        data.mocap_pos[0], data.mocap_quat[0], data.ctrl[:] = hand, POINTING, (-1.0, 1.0)
        mujoco.mj_step(model, data, FRAME_SKIP)
    return data


def _hang(model: mujoco.MjModel) -> None:
    model.eq_data[model.eq_type == mujoco.mjtEq.mjEQ_WELD.value] = WELD


def _names(kind: Manipulation) -> list[str]:
    return [*_STATE, *ARM, *kind.elements]


def _views(kind: Manipulation, data: mujoco.MjData) -> list[Array]:
    """Return views of all that is read of a simulation, in the order of `_names`."""
    state: list[Any] = [data.mocap_pos[0], data.qpos, data.qvel]
    elements = (*ARM.values(), *kind.elements.values())
    return state + [getattr(getattr(data, element)(name), attribute) for element, name, attribute in elements]


def _path(file: str) -> str:
    from metaworld.asset_path_utils import full_V3_path_for

    return str(full_V3_path_for(file))
