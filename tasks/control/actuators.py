"""What a model's actuators hold, and which controls keep the pose that a robot has.

Of a position servo a control asks for a place. A servo gives way: it rests beside the place that it is asked for, by
the load over its stiffness. When an episode starts the load is known, so the controls at rest ask for as much more, and
the robot begins at rest, as a real one does. What leans on the robot is not counted, nor anything where the
robot itself can fall: what the ground does to a leg is not known.

Shapes: N tasks, U actuators, Q positions, V velocities.
"""

from __future__ import annotations

from collections.abc import Sequence

import mujoco
import numpy as np
import numpy.typing as npt

from mql.robots.mjcf.lookup import actuator_kind, driven_joint, joint_width, key_id
from mql.tasks.family import Array

Indices = npt.NDArray[np.intp]


class Holding:
    """The controls that hold a model's pose.

    Args:
        model: as it was compiled. Its tasks' models may have other numbers, but the same joints and actuators.
        own: the actuators of the robot; those of a scene get what the keyframe ``home`` says, if there is one. None:
            all.
        settled: whether what filters a servo's control has settled when an episode starts.
    """

    def __init__(self, model: mujoco.MjModel, own: Indices | None = None, *, settled: bool = True) -> None:
        driven = [driven_joint(model, actuator) for actuator in range(model.nu)]
        held = {joint for joint in driven if joint is not None and joint_width(model, joint) == 1}
        servos = [index for index in range(model.nu) if actuator_kind(model, index) == "position"]
        carriers, joints = [], []
        for index in servos:
            joint = driven[index]
            if joint is not None and joint in held and _stands(model, joint, held):
                carriers.append(index)
                joints.append(joint)
        self._servos, self._carriers = np.array(servos, np.intp), np.array(carriers, np.intp)
        self._dofs = np.array([model.jnt_dofadr[joint] for joint in joints], np.intp)
        self._share = np.array([1.0 / joints.count(joint) for joint in joints])  # of the joint's load, on each servo
        self._carrying = np.searchsorted(self._servos, self._carriers)  # their places among the servos
        self._limited = np.flatnonzero(model.actuator_ctrllimited)
        self._by_motors = np.flatnonzero(np.asarray(model.jnt_actgravcomp)[model.dof_jntid])
        filters = [index for index in servos if settled and model.actuator_actadr[index] >= 0]
        self._filters = np.array([index for index in filters if own is None or index in own], np.intp)
        self._activations = np.array(model.actuator_actadr[self._filters], np.intp)
        home = key_id(model, "home")
        self._scene = np.zeros(0, np.intp)
        if own is not None and home is not None:
            self._scene = np.setdiff1d(np.arange(model.nu), own)
            self._said = model.key_ctrl[home, self._scene].copy()

    def controls(self, model: mujoco.MjModel, data: mujoco.MjData) -> Array:
        """Return controls [U] under which a robot at rest stays in the pose that `data` has; 0 for what is no servo.

        Position servos of hinges and slides carry what weighs on them, as far as their control ranges let them. All
        that MuJoCo derives from positions is computed on the way; call ``mj_forward`` to have the rest.
        """
        velocity = data.qvel.copy()
        data.qvel[:] = 0.0
        controls: Array = self.of_rows([model], data, data.qpos[None])[0]
        data.qvel[:] = velocity
        return controls

    def of_rows(self, models: Sequence[mujoco.MjModel], data: mujoco.MjData, qpos: Array) -> Array:
        """Return these controls [N, U] for tasks' models in poses qpos [N, Q]; they are computed on `data`, at rest."""
        first, rows = models[0], len(models)
        lengths, loads = np.empty((rows, first.nu)), np.empty((rows, first.nv))
        # What a task may have changed: gain, pull back and gear of each actuator, and its range.
        laws, ranges = np.empty((rows, first.nu, 3)), np.empty((rows, first.nu, 2))
        for row, model in enumerate(models):
            data.qpos[:] = qpos[row]
            mujoco.mj_fwdPosition(model, data)
            mujoco.mj_fwdVelocity(model, data)
            lengths[row], loads[row] = data.actuator_length, data.qfrc_bias
            loads[row] -= data.qfrc_passive
            if self._by_motors.size:
                loads[row, self._by_motors] -= data.qfrc_gravcomp[self._by_motors]
            if row and model is models[row - 1]:
                laws[row], ranges[row] = laws[row - 1], ranges[row - 1]
            else:
                laws[row, :, 0], laws[row, :, 1] = model.actuator_gainprm[:, 0], model.actuator_biasprm[:, 1]
                laws[row, :, 2], ranges[row] = model.actuator_gear[:, 0], model.actuator_ctrlrange
        gains, pulls, gears = laws[:, :, 0], laws[:, :, 1], laws[:, :, 2]
        controls = np.zeros((rows, first.nu))
        servos, carriers, limited = self._servos, self._carriers, self._limited
        forces = -pulls[:, servos] * lengths[:, servos]
        forces[:, self._carrying] += self._share * loads[:, self._dofs] / gears[:, carriers]
        # A servo whose gain a task has set to 0 holds nothing.
        controls[:, servos] = np.divide(
            forces, gains[:, servos], out=np.zeros_like(forces), where=gains[:, servos] != 0
        )
        if self._scene.size:
            controls[:, self._scene] = self._said
        least, most = ranges[:, limited, 0], ranges[:, limited, 1]
        controls[:, limited] = np.minimum(np.maximum(controls[:, limited], least), most)
        return controls

    @property
    def carriers(self) -> list[int]:
        """The position servos that carry what weighs on their joints."""
        return [int(index) for index in self._carriers]

    @property
    def filters(self) -> bool:
        """Whether `settle` has something to do."""
        return bool(self._filters.size)

    def settle(self, activations: Array, controls: Array) -> None:
        """Write into activations [X] what filters hold that have been given the controls [U] for long."""
        activations[self._activations] = controls[self._filters]


def load(model: mujoco.MjModel, data: mujoco.MjData) -> Array:
    """Return the efforts [V], N m or N, that hold a robot against gravity and its springs; `data` is at rest."""
    held: Array = data.qfrc_bias - data.qfrc_passive
    by_motors = np.asarray(model.jnt_actgravcomp, np.bool_)[model.dof_jntid]
    return np.where(by_motors, held - data.qfrc_gravcomp, held)


def position_ratio(model: mujoco.MjModel, servos: Indices) -> Array:
    """Return the controls of position servos that ask for 1 rad or m of their joints: the gears are counted."""
    pull, gain = -model.actuator_biasprm[servos, 1], model.actuator_gainprm[servos, 0]
    ratio: Array = model.actuator_gear[servos, 0] * pull / gain
    return ratio


def velocity_ratio(model: mujoco.MjModel, servos: Indices) -> Array:
    """Return the controls of velocity servos that ask for 1 rad/s or m/s of their joints."""
    ratio: Array = (
        model.actuator_gear[servos, 0] * -model.actuator_biasprm[servos, 2] / model.actuator_gainprm[servos, 0]
    )
    return ratio


def effort_ratio(model: mujoco.MjModel, motors: Indices) -> Array:
    """Return the controls of motors that give their joints 1 N m or N."""
    ratio: Array = 1.0 / (model.actuator_gear[motors, 0] * model.actuator_gainprm[motors, 0])
    return ratio


def _stands(model: mujoco.MjModel, joint: int, held: set[int]) -> bool:
    """Whether actuators hold each joint between the world and this one."""
    body = int(model.jnt_bodyid[joint])
    while body:
        first = int(model.body_jntadr[body])
        if any(each not in held for each in range(first, first + int(model.body_jntnum[body]))):
            return False
        body = int(model.body_parentid[body])
    return True
