"""What the shell offers after a beginning: names of families, robots, methods, splits, and configuration keys.

Files and folders are left to the shell. Nothing here imports PyTorch or MuJoCo: an answer takes well under a second.
"""

from __future__ import annotations

from collections.abc import Iterable

SPLIT_NAMES = ("train", "validation", "test", "ood", "validation-ood")


def families(incomplete: str) -> list[str]:
    """Return the registered families that begin so."""
    from mql.tasks import registry

    return _beginning(incomplete, registry.names())


def robots(incomplete: str) -> list[str]:
    """Return the registered robots that begin so."""
    from mql.robots import registry

    return _beginning(incomplete, registry.names())


def methods(incomplete: str) -> list[str]:
    """Return the values of ``--method`` that begin so."""
    from mql.config.methods import METHODS

    return _beginning(incomplete, METHODS)


def splits(incomplete: str) -> list[str]:
    """Return the splits that begin so."""
    return _beginning(incomplete, SPLIT_NAMES)


def keys(incomplete: str) -> list[str]:
    """Return the configuration keys that begin so, each with the sign that its value follows."""
    from mql.config.yaml_text import FIELDS

    return [f"{key}=" for key in _beginning(incomplete, FIELDS)]


def _beginning(incomplete: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]
