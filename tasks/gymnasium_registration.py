"""Makes every family of the suite known to Gymnasium, so that any other library can use it::

    import gymnasium, mql
    env = gymnasium.make("mql/cheetah-vel-v0", task={"velocity": 1.2})

Registration stores strings: no family is built and no simulator is imported by it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium

from mql.errors import UserError
from mql.tasks import registry


def register() -> None:
    """Register ``mql/<family>-v0`` for every family of the suite; calling it again changes nothing."""
    for name in registry.built_in_names():
        env_id = f"mql/{name}-v0"
        if env_id not in gymnasium.registry:
            gymnasium.register(id=env_id, entry_point=f"{__name__}:make", kwargs={"family": name})


def make(
    family: str, task: Mapping[str, object] | None = None, render_mode: str | None = None
) -> gymnasium.Env[Any, Any]:
    """Build one environment of `family` for the task parameters `task`; ``gymnasium.make`` calls this.

    Raises:
        UserError: no task, or one with unknown or forbidden parameters.
    """
    loaded = registry.load(family)
    if task is None:
        example = loaded.tasks("train")[0].to_json()
        raise UserError(
            "no task given", where=f"mql/{family}-v0", mend=f"pass the task parameters, e.g. task={example}"
        )
    return loaded.make(loaded.task(task), render_mode=render_mode)
