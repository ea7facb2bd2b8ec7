"""A family's definition on a machine that does not have its files: they travel by content, and are known by a digest.

Whoever sends a family elsewhere sends ``family.definition.read()`` with it (`TaskFamily.definition`). There `unpack`
writes the files once, and ``MQL_DEFINITIONS`` tells processes which folder they stand in: `at_hand` is then preferred
to the path that a definition had at home. Who opens it compares all bytes with the digest, wherever they lie; so what
the user has allowed the definition's Python at home holds for the same bytes there.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from mql.errors import UserError

FOLDER = "MQL_DEFINITIONS"  # the environment variable that names the folder of unpacked definitions


@dataclass(frozen=True)
class Definition:
    """The YAML file that defines a family.

    Args:
        path: of it, at home.
        digest: of it and all files that belong to it.
        read: returns the bytes of them all, by their paths from its folder.
    """

    path: str
    digest: str
    read: Callable[[], Mapping[str, bytes]]


def at_hand(path: str, digest: str) -> Path:
    """Return where the definition that was at `path` is in this process: where it was unpacked, or still there."""
    folder = os.environ.get(FOLDER)
    unpacked = Path(folder) / digest / Path(path).name if folder else None
    return unpacked if unpacked is not None and unpacked.is_file() else Path(path)


def cache() -> Path:
    """Return this machine's folder of unpacked definitions, which need not exist."""
    return Path(tempfile.gettempdir()) / f"mql-definitions-{os.getuid()}"


def unpack(digest: str, files: Mapping[str, bytes]) -> Path:
    """Write a definition's files into this machine's cache, where they are not there yet, and return their folder.

    Raises:
        UserError: the cache is somebody else's, or can't be written.
        ValueError: a file would lie outside the definition's folder.
    """
    whole = cache()
    try:
        whole.mkdir(mode=0o700, exist_ok=True)
        found = whole.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
            raise UserError("others can write into the folder of definitions", where=str(whole), mend="remove it")
        if not (whole / digest).is_dir():
            _write(whole, digest, files)
    except OSError as error:
        raise UserError(f"a definition can't be written ({error})", where=str(whole), mend="make room there") from error
    return whole / digest


def _write(whole: Path, digest: str, files: Mapping[str, bytes]) -> None:
    """Write the folder under another name and rename it: nobody sees half of it."""
    half = Path(tempfile.mkdtemp(dir=whole))
    try:
        for name, data in files.items():
            path = half / name
            if not path.resolve().is_relative_to(half.resolve()):
                raise ValueError(f"{name!r} lies outside the definition's folder")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        half.rename(whole / digest)
    except OSError:
        if not (whole / digest).is_dir():  # somebody else was faster
            raise
    finally:
        shutil.rmtree(half, ignore_errors=True)
