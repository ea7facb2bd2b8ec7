"""What the numbers of an observation and of an action are: their names, units and scale, as far as a family says so.

A definition names what it observes, and the control mode of its robot says what an action commands; of other families
that is in the text of their modules. For people who put an agent on a robot.

Shapes: O observation, A action.
"""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass, replace
from inspect import cleandoc
from typing import Any

import mujoco
import numpy as np

from mql.robots.mjcf.lookup import actuator_kind, actuator_name, driven_joint, joint_freedoms, joint_width
from mql.tasks import families
from mql.tasks.control.controller import Controller
from mql.tasks.control.effector import EndEffector
from mql.tasks.control.joints import EffortControl, JointControl, RangeControl, Ranges, SpeedControl, TargetControl
from mql.tasks.control.mocap import MocapEffector
from mql.tasks.definitions.family import DefinedFamily, EnvironmentMaker
from mql.tasks.definitions.model import reopened
from mql.tasks.definitions.parallel import ParallelDefinedFamily
from mql.tasks.definitions.quantities import Quantity
from mql.tasks.definitions.schema import Scaling
from mql.tasks.disturbances.family import DisturbedFamily, sensed_width, undisturbed
from mql.tasks.disturbances.sensors import Layout
from mql.tasks.family import TaskFamily

_SENSORS = {
    "TOUCH": "N", "ACCELEROMETER": "m/s^2", "VELOCIMETER": "m/s", "GYRO": "rad/s", "FORCE": "N", "TORQUE": "N m",
    "RANGEFINDER": "m", "ACTUATORFRC": "N", "JOINTACTFRC": "N or N m", "BALLQUAT": "1", "BALLANGVEL": "rad/s",
    "FRAMEPOS": "m", "FRAMEQUAT": "1", "FRAMEXAXIS": "1", "FRAMEYAXIS": "1", "FRAMEZAXIS": "1", "FRAMELINVEL": "m/s",
    "FRAMEANGVEL": "rad/s", "FRAMELINACC": "m/s^2", "FRAMEANGACC": "rad/s^2", "SUBTREECOM": "m",
    "SUBTREELINVEL": "m/s", "CLOCK": "s",
}  # fmt: skip
_SENSOR_UNITS = {getattr(mujoco.mjtSensor, f"mjSENS_{name}").value: unit for name, unit in _SENSORS.items()}
_OF_JOINTS = {mujoco.mjtSensor.mjSENS_JOINTPOS.value: "{}", mujoco.mjtSensor.mjSENS_JOINTVEL.value: "{}/s"}
_BY_BEGINNING = {
    "quat_": "1", "zaxis_": "1", "gravity_": "1", "touching_": "1", "velocity_": "m/s", "angular_": "rad/s",
    "force_": "N", "time": "s",
}  # fmt: skip
_BY_SOURCE = {"site_xpos": "m", "xpos": "m", "asked": "m", "ahead": "m"}
_UNKNOWN = "as the family gives it"


@dataclass(frozen=True)
class Number:
    """One number: ``(value - minus) / per``, with the value in `unit`."""

    name: str
    unit: str
    minus: float = 0.0
    per: float = 1.0


_FINGERS = Number("gripper, from closed (-1) to open (1)", "1")


def observed_numbers(family: TaskFamily) -> list[dict[str, Any]] | None:
    """Return name, unit, minus and per of each number of an observation [O]; None: the family doesn't say.

    An observed value is seen as (value - minus) / per.
    """
    found = _observed(family)
    return None if found is None or len(found) != family.obs_dim else [asdict(number) for number in found]


def commanded_numbers(family: TaskFamily) -> list[dict[str, Any]] | None:
    """Return name, unit, minus and per of each number of an action [A]; None: the family doesn't say.

    An action asks for the value minus + per * number.
    """
    inner = family
    while isinstance(inner, DisturbedFamily):
        inner = inner.inner
    if not isinstance(inner, ParallelDefinedFamily):
        return None
    found = _commanded(inner.mechanism.commands, inner.mechanism.model)
    return None if found is None or len(found) != family.action_dim else [asdict(number) for number in found]


def own_text(family: TaskFamily) -> str:
    """Return what the modules of a family of mql's own say of it and of others like it, and what is observed."""
    classes = type(undisturbed(family)).__mro__
    modules = dict.fromkeys(each.__module__ for each in classes if each.__module__.startswith(f"{families.__name__}."))
    texts = [(sys.modules[name].__doc__ or "").strip() for name in modules]
    observe = getattr(classes[0], "observe", None)
    if observe is not None and observe.__module__ in modules and observe.__doc__:
        texts.append("Observation: " + cleandoc(observe.__doc__).removeprefix("Return "))
    return "\n\n".join(texts)


def _observed(family: TaskFamily) -> list[Number] | None:
    if isinstance(family, DisturbedFamily):
        inner = _observed(family.inner)
        if inner is None:
            return None
        width = sensed_width(family.inner)
        layout = Layout.of(family.sensed, width)
        pairs = zip(layout.columns.tolist(), layout.age.tolist(), strict=True)
        return [_aged(inner[column], age) for column, age in pairs] + inner[width:]
    if isinstance(family, ParallelDefinedFamily):
        known = family.mechanism
        numbers = [
            number
            for name, quantity in known.observed.items()
            for number in _scaled(name, _units(known.model, name, quantity), known.scaling.get(name))
        ]
        return _with_joints(known.model, numbers) + _visible(family, known.scaling)
    if isinstance(family, DefinedFamily) and family.widths and "" not in family.widths:
        maker = family.make_env
        assert isinstance(maker, EnvironmentMaker)
        scaling = reopened(maker.path, maker.digest).definition.env.scaling
        numbers = [
            number
            for name, width in family.widths.items()
            for number in _scaled(name, [_UNKNOWN] * width, scaling.get(name))
        ]
        return numbers + _visible(family, scaling)
    return None


def _with_joints(model: mujoco.MjModel, numbers: list[Number]) -> list[Number]:
    """Say which joint each number of ``qpos`` and ``qvel`` is of."""
    joints = range(model.njnt)
    names = {
        "qpos": [model.joint(joint).name for joint in joints for _ in range(joint_width(model, joint))],
        "qvel": [model.joint(joint).name for joint in joints for _ in range(joint_freedoms(model, joint))],
    }
    found = []
    for number in numbers:
        whole, _, place = number.name.partition("[")
        if whole in names:
            joint = names[whole][int(place[:-1]) if place else 0]
            number = replace(number, name=f"{number.name}, joint {joint}" if joint else number.name)
        found.append(number)
    return found


def _aged(number: Number, age: int) -> Number:
    return replace(number, name=f"{number.name}, {age} control steps earlier") if age else number


def _visible(family: TaskFamily, scaling: Any) -> list[Number]:
    return [
        number
        for name in family.visible
        for number in _scaled(
            f"task.{name}", [family.parameters[name].unit] * family.parameters[name].width, scaling.get(name)
        )
    ]


def _scaled(name: str, units: list[str], scaling: Scaling | None) -> list[Number]:
    minus = np.broadcast_to(0.0 if scaling is None else np.asarray(scaling.minus, np.float64), len(units)).tolist()
    per = 1.0 if scaling is None else float(scaling.per)
    names = [name] if len(units) == 1 else [f"{name}[{place}]" for place in range(len(units))]
    return [Number(*each, per) for each in zip(names, units, minus, strict=True)]


def _units(model: mujoco.MjModel, name: str, quantity: Quantity) -> list[str]:
    """Return the unit of each number of a quantity."""
    start = quantity.index.start if isinstance(quantity.index, slice) else quantity.index
    first = start if isinstance(start, int) else 0
    places = range(first, first + quantity.width)
    if quantity.source == "qpos":
        units = _position_units(model)
        return [units[place] for place in places]
    if quantity.source == "qvel":
        units = _velocity_units(model)
        return [units[place] for place in places]
    if quantity.source == "sensordata":
        return [_sensor_unit(model, int(np.searchsorted(model.sensor_adr, place, "right")) - 1) for place in places]
    if quantity.source in _BY_SOURCE:
        return [_BY_SOURCE[quantity.source]] * quantity.width
    if name.startswith("sensor_"):
        named = [number for number in range(model.nsensor) if quantity.owner == f"sensor {model.sensor(number).name!r}"]
        return [_sensor_unit(model, named[0]) if named else _UNKNOWN] * quantity.width
    unit = next((unit for begin, unit in _BY_BEGINNING.items() if name.startswith(begin)), _UNKNOWN)
    return [unit] * quantity.width


def _position_units(model: mujoco.MjModel) -> list[str]:
    units = {0: ["m"] * 3 + ["1"] * 4, 1: ["1"] * 4, 2: ["m"], 3: ["rad"]}  # free, ball, slide, hinge
    return [unit for kind in model.jnt_type for unit in units[int(kind)]]


def _velocity_units(model: mujoco.MjModel) -> list[str]:
    units = {0: ["m/s"] * 3 + ["rad/s"] * 3, 1: ["rad/s"] * 3, 2: ["m/s"], 3: ["rad/s"]}
    return [unit for kind in model.jnt_type for unit in units[int(kind)]]


def _joint_unit(model: mujoco.MjModel, joint: int) -> str:
    return "m" if model.jnt_type[joint] == mujoco.mjtJoint.mjJNT_SLIDE.value else "rad"


def _sensor_unit(model: mujoco.MjModel, sensor: int) -> str:
    kind = int(model.sensor_type[sensor])
    if kind in _OF_JOINTS:
        return _OF_JOINTS[kind].format(_joint_unit(model, int(model.sensor_objid[sensor])))
    return _SENSOR_UNITS.get(kind, _UNKNOWN)


def _commanded(commands: Controller | MocapEffector, model: mujoco.MjModel) -> list[Number] | None:
    if isinstance(commands, EndEffector):
        length = np.broadcast_to(commands.stroke.length, 3)
        numbers = [
            Number(f"displacement {axis}", "m", 0.0, float(per)) for axis, per in zip("xyz", length, strict=True)
        ]
        if commands.turn is not None:
            turns = np.broadcast_to(commands.turn.length, 3)
            numbers += [
                Number(f"turn about {axis}", "rad", 0.0, float(per)) for axis, per in zip("xyz", turns, strict=True)
            ]
        return [*numbers, *([_FINGERS] if commands.fingers.action_dim else [])]
    found: dict[int, Number] = {}
    if isinstance(commands, RangeControl):
        found = _ranges(commands.ranges, model)
    elif isinstance(commands, JointControl):
        found = _ranges(commands.ranges, model) | _joints(commands, model)
        if commands.fingers.action_dim:
            found[commands.action_dim - 1] = _FINGERS
    return [found[place] for place in sorted(found)] if sorted(found) == [*range(len(found))] and found else None


def _ranges(ranges: Ranges, model: mujoco.MjModel) -> dict[int, Number]:
    rows = zip(ranges.columns, ranges.actuators, ranges.middle, ranges.half, strict=True)
    return {
        int(column): Number(
            f"control of {actuator_name(model, int(actuator))}",
            _control_unit(model, int(actuator)),
            float(middle),
            float(half),
        )
        for column, actuator, middle, half in rows
    }


def _control_unit(model: mujoco.MjModel, actuator: int) -> str:
    joint, kind = driven_joint(model, actuator), actuator_kind(model, actuator)
    plain = joint is not None and model.actuator_gear[actuator, 0] == 1.0
    if plain and kind == "position":
        return _joint_unit(model, joint or 0)
    if plain and kind == "velocity":
        return f"{_joint_unit(model, joint or 0)}/s"
    if plain and kind == "motor" and model.actuator_gainprm[actuator, 0] == 1.0:
        return "N" if _joint_unit(model, joint or 0) == "m" else "N m"
    return f"control of a {kind} actuator"


def _joints(control: JointControl, model: mujoco.MjModel) -> dict[int, Number]:
    found = {}
    for place, (column, actuator) in enumerate(zip(control.columns, control.actuators, strict=True)):
        joint = driven_joint(model, int(actuator)) or 0
        name, unit, minus = (
            model.joint(joint).name or actuator_name(model, int(actuator)),
            _joint_unit(model, joint),
            0.0,
        )
        if isinstance(control, TargetControl):
            per = np.broadcast_to(control.stroke.length, control.columns.size)[place]
            if control.middle is None:
                name = f"{name}, from the last target"
            else:
                name, minus = f"{name}, target", float(control.middle[place])
        elif isinstance(control, SpeedControl):
            name, unit, per = f"{name}, speed", f"{unit}/s", control.scale[place]
        elif isinstance(control, EffortControl):
            name, unit, per = f"{name}, effort", "N" if unit == "m" else "N m", control.scale[place]
        else:
            return {}
        found[int(column)] = Number(name, unit, minus, float(per))
    return found
