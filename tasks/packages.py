"""Families of installed packages, found through the entry point group ``mql.tasks``.

A lab's package names its families in its ``pyproject.toml``::

    [project.entry-points."mql.tasks"]
    lab-drawer = "lab_tasks:drawer.yaml"          # a definition, in the package's folder
    lab-peg = "lab_tasks.peg:peg"                 # a function that returns a TaskFamily

Only names are read until a family is loaded. An installed package is trusted, as whatever pip installs is; so is the
Python of its definitions.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from mql.errors import UserError, told
from mql.stopping import NOT_THEIRS

if TYPE_CHECKING:
    from mql.tasks.family import TaskFamily

GROUP = "mql.tasks"
_SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True)
class LabFamily:
    """One entry point: the family's name, what it leads to (``module:function`` or ``module:file.yaml``), by whom."""

    name: str
    value: str
    package: str

    @property
    def module(self) -> str:
        """The module part of the value."""
        return self.value.partition(":")[0].strip()

    @property
    def where(self) -> str:
        """The place, for messages."""
        return f"entry point {self.name} of package {self.package}"


@cache
def installed() -> tuple[LabFamily, ...]:
    """Return every entry point of the group, sorted by name and package. Nothing of theirs is imported."""
    from importlib.metadata import entry_points  # takes a tenth of a second, which `import mql` must not

    found = [
        LabFamily(point.name, point.value, point.dist.name if point.dist else "?")
        for point in entry_points(group=GROUP)
    ]
    return tuple(sorted(set(found), key=lambda each: (each.name, each.package)))


def any_installed() -> bool:
    """Tell, in about a millisecond, whether `installed` is worth its time."""
    for folder in sys.path:
        with contextlib.suppress(OSError), os.scandir(folder or ".") as entries:
            for entry in entries:
                if entry.name.endswith((".dist-info", ".egg-info")):
                    with contextlib.suppress(OSError), open(os.path.join(entry.path, "entry_points.txt"), "rb") as file:
                        if GROUP.encode() in file.read():
                            return True
    return False


def lab_families(built_in: Collection[str]) -> dict[str, LabFamily]:
    """Return the families of installed packages by name; those whose name is taken are left out."""
    families: dict[str, LabFamily] = {}
    for each in installed():
        if each.name not in built_in:
            families.setdefault(each.name, each)
    return families


def clashes(built_in: Collection[str]) -> list[UserError]:
    """Say which entry points are left out because their name is taken."""
    kept = lab_families(built_in)
    faults = []
    for each in installed():
        if kept.get(each.name) != each:
            owner = f"package {kept[each.name].package}" if each.name in kept else "mql itself"
            what = f"the family name {each.name!r} is taken by {owner}"
            faults.append(UserError(what, where=each.where, mend="rename it in that package, or uninstall it"))
    return faults


def build(each: LabFamily) -> TaskFamily:
    """Build a package's family.

    Raises:
        UserError: the entry point leads nowhere, what it names raises or returns no family, or one of another name.
    """
    from mql.tasks.family import TaskFamily

    mend = f"fix or uninstall package {each.package}"
    _, _, rest = each.value.partition(":")
    rest = rest.strip()
    if not rest:
        raise UserError(f"{each.value!r} is not module:function", where=each.where, mend=mend)
    try:
        if rest.endswith(_SUFFIXES):
            from mql.tasks.definitions.family import load_definition

            family: object = load_definition(_folder(each.module) / rest, trust=True)
        else:
            family = getattr(import_module(each.module), rest)()
    except UserError as error:
        raise UserError(f"{error.what} [{error.where}]", where=each.where, mend=error.mend) from error
    except NOT_THEIRS:
        raise
    except BaseException as error:  # ``sys.exit()``, too
        raise UserError(f"it raised {told(error)}", where=each.where, mend=mend) from error
    if not isinstance(family, TaskFamily):
        raise UserError(f"{each.value} gave {type(family).__name__}, not a TaskFamily", where=each.where, mend=mend)
    if family.name != each.name:
        raise UserError(f"it builds a family called {family.name!r}", where=each.where, mend="give both one name")
    return family


def _folder(module: str) -> Path:
    """Return the folder of a package, which is imported only as far as Python must to find it."""
    found = find_spec(module)
    if found is None or found.origin is None:
        raise ModuleNotFoundError(f"there is no module {module!r}")
    return Path(found.origin).parent
