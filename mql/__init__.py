"""Meta-Q-Learning for robots: meta-train on a family of tasks, adapt to a new one within a few episodes.

The public names stand below. Each is read from its module at first use, so that ``import mql`` stays cheap: it only
tells Gymnasium the names of the task families (``gymnasium.make("mql/<family>-v0")``), where that is installed.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

try:
    from mql.tasks import registry as _registry
except ModuleNotFoundError as _error:
    if _error.name != "gymnasium":
        raise
    # A robot's computer, which has what `mql.deploy.Controller` needs and no more.
else:
    _registry.tell_gymnasium()

if TYPE_CHECKING:
    from mql.agent.agent import Agent
    from mql.agent.robot_policy import load_policy
    from mql.api.adapted import Adapted
    from mql.api.run import Run, open_run, train
    from mql.config.loading import load_config
    from mql.errors import UserError
    from mql.shipped import shipped_agent
    from mql.study.study import Study, open_study, run_study
    from mql.tasks.registry import load as load_family
    from mql.types import Episode

__version__ = "0.2.0"

__all__ = [
    "Adapted",
    "Agent",
    "Episode",
    "Run",
    "Study",
    "UserError",
    "__version__",
    "load_config",
    "load_family",
    "load_policy",
    "open_run",
    "open_study",
    "run_study",
    "shipped_agent",
    "train",
]

_HOMES = {
    "Adapted": ("mql.api.adapted", "Adapted"),
    "Agent": ("mql.agent.agent", "Agent"),
    "Episode": ("mql.types", "Episode"),
    "Run": ("mql.api.run", "Run"),
    "Study": ("mql.study.study", "Study"),
    "UserError": ("mql.errors", "UserError"),
    "load_config": ("mql.config.loading", "load_config"),
    "load_family": ("mql.tasks.registry", "load"),
    "shipped_agent": ("mql.shipped", "shipped_agent"),
    "load_policy": ("mql.agent.robot_policy", "load_policy"),
    "open_run": ("mql.api.run", "open_run"),
    "open_study": ("mql.study.study", "open_study"),
    "run_study": ("mql.study.study", "run_study"),
    "train": ("mql.api.run", "train"),
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
