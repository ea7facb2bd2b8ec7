"""What a definition says of its senses and actuators, over what the sensors of its robot state.

Of each number of an observation and each setting, what stands at the quantity itself counts, else what ``all`` says,
else the robot's sensor that measures it. A robot's sensor measures a joint's position or velocity, the place of the end
effector, or what a sensor of the model reads; where that one reads a joint or a place, it is these that it measures.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import EllipsisType
from typing import TYPE_CHECKING, Any

import mujoco
import numpy as np

from mql.errors import UserError, nearest
from mql.tasks.definitions.file import DefinitionFile
from mql.tasks.definitions.quantities import Quantity
from mql.tasks.definitions.schema import Scaling
from mql.tasks.disturbances.family import disturbed
from mql.tasks.disturbances.sensors import steps_of
from mql.tasks.disturbances.settings import ROBOT, Actuation, Sensed, Sensing
from mql.tasks.family import TaskFamily

if TYPE_CHECKING:
    from mql.robots.spec import RobotSpec
    from mql.robots.spec_parts import Sensor

ALL = "all"
_SETTINGS = ("noise", "bias", "delay_s", "history")
_FLAT = ("qpos", "qvel", "sensordata")  # arrays whose quantities are runs of numbers; of others they are rows

Place = tuple[str, int]  # an array of MjData, and the number or row of it that is measured


@dataclass(frozen=True)
class Observed:
    """One name of an observation: where its numbers stand, in how much of its unit each is 1, and what they measure."""

    columns: tuple[int, ...]
    per: tuple[float, ...]
    places: tuple[Place | None, ...]


@dataclass(frozen=True)
class Unsimulated:
    """Something that a robot's sensor states and nothing simulates: the place of the key, and why."""

    where: str
    why: str


def observed_quantities(quantities: Mapping[str, Quantity], scaling: Mapping[str, Scaling]) -> dict[str, Observed]:
    """Return the layout of observed quantities one after another, which are seen as `scaling` says."""
    found, start = {}, 0
    for name, quantity in quantities.items():
        columns = tuple(range(start, start + quantity.width))
        per = float(scaling[name].per) if name in scaling else 1.0
        found[name] = Observed(columns, (per,) * quantity.width, _places(quantity))
        start += quantity.width
    return found


def observed_numbers(widths: Mapping[str, int]) -> dict[str, Observed]:
    """Return the layout of named numbers one after another of which nothing else is known."""
    found, start = {}, 0
    for name, width in widths.items():
        found[name] = Observed(tuple(range(start, start + width)), (1.0,) * width, (None,) * width)
        start += width
    return found


def as_sensed(
    file: DefinitionFile,
    family: TaskFamily,
    observed: Mapping[str, Observed],
    *,
    robot: RobotSpec | None = None,
    model: mujoco.MjModel | None = None,
) -> TaskFamily:
    """Return the family of a definition as it is seen and moved; itself where nothing is said.

    Args:
        file: the definition.
        family: as it is without that.
        observed: the names of its observation, all but visible parameters; where it has none, one name "" for all.
        robot: the definition's.
        model: of the definition, where the robot's sensors are looked up.

    Raises:
        UserError: the name of something that is not observed, or a disturbance that can't be simulated.
    """
    definition = file.definition
    for name in definition.sensing:
        if name != ALL and name not in observed:
            names = [known for known in observed if known]
            mend = nearest(name, [*names, ALL]) if names else f"the observation has no names; write {ALL!r}"
            raise UserError(f"{name!r} is not observed", where=file.where(f"sensing.{name}"), mend=mend)
    stated = {} if robot is None or model is None else _by_place(robot, model, family.control_timestep)[0]
    sensed: list[Sensed] = []
    for name, each in observed.items():
        groups: dict[tuple[tuple[str, Any, str], ...], list[int]] = {}
        for number, place in enumerate(each.places):
            settings = _settings(file, name, stated.get(place, {}) if place is not None else {})
            groups.setdefault(settings, []).append(number)
        for settings, numbers in groups.items():
            sensed.append(
                Sensed(
                    key=f"sensing.{name or ALL}",
                    columns=tuple(each.columns[number] for number in numbers),
                    sensing=Sensing(**{setting: value for setting, value, _ in settings}),
                    per=tuple(each.per[number] for number in numbers),
                    keys={setting: key for setting, _, key in settings},
                )
            )
    actuation = Actuation(**definition.actuation.model_dump())
    return disturbed(family, sensed, actuation, where=_where(file, robot))


def unsimulated(
    robot: RobotSpec, model: mujoco.MjModel, control_timestep: float, *, own_observation: bool
) -> list[Unsimulated]:
    """Say what of a robot's sensors a task with this robot can't simulate.

    That a task doesn't observe what a sensor measures is no fault of either.

    Args:
        robot: its spec.
        model: the task's.
        control_timestep: s.
        own_observation: the observation is that of a Python class: nobody knows what its numbers measure.
    """
    if own_observation:
        why = "a Python class says what is observed; write 'sensing: {all: {...}}' in the definition"
        return [Unsimulated(robot.where(f"sensors.{name}"), why) for name, one in robot.sensors.items() if _acts(one)]
    return _by_place(robot, model, control_timestep)[1]


def _settings(
    file: DefinitionFile, name: str, stated: Mapping[str, tuple[float, str]]
) -> tuple[tuple[str, Any, str], ...]:
    """Return (setting, value, key) of what is said for one number of the observation."""
    found = {setting: (setting, value, key) for setting, (value, key) in stated.items()}
    for owner in (ALL, name):
        spec = file.definition.sensing.get(owner)
        for setting in _SETTINGS if spec is not None else ():
            value = getattr(spec, setting)
            if value is not None:
                found[setting] = (setting, value, f"sensing.{owner}.{setting}")
    return tuple(found.values())


def _by_place(
    robot: RobotSpec, model: mujoco.MjModel, control_timestep: float
) -> tuple[dict[Place, dict[str, tuple[float, str]]], list[Unsimulated]]:
    """Return what the robot's sensors say of each place, setting -> (value, key), and what nothing simulates."""
    found: dict[Place, dict[str, tuple[float, str]]] = {}
    missed: list[Unsimulated] = []
    for name, sensor in robot.sensors.items():
        if not _acts(sensor):
            continue
        places = _measured(robot, model, sensor.of or name, sensor)
        if isinstance(places, str):
            missed.append(Unsimulated(robot.where(f"sensors.{name}"), places))
            continue
        settings = {"noise": (sensor.noise, f"{ROBOT}sensors.{name}.noise")} if sensor.noise else {}
        if sensor.delay_s and not steps_of(np.array(sensor.delay_s), control_timestep):
            why = f"{sensor.delay_s:g} s is less than half a control step of {control_timestep:g} s"
            missed.append(Unsimulated(robot.where(f"sensors.{name}.delay_s"), why))
        elif sensor.delay_s:
            settings["delay_s"] = (sensor.delay_s, f"{ROBOT}sensors.{name}.delay_s")
        for place in places:
            found.setdefault(place, {}).update(settings)
    return found, missed


def _measured(robot: RobotSpec, model: mujoco.MjModel, name: str, sensor: Sensor) -> list[Place] | str:
    """Return the places that a sensor measures, or why there are none."""
    if sensor.kind == "end_effector_pose":
        if robot.end_effector is None:
            return "the robot has no end_effector"
        site = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_SITE, robot.end_effector.site)
        return [("site_xpos", site)] if site >= 0 else f"the model has no site {robot.end_effector.site!r}"
    if sensor.kind == "mjcf":
        index = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_SENSOR, name)
        return _read_by(model, index) if index >= 0 else f"the model has no sensor {name!r}"
    joint = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_JOINT, name)
    if joint < 0:
        return f"the model has no joint {name!r}; name it by 'of: JOINT'"
    if sensor.kind == "joint_effort":
        reads = (model.sensor_type == mujoco.mjtSensor.mjSENS_JOINTACTFRC.value) & (model.sensor_objid == joint)
        efforts: list[Place] = [("sensordata", int(start)) for start in model.sensor_adr[reads]]
        return efforts or f"no sensor of the model reads the effort of joint {name!r}; add <jointactuatorfrc>"
    return _of_joint(model, joint, "qpos" if sensor.kind == "joint_position" else "qvel")


def _read_by(model: mujoco.MjModel, index: int) -> list[Place]:
    """Return what a sensor of the model reads: its own numbers, and the joint or the place that these are."""
    start, kind, owner = (int(array[index]) for array in (model.sensor_adr, model.sensor_type, model.sensor_objid))
    places: list[Place] = [("sensordata", start + n) for n in range(int(model.sensor_dim[index]))]
    kinds = mujoco.mjtSensor
    if kind in (kinds.mjSENS_JOINTPOS, kinds.mjSENS_BALLQUAT):
        places += _of_joint(model, owner, "qpos")
    elif kind in (kinds.mjSENS_JOINTVEL, kinds.mjSENS_BALLANGVEL):
        places += _of_joint(model, owner, "qvel")
    elif kind == kinds.mjSENS_FRAMEPOS and int(model.sensor_refid[index]) < 0:
        arrays = {mujoco.mjtObj.mjOBJ_SITE: "site_xpos", mujoco.mjtObj.mjOBJ_XBODY: "xpos"}
        array = arrays.get(mujoco.mjtObj(int(model.sensor_objtype[index])))
        places += [(array, owner)] if array else []
    return places


def _of_joint(model: mujoco.MjModel, joint: int, array: str) -> list[Place]:
    address = model.jnt_qposadr if array == "qpos" else model.jnt_dofadr
    ends = [*map(int, address), model.nq if array == "qpos" else model.nv]
    return [(array, number) for number in range(ends[joint], ends[joint + 1])]


def _places(quantity: Quantity) -> tuple[Place, ...]:
    if isinstance(quantity.index, EllipsisType):  # all of what is computed for this quantity alone
        return ((quantity.source, 0),) * quantity.width
    start = quantity.index.start if isinstance(quantity.index, slice) else quantity.index
    if quantity.source in _FLAT:
        return tuple((quantity.source, start + n) for n in range(quantity.width))
    return ((quantity.source, start),) * quantity.width


def _acts(sensor: Sensor) -> bool:
    return bool(sensor.noise or sensor.delay_s)


def _where(file: DefinitionFile, robot: RobotSpec | None) -> Callable[[str], str]:
    def where(key: str) -> str:
        if robot is not None and key.startswith(ROBOT):
            return robot.where(key.removeprefix(ROBOT))
        return file.where(key)

    return where
