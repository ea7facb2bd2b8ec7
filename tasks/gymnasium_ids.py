"""Names that Gymnasium knows: families under ``mql/<family>-v0``, and environments that are no family of ours.

Registration stores strings: no family is built and no simulator is imported by it.
"""

from __future__ import annotations

from collections.abc import Iterable

import gymnasium

OURS = "mql/"
MINATAR = "minatar/"  # before a game of MinAtar, whose own registration no longer works
_ENTRY_POINTS = "mql.tasks.as_gymnasium.entry_points"


def register(names: Iterable[str]) -> None:
    """Register ``mql/<family>-v0`` for every family named; doing it again changes nothing."""
    for name in names:
        env_id = f"{OURS}{name}-v0"
        if env_id not in gymnasium.registry:
            gymnasium.register(
                id=env_id,
                entry_point=f"{_ENTRY_POINTS}:make",
                vector_entry_point=f"{_ENTRY_POINTS}:make_vec",
                kwargs={"family": name},
            )


def is_environment(name: str) -> bool:
    """Tell whether a name is that of a game, or of an environment that others have registered."""
    return name.startswith(MINATAR) or (name in gymnasium.registry and not name.startswith(OURS))
