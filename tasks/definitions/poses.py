"""Is success within reach at all? It is looked for in many poses of a definition's model.

A robot whose end can't come to its goals would be trained for nothing. So the joints are put here and there, at rest,
and success is asked in each pose: first in poses drawn from all that the joints allow, then near those that the reward
likes best, closer and closer. A pose that succeeds proves little: objects are put into place like the robot itself, and
nobody asks whether bodies overlap or how to get there. That none was found proves nothing, but is worth a look.

Shapes: P poses, Q positions (qpos), J joints.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import mujoco
import numpy as np
import numpy.typing as npt

from mql.errors import told
from mql.tasks.definitions import commanded
from mql.tasks.definitions.family import DefinedFamily
from mql.tasks.definitions.parallel import ParallelDefinedFamily
from mql.tasks.definitions.python_environment import PythonEnvironment
from mql.tasks.definitions.quantities import quantities_of
from mql.tasks.definitions.terms import STAGE, Terms
from mql.tasks.disturbances.family import undisturbed
from mql.tasks.family import Array, BoolArray, Task, TaskFamily
from mql.tasks.stepping import derived
from mql.tasks.stepping.derived import TIME, Deriver, Needs
from mql.tasks.stepping.physics_state import Layout, PhysicsState
from mql.tasks.stepping.state import State

_DRAWN = 2000  # poses
_AT_ONCE = 500  # poses that are judged before success is looked for among them
_CLIMBS = 8  # of the poses drawn, those from which a search goes on
_TRIES = 12  # poses around each, of which the best is the next one to look around
_SCALES = 0.25 * 0.8 ** np.arange(30)  # how far these lie, as a share of what a joint can do: down to 0.04 %
_KEPT = 0.25  # chance that a joint stays where the episode starts
_ROOM = 1.0  # m; at least so far to each side a joint without limits is put, or as far as the model is large


class Unjudged(Exception):
    """Poses say nothing about the success of this family; the message says why."""


class PoseFault(Exception):
    """The code of a definition raised in a pose, perhaps one that physics never comes to."""


def reachable(family: TaskFamily, tasks: Sequence[Task], rng: np.random.Generator) -> list[bool | None]:
    """Look in each of `tasks` for a pose at rest that succeeds, and say whether one was found.

    None stands for a task where none was found, but success reads speeds: it may come with motion.

    Raises:
        Unjudged: the family is none whose success shows in a pose.
        PoseFault: the definition's Python class raised.
    """
    trial = _trial_of(family)
    found = []
    for task in tasks:
        reached = _search(trial, *trial.begin(task), rng)
        found.append(True if reached else None if trial.reads_speeds else False)
    return found


class _Trial(Protocol):
    """A family's model, one task after another."""

    reads_speeds: bool

    def begin(self, task: Task) -> tuple[mujoco.MjModel, Array]:
        """Turn to a task; return its model and the qpos [Q] that an episode starts from."""
        ...

    def judge(self, poses: Array) -> tuple[Array, BoolArray]:
        """Return the reward [P] of poses [P, Q] at rest, and whether success holds in each [P]."""
        ...


class _ParallelTrial:
    """A definition without Python: its expressions are evaluated on arrays of poses."""

    def __init__(self, family: ParallelDefinedFamily) -> None:
        known = family.mechanism
        self._family, self._known = family, known
        self._places: tuple[Array | None, Array | None] = (None, None)
        self.reads_speeds = _reads_speeds(known.terms, known.model)

    def begin(self, task: Task) -> tuple[mujoco.MjModel, Array]:
        self._model = self._family.model(task)
        self._task = task
        start = self._family.first_state(np.random.default_rng(task.index), task)
        self._places = (start.mocap_pos, start.mocap_quat)
        return self._model, start.qpos

    def _mocap(self, which: int, many: int) -> Array | None:
        """Return where mocap bodies are (0) or how they are turned (1) in `many` poses; None: as the model has them."""
        drawn = self._places[which]
        return None if drawn is None else np.repeat(drawn[None], many, axis=0)

    def judge(self, poses: Array) -> tuple[Array, BoolArray]:
        models, many = [self._model] * len(poses), len(poses)
        at_rest = PhysicsState(poses, np.zeros((many, self._model.nv)))
        values = derived.empty(self._known.derived, self._model, many)
        at_rest = replace(at_rest, mocap_pos=self._mocap(0, many), mocap_quat=self._mocap(1, many))
        states = Layout(self._model).start(models, at_rest, self._known.start.put)
        Deriver(self._known.derived, models).derive(*states, values)
        values |= commanded.at_rest(self._known.commands, poses)
        state = State(poses, at_rest.qvel, values)
        parameters = {name: np.array([value] * many) for name, value in self._task.parameters.items()}
        outcome = self._family.outcome(state, state, np.zeros((many, self._family.action_dim)), parameters)
        assert outcome.at_goal is not None
        return outcome.reward, outcome.at_goal


class _PythonTrial:
    """A definition with a Python class, which is asked pose by pose."""

    def __init__(self, environment: PythonEnvironment) -> None:
        self._environment = environment
        self.reads_speeds = _reads_speeds(environment.terms, environment.model)

    def begin(self, task: Task) -> tuple[mujoco.MjModel, Array]:
        self._environment.set_task(task.parameters)
        self._environment.reset(seed=task.index)
        return self._environment.model, self._environment.data.qpos.copy()

    def judge(self, poses: Array) -> tuple[Array, BoolArray]:
        try:
            judged = [self._environment.judge_pose(pose) for pose in poses]
        except Exception as error:
            raise PoseFault(told(error)) from error
        return np.array([reward for reward, _ in judged]), np.array([at_goal for _, at_goal in judged])


def _trial_of(family: TaskFamily) -> _Trial:
    family = undisturbed(family)  # success is that of the true state
    if isinstance(family, ParallelDefinedFamily):
        _refuse_actions(family.mechanism.terms)
        return _ParallelTrial(family)
    if not isinstance(family, DefinedFamily):
        raise Unjudged("only definitions in YAML are")
    environment = family.make_env()
    if not isinstance(environment, PythonEnvironment):
        environment.close()
        raise Unjudged("what the success of a Gymnasium id reads does not follow from a pose")
    _refuse_actions(environment.terms)
    return _PythonTrial(environment)


def _refuse_actions(terms: Terms) -> None:
    for root, name in terms.success.names if terms.success is not None else ():
        if root == "action" or root.startswith("last."):
            raise Unjudged("success reads the action or the step before, which a pose doesn't have")
        if root == "info" and name in (STAGE, "time"):
            raise Unjudged(f"success reads the {name} of an episode, which a pose doesn't have")


def _reads_speeds(terms: Terms, model: mujoco.MjModel) -> bool:
    """Whether the expression of success may read what needs motion: velocities, forces, time, or observations."""
    if terms.success is None:
        return False
    sensors = {f"sensor_{model.sensor(number).name}" for number in np.flatnonzero(_senses_motion(model))}
    known = quantities_of(model)

    def moves(name: str) -> bool:
        if name == TIME or name.startswith("speed_") or name in sensors:
            return True
        derived = known[name].derived if name in known else None
        return derived is not None and bool(derived.needs & (Needs.MOTION | Needs.FORCES))

    return any(root == "obs" or (root == "info" and moves(name)) for root, name in terms.success.names)


def _senses_motion(model: mujoco.MjModel) -> BoolArray:
    return np.asarray(model.sensor_needstage >= mujoco.mjtStage.mjSTAGE_VEL.value)


def _search(trial: _Trial, model: mujoco.MjModel, start: Array, rng: np.random.Generator) -> bool:
    """Draw poses and climb from the best ones; tell whether success held anywhere."""
    room = _Room.around(model, start)
    poses = room.drawn(rng, _DRAWN)
    parts = []
    for part in np.split(poses, range(_AT_ONCE, _DRAWN, _AT_ONCE)):
        reward, at_goal = trial.judge(part)
        if at_goal.any():
            return True
        parts.append(_sortable(reward))
    rewards = np.concatenate(parts)
    best = np.argsort(-rewards, kind="stable")[:_CLIMBS]
    places, heights = poses[best], rewards[best]
    for scale in _SCALES:
        near = room.moved(rng, np.repeat(places, _TRIES, axis=0), scale)
        reward, at_goal = trial.judge(near)
        if at_goal.any():
            return True
        gained = _sortable(reward).reshape(len(places), _TRIES)
        chosen = gained.argmax(axis=1)
        higher = gained.max(axis=1) > heights
        places = np.where(higher[:, None], near[np.arange(len(places)) * _TRIES + chosen], places)
        heights = np.maximum(heights, gained.max(axis=1))
    return False


def _sortable(reward: Array) -> Array:
    return np.where(np.isnan(reward), -np.inf, reward)


@dataclass(frozen=True)
class _Room:
    """Where the joints of a model can be.

    Args:
        start: [Q], where an episode starts.
        low: [Q], the least that is drawn; of a rotation in space, its start.
        high: [Q], the largest.
        limited: [Q], whether these are a joint's own limits.
        joint: [Q], the joint that a position belongs to.
        turns: the first places of the rotations in space, unit quaternions.
    """

    start: Array
    low: Array
    high: Array
    limited: BoolArray
    joint: npt.NDArray[np.int64]
    turns: tuple[int, ...]

    @classmethod
    def around(cls, model: mujoco.MjModel, start: Array) -> _Room:
        """Look up the joints' limits; those that have none can be anywhere around the start."""
        low, high = start.copy(), start.copy()
        limited, joint, turns = np.zeros(model.nq, np.bool_), np.zeros(model.nq, np.int64), []
        room = max(_ROOM, float(model.stat.extent))
        for number, (kind, at) in enumerate(zip(model.jnt_type, model.jnt_qposadr, strict=True)):
            size = {mujoco.mjtJoint.mjJNT_FREE: 7, mujoco.mjtJoint.mjJNT_BALL: 4}.get(mujoco.mjtJoint(kind), 1)
            joint[at : at + size] = number
            if size > 1:
                turns.append(int(at) + size - 4)
            if size == 7:
                low[at : at + 3] -= room
                high[at : at + 3] += room
            elif size == 1 and model.jnt_limited[number]:
                limited[at] = True
                low[at], high[at] = model.jnt_range[number]
            elif size == 1:
                reach = np.pi if kind == mujoco.mjtJoint.mjJNT_HINGE.value else room
                low[at], high[at] = start[at] - reach, start[at] + reach
        return cls(start, low, high, limited, joint, tuple(turns))

    def drawn(self, rng: np.random.Generator, n: int) -> Array:
        """Draw `n` poses [n, Q]. The first is the start."""
        poses = rng.uniform(self.low, self.high, (n, len(self.start)))
        for at in self.turns:
            poses[:, at : at + 4] = rng.standard_normal((n, 4))
        kept = rng.random((n, self.joint.max() + 1)) < _KEPT
        kept[0] = True
        return self._proper(np.where(kept[:, self.joint], self.start, poses))

    def moved(self, rng: np.random.Generator, poses: Array, scale: float) -> Array:
        """Move every other number of `poses` [P, Q], on average, by `scale` times what its joint can do."""
        width = self.high - self.low
        for at in self.turns:
            width[at : at + 4] = 1.0
        step = scale * width * rng.standard_normal(poses.shape)
        return self._proper(np.where(rng.random(poses.shape) < 0.5, poses + step, poses))

    def _proper(self, poses: Array) -> Array:
        poses = np.where(self.limited, np.clip(poses, self.low, self.high), poses)
        for at in self.turns:
            poses[:, at : at + 4] /= np.linalg.norm(poses[:, at : at + 4], axis=1, keepdims=True)
        return poses
