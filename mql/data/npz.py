"""Reads NPZ files. Nothing is unpickled, and an array's size is known and allowed before a byte of it is read."""

from __future__ import annotations

import json
import math
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

from mql.data.logged import Column
from mql.data.table import Budget, Table, not_numbers, numbers
from mql.data.tree import episodes_in, facts_of
from mql.errors import UserError, told

_MOST_ARRAYS = 200_000
_SUFFIX = ".npy"
_LONGEST_TEXT = 100_000  # bytes of a text


@dataclass(frozen=True)
class _Archive:
    """An open NPZ file."""

    zip: zipfile.ZipFile
    file: str
    budget: Budget

    def read(self, name: str, where: str) -> Column:
        """Return an array, whose header was compared with its size first."""
        try:
            with self.zip.open(name + _SUFFIX) as member:
                shape, fortran, dtype = _header(member, where)
                size = math.prod(shape) * dtype.itemsize
                if dtype.hasobject:
                    raise _pickled(where)
                if dtype.kind not in "fiubUS":
                    raise not_numbers(dtype, where=where)
                left = self.zip.getinfo(name + _SUFFIX).file_size - member.tell()
                if size != left:
                    what = f"its header announces {size:,} bytes, and there are {left:,}"
                    raise UserError(what, where=where, mend="write the file again")
                self.budget.take(size, where)
                data = member.read(size)
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError) as error:
            raise UserError(f"the array is damaged ({told(error)})", where=where, mend="write the file again") from None
        if len(data) != size:
            raise UserError("the array is cut off", where=where, mend="write the file again")
        return cast(Column, np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C"))


@dataclass(frozen=True)
class _NpzTable(Table):
    archive: _Archive | None = None
    prefix: str = ""

    def load(self, names: Sequence[str], texts: Sequence[str] = ()) -> dict[str, Column]:
        assert self.archive is not None
        found = {
            name: self.archive.read(self.prefix + name, f"{self.where} {name}")
            for name in dict.fromkeys((*names, *texts))
        }
        return {
            name: values if name in texts else numbers(values, where=f"{self.where} {name}")
            for name, values in found.items()
        }


def tables(path: Path, budget: Budget) -> Iterator[Table]:
    """Yield the episodes of an NPZ file; each must be used before the next.

    Raises:
        UserError: the file is damaged, too large, or holds Python objects.
    """
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        what = f"not an NPZ file, or cut off ({told(error)})"
        raise UserError(what, where=str(path), mend="write it with numpy.savez_compressed") from None
    with archive:
        _check(archive, path, budget)
        known = _Archive(archive, str(path), budget)
        names = [info.filename.removesuffix(_SUFFIX) for info in archive.infolist()]
        for episode, prefix, columns in episodes_in(names):
            where = str(path) if episode is None else f"{path} episode {episode}"
            facts = {}
            for key in facts_of(columns):
                value = known.read(prefix + key, f"{where} {key}")
                facts[key] = _fact(key, value, where)
            yield _NpzTable(str(path), columns, episode, facts, known, prefix)


def _check(archive: zipfile.ZipFile, path: Path, budget: Budget) -> None:
    """Refuse what is no archive of arrays, and one that grows too large, before anything is read."""
    infos = archive.infolist()
    if not infos or len(infos) > _MOST_ARRAYS:
        what = f"{len(infos):,} arrays in one file" if infos else "there is nothing in the file"
        raise UserError(what, where=str(path), mend="write it with numpy.savez_compressed")
    if len({info.filename for info in infos}) != len(infos):
        raise UserError("two arrays have the same name", where=str(path), mend="write the file again")
    for info in infos:
        where = f"{path} {info.filename.removesuffix(_SUFFIX)}"
        if not info.filename.endswith(_SUFFIX):
            mend = "an NPZ file holds .npy arrays only; write it with numpy.savez_compressed"
            raise UserError(f"{info.filename[:60]!r} is no array", where=str(path), mend=mend)
        if info.flag_bits & 1 or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            mend = "write it with numpy.savez_compressed"
            raise UserError("the array is encrypted, or compressed in an unknown way", where=where, mend=mend)
    total = Budget(budget.all)
    for info in infos:
        total.take(info.file_size, f"{path} {info.filename.removesuffix(_SUFFIX)}")


def _header(member: IO[bytes], where: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    try:
        version = np.lib.format.read_magic(member)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        return read(member)
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError, OverflowError) as error:
        raise UserError(f"not an array ({told(error)})", where=where, mend="write the file again") from None


def _pickled(where: str) -> UserError:
    what = "it holds pickled Python objects, which are not read: they could run anything"
    return UserError(what, where=where, mend="store plain numbers (numpy.asarray(values, dtype='float32'))")


def _fact(key: str, value: Column, where: str) -> Any:
    """Return a truth value, or the values of task parameters from their JSON."""
    if key != "task":
        return value
    return task_of(str(value.item()) if value.shape == () and value.dtype.kind == "U" else "", where)


def task_of(text: str, where: str) -> dict[str, Any]:
    """Read the values of task parameters from JSON. Raises UserError where they are none."""
    try:
        found = json.loads(text) if len(text) <= _LONGEST_TEXT else None
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        mend = """write JSON, such as '{"payload": 1.5}'"""
        raise UserError("the task parameters can't be read", where=f"{where} task", mend=mend)
    return found
