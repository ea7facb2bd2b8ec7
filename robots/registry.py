"""Every robot by name: YAML files of this package, and the robots that are stated in Python. Any file by its path."""

from __future__ import annotations

from functools import cache
from importlib import import_module, resources
from pathlib import Path

from mql.errors import UserError, nearest
from mql.robots.description import Robot
from mql.robots.mjcf.menagerie import UNKNOWN_LICENCE, licence_of
from mql.robots.mjcf.source import MENAGERIE, PACKAGE
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
    """Refuse a name that stands for no robot; whether a file or a menagerie robot is there is not looked at.

    Raises:
        UserError: there is no such robot; the message names the nearest.
    """
    if not _is_place(name) and name not in names():
        mend = (
            "a robot's file name ends in .yaml, a bare model's in .xml"
            if Path(name).exists()
            else nearest(name, names())
        )
        raise UserError(f"unknown robot {name!r}", mend=mend)


def load(name: str, menagerie: Path | None = None) -> RobotSpec:
    """Return a robot's spec.

    Args:
        name: a name of `names`, or the path of a YAML file (ends in .yaml or .yml, or holds a path separator); without
            any stated facts an MJCF file (ends in .xml) or ``menagerie:<name>``.
        menagerie: a copy of the menagerie that goes before all others.

    Raises:
        UserError: there is no such robot (the message names the nearest), or its file is wrong.
    """
    check_name(name)
    if name.startswith(MENAGERIE):
        robot = name.removeprefix(MENAGERIE)
        return _bare(robot, name, licence_of(robot), "MuJoCo Menagerie").placed(None, {}, menagerie)
    if name.endswith(".xml"):
        path = Path(name)
        return _bare(path.stem, path.name, UNKNOWN_LICENCE, name).placed(path.resolve(), {}, menagerie)
    if _is_place(name):
        return read_spec(Path(name), menagerie)
    return spec_of(name) if name in _CONSTANTS else _packaged(name)


def _is_place(name: str) -> bool:
    return name.startswith(MENAGERIE) or name.endswith((".yaml", ".yml", ".xml")) or "/" in name or "\\" in name


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
    plain = "".join(letter if letter.isalnum() else "-" for letter in name.lower()).strip("-")
    if not plain or not plain[0].isalpha() or not plain.isascii():
        raise UserError(f"{name!r} is not a valid name of a robot", mend="begin it with a letter, as in unitree_go2")
    return RobotSpec.model_validate(
        {
            "schema": SCHEMA,
            "name": plain,
            "description": "A model without stated facts",
            "licence": licence,
            "source": source,
            "mjcf": mjcf,
        }
    )
