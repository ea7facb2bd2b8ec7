"""Every robot by name: YAML files of this package, and the robots that are stated in Python. Any file by its path."""

from __future__ import annotations

import re
from functools import cache
from importlib import import_module, resources
from pathlib import Path

from mql.errors import UserError, nearest
from mql.robots.description import Robot
from mql.robots.mjcf import descriptions
from mql.robots.mjcf.menagerie import UNKNOWN_LICENCE, licence_of
from mql.robots.mjcf.source import (
    COLLECTIONS,
    DESCRIPTIONS,
    KINDS,
    MENAGERIE,
    PACKAGE,
    is_file,
    is_model,
    is_spec,
    model_source,
)
from mql.robots.spec import SCHEMA, RobotSpec
from mql.robots.spec_yaml import read_spec

# Robots stated in Python: the constant as module:constant, the base's body and its kind.
_CONSTANTS = {
    "ant": ("ant:ANT", "torso", "free"),
    "half-cheetah": ("half_cheetah:HALF_CHEETAH", "torso", "planar"),
    "hopper": ("hopper:HOPPER", "torso", "planar"),
    "humanoid": ("humanoid:HUMANOID", "torso", "free"),
    "reacher": ("reacher:REACHER", "world", "fixed"),
    "walker2d": ("walker2d:WALKER2D", "torso", "planar"),
    "walker2d-old": ("walker2d:WALKER2D_OLD", "torso", "planar"),
}
_FILES = ("adroit-hand", "arm7", "fetch", "franka-kitchen", "mobile-base", "planar2", "sawyer", "shadow-hand")


def names() -> list[str]:
    """Return the name of every robot of this package."""
    return sorted([*_FILES, *_CONSTANTS])


def check_name(name: str) -> None:
    """Refuse a name that stands for no robot; whether a file or a robot of a collection is there is not looked at.

    Raises:
        UserError: there is no such robot; the message names the nearest.
    """
    if name in names() or name.startswith(COLLECTIONS) or is_spec(name) or is_model(name):
        return
    if name.lower().endswith(".xacro"):
        mend = f"turn it into a URDF first: xacro {name} > robot.urdf"
        raise UserError(f"{name!r} is a xacro file", mend=mend)
    if Path(name).is_dir():
        raise UserError("it is a directory", where=name, mend="name a file in it")
    mend = KINDS if is_file(name) or Path(name).exists() else nearest(name, names())
    raise UserError(f"unknown robot {name!r}", mend=mend)


def load(name: str, menagerie: Path | None = None, folder: Path | None = None) -> RobotSpec:
    """Return a robot's spec.

    Args:
        name: a name of `names`, or the path of a YAML file (ends in .yaml or .yml); without any stated facts a model's
            file (ends in .xml, .mjcf or .urdf), ``menagerie:<name>``, ``descriptions:<name>`` or
            ``package:<module>/<path>``.
        menagerie: a copy of the menagerie that goes before all others.
        folder: outside of which a model of a path may read nothing; None: `model_source` says it.

    Raises:
        UserError: there is no such robot (the message names the nearest), or its file is wrong.
    """
    check_name(name)
    if name.startswith(MENAGERIE):
        robot = name.removeprefix(MENAGERIE)
        return _bare(robot, name, licence_of(robot), "MuJoCo Menagerie").placed(None, {}, menagerie)
    if name.startswith(DESCRIPTIONS):
        robot = name.removeprefix(DESCRIPTIONS)
        licence = descriptions.licence_of(robot) or UNKNOWN_LICENCE
        return _bare(robot, name, licence, "robot_descriptions")
    if name.startswith(PACKAGE):
        return _bare(Path(name).stem, name, UNKNOWN_LICENCE, name)
    if is_model(name):
        path, folder = model_source(Path(name)) if folder is None else (Path(name).absolute(), folder)
        spec = _bare(path.stem, path.relative_to(folder).as_posix(), UNKNOWN_LICENCE, name)
        return spec.placed(path.resolve(), {}, menagerie, folder.resolve())
    if is_spec(name):
        return read_spec(Path(name), menagerie)
    return spec_of(name) if name in _CONSTANTS else _packaged(name)


@cache
def _packaged(name: str) -> RobotSpec:
    spec = read_spec(Path(str(resources.files("mql.robots.models") / f"{name.replace('-', '_')}.yaml")))
    if spec.name != name:
        raise ValueError(f"the table calls {spec.name!r} {name!r}")
    return spec


@cache
def spec_of(name: str) -> RobotSpec:
    """Return what a Python constant says as a spec; what it does not say is left out.

    Its `rest` is where mql's own families start from, and may lie beyond a joint's limits: it is not the spec's home.
    """
    constant, base, kind = _CONSTANTS[name]
    module = import_module(f"mql.robots.models.{constant.split(':')[0]}")
    robot: Robot = getattr(module, constant.split(":")[1])
    view = robot.view
    return RobotSpec.model_validate(
        {
            "schema": SCHEMA,
            "name": robot.name,
            "description": (module.__doc__ or "").splitlines()[0].rstrip("."),
            "licence": robot.licence,
            "source": robot.source,
            "mjcf": f"{PACKAGE}{robot.package}/{robot.mjcf}",
            "physics_timestep_s": robot.physics_timestep,
            "base": {"body": base, "kind": kind},
            "home": robot.home,
            "joints": {joint: {} for joint in robot.joints},
            "actuators": {
                actuator.joint: {
                    "joint": actuator.joint,
                    "kind": "motor",
                    "control_range": actuator.control_range,
                    "gain": 1.0,
                    "gear": actuator.gear,
                }
                for actuator in robot.actuators
            },
            "masses": robot.masses,
            "view": {name: getattr(view, name) for name in ("body", "distance", "azimuth", "elevation")},
        }
    )


def _bare(name: str, mjcf: str, licence: str, source: str) -> RobotSpec:
    """Return the spec of a model of which nothing is stated but where it is."""
    plain = re.sub(r"[^a-z0-9_]+", "-", name.lower()).strip("-_")
    plain = plain if plain[:1].isalpha() else f"robot-{plain}".strip("-")
    return RobotSpec.model_validate(
        {
            "schema": SCHEMA,
            "name": plain,
            "description": "A bare model: no spec states anything about it",
            "licence": licence,
            "source": source,
            "mjcf": mjcf,
        }
    )
