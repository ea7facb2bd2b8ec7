"""What a family would have shown to its agent for a log of joint positions and velocities.

The states of a log are put into the family's own model one after another, and what follows from them is computed as it
is while tasks are stepped: so the observations of an episode's own states are those of the episode. What a log does not
tell (joints of objects, what a task changes in the model, commands, mocap bodies) may be without effect on what is
seen. That is tried out, on the first rows: where something that is not known changes what is seen, it has to be given.

Shapes: L = T + 1 rows of a log, Q positions, V velocities, A action, D numbers of a quantity, K tasks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import mujoco
import numpy as np
import numpy.typing as npt

from mql.errors import UserError
from mql.plain_text import counted
from mql.robots.mjcf.lookup import driven_joint, joint_freedoms, joint_width
from mql.tasks.control.controller import Controller
from mql.tasks.family import Array, TaskFamily
from mql.tasks.stepping.derived import TIME, Derived, Deriver, Needs, empty
from mql.tasks.stepping.physics_state import Begin, Layout, PhysicsState
from mql.tasks.stepping.state import State

POSITIONS, VELOCITIES, ACTIONS = "positions", "velocities", "actions"
JOINT, SPEED = "joint_", "speed_"
COMPARED = 8  # tasks whose models are compared
TRIED_ROWS = 2  # of a log
OTHER_PLACE, OTHER_SPEED = 0.05, 0.3  # m or rad, and these a second, by which what is not known is changed
RATE_TOLERANCE = 0.25  # part of a control step by which the time between two rows may differ from it
SAME = 1e-9  # a smaller difference is rounding
FROM_FORCES = Needs.MOTORS | Needs.CONTACTS | Needs.FORCES

Parts = Mapping[str, Array]  # what is observed, by name: [L, D]


@dataclass(frozen=True, kw_only=True)
class Mechanics:
    """What computes a family's observations from states.

    Args:
        family: for messages, the length of a control step and the size of an action.
        models: of some tasks, of one size; the first one computes, the others show what depends on the task.
        start: what an episode starts from: of joints and mocap bodies that a log doesn't tell.
        begin: as of the simulation.
        derived: what `observe` finds in ``State.derived``, beside what a controller knows.
        controller: that remembers what was asked for; None: there is none.
        observe: returns what is seen of states, by name.
        forced: names of what is seen and follows from contacts or forces, which joints don't tell.
        known: names that stand for what is seen: one of `observe`, if a log may give it itself.
    """

    family: TaskFamily
    models: Sequence[mujoco.MjModel]
    start: PhysicsState
    derived: Sequence[str | Derived]
    observe: Callable[[State], Parts]
    begin: Begin | None = None
    controller: Controller | None = None
    forced: Sequence[str] = ()
    known: Sequence[str] = ()


@dataclass
class _Log:
    """The rows of a log as states; ``unknown_*`` are the joints that it doesn't tell."""

    qpos: Array
    qvel: Array
    times: Array
    actions: Array | None
    given: dict[str, Array] = field(default_factory=dict)
    unknown_places: list[int] = field(default_factory=list)
    unknown_speeds: list[int] = field(default_factory=list)

    def head(self, rows: int) -> _Log:
        actions = None if self.actions is None else self.actions[: rows - 1]
        return replace(
            self, qpos=self.qpos[:rows], qvel=self.qvel[:rows], times=self.times[:rows], actions=actions, given={}
        )


def observed_parts(mechanics: Mechanics, signals: Mapping[str, npt.ArrayLike], *, constant: Sequence[str]) -> Parts:
    """Return what is seen at each row of a log, by name, and below ``constant`` names what it says of these itself.

    Raises:
        UserError: see `TaskFamily.observed`.
    """
    log = _read(mechanics, signals, constant)
    missing = _missing(mechanics, log)
    missing += [name for name in constant if name not in log.given]
    if missing:
        what = f"what is observed does not follow from the log's joints alone: {', '.join(missing)}"
        mend = "give these signals, too, each by this name"
        raise UserError(what, where=f"family {mechanics.family.name}", mend=mend)
    seen = dict(_seen(mechanics, mechanics.models[0], log))
    for name, values in seen.items():
        if name in log.given:
            seen[name] = log.given[name].reshape(len(values), -1)
    return seen | {name: log.given[name] for name in constant}


def signal(values: npt.ArrayLike, rows: int, name: str, where: str) -> Array:
    """Return a signal as [L, D], a constant repeated.

    Raises:
        UserError: it has another number of rows, or numbers that are not finite.
    """
    array = np.asarray(values, np.float64)
    if array.ndim < 2 and array.shape != (rows,):
        array = np.broadcast_to(array, (rows, array.size))
    if len(array) != rows:
        what = f"signal {name} has {len(array)} rows, not {rows}"
        raise UserError(what, where=where, mend="give one for each observation: one more than actions")
    array = array.reshape(rows, -1)
    if not np.isfinite(array).all():
        row = int(np.flatnonzero(~np.isfinite(array).all(axis=1))[0])
        raise UserError(f"signal {name} is not finite at step {row}", where=where, mend="leave the episode out")
    return array


def _read(mechanics: Mechanics, signals: Mapping[str, npt.ArrayLike], constant: Sequence[str]) -> _Log:
    """Put a log's joints into the columns of qpos and qvel."""
    family, model = mechanics.family, mechanics.models[0]
    where = f"family {family.name}"
    if POSITIONS not in signals:
        raise UserError("the log has no signal 'positions'", where=where, mend="give it, [T+1, joints] in rad or m")
    rows = len(np.asarray(signals[POSITIONS]))
    if rows < 1:
        raise UserError("the log is empty", where=where, mend="leave the episode out")
    log = _Log(
        qpos=np.tile(mechanics.start.qpos, (rows, 1)),
        qvel=np.tile(mechanics.start.qvel, (rows, 1)),
        times=np.arange(rows, dtype=np.float64) * family.control_timestep,
        actions=None,
        unknown_places=list(range(model.njnt)),
        unknown_speeds=list(range(model.njnt)),
    )
    _put_all(model, log.qpos, log.unknown_places, signal(signals[POSITIONS], rows, POSITIONS, where), POSITIONS, where)
    if VELOCITIES in signals:
        values = signal(signals[VELOCITIES], rows, VELOCITIES, where)
        _put_all(model, log.qvel, log.unknown_speeds, values, VELOCITIES, where)
    joints = {f"{kind}{_plain(model, n)}": (kind, n) for n in range(model.njnt) for kind in (JOINT, SPEED)}
    for name, given in signals.items():
        if name in mechanics.known or name in constant:
            log.given[name] = signal(given, rows, name, where)
        if name in joints:
            kind, joint = joints[name]
            array, unknown = (log.qpos, log.unknown_places) if kind == JOINT else (log.qvel, log.unknown_speeds)
            columns = _columns(model, joint, kind == JOINT)
            one = signal(given, rows, name, where)
            if one.shape[1] != len(columns):
                what = f"signal {name} has {one.shape[1]} numbers a row, not {len(columns)}"
                raise UserError(what, where=where, mend="give as many")
            array[:, columns] = one
            if joint in unknown:
                unknown.remove(joint)
    if TIME in signals:
        log.times = signal(signals[TIME], rows, TIME, where)[:, 0]
    if ACTIONS in signals:
        log.actions = np.clip(signal(signals[ACTIONS], rows - 1, ACTIONS, where), -1.0, 1.0)
        if log.actions.shape[1] != family.action_dim:
            what = f"actions have {log.actions.shape[1]} numbers, not {family.action_dim}"
            raise UserError(what, where=where, mend="give those that the family takes, in [-1, 1]")
    return log


def _put_all(model: mujoco.MjModel, array: Array, unknown: list[int], values: Array, name: str, where: str) -> None:
    """Write all joints, or those that actuators drive, into an array; those are no longer unknown."""
    place = name == POSITIONS
    driven = sorted({joint for n in range(model.nu) if (joint := driven_joint(model, n)) is not None})
    for joints in (list(range(model.njnt)), driven):
        columns = [column for joint in joints for column in _columns(model, joint, place)]
        if values.shape[1] == len(columns) and columns:
            array[:, columns] = values
            unknown[:] = [joint for joint in unknown if joint not in joints]
            return
    names = ", ".join(_plain(model, joint) for joint in driven)
    what = f"{name} have {counted(values.shape[1], 'number')} a row"
    mend = f"give {array.shape[1]}, all joints of the model, or {len(driven)}, those that are driven: {names}"
    if values.shape[1] < len(driven):  # fingers, most often
        mend += "; of those that were not logged add columns with what they had, such as a constant"
    raise UserError(what, where=where, mend=mend)


def _missing(mechanics: Mechanics, log: _Log) -> list[str]:
    """Return the names of what has to be known besides, having tried out what has an effect."""
    needed = [name for name in mechanics.forced if name not in log.given]
    free = {*mechanics.forced, *log.given}
    model, head = mechanics.models[0], log.head(min(TRIED_ROWS, len(log.qpos)))
    asked = 1 if mechanics.controller is None else TRIED_ROWS
    reference = _seen(mechanics, model, head)

    def changed(other: Parts) -> list[str]:
        return [
            name
            for name, values in reference.items()
            if name not in free and not np.allclose(values, other[name], rtol=0.0, atol=SAME, equal_nan=True)
        ]

    found: list[str] = []
    for joint in log.unknown_places:
        moved = replace(head, qpos=head.qpos.copy())
        moved.qpos[:, _columns(model, joint, True)] += OTHER_PLACE
        if changed(_seen(mechanics, model, moved)):
            found.append(f"{JOINT}{_plain(model, joint)}")
    for joint in log.unknown_speeds:
        moved = replace(head, qvel=head.qvel.copy())
        moved.qvel[:, _columns(model, joint, False)] += OTHER_SPEED
        if changed(_seen(mechanics, model, moved)):
            found.append(f"{SPEED}{_plain(model, joint)}")
    if found and VELOCITIES not in found and len(log.unknown_speeds) == model.njnt:
        found = [name for name in found if not name.startswith(SPEED)] + [VELOCITIES]
    if len(head.qpos) == asked == TRIED_ROWS:
        none, full = (np.full((TRIED_ROWS - 1, mechanics.family.action_dim), value) for value in (0.0, 1.0))
        reference = _seen(mechanics, model, replace(head, actions=none))
        if changed(_seen(mechanics, model, replace(head, actions=full))):
            _check_control_steps(mechanics.family, log.times)
            found += [ACTIONS] if log.actions is None else []
        reference = _seen(mechanics, model, head)
    told = {name for other in mechanics.models[1:] for name in changed(_seen(mechanics, other, head))}
    if model.nmocap:
        moved_bodies = np.array(_mocap(mechanics)) + OTHER_PLACE
        told |= set(changed(_seen(mechanics, model, head, mocap=moved_bodies)))
    return [*needed, *found, *(name or "what depends on the task" for name in sorted(told))]


def _check_control_steps(family: TaskFamily, times: Array) -> None:
    """Refuse rows that are no control steps: what was asked for in between is not known.

    Raises:
        UserError: they were logged at another rate.
    """
    steps = np.diff(times)
    if np.abs(steps - family.control_timestep).max(initial=0.0) > RATE_TOLERANCE * family.control_timestep:
        what = f"rows are {np.median(steps):.4g} s apart, and what was asked for is known at control steps only"
        mend = f"log one row every {family.control_timestep:.4g} s, or give what is observed of it as signals"
        raise UserError(what, where=f"family {family.name}", mend=mend)


def _seen(mechanics: Mechanics, model: mujoco.MjModel, log: _Log, *, mocap: Array | None = None) -> Parts:
    rows = len(log.qpos)
    start = replace(
        mechanics.start,
        qpos=log.qpos,
        qvel=log.qvel,
        time=log.times,
        act=None,
        ctrl=None,
        drawn=None,
        mocap_pos=np.broadcast_to(_mocap(mechanics) if mocap is None else mocap, (rows, model.nmocap, 3)),
        mocap_quat=_repeated(mechanics.start.mocap_quat, rows),
    )
    models = [model] * rows
    states, inputs = Layout(model).start(models, start, mechanics.begin)
    found = empty(mechanics.derived, model, rows)
    Deriver(mechanics.derived, models).derive(states, inputs, found)
    if TIME in found:
        found[TIME][:] = log.times - log.times[0]
    found |= _commanded(mechanics, model, log)
    return mechanics.observe(State(log.qpos, log.qvel, found))


def _commanded(mechanics: Mechanics, model: mujoco.MjModel, log: _Log) -> dict[str, Array]:
    """Return what a controller knows at each row, having been asked for the log's actions (none: 0)."""
    if mechanics.controller is None:
        return {}
    rows = len(log.qpos)
    actions = np.zeros((rows - 1, mechanics.family.action_dim)) if log.actions is None else log.actions
    episode = mechanics.controller.begin(log.qpos[:1], np.zeros((1, model.nu)))
    known: list[Mapping[str, Array]] = []
    for row in range(rows):
        if row:
            episode.controls(actions[row - 1 : row])
        seen = episode.see(log.qpos[row : row + 1], log.qvel[row : row + 1])
        known.append({name: np.array(values) for name, values in seen.items()})
    return {name: np.concatenate([each[name] for each in known]) for name in known[0]}


def _mocap(mechanics: Mechanics) -> Array:
    if mechanics.start.mocap_pos is not None:
        return np.asarray(mechanics.start.mocap_pos, np.float64)
    data = mujoco.MjData(mechanics.models[0])
    mujoco.mj_resetData(mechanics.models[0], data)
    if mechanics.begin is not None:
        mechanics.begin(mechanics.models[0], data)
    return np.array(data.mocap_pos)


def _repeated(values: Array | None, rows: int) -> Array | None:
    return None if values is None else np.broadcast_to(values, (rows, *np.shape(values)))


def _columns(model: mujoco.MjModel, joint: int, place: bool) -> list[int]:
    """Return where a joint stands in qpos, or in qvel."""
    first = int((model.jnt_qposadr if place else model.jnt_dofadr)[joint])
    return list(range(first, first + (joint_width if place else joint_freedoms)(model, joint)))


def _plain(model: mujoco.MjModel, joint: int) -> str:
    """Return a joint's name as expressions say it, or its number."""
    name = model.joint(joint).name
    return "".join(c if f"_{c}".isidentifier() else "_" for c in name) if name else str(joint)
