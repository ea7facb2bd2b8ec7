"""Meta-Q-Learning for robots: meta-train on a family of tasks, adapt to a new one within a few episodes.

The public names stand below. Each is read from its module at first use, so that ``import mql`` stays cheap: it only
tells Gymnasium the names of the task families (``gymnasium.make("mql/<family>-v0")``).
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

from mql.tasks import gymnasium_registration as _gymnasium_registration

if TYPE_CHECKING:
    from mql.adaptation import adapt
    from mql.agent import Agent
    from mql.config_file import load_config
    from mql.meta_test import evaluate
    from mql.meta_train import meta_train
    from mql.tasks.registry import load as load_family

__version__ = "0.1.0"

__all__ = ["Agent", "__version__", "adapt", "evaluate", "load_config", "load_family", "meta_train"]

_HOMES = {
    "Agent": ("mql.agent", "Agent"),
    "adapt": ("mql.adaptation", "adapt"),
    "evaluate": ("mql.meta_test", "evaluate"),
    "load_config": ("mql.config_file", "load_config"),
    "load_family": ("mql.tasks.registry", "load"),
    "meta_train": ("mql.meta_train", "meta_train"),
}


class _Package(ModuleType):
    """Keeps ``mql.meta_train`` the public function: importing the module of that name would otherwise bind it here."""

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'mql' has no attribute {name!r}")
    module, attribute = _HOMES[name]
    value: object = getattr(import_module(module), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


sys.modules[__name__].__class__ = _Package
_gymnasium_registration.register()
