"""Every family by name. A family's module is imported when the family is loaded.

Those of mql itself stand in a table (`mql.tasks.families.table`); installed packages add theirs by entry points
(`mql.tasks.packages`), and a program its own by `add`.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

from mql.errors import UserError, missing_package, nearest
from mql.tasks import gymnasium_ids
from mql.tasks import packages as lab_packages
from mql.tasks.families import table

if TYPE_CHECKING:
    from mql.tasks.family import TaskFamily

# Families that a program added itself, by name.
_added: dict[str, TaskFamily] = {}


def names() -> list[str]:
    """Return the name of every family: those of the table, of installed packages, and added ones."""
    return [*built_in_names(), *_of_packages(), *_added]


def environments() -> list[str]:
    """Return the names of single environments that `load` takes, too."""
    return gymnasium_ids.environments()


def built_in_names() -> list[str]:
    """Return the name of every family of the table."""
    return table.names()


def is_built_in(name: str) -> bool:
    """Tell whether the table has a family of this name."""
    return name in built_in_names()


def left_out() -> list[UserError]:
    """Say which families of installed packages can't be reached because their name is taken."""
    return lab_packages.clashes(built_in_names())


def add(family: TaskFamily) -> None:
    """Give a family of your own a name here, in this process: `load` finds it then, and ``gymnasium.make``.

    Raises:
        UserError: there is a family of this name.
    """
    if family.name in names():
        raise UserError(f"there is a family {family.name!r} already", mend="give this one another name")
    _added[family.name] = family
    gymnasium_ids.register([family.name])


def tell_gymnasium() -> None:
    """Make ``gymnasium.make("mql/<family>-v0")`` work for the families of the table and of installed packages."""
    gymnasium_ids.register(built_in_names())
    if lab_packages.any_installed():
        gymnasium_ids.register(_of_packages())


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
        if gymnasium_ids.is_environment(name):
            return _load_environment(name)
        is_file = name.endswith((".yaml", ".yml"))
        mend = (
            f"a file is read by mql.tasks.from_file({name!r})"
            if is_file
            else nearest(name, names(), others=gymnasium_ids.environments(), listed_by="'mql tasks list'")
        )
        raise UserError(f"unknown task family {name!r}", mend=mend)
    return _load(name)


@cache
def _load(name: str) -> TaskFamily:
    return build(name)


@cache
def _load_environment(name: str) -> TaskFamily:
    family: TaskFamily = import_module("mql.tasks.wrapped.one_environment").one_environment(name)
    return family


def _of_packages() -> dict[str, lab_packages.LabFamily]:
    return lab_packages.lab_families(built_in_names())


def _factories() -> dict[str, tuple[str, ...]]:
    factories = {row[0]: row[1:] for row in table.TABLE}
    if len(factories) != len(table.TABLE):
        raise ValueError("two families of one name in the table")
    return factories
