"""What a definition's parameters, ``randomise`` and ``schedule`` make of the model in its episodes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import mujoco
import numpy as np

from mql.config.parts import Mistake
from mql.errors import UserError, nearest
from mql.tasks.definitions.episode_schema import ROBOT, ScheduleSpec
from mql.tasks.definitions.file import DefinitionFile
from mql.tasks.distributions import Distribution, Fixed, Uniform, Value, ends_of, from_spec
from mql.tasks.physics.episode import EpisodePhysics
from mql.tasks.physics.fields import FIELDS, Change
from mql.tasks.physics.nuisances import Nuisance, check_bounds
from mql.tasks.physics.schedule import TASK, Schedule, neutral
from mql.tasks.physics.targets import rows_of
from mql.tasks.scenes.source import ModelSource

if TYPE_CHECKING:
    from mql.robots.spec import RobotSpec

_STATED = "robot:"  # what keys begin with that stand in the robot's spec
# How the robots' specs call what a change calls otherwise.
_CALLED = {"actuator_gainprm": "position_gain"}
# Where a field's things may have no name, what else names them.
_OWNERS = {"geom": "body"}


def episode_physics(
    file: DefinitionFile,
    model: mujoco.MjModel,
    *,
    control_timestep: float,
    robot: RobotSpec | None = None,
    source: ModelSource | None = None,
    nuisances: Sequence[Nuisance] = (),
) -> EpisodePhysics | None:
    """Return what tasks and episodes change in `model`; None: nothing.

    Args:
        file: the definition.
        model: the compiled model.
        control_timestep: s.
        robot: the definition's.
        source: what the model was compiled from.
        nuisances: what episodes draw besides what the definition says.

    Raises:
        UserError: a name that the model does not have, or a change that can't be carried out.
    """
    changes = {name: spec.apply for name, spec in file.definition.parameters.items() if spec.apply}
    drawn = (*nuisances_of(file, model, robot), *nuisances)
    schedules = schedules_of(file)
    if not changes and not drawn:
        return None
    _check_times(file, schedules, control_timestep)
    where = _where(file, robot)
    return EpisodePhysics(
        model, changes, drawn, schedules, control_timestep=control_timestep, where=where, source=source
    )


def first_change(file: DefinitionFile, nuisances: Sequence[Nuisance] = ()) -> str | None:
    """Return the key of the first change of the physics that a definition asks for; None: it asks for none."""
    definition = file.definition
    keys = [f"parameters.{name}.apply" for name, spec in definition.parameters.items() if spec.apply]
    keys += [f"randomise.{name}" for name in definition.randomise] + [each.place for each in nuisances]
    return keys[0] if keys else None


def nuisances_of(file: DefinitionFile, model: mujoco.MjModel, robot: RobotSpec | None) -> tuple[Nuisance, ...]:
    """Return what ``randomise`` draws in each episode.

    Raises:
        UserError: a distribution that is out of order or draws what physics forbids, or a robot that states nothing.
    """
    found: list[Nuisance] = []
    for name, spec in file.definition.randomise.items():
        key = f"randomise.{name}"
        if name == ROBOT:
            if robot is None or not robot.randomise:
                mend = "name the numbers, or add 'randomise: {body_mass: {low: 0.8, high: 1.2}}' to its spec"
                raise UserError("the robot states nothing to randomise", where=file.where(key), mend=mend)
            found += _stated(model, robot)
            continue
        assert spec.value is not None
        source = from_spec(spec.value, where=file.where(f"{key}.value"))
        for n, each in enumerate(spec.apply):
            _check_components(each, source.size, file.where(f"{key}.apply.{n}"))
        nuisance = Nuisance(name, source, spec.apply, spec.each)
        check_bounds(nuisance, file.where(f"{key}.value"))
        found.append(nuisance)
    return tuple(found)


def schedules_of(file: DefinitionFile) -> dict[str, Schedule]:
    """Return when parameters act that have a schedule.

    Raises:
        UserError: a schedule that says nothing, or too little.
    """
    found = {}
    for name, spec in file.definition.parameters.items():
        if spec.schedule is not None:
            _check_schedule(file, name, spec.schedule)
            before: Value | None = spec.schedule.before
            found[name] = Schedule(spec.schedule.at_s, before, spec.schedule.ramp_s)
    return found


def _check_schedule(file: DefinitionFile, name: str, spec: ScheduleSpec) -> None:
    key, own = f"parameters.{name}.schedule", file.distribution(name)
    changes = file.definition.parameters[name].apply
    if spec.before is not None:
        size = len(spec.before) if isinstance(spec.before, tuple) else None
        where = file.where(f"{key}.before")
        if size != own.size:
            mend = f"give {own.size}" if own.size else "give one"
            raise UserError(f"before has {size or 1} numbers, {name} {own.size or 1}", where=where, mend=mend)
        low, high = file.bounds(name)
        lowest, highest = (ends[0] for ends in map(sorted, ends_of(Fixed(spec.before))))
        if not low <= lowest or not highest <= high:
            raise UserError(f"{name} can't be {lowest:g} before", where=where, mend=f"give {low:g} to {high:g}")
    elif spec.ramp_s and neutral(changes) is None:
        mend = f"add 'before: ...', the value of {name} until then"
        raise UserError("a ramp from an unknown value", where=file.where(f"{key}.ramp_s"), mend=mend)


def _check_times(file: DefinitionFile, schedules: dict[str, Schedule], control_timestep: float) -> None:
    length = file.definition.env.episode_length
    parameters = file.definition.parameters
    for name, schedule in schedules.items():
        where = file.where(f"parameters.{name}.schedule.at_s")
        latest = schedule.at_s
        if isinstance(latest, str):
            other = latest.removeprefix(TASK)
            if other not in parameters:
                raise UserError(f"there is no task parameter {other!r}", where=where, mend=nearest(other, parameters))
            sources: list[Distribution] = [file.sources(split)[other] for split in file.definition.splits]
            if any(source.size is not None for source in sources):
                raise UserError(f"{other} is a vector", where=where, mend="name a parameter of one number")
            if min(min(ends_of(source)[0]) for source in sources) < 0.0:
                raise UserError(f"{other} can be negative", where=where, mend="draw it from 0 on (s)")
            latest = max(max(ends_of(source)[1]) for source in sources)
        if length is not None and latest + schedule.ramp_s >= length * control_timestep:
            what = f"{name} acts fully {latest + schedule.ramp_s:g} s after the start only"
            raise UserError(what, where=where, mend=f"an episode lasts {length * control_timestep:g} s; give less")


def _check_components(change: Change, size: int | None, where: str) -> None:
    try:
        change.components(size)
    except Mistake as mistake:
        context = mistake.context or {}
        raise UserError(context["what"], where=where, mend=context["mend"]) from None


def _stated(model: mujoco.MjModel, robot: RobotSpec) -> Iterator[Nuisance]:
    """Yield what a robot's spec states: each of its own bodies, joints, ... draws a number."""
    for stated, bounds in robot.randomise.items():
        field, key = _CALLED.get(stated, stated), f"randomise.{stated}"
        target = FIELDS[field].targets[0]
        names = tuple(bounds.of) or tuple(_own_names(model, robot, target))
        options: list[tuple[str, tuple[str, ...]]] = [(target, _acting(model, field, bounds.op, target, names))]
        if target in _OWNERS:
            owner = _OWNERS[target]
            others = tuple(bounds.of) or tuple(_own_names(model, robot, owner))
            options.insert(0, (owner, _acting(model, field, bounds.op, owner, others)))
        chosen = next(((kind, acting) for kind, acting in options if acting), None)
        if chosen is None:
            what = (
                f"nothing of the robot has {field}" if not bounds.of else f"{field} acts on none of {list(bounds.of)}"
            )
            raise UserError(what, where=robot.where(key), mend="delete the line, or name what it acts on by 'of'")
        kind, acting = chosen
        each = _change(field, bounds.op, kind, acting)
        _check_components(each, None, robot.where(key))
        if bounds.low == bounds.high:
            source: Distribution = Fixed(bounds.low)
        else:
            source = Uniform(bounds.low, bounds.high)
        nuisance = Nuisance(f"{ROBOT}.{stated}", source, (each,), True, key=f"{_STATED}{key}")
        check_bounds(nuisance, robot.where(key))
        yield nuisance


def _acting(model: mujoco.MjModel, field: str, op: str, target: str, names: Sequence[str]) -> tuple[str, ...]:
    """Return those of the model's `names` that the change acts on."""
    found = []
    for name in names:
        try:
            if rows_of(model, _change(field, op, target, (name,)), name, ""):
                found.append(name)
        except UserError:
            continue
    return tuple(found)


def _change(field: str, op: str, target: str, names: Sequence[str]) -> Change:
    return Change.model_validate({"field": field, "op": op, target: names})


def _own_names(model: mujoco.MjModel, robot: RobotSpec, target: str) -> Iterator[str]:
    """Yield the names of what is the robot's own, below its base, in a scene."""
    if robot.base is None:
        mend = "add 'base: {body: NAME, kind: fixed}', or name what is meant by 'of'"
        raise UserError("the spec does not say what is the robot", where=robot.where("randomise"), mend=mend)
    base = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_BODY, robot.base.body)
    own = {base}
    for body in range(model.nbody):  # parents come before their children
        if int(model.body_parentid[body]) in own:
            own.add(body)
    if target == "body":
        yield from (model.body(body).name for body in sorted(own) if model.body(body).name)
    elif target == "actuator":
        driven = [n for n in range(model.nu) if _driven_body(model, n) in own]
        yield from (name for n in driven if (name := model.actuator(n).name))
    else:
        owners: dict[str, Any] = {"joint": model.jnt_bodyid, "geom": model.geom_bodyid, "site": model.site_bodyid}
        for number, body in enumerate(owners[target]):
            name = getattr(model, target)(number).name
            if int(body) in own and name:
                yield name


def _driven_body(model: mujoco.MjModel, actuator: int) -> int:
    joint = int(model.actuator_trnid[actuator, 0])
    kinds = (mujoco.mjtTrn.mjTRN_JOINT.value, mujoco.mjtTrn.mjTRN_JOINTINPARENT.value)
    return int(model.jnt_bodyid[joint]) if np.isin(model.actuator_trntype[actuator], kinds) else -1


def _where(file: DefinitionFile, robot: RobotSpec | None) -> Callable[[str], str]:
    def where(key: str) -> str:
        if robot is not None and key.startswith(_STATED):
            return robot.where(key.removeprefix(_STATED))
        return file.where(key)

    return where
