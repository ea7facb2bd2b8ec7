"""The task suite: families of robot tasks with train, test and ood splits, stepped side by side.

``load("cheetah-vel")`` gives a family, ``names()`` every name, ``from_gymnasium(...)`` makes a family of any Gymnasium
environment, ``add(family)`` gives it a name here; what a family can do stands in `mql.tasks.family`.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from mql.tasks.registry import add, load, names

if TYPE_CHECKING:
    from mql.tasks.any_environment import from_gymnasium

__all__ = ["add", "from_gymnasium", "load", "names"]


def __getattr__(name: str) -> object:
    if name != "from_gymnasium":  # read at first use, so that `import mql` stays cheap
        raise AttributeError(f"module 'mql.tasks' has no attribute {name!r}")
    return import_module("mql.tasks.any_environment").from_gymnasium
