"""The task suite: families of robot tasks with train, validation, test and ood splits, stepped in parallel.

``load("cheetah-vel")`` gives a family, ``names()`` every name, ``from_gymnasium(...)`` makes a family of any Gymnasium
environment, ``from_file("drawer.yaml")`` one of a definition, ``disturbed(family, ...)`` a harder one, ``add(family)``
gives it a name here; what a family can do stands in `mql.tasks.family`.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from mql.tasks.registry import add, load, names

if TYPE_CHECKING:
    from mql.tasks.definitions.family import from_file
    from mql.tasks.disturbances.family import disturbed
    from mql.tasks.wrapped.any_environment import from_gymnasium

__all__ = ["add", "disturbed", "from_file", "from_gymnasium", "load", "names"]

# Read at first use, so that `import mql` stays cheap.
_HOMES = {
    "disturbed": "mql.tasks.disturbances.family",
    "from_file": "mql.tasks.definitions.family",
    "from_gymnasium": "mql.tasks.wrapped.any_environment",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'mql.tasks' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
