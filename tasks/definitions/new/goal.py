"""Finds a first task in a model that nobody has looked at: what is to go where, and what of the robot may vary.

The goal is a hidden place for a site or a body at the robot's end. Where it can be is found by sampling: the joints
that actuators move are drawn around the pose in which episodes start, and the box of targets is shrunk until its
corners are close to places that were seen. Where a control mode leads the end itself, the box lies around its start,
and the joints on the way to it are drawn. A robot whose end moves along a line only (a pendulum) gets hidden joint
positions instead; one that moves freely is to go to a hidden place on the floor.

Shapes: K sampled poses, D axes.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from types import EllipsisType

import mujoco
import numpy as np
import numpy.typing as npt

from mql.errors import UserError
from mql.tasks.definitions.quantities import quantities_of

Array = npt.NDArray[np.float64]
End = tuple[str, int]  # a site or a body, or a joint's position: the array of MjData, and the place in it

OUTSIDE = (1.05, 1.3)  # tasks outside the training ranges lie between these multiples of the box's half width
_POSES = 4000
_MORE_POSES = 32_000  # where the first ones leave gaps
_TURN, _SLIDE, _DRIVE = 0.8, 0.3, 0.8  # rad, m, and m of a slide without limits: how far poses are from the start
_FLOOR_HALF = 1.0  # m; what moves freely gets there in some seconds
_LED_HALF = 0.15  # m; around the start of an end effector that actions displace
_SMALLEST_HALF = 0.03  # m; a smaller box is no task of places
_NEAR = 0.4  # of the box's half width: so close must a sampled pose come to each corner
_SHRINK = 0.85
_AXES = 2  # hidden places along two axes; a third makes them much harder to find by distances alone
_CLOSE, _WIDE_ENOUGH = 0.15, 0.02  # of the widest half width counts as there, 2 cm (0.02 rad) in small boxes
# Words in the names of sites at a tool, the best first; short ones stand alone (a wheel is no "ee").
_TIP_WORDS = (
    "tip",
    "tcp",
    "endeffector",
    "eef",
    "ee",
    "pinch",
    "grasp",
    "grip",
    "tool",
    "attachment",
    "flange",
    "hand",
)
_SHORT_WORD = 3  # letters
_SITE_XPOS, _XPOS, _XIPOS = "site_xpos", "xpos", "xipos"  # MuJoCo's places of sites, bodies, centres of mass
_APART = 0.02  # m; a frame that is farther from its body is of no use as its place
_PLAIN_JOINTS = (mujoco.mjtJoint.mjJNT_SLIDE.value, mujoco.mjtJoint.mjJNT_HINGE.value)


@dataclass(frozen=True)
class Axis:
    """One hidden number of the goal, uniform in `middle` +- `half` (m or rad)."""

    name: str  # x, y or z; or the joint's name as expressions say it
    middle: float
    half: float
    unit: str
    side: int = 1  # 1 or -1: on which side of the middle tasks outside the training range lie


@dataclass(frozen=True)
class Goal:
    """What a first task of a robot is made of.

    Args:
        tip: what is to reach the target, the quantity ``site_<name>`` or ``body_<name>``; None: joints are.
        place: [3] m, the middle of the box of targets; not used for joints.
        start: [3] m, where the end is when an episode starts; not used for joints.
        axes: what is drawn.
        tolerance: so close is there (m or rad).
        payload: the body whose mass varies; None: none has a name and a mass.
        damped: the joint whose damping varies; None: no driven joint has a name.
        own_damping: of that joint, N s/m or N m s/rad.
        strong_damping: a damping that slows it down clearly.
        seconds: in which the target can be reached.
        free: whether the robot moves freely, so that it needs a floor.
    """

    tip: str | None
    place: tuple[float, float, float]
    start: tuple[float, float, float]
    axes: tuple[Axis, ...]
    tolerance: float
    payload: str | None
    damped: str | None
    own_damping: float
    strong_damping: float
    seconds: float
    free: bool
    measured: tuple[str, str] | None = None  # a sensor that the scene gets, and the body whose centre of mass it reads


def find_goal(
    model: mujoco.MjModel,
    start: Array,
    *,
    tip: str | None,
    where: str,
    led_by: str | None = None,
    base: Collection[str] = (),
    measurable: bool = False,
    remarks: list[str] | None = None,
) -> Goal:
    """Look at a compiled model.

    Args:
        model: the robot alone.
        start: qpos at which episodes start.
        tip: the site that does the work, if that is known.
        where: the file, for messages.
        led_by: ``ik`` or ``mocap`` if actions displace the end, else None. What mocap pulls feels no masses.
        base: joints that put the robot where it stands, and do no work.
        measurable: whether the scene can have a sensor for a body whose frame lies elsewhere.
        remarks: gets what somebody should know of the end.

    Raises:
        UserError: nothing that could have a goal has a name of its own.
    """
    data = mujoco.MjData(model)
    data.qpos[:] = start
    mujoco.mj_forward(model, data)
    driven = _driven(model) if led_by is None else _on_the_way(model, tip, base)
    free = _free_body(model, driven)
    names = _names(model)
    end, body = ((_XPOS, free), free) if free else _end(model, driven, tip, names)
    measured = None
    if end == (_XPOS, body) and end in names and (gap := _gap(model, data, body)) > 0.0:
        own = str(model.body(body).name)
        if measurable:
            measured = (_sensor_name(model, own), own)
            end = (_XIPOS, body)
            names[end] = f"sensor_{measured[0]}"
        elif remarks is not None:
            what = f"the frame of {own!r}, which is brought to the targets, lies {gap:.2f} m from all that the body has"
            remarks.append(f"{what}: add a site at its end to the model, and name it as end_effector in the spec")
    axes: tuple[Axis, ...] = ()
    place = first = np.zeros(3)
    if free and end in names:
        place = _of(data, end)
        axes = tuple(Axis(name, float(place[n]), _FLOOR_HALF, "m") for n, name in enumerate("xy"))
    elif end in names:
        first = _of(data, end)
        place, axes = _box(model, data, start, driven, end, led=led_by is not None)
    reached = bool(axes)
    if not reached:
        axes = _joint_axes(model, start, driven, names)
    if not axes:
        mend = "name a site or a body of its last link in the MJCF"
        raise UserError("nothing in the model has a name that a reward could use", where=where, mend=mend)
    widest = max(axis.half for axis in axes)
    feels = led_by != "mocap"
    damped = next((joint for joint in driven if feels and model.joint(joint).name), None)
    address = 0 if damped is None else int(model.jnt_dofadr[damped])
    inertia = np.zeros(model.nv)  # of the joint alone, and with the others
    mujoco.mj_mulM(model, data, inertia, np.eye(model.nv)[address])
    return Goal(
        tip=names[end] if reached else None,
        place=(float(place[0]), float(place[1]), float(place[2])),
        start=(float(first[0]), float(first[1]), float(first[2])),
        axes=axes,
        tolerance=float(f"{max(_CLOSE * widest, min(_WIDE_ENOUGH, 0.3 * widest)):.1g}"),
        payload=_payload(model, body) if feels else None,
        damped=None if damped is None else model.joint(damped).name,
        own_damping=float(model.dof_damping[address]),
        strong_damping=float(f"{2.0 * inertia[address]:.1g}"),  # alone, it halves a speed in a third of 1 s
        seconds=5.0 if free else 3.0,
        free=free is not None,
        measured=measured if reached else None,
    )


def _gap(model: mujoco.MjModel, data: mujoco.MjData, body: int) -> float:
    """Return how far (m) a body's frame is from all that the body has, 0 where it is near; CAD programs export such.

    A frame at the body's own joint is where many put it.
    """
    joints = np.flatnonzero(np.asarray(model.jnt_bodyid) == body)
    if any(np.linalg.norm(data.xanchor[joint] - data.xpos[body]) < _APART for joint in joints):
        return 0.0
    geoms = [geom for geom in range(model.ngeom) if model.geom_bodyid[geom] == body]
    if geoms:
        away = np.linalg.norm(data.geom_xpos[geoms] - data.xpos[body], axis=1)
        radius = np.asarray(model.geom_rbound)[geoms]
    elif model.body_mass[body] > 0.0:
        away = np.array([np.linalg.norm(data.xipos[body] - data.xpos[body])])
        radius = np.array([2.0 * np.sqrt(model.body_inertia[body].sum() / model.body_mass[body])])
    else:
        return 0.0
    nearest = int((away - radius).argmin())
    gap = float(away[nearest] - radius[nearest])
    return gap if gap > max(_APART, 0.5 * float(radius[nearest])) else 0.0


def _sensor_name(model: mujoco.MjModel, body: str) -> str:
    taken = {re.sub(r"\W", "_", model.sensor(index).name) for index in range(model.nsensor)}
    name = f"{re.sub(r'[^A-Za-z0-9]', '_', body)}_centre"
    while name in taken:
        name += "_"
    return name


def _driven(model: mujoco.MjModel) -> list[int]:
    """Return the hinges and slides that actuators move; all of them where actuators pull tendons or sites only."""
    by_joint = model.actuator_trntype == mujoco.mjtTrn.mjTRN_JOINT.value
    joints = {int(joint) for joint in model.actuator_trnid[by_joint, 0] if model.jnt_type[joint] in _PLAIN_JOINTS}
    return sorted(joints) or [joint for joint in range(model.njnt) if model.jnt_type[joint] in _PLAIN_JOINTS]


def _on_the_way(model: mujoco.MjModel, tip: str | None, base: Collection[str]) -> list[int]:
    """Return the hinges and slides between the world and the site `tip`, but for those of the base."""
    path = set(_path(model, int(model.site(tip).bodyid[0])))
    return [
        joint
        for joint in range(model.njnt)
        if model.jnt_bodyid[joint] in path
        and model.jnt_type[joint] in _PLAIN_JOINTS
        and model.joint(joint).name not in base
    ]


def _free_body(model: mujoco.MjModel, driven: list[int]) -> int | None:
    """Return the body with a free joint that carries driven joints: the robot, not something that lies about."""
    for joint in range(model.njnt):
        body = int(model.jnt_bodyid[joint])
        carried = any(body in _path(model, int(model.jnt_bodyid[each])) for each in driven) or not driven
        if model.jnt_type[joint] == mujoco.mjtJoint.mjJNT_FREE.value and carried:
            return body
    return None


def _end(model: mujoco.MjModel, driven: list[int], tip: str | None, names: Mapping[End, str]) -> tuple[End, int]:
    """Return what is at the robot's end and the body it belongs to.

    It is the stated site; else a site that is called after a tool, wherever in the outer half of the chain it stands (a
    gripper's fingers come after it); else a site, else a body, of what most driven joints move.
    """
    moved = {int(model.jnt_bodyid[joint]) for joint in driven}
    counts = [len(moved.intersection(_path(model, body))) for body in range(model.nbody)]
    depths = [len(list(_path(model, body))) for body in range(model.nbody)]
    last = [body for body in range(model.nbody) if counts[body] == max(counts)]
    sites = [site for site in range(model.nsite) if (_SITE_XPOS, site) in names]
    stated = [site for site in sites if model.site(site).name == tip]
    outer = [site for site in sites if 2 * counts[model.site_bodyid[site]] >= max(counts)]
    tools = [site for site in outer if _rank(model, site) < len(_TIP_WORDS)]
    ends = [site for site in sites if int(model.site_bodyid[site]) in last]
    key = lambda site: (_rank(model, site), -counts[model.site_bodyid[site]], -site)  # noqa: E731
    best = stated or sorted(tools, key=key) or sorted(ends, key=key)
    if best:
        return (_SITE_XPOS, best[0]), int(model.site_bodyid[best[0]])
    bodies = [body for body in last if body and (_XPOS, body) in names]
    body = max(bodies or last, key=lambda each: depths[each])
    return (_XPOS, body), body


def _names(model: mujoco.MjModel) -> dict[End, str]:
    """Return what expressions call the quantities of the model that can be used, but for the world."""
    clear = {name: each for name, each in quantities_of(model).items() if each.rival is None}
    return {
        (each.source, each.index.start if isinstance(each.index, slice) else each.index): name
        for name, each in clear.items()
        if name != "body_world" and not isinstance(each.index, EllipsisType)
    }


def _rank(model: mujoco.MjModel, site: int) -> int:
    """Say how clearly a site's name speaks of a tool: 0 is best, and `len(_TIP_WORDS)` not at all."""
    name = model.site(site).name.lower()
    words, letters = re.findall(r"[a-z]+", name), re.sub(r"[^a-z]", "", name)

    def speaks(word: str) -> bool:
        return (
            any(each.endswith(word) for each in words)
            if word == "tip"
            else (word in words if len(word) <= _SHORT_WORD else word in letters)
        )

    return next((n for n, word in enumerate(_TIP_WORDS) if speaks(word)), len(_TIP_WORDS))


def _path(model: mujoco.MjModel, body: int) -> Iterator[int]:
    while body:
        yield body
        body = int(model.body_parentid[body])


def _reach_of(model: mujoco.MjModel, start: Array, joint: int) -> tuple[float, float]:
    """Return the positions between which a joint is sampled."""
    at, limited = float(start[model.jnt_qposadr[joint]]), bool(model.jnt_limited[joint])
    turns = model.jnt_type[joint] == mujoco.mjtJoint.mjJNT_HINGE.value
    far = _TURN if turns else _SLIDE if limited else _DRIVE
    low, high = model.jnt_range[joint] if limited else (-np.inf, np.inf)
    return max(at - far, float(low)), max(min(at + far, float(high)), float(low))


def _box(
    model: mujoco.MjModel, data: mujoco.MjData, start: Array, driven: list[int], end: End, *, led: bool
) -> tuple[Array, tuple[Axis, ...]]:
    """Return the middle [3] and the axes of a box that the end can reach; no axes where there is none."""
    rng = np.random.default_rng(0)
    first = _of(data, end)
    seen = np.empty((0, 3))  # [K, 3]
    middle = first
    for poses in (_POSES, _MORE_POSES):  # few are quick, but may miss what many joints reach
        seen = np.concatenate((seen, _places(model, data, start, driven, end, rng, poses)))
        ends = np.quantile(seen, (0.1, 0.9), axis=0)
        middle, half = np.round(np.median(seen, axis=0), 3), (ends[1] - ends[0]) / 2.0
        if led:
            middle, half = np.round(first, 3), np.minimum(half, _LED_HALF)
        axes = _axes_within(seen, middle, half)
        if axes:
            return middle, axes
    return middle, ()


def _places(
    model: mujoco.MjModel,
    data: mujoco.MjData,
    start: Array,
    driven: list[int],
    end: End,
    rng: np.random.Generator,
    poses: int,
) -> Array:
    """Return where the end is in random poses, [poses, 3]."""
    places = [int(model.jnt_qposadr[joint]) for joint in driven]
    low, high = np.array([_reach_of(model, start, joint) for joint in driven]).T
    seen = np.empty((poses, 3))
    for row, pose in enumerate(rng.uniform(low, high, (poses, len(places)))):
        data.qpos[places] = pose
        mujoco.mj_kinematics(model, data)
        seen[row] = _of(data, end)
    return seen


def _axes_within(seen: Array, middle: Array, half: Array) -> tuple[Axis, ...]:
    """Return the axes of the largest box around the middle whose corners are near places seen; () if all are small."""
    wide = np.flatnonzero(half > max(0.1 * half.max(), 1e-3))
    used = np.sort(wide[np.argsort(-half[wide])][:_AXES])
    while half.max() >= _SMALLEST_HALF:
        corners = np.tile(middle, (2 ** len(used), 1))
        signs = np.array([*itertools.product((-1.0, 1.0), repeat=len(used))])
        corners[:, used] += OUTSIDE[1] * half[used] * signs
        away = np.array([np.linalg.norm(corner - seen, axis=1).min() for corner in corners])
        if (away <= _NEAR * half.max()).all():
            sides = signs[away.argmin()]  # where the robot reaches best
            return tuple(
                Axis("xyz"[n], float(middle[n]), float(f"{half[n]:.2g}"), "m", int(side))
                for n, side in zip(used, sides, strict=True)
            )
        half = half * _SHRINK
    return ()


def _of(data: mujoco.MjData, end: End) -> Array:
    source, index = end
    return np.array(getattr(data, source)[index])


def _joint_axes(model: mujoco.MjModel, start: Array, driven: list[int], names: Mapping[End, str]) -> tuple[Axis, ...]:
    """Return the first two driven joints that have a name and room to move, with targets away from the start."""
    axes = []
    for joint in driven:
        low, high = _reach_of(model, start, joint)
        at = float(start[model.jnt_qposadr[joint]])
        room = high - at if high - at >= at - low else low - at  # on the wider side
        name = names.get(("qpos", int(model.jnt_qposadr[joint])))
        if name is not None and abs(room) > 1e-3:
            unit = "rad" if model.jnt_type[joint] == mujoco.mjtJoint.mjJNT_HINGE.value else "m"
            half = float(f"{0.35 * abs(room) / OUTSIDE[1]:.2g}")
            axes.append(Axis(name.removeprefix("joint_"), round(at + 0.65 * room, 3), half, unit))
    return tuple(axes[:2])


def _payload(model: mujoco.MjModel, body: int) -> str | None:
    """Return the body nearest to the end that has a name, a mass, and moves."""
    for each in _path(model, body):
        if model.body(each).name and model.body_mass[each] > 0.0 and model.body_weldid[each] != 0:
            return str(model.body(each).name)
    return None
