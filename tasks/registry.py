"""Every family by name: one table, read in one place. A family's module is imported when the family is loaded."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

from mql.errors import UserError, nearest

if TYPE_CHECKING:
    from mql.tasks.family import TaskFamily

# name, and the function without arguments that builds the family, as module:function.
_TABLE: tuple[tuple[str, str], ...] = (
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
    return [name for name, _ in _TABLE]


@cache
def _load(name: str) -> TaskFamily:
    module, function = _factories()[name].split(":")
    family: TaskFamily = getattr(import_module(module), function)()
    if family.name != name:
        raise ValueError(f"the table calls {family.name!r} {name!r}")
    return family


def load(name: str) -> TaskFamily:
    """Return the family called `name`.

    Raises:
        UserError: there is none; the message names the nearest.
    """
    if name not in _factories():
        raise UserError(f"unknown task family {name!r}", mend=nearest(name, _factories()))
    return _load(name)


def _factories() -> dict[str, str]:
    if len(set(names())) != len(_TABLE):
        raise ValueError("two families of one name in the table")
    return dict(_TABLE)
