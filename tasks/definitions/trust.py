"""May the Python code that a definition names be run?

Only where the user said so: by ``--trust`` for one command, or by a line of their own file
``$XDG_CONFIG_HOME/mql/trusted.yaml`` (``~/.config/mql/trusted.yaml``), a list of folders and of digests::

    - ~/lab/families                                # every definition in this folder
    - ~/downloads/drawer.yaml: 3f5a9c...            # this one as long as not a byte of it changes

A digest stands for the same bytes wherever they lie, so such a line also covers the copy that a run keeps.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mql.errors import UserError


class Untrusted(UserError):
    """A definition would run Python code that the user has not allowed."""


def config_path() -> Path:
    """Return where the user's list of trusted definitions is; it need not exist."""
    home = os.environ.get("XDG_CONFIG_HOME")
    return (Path(home) if home else Path.home() / ".config") / "mql" / "trusted.yaml"


def is_trusted(path: Path, digest: str) -> bool:
    """Tell whether the user's list names the definition at `path`, by its folder or by its digest.

    Raises:
        UserError: the list can't be read.
    """
    resolved = path.resolve()
    for folder, trusted_digest in _entries():
        if trusted_digest is None:
            if resolved.is_relative_to(folder.resolve()):
                return True
        elif trusted_digest == digest:
            return True
    return False


def require_trust(path: Path, digest: str, *, runs: str, where: str, given: bool) -> None:
    """Refuse to go on unless the definition's code may be run.

    Args:
        path: the definition.
        digest: of the definition and all its files.
        runs: what would be run, such as ``class DrawerTask of /lab/drawer_task.py``.
        where: the line that names it.
        given: the user said ``--trust``.

    Raises:
        Untrusted: neither the command nor the user's list allows it.
        UserError: the user's list can't be read.
    """
    if given or is_trusted(path, digest):
        return
    line = f"- {path.resolve()}: {digest}"
    raise Untrusted(
        f"the definition would run {runs}",
        where=where,
        mend=f"read that code, then add --trust to the command (trust=True in Python), or the line {line!r} to "
        f"{config_path()}",
    )


def _entries() -> Iterator[tuple[Path, str | None]]:
    """Yield (folder, None) or (path, digest) for each line of the user's list."""
    import yaml

    source = config_path()
    try:
        text = source.read_text(encoding="utf-8")
    except FileNotFoundError:
        return
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"the file can't be read ({error})", where=str(source), mend="fix or remove it") from None
    try:
        given = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"not valid YAML: {error}", where=str(source), mend="fix the syntax") from None
    if given is None:
        return
    if not isinstance(given, list):
        raise UserError("the file is not a list", where=str(source), mend="write lines such as '- ~/lab/families'")
    for entry in given:
        yield from _read_entry(entry, source)


def _read_entry(entry: Any, source: Path) -> Iterator[tuple[Path, str | None]]:
    pairs = entry.items() if isinstance(entry, dict) else [(entry, None)]
    for name, digest in pairs:
        place = Path(name).expanduser() if isinstance(name, str) else None
        if place is None or not place.is_absolute() or not (digest is None or isinstance(digest, str)):
            mend = "write '- /folder' or '- /folder/file.yaml: DIGEST', with absolute paths"
            raise UserError(f"{entry!r} names no definitions", where=str(source), mend=mend)
        yield place, digest
