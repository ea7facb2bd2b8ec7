"""Robot, gripper or tool, and scene put together to one MuJoCo model.

A part is a model's file that compiles by itself. A scene says where a robot stands by its site ``robot_base``, from
which the spec's `mount` counts; a robot where a tool goes by its site ``flange``. Names stay as they are in the files,
so no two parts may share one. Physics options (timestep, solver, gravity) are the robot's, since its gains are made for
them; what <compiler> says holds for its own part only. The poses ``home`` of the parts, where they have one, become one
keyframe ``home``; a robot without this keyframe starts from its spec's home.

Robots go by their names in `mql.robots.registry`, scenes and tools by those of files in this package:
``models/scene_<name>.xml``, ``models/tool_<name>.xml`` and the gripper ``robots/models/gripper.xml``. Anything with a
slash or the ending of a model's file is a path. A part reads nothing outside its own folder.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import mujoco
import numpy as np
import numpy.typing as npt

from mql.errors import UserError, nearest
from mql.robots import registry
from mql.robots.mjcf.lookup import HOME, holding_controls
from mql.robots.mjcf.source import is_file
from mql.robots.spec_parts import Mount
from mql.tasks.scenes.built_in import built_in
from mql.tasks.scenes.keyframe import rest_of_keyframe
from mql.tasks.scenes.part import Part, PartFile, compiled_alone, joint_of_name, place
from mql.tasks.scenes.source import Edit, check_unchanged, compiled

BASE, FLANGE = "robot_base", "flange"  # sites at which a robot and a tool are attached

# What a part's elements must have in the whole as they have it alone.
_KEPT = (
    ("joint", "njnt", ("range", "limited", "stiffness", "damping", "armature", "frictionloss", "qpos0", "qpos_spring")),
    ("body", "nbody", ("mass", "inertia", "ipos", "iquat")),
    ("geom", "ngeom", ("size", "friction")),
    ("actuator", "nu", ("ctrllimited", "ctrlrange", "forcelimited", "forcerange", "actlimited", "gainprm", "biasprm")),
    ("tendon", "ntendon", ("limited", "range", "stiffness", "damping", "lengthspring")),
)


def compose(
    robot: str | Path,
    scene: str | Path,
    *,
    gripper: str | Path | None = None,
    folder: Path | None = None,
) -> mujoco.MjModel:
    """Put a robot, a gripper or tool, and a scene together. The model is shared: change a copy, never this one.

    Args:
        robot: name or path of the robot.
        scene: name or path of the scene.
        gripper: name or path of what goes to the robot's flange.
        folder: what relative paths start from; None: the current folder.

    Raises:
        UserError: an unknown name, a file that is missing or does not compile, a number that is not finite, a name
            that two parts share, or an attachment point that a part lacks.
    """
    return _composed(scene_source(robot, scene, gripper=gripper, folder=folder))


def scene_source(
    robot: str | Path, scene: str | Path, *, gripper: str | Path | None = None, folder: Path | None = None
) -> SceneSource:
    """Find the files that `compose` puts together, so that the model can be compiled again with other numbers.

    Raises:
        UserError: an unknown name, or a file that is missing.
    """
    files = [_find(scene, "scene", folder), _find(robot, "robot", folder)]
    if gripper is not None:
        files.append(_find(gripper, "gripper", folder))
    return SceneSource(tuple(files))


@dataclass(frozen=True)
class SceneSource:
    """The files of a scene: `mql.tasks.scenes.source.ModelSource`.

    Args:
        files: those of scene, robot and gripper.
    """

    files: tuple[PartFile, ...]

    @property
    def name(self) -> str:
        """How messages name it."""
        return ", ".join(file.path for file in self.files)

    def spec(self, edit: Edit | None = None) -> Any:
        """Return the MjSpec of the whole, with the keyframe ``home``. Every number of a part stands in its elements.

        Raises:
            UserError: a file has changed since this source was made.
        """
        for file in self.files:
            check_unchanged(Path(file.path), file.stamp)
        return _assembled(self, edit)[0]


def scene_actuators(scene: str | Path, *, folder: Path | None = None) -> int:
    """Return how many actuators a scene has itself. In a whole they come first, and then the robot's."""
    return int(compiled_alone(_find(scene, "scene", folder)).nu)


def _find(part: str | Path, kind: Literal["scene", "robot", "gripper"], folder: Path | None) -> PartFile:
    """Return a part's file, the folder that holds all it may read, and what a robot's spec says besides."""
    start = folder or Path.cwd()
    named = isinstance(part, str) and not is_file(part)
    if kind == "robot":
        spec = registry.load(str(part)) if named else registry.load(str(start / part), folder=folder)
        source = spec.mjcf_source()
        return PartFile.of(source.path, source.folder, spec)
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
    return PartFile.of(path, path.parent if folder is None or not path.is_relative_to(folder) else folder)


@lru_cache(maxsize=64)
def _composed(source: SceneSource) -> mujoco.MjModel:
    spec, parts = _assembled(source, None)
    model = compiled(spec)
    for part in parts:
        _refuse_changes(part, model)
    return model


def _assembled(source: SceneSource, edit: Edit | None) -> tuple[Any, list[Part]]:
    parts = [Part(file, edit=edit) for file in source.files]
    mount = source.files[1].mount
    _refuse_shared_names(parts)
    scene, robot, *grippers = parts
    for part in (scene, *grippers):
        part.spec.option = robot.spec.option  # before they are attached: newer versions of MuJoCo warn of differences
    for gripper in grippers:
        robot.attach(gripper, FLANGE)
    scene.attach(robot, BASE, mount)
    try:
        model = compiled(scene.spec)
        if any(part.home is not None for part in parts):
            qpos, ctrl = _home(model, parts, mount)
            rest = rest_of_keyframe(model, qpos, [(part.alone, part.key) for part in parts])
            scene.spec.add_key(name=HOME, qpos=qpos, ctrl=ctrl, **rest)
    except ValueError as error:
        places = ", ".join(part.file for part in parts)
        raise UserError(f"the parts do not fit together: {error}", where=places, mend="change one of them") from error
    return scene.spec, parts


def _refuse_shared_names(parts: list[Part]) -> None:
    """MuJoCo 3.3 may crash on these, so they are looked for first."""
    owners: dict[tuple[str, str], str] = {}
    for part in parts:
        for kind, name in part.names():
            owner = owners.setdefault((kind, name), part.file)
            if owner != part.file:
                what = f"two parts have {kind} of the name {name!r}"
                raise UserError(what, where=f"{owner} and {part.file}", mend="give one of them another name")


def _refuse_changes(part: Part, model: Any) -> None:
    """Refuse a part that is not in the whole what it is alone, in spite of all that was written into it."""
    for kind, count, fields in _KEPT:
        for index in range(getattr(part.alone, count)):
            before = getattr(part.alone, kind)(index)
            if not before.name or before.name == "world":
                continue
            after = getattr(model, kind)(before.name)
            for name in fields:
                if name.startswith("qpos") and before.type == mujoco.mjtJoint.mjJNT_FREE:
                    continue  # a place in the world, which goes with the base
                own, kept = _numbers(part.alone, kind, before, name), _numbers(model, kind, after, name)
                if not np.allclose(own, kept, rtol=1e-9, atol=1e-12):
                    what = f"{name} of {kind} {before.name!r} is not what it is in the file alone"
                    mend = "write it at the element itself, not in <compiler> or in a model that is attached there"
                    raise UserError(what, where=part.file, mend=mend)


def _numbers(model: Any, kind: str, element: Any, name: str) -> Any:
    # MuJoCo 3.3's views of tendons lack these names.
    return getattr(model, f"tendon_{name}")[element.id] if kind == "tendon" else getattr(element, name)


def _home(model: Any, parts: list[Part], mount: Mount) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return qpos [Q] and ctrl [U] of the whole: each part's home, else the pose that it was built in, held there."""
    qpos = model.qpos0.copy()
    data = mujoco.MjData(model)
    mujoco.mj_kinematics(model, data)
    scene = parts[0]
    for part in parts:
        joints, _ = part.home or ({}, {})
        for name, values in joints.items():
            if name:
                joint = joint_of_name(model, name)
                moves = part is not scene and joint.type == mujoco.mjtJoint.mjJNT_FREE
                qpos[place(model, joint.id)] = _placed(values, data.site(BASE), mount) if moves else values
    data.qpos[:] = qpos
    mujoco.mj_fwdPosition(model, data)
    ctrl = holding_controls(model, data)
    for part in parts:
        for name, value in (part.home or ({}, {}))[1].items():
            if name:
                ctrl[model.actuator(name).id] = value
    return qpos, ctrl


def _placed(pose: npt.NDArray[np.float64], base: Any, mount: Mount) -> npt.NDArray[np.float64]:
    """Return a free body's pose [7] in the world, which is given from where the robot is mounted."""
    turn, placed = np.zeros(4), pose
    mujoco.mju_mat2Quat(turn, base.xmat)
    for at, turned in ((mount.pos, mount.quat), (base.xpos, turn)):
        before, placed = placed, np.zeros(7)
        mujoco.mju_rotVecQuat(placed[:3], before[:3], turned)
        placed[:3] += at
        mujoco.mju_mulQuat(placed[3:], turned, before[3:])
    return placed
