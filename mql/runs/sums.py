"""Checksums of a run's own files, in ``SHA256SUMS``: those that are written as a whole, and the logs of a finished run.

While a file is replaced, the list holds the checksums of both the old and the new one: whenever a process is killed,
what is there fits. A run of an earlier version has no list, until it goes on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from mql.errors import UserError
from mql.files import CHECKSUMS, sha256, user_errors, write_atomic

LONGEST = 64 * 2**20  # bytes of a list


def sums_of(files: Mapping[str, bytes]) -> bytes:
    """Return the list for these files by name."""
    return _text({name: (sha256(data),) for name, data in files.items()})


def check_sum(
    folder: Path, name: str, data: bytes, *, mend: str = "restore it from a copy, or start a new run"
) -> None:
    """Refuse bytes that are not those of the file `name` in a run's list; one that it does not name may be anything.

    Raises:
        UserError: they differ.
    """
    listed = read_sums(folder) or {}
    if name in listed and sha256(data) not in listed[name]:
        raise UserError("the file is damaged, or was changed by hand", where=str(folder / name), mend=mend)


def read_sums(folder: Path) -> dict[str, tuple[str, ...]] | None:
    """Return the checksums of a run's files by name; None where it keeps no list.

    Raises:
        UserError: the list is damaged.
    """
    path = folder / CHECKSUMS
    try:
        with user_errors(path), path.open("rb") as file:
            text = file.read(LONGEST)
    except UserError:
        if path.exists():
            raise
        return None
    found: dict[str, tuple[str, ...]] = {}
    lines = text.split(b"\n")
    for line in lines[:-1]:
        digest, _, name = line.decode("ascii", "replace").partition("  ")
        if len(digest) != 64 or not name:
            break
        found[name] = (*found.get(name, ()), digest)
    else:
        if found and not lines[-1]:
            return found
    raise UserError("the list of checksums is damaged", where=str(path), mend="restore it from a copy")


def write_sums(folder: Path, sums: Mapping[str, Sequence[str]]) -> None:
    """Replace the list."""
    write_atomic(folder / CHECKSUMS, _text(sums))


def replace_file(folder: Path, name: str, data: bytes) -> None:
    """Replace a file that the list names, so that it fits the list at every moment."""
    listed = read_sums(folder) or {}
    write_sums(folder, {**listed, name: (*listed.get(name, ())[-1:], sha256(data))})
    write_atomic(folder / name, data)
    write_sums(folder, {**listed, name: (sha256(data),)})


def _text(sums: Mapping[str, Sequence[str]]) -> bytes:
    return "".join(f"{digest}  {name}\n" for name, digests in sums.items() for digest in digests).encode()
