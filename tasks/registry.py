"""Every family by name: one table, read in one place. A family's module is imported when the family is loaded.

Installed packages add theirs by entry points (`mql.tasks.packages`), and a program its own by `add`.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

from mql.errors import UserError, missing_package, nearest
from mql.tasks import packages as lab_packages
from mql.tasks.families.meta_world.names import ENVIRONMENTS

if TYPE_CHECKING:
    from mql.tasks.family import TaskFamily

# name, the function that builds the family, as module:function, and the arguments that it gets.
_TABLE: tuple[tuple[str, ...], ...] = (
    ("ant-dir", "mql.tasks.families.locomotion.ant_dir:ant_dir"),
    ("ant-dir-oracle", "mql.tasks.families.locomotion.ant_dir:ant_dir", "oracle"),
    ("ant-dir-legacy", "mql.tasks.families.locomotion.ant_dir:ant_dir", "legacy"),
    ("ant-dir-contact", "mql.tasks.families.locomotion.ant_dir:ant_dir", "contact"),
    ("ant-dir-angles", "mql.tasks.families.locomotion.ant_dir:ant_dir_angles"),
    ("ant-dir-angles-oracle", "mql.tasks.families.locomotion.ant_dir:ant_dir_angles", "oracle"),
    ("ant-dir-angles-contact", "mql.tasks.families.locomotion.ant_dir:ant_dir_angles", "contact"),
    ("ant-goal", "mql.tasks.families.locomotion.ant_goal:ant_goal"),
    ("ant-goal-oracle", "mql.tasks.families.locomotion.ant_goal:ant_goal", "oracle"),
    ("ant-goal-legacy", "mql.tasks.families.locomotion.ant_goal:ant_goal", "legacy"),
    ("ant-goal-contact", "mql.tasks.families.locomotion.ant_goal:ant_goal", "contact"),
    ("arm-drawer", "mql.tasks.families.arms.arm_drawer:arm_drawer"),
    ("arm-drawer-oracle", "mql.tasks.families.arms.arm_drawer:arm_drawer", "oracle"),
    ("arm-peg", "mql.tasks.families.arms.arm_peg:arm_peg"),
    ("arm-peg-oracle", "mql.tasks.families.arms.arm_peg:arm_peg", "oracle"),
    ("arm-push", "mql.tasks.families.arms.arm_push:arm_push"),
    ("arm-push-oracle", "mql.tasks.families.arms.arm_push:arm_push", "oracle"),
    ("arm-reach", "mql.tasks.families.arms.arm_reach:arm_reach"),
    ("arm-reach-oracle", "mql.tasks.families.arms.arm_reach:arm_reach", "oracle"),
    ("cheetah-dir", "mql.tasks.families.locomotion.cheetah_dir:cheetah_dir"),
    ("cheetah-dir-oracle", "mql.tasks.families.locomotion.cheetah_dir:cheetah_dir_oracle"),
    ("cheetah-dir-legacy", "mql.tasks.families.locomotion.cheetah_dir:cheetah_dir_legacy"),
    ("cheetah-faults", "mql.tasks.families.locomotion.cheetah_faults:cheetah_faults"),
    ("cheetah-faults-oracle", "mql.tasks.families.locomotion.cheetah_faults:cheetah_faults", "oracle"),
    ("cheetah-vel", "mql.tasks.families.locomotion.cheetah_vel:cheetah_vel"),
    ("cheetah-vel-oracle", "mql.tasks.families.locomotion.cheetah_vel:cheetah_vel_oracle"),
    ("cheetah-vel-legacy", "mql.tasks.families.locomotion.cheetah_vel:cheetah_vel_legacy"),
    ("cheetah-vel-narrow", "mql.tasks.families.locomotion.cheetah_vel:cheetah_vel_narrow"),
    ("cheetah-vel-narrow-oracle", "mql.tasks.families.locomotion.cheetah_vel:cheetah_vel_narrow_oracle"),
    ("hopper-params", "mql.tasks.families.locomotion.hopper_params:hopper_params"),
    ("hopper-params-oracle", "mql.tasks.families.locomotion.hopper_params:hopper_params", "oracle"),
    ("humanoid-dir", "mql.tasks.families.locomotion.humanoid_dir:humanoid_dir"),
    ("humanoid-dir-oracle", "mql.tasks.families.locomotion.humanoid_dir:humanoid_dir", "oracle"),
    ("humanoid-dir-legacy", "mql.tasks.families.locomotion.humanoid_dir:humanoid_dir", "legacy"),
    ("humanoid-dir-contact", "mql.tasks.families.locomotion.humanoid_dir:humanoid_dir", "contact"),
    ("point-robot", "mql.tasks.families.small.point_robot:point_robot"),
    ("point-robot-oracle", "mql.tasks.families.small.point_robot:point_robot_oracle"),
    ("reacher-goal", "mql.tasks.families.small.reacher_goal:reacher_goal"),
    ("reacher-goal-oracle", "mql.tasks.families.small.reacher_goal:reacher_goal_oracle"),
    ("walker-params", "mql.tasks.families.locomotion.walker_params:walker_params"),
    ("walker-params-oracle", "mql.tasks.families.locomotion.walker_params:walker_params", "oracle"),
    ("walker-params-legacy", "mql.tasks.families.locomotion.walker_params:walker_params", "legacy"),
    ("fetch-reach", "mql.tasks.families.robotics.fetch:fetch", "reach"),
    ("fetch-reach-sparse", "mql.tasks.families.robotics.fetch:fetch", "reach", "sparse"),
    ("fetch-reach-physics", "mql.tasks.families.robotics.fetch:fetch", "reach", "physics"),
    ("fetch-push", "mql.tasks.families.robotics.fetch:fetch", "push"),
    ("fetch-push-sparse", "mql.tasks.families.robotics.fetch:fetch", "push", "sparse"),
    ("fetch-push-physics", "mql.tasks.families.robotics.fetch:fetch", "push", "physics"),
    ("fetch-slide", "mql.tasks.families.robotics.fetch:fetch", "slide"),
    ("fetch-slide-sparse", "mql.tasks.families.robotics.fetch:fetch", "slide", "sparse"),
    ("fetch-slide-physics", "mql.tasks.families.robotics.fetch:fetch", "slide", "physics"),
    ("fetch-pick", "mql.tasks.families.robotics.fetch:fetch", "pick"),
    ("fetch-pick-sparse", "mql.tasks.families.robotics.fetch:fetch", "pick", "sparse"),
    ("fetch-pick-physics", "mql.tasks.families.robotics.fetch:fetch", "pick", "physics"),
    *((f"ml1-{environment}", "mql.tasks.families.meta_world.family:ml1", environment) for environment in ENVIRONMENTS),
    ("ml10", "mql.tasks.families.meta_world.family:ml10"),
    ("ml45", "mql.tasks.families.meta_world.family:ml45"),
    ("mt10", "mql.tasks.families.meta_world.family:mt10"),
    ("adroit-door", "mql.tasks.families.robotics.adroit:adroit", "door"),
    ("adroit-hammer", "mql.tasks.families.robotics.adroit:adroit", "hammer"),
    ("hand-reach", "mql.tasks.families.robotics.hand_reach:hand_reach"),
    ("kitchen", "mql.tasks.families.robotics.kitchen:kitchen"),
    ("kitchen-sparse", "mql.tasks.families.robotics.kitchen:kitchen", "sparse"),
    ("maze", "mql.tasks.families.robotics.maze:maze"),
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
