"""Names that Gymnasium knows: families under ``mql/<family>-v0``, and environments that are no family of ours.

Registration stores strings: no family is built and no simulator is imported by it.
"""

from __future__ import annotations

from collections.abc import Iterable

import gymnasium

OURS = "mql/"
# MinAtar's games, whose own registration no longer works: our name -> the package's.
GAMES = {
    f"minatar-{game.replace('_', '-')}": game
    for game in ("asterix", "breakout", "freeway", "seaquest", "space_invaders")
}
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
    return name in GAMES or (name in gymnasium.registry and "/" not in name)


def environments() -> list[str]:
    """Return the names of these environments; those of packages, with a slash, are left out."""
    return [*GAMES, *(name for name in gymnasium.registry if "/" not in name)]
