"""One MJCF file on its way into a scene: valid by itself, and written so that the scene does not change it.

MuJoCo 3.3 keeps only some of a file's <compiler> settings when the file is attached to another one: the total mass,
say, is lost, and a scene's own would hold for all. So what these settings do is written into the file's elements, as it
is in the compiled file: masses and inertias of bodies, limits of joints, actuators and tendons. The settings
themselves are then put to where they do nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import mujoco
import numpy as np
import numpy.typing as npt

from mql.errors import UserError, nearest
from mql.robots.additions import delete_element, needs_additions
from mql.robots.mjcf.compiled import checked, compile_spec, read_model
from mql.robots.mjcf.lookup import HOME, holding_controls, home_key, joint_width, within_limits
from mql.robots.mjcf.sealed import Sealed
from mql.robots.mjcf.warnings import unheard_warnings
from mql.robots.spec import RobotSpec
from mql.robots.spec_parts import Mount
from mql.tasks.scenes.source import Edit, compiled

# Kinds of elements that have names; within a kind a name stands for one element.
_KINDS = (
    *("bodies", "joints", "geoms", "sites", "cameras", "lights", "actuators", "sensors", "tendons", "equalities"),
    *("excludes", "pairs", "materials", "meshes", "textures", "hfields", "skins", "flexes", "numerics", "texts"),
)
_LOST = ("fusestatic", "discardvisual", "fitaabb")  # settings that can't be written into the elements
_ONLY = "the joint of "
_QUATERNION = mujoco.mjtOrientation.mjORIENTATION_QUAT
_FREE, _BALL = mujoco.mjtJoint.mjJNT_FREE, mujoco.mjtJoint.mjJNT_BALL


class PartFile(NamedTuple):
    """Where a part is, as something that can be a key.

    Args:
        path: the model's file.
        folder: what it may read lies in there.
        stamp: when it was last changed (what it includes is not looked at).
        robot: the spec of a robot, as JSON; None: it is none.
        spec_file: what that was read from.
    """

    path: str
    folder: str
    stamp: int
    robot: str | None
    spec_file: str | None

    @classmethod
    def of(cls, path: Path, folder: Path, robot: RobotSpec | None = None) -> PartFile:
        """Describe a part."""
        text = None if robot is None else robot.model_dump_json(by_alias=True)
        file = None if robot is None or robot.file is None else str(robot.file)
        return cls(str(path), str(folder), path.stat().st_mtime_ns, text, file)

    @property
    def spec(self) -> RobotSpec | None:
        """The robot's spec."""
        if self.robot is None:
            return None
        spec = RobotSpec.model_validate_json(self.robot)
        return spec.placed(Path(self.spec_file) if self.spec_file else None, {}, None)

    @property
    def mount(self) -> Mount:
        """Where a robot stands, from the scene's site."""
        return Mount() if self.robot is None else RobotSpec.model_validate_json(self.robot).mount


class Part:
    """One file: valid by itself, and not compiled yet, so that it can be attached.

    Args:
        file: where it is; a robot's joints start from its spec's home, where the file has no keyframe for that.
        edit: changes the file's MjSpec before anything is made of it; None: it is as the file has it.

    Raises:
        UserError: the file does not compile, or has a setting that a scene would lose.
    """

    def __init__(self, file: PartFile, *, edit: Edit | None = None) -> None:
        self.file = file.path
        self._source = file
        self.alone = compiled_alone(file)
        # MuJoCo can't attach what has been compiled, so an MjSpec is made a second time.
        self.spec, edited = _read(file, edit)
        robot = file.spec
        self.key: int | None = None  # the keyframe that `home` comes from
        self.home = self._pose({} if robot is None else robot.home)
        # Attached keyframes are mixed up in this version of MuJoCo; `home` is built anew from all parts.
        for key in list(self.spec.keys):
            delete_element(self.spec, key)
        write_angles_plainly(self.spec)
        write_numbers(self.spec, self._unaligned(edit if edited else None))

    def attach(self, other: Part, at: str, mount: Mount | None = None) -> None:
        """Put another part at this one's site `at`, or at a place from there.

        Raises:
            UserError: there is no such site, or what would hang there had no mass.
        """
        site = next((site for site in self.spec.sites if site.name == at), None)
        if site is None:
            what = f"there is no site {at!r} to attach {Path(other.file).name} to"
            raise UserError(what, where=self.file, mend=f'add <site name="{at}"/> to a body')
        body = self.alone.site_bodyid[self.alone.site(at).id]
        if self.alone.body_weldid[body] and any(map(_weighs, other.spec.worldbody.geoms)):
            what = f"geoms in the <worldbody> have no mass, and would hang at the moving {self.alone.body(body).name!r}"
            raise UserError(what, where=other.file, mend="put them into a <body>")
        with unheard_warnings():  # newer versions of MuJoCo warn that names stay, which is on purpose
            frame = self.spec.attach(other.spec, site=site, prefix="", suffix="")
        if mount is not None:
            frame.pos, frame.quat = mount.pos, mount.quat

    def names(self) -> Iterator[tuple[str, str]]:
        """Yield (kind, name) of everything that has a name."""
        for kind in _KINDS:
            for element in getattr(self.spec, kind):
                if element.name and (kind, element.name) != ("bodies", "world"):
                    yield kind, element.name

    def _pose(
        self, home: Mapping[str, float | tuple[float, ...]]
    ) -> tuple[Mapping[str, npt.NDArray[np.float64]], Mapping[str, float]] | None:
        """Return the joints' and actuators' numbers at home by name: the keyframe's, else `home`; None without both."""
        model = self.alone
        key = home_key(model)
        if key is not None and (model.key(key).name == HOME or not home):
            self.key = key
            qpos, ctrl = within_limits(model, model.key_qpos[key]), model.key_ctrl[key]
        elif home:
            data = mujoco.MjData(model)
            for name, at in home.items():
                numbers = np.ravel(at)
                data.qpos[self._place_of(name, numbers)] = numbers
            mujoco.mj_forward(model, data)
            qpos, ctrl = data.qpos, holding_controls(model, data)
        else:
            return None
        joints = {name_of_joint(model, index): qpos[place(model, index)].copy() for index in range(model.njnt)}
        return joints, {model.actuator(index).name: float(ctrl[index]) for index in range(model.nu)}

    def _place_of(self, name: str, numbers: npt.NDArray[np.float64]) -> slice:
        joints = {self.alone.joint(index).name: place(self.alone, index) for index in range(self.alone.njnt)}
        if name not in joints:
            raise UserError(f"home has no joint {name!r} to put", where=self.file, mend=nearest(name, joints))
        width = joints[name].stop - joints[name].start
        if len(numbers) != width:
            raise UserError(f"home of {name!r} is {len(numbers)} numbers", where=self.file, mend=f"give {width}")
        return joints[name]

    def _unaligned(self, edit: Edit | None) -> mujoco.MjModel:
        """Return the compiled file as it is edited, and with each body's frame where the file has it."""
        free = [joint for joint in self.spec.joints if joint.type == _FREE]
        if edit is None and not any(joint.align for joint in free):
            return self.alone
        spec, _ = _read(self._source, edit)
        for joint in spec.joints:
            joint.align = False
        return compiled(spec)


def name_of_joint(model: mujoco.MjModel, joint: int) -> str:
    """Return a joint's name; where it has none and is the only one of its body, what `joint_of_name` knows it by."""
    body = model.body(model.jnt_bodyid[joint])
    return str(model.joint(joint).name or (f"{_ONLY}{body.name}" if body.name and body.jntnum[0] == 1 else ""))


def joint_of_name(model: mujoco.MjModel, name: str) -> Any:
    """Return the joint of a name of `name_of_joint`, in a model that has the part's bodies."""
    return model.joint(model.body(name.removeprefix(_ONLY)).jntadr[0] if name.startswith(_ONLY) else name)


def place(model: mujoco.MjModel, joint: int) -> slice:
    """Return where a joint's numbers stand in qpos."""
    start = int(model.jnt_qposadr[joint])
    return slice(start, start + joint_width(model, joint))


@lru_cache(maxsize=64)
def _sealed(path: str, folder: str, stamp: int) -> Sealed:
    return read_model(Path(path), Path(folder))


@lru_cache(maxsize=64)
def compiled_alone(file: PartFile) -> mujoco.MjModel:
    """Compile a part by itself to see whether it is valid."""
    sealed, robot = _sealed(*file[:3]), file.spec
    if robot is None or not needs_additions(robot, sealed):
        return checked(sealed.compile(), sealed.path)
    return compile_spec(robot.mjspec(sealed), sealed)


def _read(file: PartFile, edit: Edit | None) -> tuple[Any, bool]:
    """Return a file's MjSpec, and whether `edit` has changed it."""
    sealed, robot = _sealed(*file[:3]), file.spec
    spec = sealed.spec() if robot is None else robot.mjspec(sealed)
    for setting in _LOST:
        if getattr(spec.compiler, setting):
            mend = f"delete {setting} from <compiler>"
            raise UserError(f"{setting} can't be kept when the file is put into a scene", where=file.path, mend=mend)
    for joint in spec.joints:
        if joint.align == mujoco.mjtAlignFree.mjALIGNFREE_AUTO:
            joint.align = spec.compiler.alignfree
    return spec, edit is not None and edit(spec)


def _weighs(geom: Any) -> bool:
    return bool(geom.mass != 0.0 and not (np.isnan(geom.mass) and geom.density == 0.0))


def write_angles_plainly(spec: Any) -> None:
    """Turn Euler angles and axes into quaternions.

    MuJoCo 3.3 reads some angles of an attached part in the scene's unit.
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
        element.alt.type = _QUATERNION
        element.quat = turn


def write_numbers(spec: Any, model: mujoco.MjModel) -> None:
    """Write into the elements of a spec what they are in its compiled `model`, so that no setting changes them."""
    bodies = list(tree(spec.worldbody))
    for index, body in numbered(bodies, model.body, model.nbody):
        if index:
            body.mass, body.inertia = model.body_mass[index], model.body_inertia[index]
            body.ipos, body.iquat = model.body_ipos[index], model.body_iquat[index]
            body.ialt.type, body.fullinertia = _QUATERNION, np.full(6, np.nan)
            body.explicitinertial = True
    joints = [joint for body in bodies for joint in body.joints]
    for index, joint in numbered(joints, model.joint, model.njnt):
        start = model.jnt_qposadr[index]
        joint.limited, joint.range = int(model.jnt_limited[index]), model.jnt_range[index]
        joint.actfrclimited = int(model.jnt_actfrclimited[index])
        if joint.type not in (_FREE, _BALL):
            joint.ref, joint.springref = model.qpos0[start], model.qpos_spring[start]
        # Numbers that MuJoCo finds from a ratio of damping depend on what is attached.
        joint.springdamper = np.zeros(2)
        joint.stiffness = _coefficients(model, "jnt_stiffness", index)
        joint.damping = _coefficients(model, "dof_damping", model.jnt_dofadr[index])
    for index, actuator in numbered(list(spec.actuators), model.actuator, model.nu):
        for limit in ("ctrllimited", "forcelimited", "actlimited"):
            setattr(actuator, limit, int(getattr(model, f"actuator_{limit}")[index]))
        for numbers in ("gainprm", "biasprm", "lengthrange"):
            setattr(actuator, numbers, getattr(model, f"actuator_{numbers}")[index])
    for index, tendon in numbered(list(spec.tendons), model.tendon, model.ntendon):
        tendon.limited = int(model.tendon_limited[index])
    compiler = spec.compiler
    compiler.settotalmass, compiler.boundmass, compiler.boundinertia = -1.0, 0.0, 0.0
    compiler.inertiafromgeom = mujoco.mjtInertiaFromGeom.mjINERTIAFROMGEOM_FALSE
    compiler.balanceinertia, compiler.autolimits, compiler.degree = False, True, False


def _coefficients(model: Any, field: str, index: int) -> Any:
    """Return a spring's or damper's number, as newer versions of MuJoCo want it: with those of its higher powers."""
    higher = getattr(model, f"{field}poly", None)
    first = getattr(model, field)[index]
    return first if higher is None else np.array([first, *higher[index]])


def tree(body: Any) -> Iterator[Any]:
    """Yield a body and all below it, in the order that compiling gives them."""
    yield body
    for child in body.bodies:
        yield from tree(child)


def numbered(elements: list[Any], compiled: Any, count: int) -> Iterator[tuple[int, Any]]:
    """Yield (number in the compiled model, element), and make sure that the orders are the same."""
    if len(elements) != count or any(compiled(index).name != each.name for index, each in enumerate(elements)):
        raise RuntimeError("MuJoCo has compiled a file's elements in an unknown order")
    yield from enumerate(elements)
