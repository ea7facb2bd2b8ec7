"""Makes families known to Gymnasium under ``mql/<family>-v0``.

Registration stores strings: no family is built and no simulator is imported by it.
"""

from __future__ import annotations

from collections.abc import Iterable

import gymnasium

_ENTRY_POINTS = "mql.tasks.as_gymnasium.entry_points"


def register(names: Iterable[str]) -> None:
    """Register ``mql/<family>-v0`` for every family named; doing it again changes nothing."""
    for name in names:
        env_id = f"mql/{name}-v0"
        if env_id not in gymnasium.registry:
            gymnasium.register(
                id=env_id,
                entry_point=f"{_ENTRY_POINTS}:make",
                vector_entry_point=f"{_ENTRY_POINTS}:make_vec",
                kwargs={"family": name},
            )
