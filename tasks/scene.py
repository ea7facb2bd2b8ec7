"""Robot, gripper or tool, and scene put together to one MuJoCo model: the only module that uses MjSpec.

A part is an MJCF file that compiles by itself. A scene says where a robot stands by its site ``robot_base``, a robot
where a tool goes by its site ``flange``. Names stay as they are in the files, so no two parts may share one. Physics
options (timestep, solver, gravity) are the robot's, since its gains are made for them. The poses ``home`` of the
parts, where they have one, become one keyframe ``home``.

Robots go by their names in `mql.robots.registry`, scenes and tools by those of files in this package:
``tasks/scene_<name>.xml``, ``tasks/tool_<name>.xml`` and the gripper ``robots/gripper.xml``. Anything with a slash or
the ending .xml is a path. A part reads nothing outside its own folder.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import numpy.typing as npt

from mql.errors import UserError, nearest
from mql.robots import registry
from mql.robots.compiled import compile_mjcf
from mql.robots.inspection import joint_width

BASE, FLANGE = "robot_base", "flange"  # sites at which a robot and a tool are attached
TIP, ROD = "tip", "rod"  # what `tool_length` changes: the body at the tool's end, and the capsule up to there
HOME = "home"
LONGEST_TOOL = 1.0  # m

# Kinds of elements that have names; within a kind a name stands for one element.
_KINDS = (
    *("bodies", "joints", "geoms", "sites", "cameras", "lights", "actuators", "sensors", "tendons", "equalities"),
    *("excludes", "pairs", "materials", "meshes", "textures", "hfields", "skins", "flexes", "numerics", "texts"),
)
# What a part's joints and bodies must have in the whole as they have it alone.
_KEPT = (
    ("joint", "njnt", ("range", "limited", "stiffness", "qpos0", "qpos_spring", "damping", "armature", "frictionloss")),
    ("body", "nbody", ("mass", "inertia", "ipos", "iquat")),
)


def compose(
    robot: str | Path,
    scene: str | Path,
    *,
    gripper: str | Path | None = None,
    folder: Path | None = None,
    tool_length: float | None = None,
) -> mujoco.MjModel:
    """Put a robot, a gripper or tool, and a scene together. The model is shared: change a copy, never this one.

    Args:
        robot: name or path of the robot.
        scene: name or path of the scene.
        gripper: name or path of what goes to the robot's flange.
        folder: what relative paths start from; None: the current folder.
        tool_length: m from the flange to the tool's body ``tip``; the capsule ``rod`` reaches up to there.

    Raises:
        UserError: an unknown name, a file that is missing or does not compile, a number that is not finite, a name
            that two parts share, or an attachment point that a part lacks.
    """
    files = [_find(scene, "scene", folder), _find(robot, "robot", folder)]
    if gripper is not None:
        files.append(_find(gripper, "gripper", folder))
    if tool_length is not None:
        if gripper is None:
            raise UserError("tool_length without a tool", where=str(files[1][0]), mend="name the tool as the gripper")
        if not 0.0 < tool_length <= LONGEST_TOOL:  # NaN is not
            mend = f"give m above 0 and at most {LONGEST_TOOL:g}"
            raise UserError(f"tool_length is {tool_length:g}", where=str(files[2][0]), mend=mend)
    # A file that was changed meanwhile is read again (but what it includes is not looked at).
    stamped = tuple((str(file), str(place), file.stat().st_mtime_ns) for file, place in files)
    return _composed(stamped, tool_length)


def built_in(kind: str) -> dict[str, Path]:
    """Return the scenes or grippers of this package: name -> file. `kind` is ``scene`` or ``gripper``."""
    tasks = Path(__file__).parent
    prefix = "scene_" if kind == "scene" else "tool_"
    found = {path.stem.removeprefix(prefix): path for path in sorted(tasks.glob(f"{prefix}*.xml"))}
    return found if kind == "scene" else {"gripper": tasks.parent / "robots" / "gripper.xml"} | found


def _find(part: str | Path, kind: str, folder: Path | None) -> tuple[Path, Path]:
    """Return a part's file, and the folder that holds all it may read."""
    start = folder or Path.cwd()
    named = isinstance(part, str) and "/" not in part and not part.endswith((".xml", ".yaml", ".yml"))
    if kind == "robot" and not str(part).endswith(".xml"):
        source = registry.load(str(part) if named else str(start / part)).mjcf_source()
        return source.path, source.folder
    if named:
        names = built_in(kind)
        if part not in names:
            raise UserError(
                f"unknown {kind} {part!r}", mend=f"{nearest(str(part), names)}, or give a path ending in .xml"
            )
        path = names[str(part)]
    else:
        path = (start / part).resolve()
    if not path.is_file():
        raise UserError(f"the {kind}'s file is missing", where=str(path), mend="check the path")
    return path, path.parent


@lru_cache(maxsize=512)
def _composed(files: tuple[tuple[str, str, int], ...], tool_length: float | None) -> mujoco.MjModel:
    parts = [_Part(*file, tool_length=tool_length if index == 2 else None) for index, file in enumerate(files)]
    if tool_length is None:
        _refuse_shared_names(parts)
    else:
        _composed(files, None)  # refuses what can't be put together, whatever the tool's length: once for all lengths
    scene, robot, *grippers = parts
    for gripper in grippers:
        robot.attach(gripper, FLANGE)
    scene.attach(robot, BASE)
    scene.spec.option = robot.spec.option
    places = ", ".join(part.file for part in parts)
    try:
        model = scene.spec.compile()
        if any(part.home is not None for part in parts):
            qpos, ctrl = _home(model, parts)
            scene.spec.add_key(name=HOME, qpos=qpos, ctrl=ctrl)
            model = scene.spec.compile()
    except ValueError as error:
        raise UserError(f"the parts do not fit together: {error}", where=places, mend="change one of them") from error
    if tool_length is None:
        for part in parts:
            _refuse_changes(part, model)
    return model


class _Part:
    """One file: sound by itself, and not compiled yet, so that it can be attached.

    Args:
        file: path of the MJCF.
        folder: what it may read lies in there.
        stamp: when it was last changed.
        tool_length: as in `compose`; None: as the file has it.
    """

    def __init__(self, file: str, folder: str, stamp: int, *, tool_length: float | None) -> None:
        self.file = file
        self.alone = _compiled_alone(file, folder, stamp)
        # MuJoCo can't attach what has been compiled, so the file is read a second time.
        self.spec = _read(file)
        if tool_length is not None:
            _set_tool_length(self.spec, file, tool_length)
        self.home = self._pose()
        # Attached keyframes are mixed up in this version of MuJoCo; `home` is built anew from all parts.
        for key in list(self.spec.keys):
            key.delete()

    def attach(self, other: _Part, at: str) -> None:
        """Put another part at this one's site `at`."""
        site = next((site for site in self.spec.sites if site.name == at), None)
        if site is None:
            what = f"there is no site {at!r} to attach {Path(other.file).name} to"
            raise UserError(what, where=self.file, mend=f'add <site name="{at}"/> to a body')
        self.spec.attach(other.spec, site=site, prefix="", suffix="")

    def names(self) -> Iterator[tuple[str, str]]:
        """Yield (kind, name) of everything that has a name."""
        for kind in _KINDS:
            for element in getattr(self.spec, kind):
                if element.name and (kind, element.name) != ("bodies", "world"):
                    yield kind, element.name

    def _pose(self) -> tuple[Mapping[str, npt.NDArray[np.float64]], Mapping[str, float]] | None:
        """Return the joints' and actuators' numbers in the keyframe home, by name; None where there is none."""
        model = self.alone
        key = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_KEY, HOME)
        if key < 0:
            return None
        qpos = {model.joint(index).name: model.key_qpos[key, _place(model, index)] for index in range(model.njnt)}
        return qpos, {model.actuator(index).name: float(model.key_ctrl[key, index]) for index in range(model.nu)}


@lru_cache(maxsize=64)
def _compiled_alone(file: str, folder: str, stamp: int) -> mujoco.MjModel:
    """Compile a part by itself to see whether it is sound."""
    return compile_mjcf(Path(file), Path(folder))


def _read(file: str) -> Any:
    spec = mujoco.MjSpec.from_file(file)
    _write_angles_plainly(spec)
    return spec


def _set_tool_length(spec: Any, file: str, length: float) -> None:
    tip = next((body for body in spec.bodies if body.name == TIP), None)
    rod = next((geom for geom in spec.geoms if geom.name == ROD), None)
    if tip is None or rod is None:
        mend = f"give it a body {TIP!r} at its end and a capsule {ROD!r}, or leave tool_length out"
        raise UserError("tool_length needs a tool of changeable length", where=file, mend=mend)
    tip.pos[2] = length
    rod.pos[2] = rod.size[1] = length / 2.0


def _write_angles_plainly(spec: Any) -> None:
    """Turn Euler angles and axes into quaternions, and degrees into radians.

    MuJoCo 3.3 reads some angles of an attached part (those of joints in a childclass, say) in the scene's unit.
    """
    factor = math.pi / 180.0 if spec.compiler.degree else 1.0
    sequence = "".join(chr(letter) if isinstance(letter, int) else letter for letter in spec.compiler.eulerseq)
    for element in (*spec.bodies, *spec.geoms, *spec.sites, *spec.cameras, *spec.frames):
        kind, turn = element.alt.type, np.zeros(4)
        if kind == mujoco.mjtOrientation.mjORIENTATION_EULER:
            mujoco.mju_euler2Quat(turn, element.alt.euler * factor, sequence)
        elif kind == mujoco.mjtOrientation.mjORIENTATION_AXISANGLE:
            axis = element.alt.axisangle[:3] / np.linalg.norm(element.alt.axisangle[:3])
            mujoco.mju_axisAngle2Quat(turn, axis, element.alt.axisangle[3] * factor)
        else:
            continue
        element.alt.type = mujoco.mjtOrientation.mjORIENTATION_QUAT
        element.quat = turn
    for joint in spec.joints:
        if joint.type == mujoco.mjtJoint.mjJNT_HINGE:
            joint.ref, joint.springref = joint.ref * factor, joint.springref * factor
        if joint.type in (mujoco.mjtJoint.mjJNT_HINGE, mujoco.mjtJoint.mjJNT_BALL):
            joint.range = joint.range * factor
    spec.compiler.degree = False


def _refuse_shared_names(parts: list[_Part]) -> None:
    """MuJoCo 3.3 may crash on these, so they are looked for first."""
    owners: dict[tuple[str, str], str] = {}
    for part in parts:
        for kind, name in part.names():
            owner = owners.setdefault((kind, name), part.file)
            if owner != part.file:
                what = f"two parts have {kind} of the name {name!r}"
                raise UserError(what, where=f"{owner} and {part.file}", mend="give one of them another name")


def _refuse_changes(part: _Part, model: Any) -> None:
    """Refuse a part that the whole changes: the scene's compiler settings (total mass, say) hold for all parts."""
    for kind, count, fields in _KEPT:
        for index in range(getattr(part.alone, count)):
            before = getattr(part.alone, kind)(index)
            if not before.name or before.name == "world":
                continue
            after = getattr(model, kind)(before.name)
            for name in fields:
                if not np.allclose(getattr(before, name), getattr(after, name), rtol=1e-9, atol=1e-12):
                    what = f"{name} of {kind} {before.name!r} is not what it is in the file alone"
                    mend = "leave out what <compiler> changes in the whole file (settotalmass, autolimits, ...)"
                    raise UserError(what, where=part.file, mend=mend)


def _home(model: Any, parts: list[_Part]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return qpos [Q] and ctrl [U] of the whole: each part's home, else the pose that it was built in."""
    qpos, ctrl = model.qpos0.copy(), np.zeros(model.nu)
    for joints, actuators in (part.home for part in parts if part.home is not None):
        for name, values in joints.items():
            if name:
                qpos[_place(model, model.joint(name).id)] = values
        for name, value in actuators.items():
            if name:
                ctrl[model.actuator(name).id] = value
    return qpos, ctrl


def _place(model: Any, joint: int) -> slice:
    """Return where a joint's numbers stand in qpos."""
    start = int(model.jnt_qposadr[joint])
    return slice(start, start + joint_width(model, joint))
