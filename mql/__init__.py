"""Meta-Q-Learning for robots: meta-train on a family of tasks, adapt to a new one within a few episodes.

The public names stand below. Each is read from its module at first use, so that ``import mql`` stays cheap: it only
tells Gymnasium the names of the task families (``gymnasium.make("mql/<family>-v0")``).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from mql.tasks import gymnasium_registration as _gymnasium_registration

if TYPE_CHECKING:
    from mql.adaptation.adapters import adapt
    from mql.agent.agent import Agent
    from mql.config.loading import load_config
    from mql.evaluation.held_out import evaluate
    from mql.tasks.registry import load as load_family
    from mql.training.methods import meta_train

__version__ = "0.1.0"

__all__ = ["Agent", "__version__", "adapt", "evaluate", "load_config", "load_family", "meta_train"]

_HOMES = {
    "Agent": ("mql.agent.agent", "Agent"),
    "adapt": ("mql.adaptation.adapters", "adapt"),
    "evaluate": ("mql.evaluation.held_out", "evaluate"),
    "load_config": ("mql.config.loading", "load_config"),
    "load_family": ("mql.tasks.registry", "load"),
    "meta_train": ("mql.training.methods", "meta_train"),
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'mql' has no attribute {name!r}")
    module, attribute = _HOMES[name]
    value: object = getattr(import_module(module), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


_gymnasium_registration.register()
