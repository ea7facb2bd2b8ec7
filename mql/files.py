"""Writing files so that a killed process, a full disk or a second writer leaves nothing half done.

A file appears under its name only when all its bytes are on the disk: temporary name, fsync, rename, fsync of the
folder. What the operating system refuses becomes a UserError that says how to fix it.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from mql.errors import UserError
from mql.types import JSON

CHECKSUMS = "SHA256SUMS"
TEMPORARY = ".tmp"  # how the names of unfinished files and folders end


@contextmanager
def user_errors(path: Path) -> Iterator[None]:
    """Turn what the operating system refuses at `path` into a UserError that says how to fix it."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            what, mend = "the disk is full", "free some space, then continue with --resume"
        elif error.errno in (errno.EACCES, errno.EPERM):
            what, mend = "no permission", "change the permissions, or choose another location"
        elif error.errno == errno.EROFS:
            what, mend = "the file system is read-only", "choose another location"
        elif error.errno in (errno.EMFILE, errno.ENFILE):
            what, mend = "too many files are open", "allow more (ulimit -n), or use fewer workers"
        elif error.errno == errno.EFBIG:
            what, mend = "the file would be larger than allowed", "allow larger ones (ulimit -f), then use --resume"
        elif error.errno == errno.ENOENT:
            what, mend = (
                "the file or folder is missing",
                "check the path; what a run has lost comes back from a copy",
            )
        else:
            what, mend = f"cannot read or write ({reason})", "check the path and the file system"
        where = str(error.filename or path)
        where = str(path) if TEMPORARY in where else where  # a temporary name says nothing to the user
        raise UserError(what, where=where, mend=mend) from error


def write_file(path: Path, data: bytes) -> None:
    """Write a new file and wait until it is on the disk. An error leaves no part of it."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    try:
        _write_all(descriptor, data)
        os.fsync(descriptor)
    except BaseException:
        with suppress(OSError):
            os.unlink(path)
        raise
    finally:
        os.close(descriptor)


def copy_file(source: Path, path: Path) -> None:
    """Copy a file to a new one and wait until it is on the disk."""
    shutil.copyfile(source, path)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomic(path: Path, data: bytes) -> None:
    """Write or replace a file: at any moment its name stands for all old or all new bytes."""
    temporary = path.with_name(path.name + TEMPORARY)
    write_file(temporary, data)
    try:
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise
    sync_folder(path.parent)


def append_line(path: Path, line: bytes) -> None:
    """Append `line` and wait until it is on the disk. An error takes back what was written of it."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    try:
        size = os.fstat(descriptor).st_size
        try:
            _write_all(descriptor, line)
            os.fsync(descriptor)
        except BaseException:
            with suppress(OSError):
                os.ftruncate(descriptor, size)
            raise
    finally:
        os.close(descriptor)


def cut_file(path: Path, length: int) -> None:
    """Cut a file to its first `length` bytes and wait until that is on the disk."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    try:
        os.ftruncate(descriptor, length)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(path: Path) -> None:
    """Wait until the names in a folder are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def check_free(path: Path, *, mend: str) -> None:
    """Refuse a path at which something stands (an empty folder does not count), or where nothing may be written."""
    with user_errors(path):
        if os.path.lexists(path) and not (path.is_dir() and not any(path.iterdir())):
            raise UserError("the path already exists", where=str(path), mend=mend)
        above = next((folder for folder in Path(os.path.abspath(path)).parents if folder.exists()), Path("/"))
        if not os.access(above, os.W_OK | os.X_OK):
            raise UserError("no permission to write", where=str(above), mend=mend)


def write_folder(path: Path, files: Mapping[str, bytes]) -> None:
    """Write a new folder with these files by relative path and, in ``SHA256SUMS``, a checksum of each.

    It appears under its name when it is complete; an error leaves nothing of it. ``sha256sum -c SHA256SUMS`` checks it.

    Raises:
        UserError: something stands at `path`, or it can't be written.
    """
    path = Path(os.path.abspath(path))
    check_free(path, mend="choose another folder")
    sums = "".join(f"{sha256(data)}  {name}\n" for name, data in files.items())
    # A name of its own: what others write at the same time, or a folder that the user calls so, stays.
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(8)}{TEMPORARY}")
    with user_errors(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            unfinished.mkdir()
            for name, data in {**files, CHECKSUMS: sums.encode()}.items():
                (unfinished / name).parent.mkdir(parents=True, exist_ok=True)
                write_file(unfinished / name, data)
            for folder in (*(each for each in unfinished.rglob("*") if each.is_dir()), unfinished):
                sync_folder(folder)
            os.rename(unfinished, path)
            sync_folder(path.parent)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise


def read_from_folder(path: Path, name: str) -> bytes:
    """Read a file of a folder that `write_folder` wrote.

    Raises:
        UserError: it is missing, no file of that folder, or differs from its checksum in any byte.
    """
    mend = "restore it from a copy, or save the agent again"
    with user_errors(path / name):
        for each in (name, CHECKSUMS):
            if (path / each).exists() and not ((path / each).is_file() and not (path / each).is_symlink()):
                raise UserError("this is no file of the folder's own", where=str(path / each), mend=mend)
        data, sums = (path / name).read_bytes(), (path / CHECKSUMS).read_bytes()
    if f"{sha256(data)}  {name}".encode() not in sums.splitlines():
        raise UserError("the file is damaged", where=str(path / name), mend=mend)
    return data


def read_facts_from_folder(path: Path, name: str) -> dict[str, Any]:
    """Read a file of a folder that `write_folder` wrote, which is one JSON object. Raises UserError as that does."""
    data = read_from_folder(path, name)
    try:
        facts = json.loads(data)
    except (ValueError, RecursionError):
        facts = None
    if not isinstance(facts, dict):
        raise UserError("the file is no JSON object", where=str(path / name), mend="save the agent again")
    return facts


def remove_folder(path: Path) -> None:
    """Remove a folder; from the first moment on it no longer stands under its name."""
    if not path.name.endswith(TEMPORARY):
        unfinished = path.with_name(path.name + TEMPORARY)
        shutil.rmtree(unfinished, ignore_errors=True)
        os.rename(path, unfinished)
        path = unfinished
    shutil.rmtree(path)


def remove_unfinished(folder: Path) -> None:
    """Remove what a killed process left under temporary names in `folder`."""
    for path in sorted(folder.glob("*" + TEMPORARY)):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def sha256(data: bytes) -> str:
    """Hexadecimal SHA-256 of some bytes."""
    return hashlib.sha256(data).hexdigest()


def file_sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file, read piece by piece."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def to_json(value: JSON, *, indent: int | None = None) -> bytes:
    """Write strict JSON: numpy values become plain ones, and numbers that are not finite become null."""
    return json.dumps(_plain(value), allow_nan=False, indent=indent).encode() + b"\n"


def as_data(values: Mapping[str, JSON]) -> dict[str, JSON]:
    """Return named values as `to_json` would write them and JSON give them back."""
    return {str(name): _plain(value) for name, value in values.items()}


def read_json(path: Path) -> Any:
    """Read a JSON file. Raises UserError where it is missing or damaged."""
    with user_errors(path):
        data = path.read_bytes()
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        mend = "restore it from a copy, or start the run again"
        raise UserError("the file is damaged", where=str(path), mend=mend) from None


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """Read one JSON object per line; a last line without its end was cut off by a kill and does not count."""
    with user_errors(path):
        lines = path.read_bytes().split(b"\n")
    records = []
    for number, line in enumerate(lines[:-1], start=1):
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            record = None
        if not isinstance(record, dict):
            mend = "delete the line, or restore the file from a copy"
            raise UserError("the line is not a JSON object", where=f"{path}:{number}", mend=mend)
        records.append(record)
    return records


def _write_all(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _plain(value: JSON) -> JSON:
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value
