"""Small trained agents that come with the package, to look at without training: `mql play arm-reach -o reach.gif`.

Each is a saved agent (`mql.api.adapted`) with what it is of: family, seed, env steps, and the commit that trained it.
``python -m mql.cli.publish agent RUN`` writes one.
"""

from __future__ import annotations

from pathlib import Path

from mql.errors import UserError, nearest

_FOLDER = Path(__file__).parent


def names() -> list[str]:
    """Return the families that have an agent here."""
    return sorted(path.parent.name.replace("_", "-") for path in _FOLDER.glob("*/agent.json"))


def folder_for(family: str) -> Path:
    """Return where the agent of a family lies, or is to lie."""
    return _FOLDER / family.replace("-", "_")


def shipped_agent(family: str) -> Path:
    """Return the folder of the trained agent that comes with the package: for `mql.load_policy`, `mql.Adapted.load`.

    Raises:
        UserError: there is none for the family.
    """
    if family not in names():
        raise UserError(f"no agent for {family!r} comes with the package", mend=nearest(family, names()))
    return folder_for(family)
