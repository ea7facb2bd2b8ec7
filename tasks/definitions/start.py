"""Where an episode of a definition starts: what ``start`` says, drawn for each episode from its own generator.

Joints and bodies that ``start`` does not name are where the keyframe, or the model, has them. Free bodies are drawn one
after another, each again until it touches nothing deeper than `DEEPEST`, by MuJoCo's own contacts in the task's model.

Shapes: Q positions, M mocap bodies.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import mujoco
import numpy as np
import numpy.typing as npt

from mql.errors import UserError, nearest
from mql.robots.mjcf import lookup
from mql.tasks.definitions.drawn import Drawn
from mql.tasks.definitions.episode_schema import BodyStart, StartSpec
from mql.tasks.definitions.file import DefinitionFile
from mql.tasks.definitions.model import Start
from mql.tasks.distributions import Distribution, Value
from mql.tasks.family import Array
from mql.tasks.parameter import Parameter
from mql.tasks.stepping.physics_state import PhysicsState

HOME_NOISE = 0.01  # rad or m; largest displacement of a driven joint at the start, where nothing else is said
DEEPEST = 1e-3  # m; what lies on a table sinks in a little, and still is free
TRIES = 100  # draws of one body before all are drawn afresh
ROUNDS = 10
_FREE = mujoco.mjtJoint.mjJNT_FREE.value

Apply = Callable[[mujoco.MjModel, Mapping[str, Value]], None]


@dataclass(frozen=True)
class _Joint:
    """A hinge or slide: its place in qpos, and its range where it has one."""

    name: str
    place: int
    value: Drawn
    limits: tuple[float, float] | None


@dataclass(frozen=True)
class _Body:
    """A free body, or a mocap body.

    Args:
        name: of the body.
        number: of the body.
        place: where in qpos its joint begins, or which of the mocap bodies it is.
        mocap: which of the two.
        pos: x, y, z, from `around`; None: where it is.
        around: [3] m.
        yaw: rad about the world's z axis, on top of how the body stands; None: none.
        turned: whether any orientation is as likely.
    """

    name: str
    number: int
    place: int
    mocap: bool
    pos: Drawn | None
    around: Array
    yaw: Drawn | None
    turned: bool

    def draw(self, rng: np.random.Generator, parameters: Mapping[str, Value], home: Array) -> Array:
        """Return a pose [7], x, y, z (m) and a quaternion, where `home` is the pose that the model has."""
        pose = home.copy()
        if self.pos is not None:
            pose[:3] = self.around + self.pos.draw(rng, parameters)
        if self.yaw is not None:
            turn = np.zeros(4)
            mujoco.mju_axisAngle2Quat(turn, np.array([0.0, 0.0, 1.0]), float(self.yaw.draw(rng, parameters)[0]))
            mujoco.mju_mulQuat(pose[3:], turn, home[3:])
        if self.turned:
            pose[3:] = rng.standard_normal(4)
            pose[3:] /= np.linalg.norm(pose[3:])
        return pose


class DrawnStart:
    """Draws the starts of a definition's episodes.

    Args:
        file: the definition.
        model: the compiled model.
        start: what an episode starts from where ``start`` says nothing.
        home_noise: rad or m, of driven joints where ``start`` says nothing.
        apply: gives a copy of `model` the values of a task; None: all tasks have one model.

    Raises:
        UserError: ``start`` names what the model does not have, or puts it where it can't be.
    """

    def __init__(
        self, file: DefinitionFile, model: mujoco.MjModel, start: Start, *, home_noise: float, apply: Apply | None
    ) -> None:
        spec = file.definition.start or StartSpec()
        self._file, self._start, self._apply = file, start, apply
        self._noise = _noise(file, model, start, spec, home_noise)
        self._reach = _reach(model, start)
        self._joints = [_joint(file, model, name, value) for name, value in spec.joints.items()]
        bodies = [_body(file, model, name, value) for name, value in spec.bodies.items()]
        self._mocap = [body for body in bodies if body.mocap]
        self._free = [body for body in bodies if not body.mocap]
        self._check_values()
        self._lock = threading.Lock()  # the scratch model and data serve one draw at a time
        self._model = copy.deepcopy(model) if bodies else model
        self._data = mujoco.MjData(self._model) if bodies else None

    @property
    def draws(self) -> bool:
        """Whether episodes start elsewhere than the keyframe has it."""
        return bool(self._noise.any() or self._joints or self._mocap or self._free)

    @property
    def parameters(self) -> frozenset[str]:
        """Task parameters that show in where an episode starts."""
        values = [joint.value for joint in self._joints]
        values += [value for body in (*self._mocap, *self._free) for value in (body.pos, body.yaw) if value is not None]
        return frozenset(name for value in values for name in value.parameters)

    def known(self, parameters: Mapping[str, Parameter]) -> dict[str, Parameter]:
        """Return the task parameters as they are with this start: a joint's place lies within the joint's range."""
        found = dict(parameters)
        for name in self.parameters:
            found[name] = replace(found[name], observed_start=True)
        for joint in self._joints:
            if joint.value.parameters and joint.limits is not None:
                name = joint.value.parameters[0]
                (low, high), (least, most) = found[name].bounds, joint.limits
                found[name] = replace(found[name], bounds=(max(low, least), min(high, most)))
        return found

    def draw(self, rng: np.random.Generator, parameters: Mapping[str, Value]) -> PhysicsState:
        """Draw what an episode of a task starts from: arrays without the axis of tasks.

        Raises:
            UserError: no place was found for a free body.
        """
        qpos, qvel = self._start.qpos.copy(), self._start.qvel.copy()
        if self._noise.size:
            places = self._start.noisy
            qpos[places] = np.clip(qpos[places] + rng.uniform(-self._noise, self._noise), *self._reach)
        for joint in self._joints:
            qpos[joint.place] = joint.value.draw(rng, parameters)[0]
        if self._data is None:
            return PhysicsState(qpos, qvel)
        with self._lock:
            return self._with_bodies(rng, parameters, qpos, qvel)

    def _with_bodies(
        self, rng: np.random.Generator, parameters: Mapping[str, Value], qpos: Array, qvel: Array
    ) -> PhysicsState:
        model, data = self._model, self._data
        assert data is not None
        if self._apply is not None:
            self._apply(model, parameters)
        mujoco.mj_resetData(model, data)
        self._start.put(model, data)
        for body in self._mocap:
            home = np.concatenate([data.mocap_pos[body.place], data.mocap_quat[body.place]])
            pose = body.draw(rng, parameters, home)
            data.mocap_pos[body.place], data.mocap_quat[body.place] = pose[:3], pose[3:]
        data.qpos[:] = qpos
        self._place_free(rng, parameters, data)
        mocap = (data.mocap_pos.copy(), data.mocap_quat.copy()) if self._mocap else (None, None)
        return PhysicsState(data.qpos.copy(), qvel, mocap_pos=mocap[0], mocap_quat=mocap[1])

    def _place_free(self, rng: np.random.Generator, parameters: Mapping[str, Value], data: mujoco.MjData) -> None:
        """Draw the free bodies one after another into `data`, none in another thing."""
        touched = ""
        for _ in range(ROUNDS if self._free else 0):
            for number, body in enumerate(self._free):
                later = [other.number for other in self._free[number + 1 :]]
                place = slice(body.place, body.place + 7)
                home = self._start.qpos[place]
                for _ in range(TRIES):
                    data.qpos[place] = body.draw(rng, parameters, home)
                    hit = _hit(self._model, data, body.number, later)
                    if hit is None:
                        break
                else:
                    touched = f"{body.name!r} (it touches {hit})"
                    break
            else:
                return
        if not self._free:
            return
        names = ", ".join(repr(body.name) for body in self._free)
        what = (
            f"no start without overlap was found for {names}: {ROUNDS} times {TRIES} draws left no place for {touched}"
        )
        mend = "give it more room, or lift it: contacts may be 1 mm deep"
        raise UserError(what, where=self._file.where("start.bodies"), mend=mend)

    def _check_values(self) -> None:
        file = self._file
        sources: dict[str, list[Distribution]] = {name: [] for name in file.definition.parameters}
        for split in file.definition.splits:
            for name, source in file.sources(split).items():
                sources[name].append(source)
        for joint in self._joints:
            where = file.where(joint.value.key)
            low, high = (float(end[0]) for end in joint.value.ends(sources))
            if joint.limits is not None and not (joint.limits[0] <= low and high <= joint.limits[1]):
                least, most = joint.limits
                what = f"start puts the joint {joint.name!r} at {low:g} to {high:g}, its range is {least:g} to {most:g}"
                raise UserError(what, where=where, mend="draw it within the range, or widen that in the MJCF")


def _noise(
    file: DefinitionFile, model: mujoco.MjModel, start: Start, spec: StartSpec, default: float
) -> npt.NDArray[np.float64]:
    """Return the largest displacement of each noisy place of qpos."""
    names = {int(model.jnt_qposadr[joint]): model.joint(joint).name for joint in range(model.njnt)}
    noisy = [names[int(place)] for place in start.noisy]
    given = spec.home_noise
    if given is None or isinstance(given, float):
        return np.full(len(noisy), default if given is None else given)
    for name in given:
        if name not in noisy:
            where = file.where(f"start.home_noise.{name}")
            raise UserError(f"no actuator moves a hinge or slide {name!r}", where=where, mend=nearest(name, noisy))
    return np.array([given.get(name, default) for name in noisy])


def _reach(model: mujoco.MjModel, start: Start) -> tuple[Array, Array]:
    """Return the lowest and highest value of each noisy place of qpos: the joint's range, where it starts within."""
    ends = {
        int(model.jnt_qposadr[joint]): model.jnt_range[joint] if model.jnt_limited[joint] else (-np.inf, np.inf)
        for joint in range(model.njnt)
    }
    ranges = np.array([ends[int(place)] for place in start.noisy]).reshape(-1, 2)
    home = start.qpos[start.noisy]
    return np.minimum(ranges[:, 0], home), np.maximum(ranges[:, 1], home)


def _joint(file: DefinitionFile, model: mujoco.MjModel, name: str, value: object) -> _Joint:
    key = f"start.joints.{name}"
    where = file.where(key)
    found = lookup.joint_id(model, name)
    names = [model.joint(joint).name for joint in range(model.njnt) if model.joint(joint).name]
    if found is None:
        raise UserError(f"the model has no joint {name!r}", where=where, mend=nearest(name, names))
    kind = lookup.joint_kind(model, found)
    if kind in ("free", "ball"):
        body = model.body(int(model.jnt_bodyid[found])).name
        mend = f"write it below start.bodies, as {body!r}" if kind == "free" else "draw hinges and slides only"
        raise UserError(f"the joint {name!r} is a {kind} joint", where=where, mend=mend)
    limits = model.jnt_range[found] if model.jnt_limited[found] else None
    bounds = None if limits is None else (float(limits[0]), float(limits[1]))
    return _Joint(name, int(model.jnt_qposadr[found]), Drawn.of(value, key, where), bounds)


def _body(file: DefinitionFile, model: mujoco.MjModel, name: str, spec: BodyStart) -> _Body:
    key = f"start.bodies.{name}"
    where = file.where(key)
    movable = {model.body(n).name: n for n in range(1, model.nbody) if _free_joint(model, n) is not None}
    movable |= {model.body(n).name: n for n in range(1, model.nbody) if model.body_mocapid[n] >= 0}
    number = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_BODY, name)
    if number < 0:
        mend = nearest(name, movable) if movable else "it has no free and no mocap bodies"
        raise UserError(f"the model has no body {name!r}", where=where, mend=mend)
    joint = _free_joint(model, number)
    mocap = int(model.body_mocapid[number])
    if joint is None and mocap < 0:
        mend = 'draw its joints below start.joints, or give it a <freejoint/> or mocap="true"'
        raise UserError(f"the body {name!r} is neither free nor a mocap body", where=where, mend=mend)
    drawn = {
        part: None if given is None else Drawn.of(given, f"{key}.{part}", file.where(f"{key}.{part}"))
        for part, given in (("pos", spec.pos), ("yaw", spec.yaw))
    }
    place = mocap if joint is None else int(model.jnt_qposadr[joint])
    around = np.array(spec.around)
    return _Body(name, number, place, joint is None, drawn["pos"], around, drawn["yaw"], spec.turn is not None)


def _free_joint(model: mujoco.MjModel, body: int) -> int | None:
    joint = int(model.body_jntadr[body])
    return joint if joint >= 0 and model.jnt_type[joint] == _FREE else None


def _hit(model: mujoco.MjModel, data: mujoco.MjData, body: int, ignored: list[int]) -> str | None:
    """Name what a free body is in, deeper than it may be; None: nothing but what is `ignored`, free bodies, too."""
    mujoco.mj_kinematics(model, data)
    mujoco.mj_comPos(model, data)
    mujoco.mj_collision(model, data)
    for contact in range(data.ncon):
        if data.contact.dist[contact] >= -DEEPEST:
            continue
        geoms = data.contact.geom[contact]
        owners = [int(model.body_rootid[model.geom_bodyid[geom]]) if geom >= 0 else -1 for geom in geoms]
        if body not in owners or owners[0] == owners[1]:
            continue
        other = int(owners[0] == body)
        if owners[other] not in ignored:
            geom = int(geoms[other])
            return _name(model, geom)
    return None


def _name(model: mujoco.MjModel, geom: int) -> str:
    if geom < 0:
        return "a soft body"
    if model.geom(geom).name:
        return f"the geom {model.geom(geom).name!r}"
    return f"the body {model.body(int(model.geom_bodyid[geom])).name!r}"
