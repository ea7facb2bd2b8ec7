"""The MuJoCo model behind a definition: how it is compiled, and how an episode starts.

Shapes: Q positions, V velocities, X activations, U actuators, M mocap bodies.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import mujoco
import numpy as np
import numpy.typing as npt

from mql.errors import UserError
from mql.robots.mjcf.compiled import compile_mjcf
from mql.robots.mjcf.lookup import ADD_ACTUATORS, holding_activations, home_key, within_limits
from mql.tasks.definitions.file import DefinitionFile, contents, read_definition
from mql.tasks.scenes.compose import compose, scene_source
from mql.tasks.scenes.source import MjcfFile, ModelSource
from mql.tasks.travelling import Definition, at_hand

if TYPE_CHECKING:
    from mql.robots.spec import RobotSpec

Array = npt.NDArray[np.float64]


def reopened(path: str, digest: str) -> DefinitionFile:
    """Read a definition again, in a worker process or later, and make sure that it is still the same.

    On a machine to which its files have travelled, those are read.

    Raises:
        UserError: the file or one that it names has changed.
    """
    file = read_definition(at_hand(path, digest))
    if file.digest != digest:
        mend = "put it back as it was, or load it anew"
        raise UserError("the definition or a file that it names has changed meanwhile", where=path, mend=mend)
    return file


def as_travelling(path: str, digest: str) -> Definition:
    """Return what a family says of its definition to whoever sends it to another machine."""
    return Definition(path, digest, partial(_bytes_of, path, digest))


def _bytes_of(path: str, digest: str) -> Mapping[str, bytes]:
    """Read all files of a definition, by their paths from its folder.

    Raises:
        UserError: one has changed, or can't be read.
    """
    file = reopened(path, digest)
    return dict(contents(file.files, file.folder))


def compiled_model(file: DefinitionFile, robot: RobotSpec | None) -> mujoco.MjModel:
    """Compile the model of a definition with ``mjcf``, or put its `robot` into its scene; it is the caller's to change.

    Raises:
        UserError: a file is missing or outside the folder, MuJoCo refuses the model, a number in it is NaN or negative
            where it can't be, or there is nothing to drive it with.
    """
    env = file.definition.env
    if robot is None:
        where = file.where("env.mjcf")
        model = compile_mjcf(file.folder / str(env.mjcf), file.folder)
    else:
        where = file.where("env.scene")
        try:
            model = copy.deepcopy(compose(str(env.robot), str(env.scene), folder=file.folder))
        except UserError as error:
            raise UserError(error.what, where=error.where or where, mend=error.mend) from None
    if model.nu == 0:
        raise UserError("the model has no actuators", where=where, mend=ADD_ACTUATORS)
    return model


def source_of(file: DefinitionFile, robot: RobotSpec | None) -> ModelSource:
    """Return what `compiled_model` compiles, so that a parameter may have it compiled with other numbers.

    Raises:
        UserError: an unknown name, or a file that is missing.
    """
    env = file.definition.env
    if robot is None:
        return MjcfFile(file.folder / str(env.mjcf), file.folder)
    return scene_source(str(env.robot), str(env.scene), folder=file.folder)


@dataclass(frozen=True)
class Start:
    """How an episode starts where nobody says it: the keyframe's whole state, or the model at rest.

    Args:
        qpos: [Q].
        qvel: [V].
        noisy: the places of qpos that get noise.
        act: [X].
        ctrl: [U].
        time: s.
        mocap_pos: [M, 3] m.
        mocap_quat: [M, 4].
        compiled: where the model as it was compiled has the mocap bodies, [M, 3] m and [M, 4].
    """

    qpos: Array
    qvel: Array
    noisy: npt.NDArray[np.int64]
    act: Array
    ctrl: Array
    time: float
    mocap_pos: Array
    mocap_quat: Array
    compiled: tuple[Array, Array]

    def put(self, model: mujoco.MjModel, data: mujoco.MjData) -> None:
        """Write this state, without noise, into the data of a task's model, which has just been reset.

        A mocap body is where the keyframe has it, but for what the task changes of its place in the model.
        """
        data.qpos[:], data.qvel[:] = self.qpos, self.qvel
        data.act[:], data.ctrl[:] = self.act, self.ctrl
        data.time = self.time
        if not model.nmocap:
            return
        places, turns = _mocap_bodies(model)
        compiled_places, compiled_turns = self.compiled
        data.mocap_pos[:] = np.where(places == compiled_places, self.mocap_pos, places)
        turned = (turns != compiled_turns).any(axis=1, keepdims=True)
        data.mocap_quat[:] = np.where(turned, turns, self.mocap_quat)


def start_of(model: mujoco.MjModel, robot: RobotSpec | None) -> Start:
    """Start from the keyframe ``home`` or the only one, if there is one, else at rest from qpos0 with the robot's home.

    Position servos that filter their control hold the robot's home from the first moment, as other servos do. A joint
    that would start hardly outside its range starts at its limit; where nobody has chosen the pose, any joint does.
    """
    data = mujoco.MjData(model)
    key = home_key(model)
    chosen = key is not None or (robot is not None and bool(robot.home))
    if key is not None:
        mujoco.mj_resetDataKeyframe(model, data, key)
    elif robot is not None:
        for name, place in robot.home.items():
            start = model.joint(name).qposadr[0]
            data.qpos[start : start + np.size(place)] = place
        mujoco.mj_fwdPosition(model, data)
        data.act[:] = holding_activations(model, data)
    joint_driven = model.actuator_trntype == mujoco.mjtTrn.mjTRN_JOINT.value
    joints = np.unique(model.actuator_trnid[joint_driven, 0])
    kinds = (mujoco.mjtJoint.mjJNT_SLIDE.value, mujoco.mjtJoint.mjJNT_HINGE.value)
    return Start(
        qpos=within_limits(model, data.qpos, chosen=chosen),
        qvel=data.qvel.copy(),
        noisy=np.asarray(model.jnt_qposadr[joints[np.isin(model.jnt_type[joints], kinds)]], np.int64),
        act=data.act.copy(),
        ctrl=data.ctrl.copy(),
        time=float(data.time),
        mocap_pos=data.mocap_pos.copy(),
        mocap_quat=data.mocap_quat.copy(),
        compiled=_mocap_bodies(model),
    )


def _mocap_bodies(model: mujoco.MjModel) -> tuple[Array, Array]:
    """Return where a model has its mocap bodies, in their order: [M, 3] m and [M, 4]."""
    bodies = np.flatnonzero(model.body_mocapid >= 0)
    bodies = bodies[np.argsort(model.body_mocapid[bodies])]
    return np.array(model.body_pos[bodies]), np.array(model.body_quat[bodies])
