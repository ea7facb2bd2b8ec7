"""Every family by name: one table, read in one place. A family's module is imported when the family is loaded.

Installed packages add theirs by entry points (`mql.tasks.lab_packages`), and a program its own by `add`.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

from mql.errors import UserError, missing_package, nearest
from mql.tasks import lab_packages
from mql.tasks.meta_world_names import ENVIRONMENTS

if TYPE_CHECKING:
    from mql.tasks.family import TaskFamily

# name, the function that builds the family, as module:function, and the arguments that it gets.
_TABLE: tuple[tuple[str, ...], ...] = (
    ("ant-dir", "mql.tasks.ant_dir:ant_dir"),
    ("ant-dir-oracle", "mql.tasks.ant_dir:ant_dir", "oracle"),
    ("ant-dir-legacy", "mql.tasks.ant_dir:ant_dir", "legacy"),
    ("ant-dir-contact", "mql.tasks.ant_dir:ant_dir", "contact"),
    ("ant-dir-angles", "mql.tasks.ant_dir:ant_dir_angles"),
    ("ant-dir-angles-oracle", "mql.tasks.ant_dir:ant_dir_angles", "oracle"),
    ("ant-dir-angles-contact", "mql.tasks.ant_dir:ant_dir_angles", "contact"),
    ("ant-goal", "mql.tasks.ant_goal:ant_goal"),
    ("ant-goal-oracle", "mql.tasks.ant_goal:ant_goal", "oracle"),
    ("ant-goal-legacy", "mql.tasks.ant_goal:ant_goal", "legacy"),
    ("ant-goal-contact", "mql.tasks.ant_goal:ant_goal", "contact"),
    ("arm-drawer", "mql.tasks.arm_drawer:arm_drawer"),
    ("arm-drawer-oracle", "mql.tasks.arm_drawer:arm_drawer", "oracle"),
    ("arm-peg", "mql.tasks.arm_peg:arm_peg"),
    ("arm-peg-oracle", "mql.tasks.arm_peg:arm_peg", "oracle"),
    ("arm-push", "mql.tasks.arm_push:arm_push"),
    ("arm-push-oracle", "mql.tasks.arm_push:arm_push", "oracle"),
    ("arm-reach", "mql.tasks.arm_reach:arm_reach"),
    ("arm-reach-oracle", "mql.tasks.arm_reach:arm_reach", "oracle"),
    ("cheetah-dir", "mql.tasks.cheetah_dir:cheetah_dir"),
    ("cheetah-dir-oracle", "mql.tasks.cheetah_dir:cheetah_dir_oracle"),
    ("cheetah-dir-legacy", "mql.tasks.cheetah_dir:cheetah_dir_legacy"),
    ("cheetah-faults", "mql.tasks.cheetah_faults:cheetah_faults"),
    ("cheetah-faults-oracle", "mql.tasks.cheetah_faults:cheetah_faults", "oracle"),
    ("cheetah-vel", "mql.tasks.cheetah_vel:cheetah_vel"),
    ("cheetah-vel-oracle", "mql.tasks.cheetah_vel:cheetah_vel_oracle"),
    ("cheetah-vel-legacy", "mql.tasks.cheetah_vel:cheetah_vel_legacy"),
    ("cheetah-vel-narrow", "mql.tasks.cheetah_vel:cheetah_vel_narrow"),
    ("cheetah-vel-narrow-oracle", "mql.tasks.cheetah_vel:cheetah_vel_narrow_oracle"),
    ("hopper-params", "mql.tasks.hopper_params:hopper_params"),
    ("hopper-params-oracle", "mql.tasks.hopper_params:hopper_params", "oracle"),
    ("humanoid-dir", "mql.tasks.humanoid_dir:humanoid_dir"),
    ("humanoid-dir-oracle", "mql.tasks.humanoid_dir:humanoid_dir", "oracle"),
    ("humanoid-dir-legacy", "mql.tasks.humanoid_dir:humanoid_dir", "legacy"),
    ("humanoid-dir-contact", "mql.tasks.humanoid_dir:humanoid_dir", "contact"),
    ("point-robot", "mql.tasks.point_robot:point_robot"),
    ("point-robot-oracle", "mql.tasks.point_robot:point_robot_oracle"),
    ("reacher-goal", "mql.tasks.reacher_goal:reacher_goal"),
    ("reacher-goal-oracle", "mql.tasks.reacher_goal:reacher_goal_oracle"),
    ("walker-params", "mql.tasks.walker_params:walker_params"),
    ("walker-params-oracle", "mql.tasks.walker_params:walker_params", "oracle"),
    ("walker-params-legacy", "mql.tasks.walker_params:walker_params", "legacy"),
    ("fetch-reach", "mql.tasks.fetch:fetch", "reach"),
    ("fetch-reach-sparse", "mql.tasks.fetch:fetch", "reach", "sparse"),
    ("fetch-reach-physics", "mql.tasks.fetch:fetch", "reach", "physics"),
    ("fetch-push", "mql.tasks.fetch:fetch", "push"),
    ("fetch-push-sparse", "mql.tasks.fetch:fetch", "push", "sparse"),
    ("fetch-push-physics", "mql.tasks.fetch:fetch", "push", "physics"),
    ("fetch-slide", "mql.tasks.fetch:fetch", "slide"),
    ("fetch-slide-sparse", "mql.tasks.fetch:fetch", "slide", "sparse"),
    ("fetch-slide-physics", "mql.tasks.fetch:fetch", "slide", "physics"),
    ("fetch-pick", "mql.tasks.fetch:fetch", "pick"),
    ("fetch-pick-sparse", "mql.tasks.fetch:fetch", "pick", "sparse"),
    ("fetch-pick-physics", "mql.tasks.fetch:fetch", "pick", "physics"),
    *((f"ml1-{environment}", "mql.tasks.meta_world:ml1", environment) for environment in ENVIRONMENTS),
    ("ml10", "mql.tasks.meta_world:ml10"),
    ("ml45", "mql.tasks.meta_world:ml45"),
    ("mt10", "mql.tasks.meta_world:mt10"),
    ("adroit-door", "mql.tasks.adroit:adroit", "door"),
    ("adroit-hammer", "mql.tasks.adroit:adroit", "hammer"),
    ("hand-reach", "mql.tasks.hand_reach:hand_reach"),
    ("kitchen", "mql.tasks.kitchen:kitchen"),
    ("kitchen-sparse", "mql.tasks.kitchen:kitchen", "sparse"),
    ("maze", "mql.tasks.maze:maze"),
)


# Families that a program added itself, by name.
_added: dict[str, TaskFamily] = {}


def names() -> list[str]:
    """Return the name of every family: those of the table, of installed packages, and added ones."""
    return [*built_in_names(), *_of_packages(), *_added]


def built_in_names() -> list[str]:
    """Return the name of every family of the table."""
    return [row[0] for row in _TABLE]


def is_built_in(name: str) -> bool:
    """Tell whether the table has a family of this name."""
    return name in built_in_names()


def left_out() -> list[UserError]:
    """Say which families of installed packages can't be reached because their name is taken."""
    return lab_packages.clashes(built_in_names())


def add(family: TaskFamily) -> None:
    """Give a family of your own a name here, in this process: `load` finds it then.

    Raises:
        UserError: there is a family of this name.
    """
    if family.name in names():
        raise UserError(f"there is a family {family.name!r} already", mend="give this one another name")
    _added[family.name] = family


def build(name: str) -> TaskFamily:
    """Build a family of the table or of an installed package afresh.

    Raises:
        UserError: a package that it needs is missing, or an installed package is broken.
    """
    if not is_built_in(name):
        return lab_packages.build(_of_packages()[name])
    factory, *arguments = _factories()[name]
    module, function = factory.split(":")
    try:
        family: TaskFamily = getattr(import_module(module), function)(*arguments)
    except ModuleNotFoundError as error:
        package = (error.name or "").split(".")[0]
        if package in ("", "mql"):
            raise
        raise missing_package(package, where=f"family {name}") from error
    if family.name != name:
        raise ValueError(f"the table calls {family.name!r} {name!r}")
    return family


def module_of(name: str) -> str:
    """Return the module that builds a family: families of one module share their code."""
    if not is_built_in(name):
        return _of_packages()[name].value
    return _factories()[name][0].split(":")[0]


def load(name: str) -> TaskFamily:
    """Return the family called `name`.

    Raises:
        UserError: there is none (the message names the nearest), or a package that it needs is missing or broken.
    """
    if name in _added:
        return _added[name]
    if name not in _factories() and name not in _of_packages():
        raise UserError(f"unknown task family {name!r}", mend=nearest(name, names()))
    return _load(name)


@cache
def _load(name: str) -> TaskFamily:
    return build(name)


def _of_packages() -> dict[str, lab_packages.LabFamily]:
    return lab_packages.lab_families(built_in_names())


def _factories() -> dict[str, tuple[str, ...]]:
    factories = {row[0]: row[1:] for row in _TABLE}
    if len(factories) != len(_TABLE):
        raise ValueError("two families of one name in the table")
    return factories
