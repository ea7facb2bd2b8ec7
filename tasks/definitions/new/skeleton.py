"""A working definition to start from, written around a robot: `skeleton_files` makes the files of its folder.

A robot with a spec is named (one of a name) or copied into the folder (a YAML file and its model), and stands in a
scene of its own. A bare MJCF is copied and included by a model that adds the target. Without a robot, a small arm holds
its place.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import mujoco
import numpy as np
import numpy.typing as npt

from mql.errors import UserError, nearest
from mql.robots import registry as robots
from mql.robots.mjcf.files import mjcf_files
from mql.robots.mjcf.lookup import ADD_ACTUATORS, HOME, actuator_kind, beyond_limits, home_key
from mql.robots.mjcf.source import COLLECTIONS, is_file, is_model, is_spec
from mql.tasks.control.joints import check_ranges
from mql.tasks.definitions.editor_schemas import ROBOT_FILE, ROBOT_PACKAGE, TASK_FILE, TASK_PACKAGE
from mql.tasks.definitions.model import start_of
from mql.tasks.definitions.new.experiment import experiment_file, experiment_text
from mql.tasks.definitions.new.goal import Goal, find_goal
from mql.tasks.definitions.new.text import (
    Hidden,
    definition_text,
    model_text,
    pytest_text,
    quoted,
    scene_text,
    varied,
)
from mql.tasks.definitions.quantities import plain_name, quantities_of
from mql.tasks.families import table

if TYPE_CHECKING:
    from mql.robots.spec import RobotSpec
    from mql.robots.spec_parts import ControlMode

PLACE_HOLDER = "skeleton_robot.xml"  # the arm that stands there without a robot
CONTROL_RATE = 20.0  # Hz, where no control mode says it
_SITES_NAMED = 4  # of those that --end could name
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True)
class Simulated:
    """What a definition says under ``env``, and the files that belong to it.

    Args:
        lines: the lines of ``env`` up to the episode's length.
        files: relative path -> bytes.
        rate: control steps per second.
        title: what the robot is called.
    """

    lines: tuple[str, ...]
    files: Mapping[str, bytes]
    rate: float
    title: str


def check_new_name(name: str) -> None:
    """Refuse what can't be a new family's name.

    Raises:
        UserError: it has other characters than a family's name, or mql has a family of that name.
    """
    if not _NAME.fullmatch(name):
        mend = "use letters, digits, '-', '_' and '.', at most 100, with a letter or a digit first"
        raise UserError(f"{name!r} is not a valid name of a family", mend=mend)
    if name in table.names():
        raise UserError(f"{name!r} is a family of mql's own", mend=f"choose another name, such as my-{name}")


@dataclass(frozen=True)
class Skeleton:
    """A new definition.

    Args:
        files: the definition, its scene, its test and what they need: relative path -> bytes.
        chosen: what was chosen for the first task: what -> a line of text.
        remarks: what somebody should know of the robot.
    """

    files: Mapping[str, bytes]
    chosen: Mapping[str, str]
    remarks: tuple[str, ...]


def skeleton_files(name: str, robot: str | None = None) -> dict[str, bytes]:
    """Return the files that `new_skeleton` writes."""
    return dict(new_skeleton(name, robot).files)


def new_skeleton(
    name: str, robot: str | None = None, *, end: str | None = None, hidden: Hidden | None = None
) -> Skeleton:
    """Write a definition, its scene, its test and what they need.

    A model that nobody knows may crash MuJoCo: call it in a worker process.

    Args:
        name: of the new family.
        robot: a robot's name, the path of its YAML file, or of a bare MJCF; None: a place holder.
        end: the site that is to reach the target; None: the end effector of the spec, or what looks like a tool.
        hidden: ``physics``: the agent sees the target, and payload and damping are hidden; ``goal``: the target is
            hidden, too. None: physics, where something of it can vary.

    Raises:
        UserError: the name is taken or wrong, there is no such robot, or its model can't be used, or has no such site.
    """
    check_new_name(name)
    bare = robot is None or is_model(robot)
    remarks: list[str] = []
    if robot is None:
        with resources.as_file(resources.files("mql.tasks.definitions.new") / PLACE_HOLDER) as own_arm:
            spec = robots.load(str(own_arm))
            files = {"robot.xml": own_arm.read_bytes()}  # the model first, or the spec
    else:
        spec = robots.load(robot)
        files = _copied(spec, robot)
    model = spec.compile()
    where = str(spec.path())
    _check_actuators(model, where)
    if end is not None:
        _check_end(model, end, where)
    tip = end or (spec.end_effector.site if spec.end_effector is not None else None)
    start = start_of(model, None if bare else spec).qpos
    _check_start(model, start, where)
    remarks += _start_remarks(model, None if bare else spec)
    mode = None if bare else _first_mode(spec)
    led_by = mode.by if mode is not None and mode.kind == "ee_delta" else None
    goal = find_goal(
        model,
        start,
        tip=tip,
        where=where,
        led_by=led_by,
        base=spec.base.joints if spec.base else (),
        measurable=bare,
        remarks=remarks,
    )
    if end is not None and goal.tip != f"site_{plain_name(end)}":
        what = f"the site {end!r} can't be brought to places around where it starts"
        mend = "choose one farther out, or a home from where the joints move it in several directions"
        raise UserError(what, where="--end", mend=mend)
    if hidden == "physics" and not varied(goal):
        mend = "leave --hidden out, or write --hidden goal"
        raise UserError("nothing of this robot's physics can vary: no body with a mass", where=where, mend=mend)
    hides: Hidden = hidden or ("physics" if varied(goal) else "goal")
    target = "target" if "site_target" not in quantities_of(model) else "task_target"
    if robot is None or bare:
        made = _of_model(name, model, goal, files, target, hides)
    else:
        made = _of_robot(name, model, goal, files, spec, robot, target, hides)
    test = f"test_{re.sub(r'[^A-Za-z0-9]+', '_', name)}.py"
    text = definition_text(
        name,
        made.lines,
        goal,
        target,
        title=made.title,
        rate=made.rate,
        observe=_example(model, goal),
        hidden=hides,
    )
    own = {
        f"{name}.yaml": text.encode(),
        experiment_file(name): experiment_text(name, rate=made.rate, far=_commands_poses(model, mode)).encode(),
        test: pytest_text(test).encode(),
        TASK_FILE: _packaged(TASK_FILE),
    }
    if any(is_spec(path) for path in files):
        own[ROBOT_FILE] = _packaged(ROBOT_FILE)
    for path in own:
        if path in files:
            what = f"the robot's file {path} and one of the new folder have the same name"
            raise UserError(what, where=where, mend="choose another NAME, or rename the robot's file")
    chosen = {"end": _end_line(model, goal, tip), "start": _start_line(model, None if bare else spec)}
    return Skeleton({**own, **made.files, **files}, {**chosen, **_task_lines(goal, hides)}, tuple(remarks))


def _check_end(model: mujoco.MjModel, end: str, where: str) -> None:
    sites = [model.site(site).name for site in range(model.nsite) if model.site(site).name]
    if end not in sites:
        mend = nearest(end, sites) if sites else "add a <site> at the tool to the MJCF"
        raise UserError(f"the model has no site {end!r}", where="--end", mend=mend)
    rival = quantities_of(model)[f"site_{plain_name(end)}"].rival
    if rival is not None:
        raise UserError(f"expressions can't tell the site {end!r} from {rival!r}", where=where, mend="rename one")


def _end_line(model: mujoco.MjModel, goal: Goal, tip: str | None) -> str:
    if goal.tip is None:
        return "none (no site or body reaches places around its start): joints are to be brought to positions"
    kind, _, name = goal.tip.partition("_")
    others = [each for site in range(model.nsite) if (each := model.site(site).name) and each not in (name, tip)]
    more = (
        f"; or --end {' | '.join(others[:_SITES_NAMED])}{' | ...' if len(others) > _SITES_NAMED else ''}"
        if others
        else ""
    )
    return f"{kind} {tip if kind == 'site' and tip else name}{more}"


def _start_line(model: mujoco.MjModel, spec: RobotSpec | None) -> str:
    if mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_KEY, "home") >= 0:
        return "the keyframe home"
    if spec is not None and spec.home:
        return "the robot's home"
    return "the model's own pose (all joints at their zero); a keyframe home would change that"


def _task_lines(goal: Goal, hidden: Hidden) -> dict[str, str]:
    """Say what is drawn, and what of it the agent does not see."""
    spans = ", ".join(f"{axis.name} {axis.middle:.3g} +- {axis.half:.3g} {axis.unit}" for axis in goal.axes)
    physics = {"payload": f"payload (mass of {goal.payload})", "damping": f"damping (of {goal.damped})"}
    names = [physics[name] for name in varied(goal)]
    if hidden == "physics":
        return {"target": f"{spans}, seen", "hidden": f"{', '.join(names)}; --hidden goal hides the target, too"}
    more = "" if not names else "; --hidden physics shows the target"
    return {"target": spans, "hidden": ", ".join(["the target", *names]) + more}


def _copied(spec: RobotSpec, robot: str) -> dict[str, bytes]:
    """Return the files that a robot of a path consists of, by their path from its folder."""
    if not is_file(robot):
        return {}
    found = [] if is_model(robot) else [Path(robot).resolve()]
    folder = Path(robot).resolve().parent
    if not spec.mjcf.startswith(COLLECTIONS):  # else it belongs to a package, and stays there
        source = spec.mjcf_source()
        folder = source.folder.resolve()
        found += mjcf_files(source.path, folder)
    return {_within(path, folder): path.read_bytes() for path in found}


def _within(path: Path, folder: Path) -> str:
    """Return the path from the folder, as the model names it: links are followed only to get there."""
    return (path if path.is_relative_to(folder) else path.resolve()).relative_to(folder).as_posix()


def _of_model(
    name: str, model: mujoco.MjModel, goal: Goal, files: Mapping[str, bytes], target: str, hidden: Hidden
) -> Simulated:
    """Include a bare MJCF in a model that adds the target."""
    inner = Path(next(iter(files)))
    outer = (inner.parent / _scene_name(name, {Path(each).name for each in files})).as_posix()  # their paths agree then
    frame_skip = max(1, round(1.0 / (CONTROL_RATE * float(model.opt.timestep))))
    rate = 1.0 / (frame_skip * float(model.opt.timestep))
    lines = (
        f"  mjcf: {quoted(outer)}  # the model: {inner.as_posix()}, and what the task adds to it",
        f"  frame_skip: {frame_skip}  # physics steps of a control step, which lasts {1.0 / rate:.3g} s",
    )
    return Simulated(lines, {outer: model_text(name, inner.name, goal, target, hidden).encode()}, rate, inner.stem)


def _of_robot(
    name: str,
    model: mujoco.MjModel,
    goal: Goal,
    files: Mapping[str, bytes],
    spec: RobotSpec,
    robot: str,
    target: str,
    hidden: Hidden,
) -> Simulated:
    """Put a robot with a spec, which is the first of its files if it has some, into a scene."""
    scene = _scene_name(name, files)
    lines = [f"  robot: {quoted(next(iter(files), robot))}", f"  scene: {quoted(scene)}  # where it stands"]
    rate = CONTROL_RATE
    if spec.control:
        mode, *others = _modes(spec)
        rate = spec.control[mode].rate_hz
        also = f"; also {', '.join(others)}" if others else ""
        lines.append(f"  control: {quoted(mode)}  # what an action means, {rate:g} times a second{also}")
    plane = bool((model.geom_type == mujoco.mjtGeom.mjGEOM_PLANE.value).any())
    text = scene_text(name, goal, target, title=spec.name, floor=not plane, taken=_geoms(model), hidden=hidden)
    return Simulated(tuple(lines), {scene: text.encode()}, rate, spec.name)


def _modes(spec: RobotSpec) -> list[str]:
    """Return the control modes, what displaces an end effector first: a task begins with the first one."""
    return sorted(spec.control, key=lambda mode: spec.control[mode].kind != "ee_delta")


def _first_mode(spec: RobotSpec) -> ControlMode | None:
    return spec.control[_modes(spec)[0]] if spec.control else None


def _scene_name(name: str, files: Collection[str]) -> str:
    return next(each for each in ("scene.xml", "task.xml", f"{name}-scene.xml") if each not in files)


def _commands_poses(model: mujoco.MjModel, mode: ControlMode | None) -> bool:
    """Whether a full action sends joints across their whole range."""
    if mode is not None:
        return mode.kind == "joint_position"
    return any(actuator_kind(model, actuator) == "position" for actuator in range(model.nu))


def _check_actuators(model: mujoco.MjModel, where: str) -> None:
    if model.nu == 0:
        raise UserError("the model has no actuators", where=where, mend=ADD_ACTUATORS)
    check_ranges(model, where=where)


def _check_start(model: mujoco.MjModel, start: npt.NDArray[np.float64], where: str) -> None:
    for joint, at, _, _ in beyond_limits(model, start):
        low, high = model.jnt_range[joint]
        what = f"joint {model.joint(joint).name!r} starts at {at:.4g}, outside of its range, {low:.4g} to {high:.4g}"
        key = home_key(model)
        pose = "home in its spec" if key is None else f"its keyframe {model.key(key).name}"
        mend = f'fix {pose} or its range (in degrees, unless the file says <compiler angle="radian"/>)'
        raise UserError(what, where=where, mend=mend)


def _start_remarks(model: mujoco.MjModel, spec: RobotSpec | None) -> Iterator[str]:
    """Say from where tasks start where that is not to be taken for granted."""
    key = home_key(model)
    if key is not None and model.key(key).name != HOME and (spec is None or not spec.home):
        name = repr(model.key(key).name) if model.key(key).name else "which has no name"
        yield f"tasks start from the only keyframe there is, {name}"
    stated = np.array(model.qpos0 if key is None else model.key_qpos[key])
    if spec is not None and spec.home:
        return
    for joint, at, limit, _ in beyond_limits(model, stated):
        name = model.joint(joint).name
        yield f"joint {name!r} would start at {at:.4g}, outside of its range: tasks start it at {limit:.4g}"
    if key is None and model.nkey:
        names = ", ".join(repr(model.key(index).name) for index in range(model.nkey))
        yield f"tasks start from the pose in which the model is built; to change that call a keyframe home ({names})"


def _geoms(model: mujoco.MjModel) -> set[str]:
    return {model.geom(index).name for index in range(model.ngeom)}


def _example(model: mujoco.MjModel, goal: Goal) -> str:
    """Return what could be observed instead of everything."""
    clear = [name for name, each in quantities_of(model).items() if each.rival is None]
    named = [name for name in clear if name.startswith(("joint_", "speed_"))][:4]
    return ", ".join(quoted(name) for name in [*named, *([goal.tip] if goal.tip is not None else [])])


def _packaged(name: str) -> bytes:
    return (resources.files(TASK_PACKAGE if name == TASK_FILE else ROBOT_PACKAGE) / name).read_bytes()
