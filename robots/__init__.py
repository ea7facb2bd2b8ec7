"""Robot descriptions: facts with units and sources, compared with the compiled models.

``load("arm7")`` gives a robot's spec, by name or by the path of its YAML file; ``names()`` every name.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mql.robots.registry import load, names

__all__ = ["load", "names"]


def __getattr__(name: str) -> object:
    """Read the registry at first use, so that a robot stated in Python costs nothing more."""
    if name not in __all__:
        raise AttributeError(f"module 'mql.robots' has no attribute {name!r}")
    return getattr(import_module("mql.robots.registry"), name)
