"""Every family by name: one table, read in one place. A family's module is imported when the family is loaded."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

from mql.errors import UserError, nearest

if TYPE_CHECKING:
    from mql.tasks.family import TaskFamily

# name, the function that builds the family, as module:function, and the arguments that it gets.
_TABLE: tuple[tuple[str, ...], ...] = (
    ("cheetah-dir", "mql.tasks.cheetah_dir:cheetah_dir"),
    ("cheetah-dir-oracle", "mql.tasks.cheetah_dir:cheetah_dir_oracle"),
    ("cheetah-vel", "mql.tasks.cheetah_vel:cheetah_vel"),
    ("cheetah-vel-oracle", "mql.tasks.cheetah_vel:cheetah_vel_oracle"),
    ("cheetah-vel-narrow", "mql.tasks.cheetah_vel:cheetah_vel_narrow"),
    ("cheetah-vel-narrow-oracle", "mql.tasks.cheetah_vel:cheetah_vel_narrow_oracle"),
    ("point-robot", "mql.tasks.point_robot:point_robot"),
    ("point-robot-oracle", "mql.tasks.point_robot:point_robot_oracle"),
    ("reacher-goal", "mql.tasks.reacher_goal:reacher_goal"),
    ("reacher-goal-oracle", "mql.tasks.reacher_goal:reacher_goal_oracle"),
)


def names() -> list[str]:
    """Return the name of every registered family."""
    return [row[0] for row in _TABLE]


@cache
def _load(name: str) -> TaskFamily:
    factory, *arguments = _factories()[name]
    module, function = factory.split(":")
    try:
        family: TaskFamily = getattr(import_module(module), function)(*arguments)
    except ModuleNotFoundError as error:
        package = (error.name or "").split(".")[0]
        if package in ("", "mql"):
            raise
        mend = f"install it with pip install {package.replace('_', '-')}"
        raise UserError(f"package {package} is missing", where=f"family {name}", mend=mend) from error
    if family.name != name:
        raise ValueError(f"the table calls {family.name!r} {name!r}")
    return family


def load(name: str) -> TaskFamily:
    """Return the family called `name`.

    Raises:
        UserError: there is none (the message names the nearest), or a package that it needs is missing.
    """
    if name not in _factories():
        raise UserError(f"unknown task family {name!r}", mend=nearest(name, _factories()))
    return _load(name)


def _factories() -> dict[str, tuple[str, ...]]:
    if len(set(names())) != len(_TABLE):
        raise ValueError("two families of one name in the table")
    return {row[0]: row[1:] for row in _TABLE}
