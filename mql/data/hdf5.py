"""Reads HDF5 files, Minari's and robomimic's among them. What would lead out of the file, or run code, is refused.

That is: links and data in other files, virtual datasets, references to objects, and filters that HDF5 would load from
a plugin. A dataset's size is allowed before a byte of it is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mql.data.logged import Column
from mql.data.npz import task_of
from mql.data.table import Budget, Table, not_numbers, numbers
from mql.data.tree import episodes_in
from mql.errors import UserError, missing_package, told

_MOST_OBJECTS = 500_000
_DEEPEST = 8
_LONGEST_TEXT = 100_000
# Filters that the library itself holds: deflate, shuffle, fletcher32, szip, nbit, scaleoffset, and h5py's lzf.
_OWN_FILTERS = {1, 2, 3, 4, 5, 6, 32000}
_FLAGS = ("terminated", "truncated", "success")
_ERRORS = (OSError, RuntimeError, ValueError, KeyError, TypeError, OverflowError, MemoryError)


@dataclass(frozen=True)
class _Hdf5Table(Table):
    group: Any = None
    budget: Budget | None = None

    def load(self, names: Sequence[str], texts: Sequence[str] = ()) -> dict[str, Column]:
        assert self.budget is not None
        return {
            name: _read(self.group, name, self.budget, f"{self.where} {name}", text=name in texts)
            for name in dict.fromkeys((*names, *texts))
        }


def tables(path: Path, budget: Budget) -> Iterator[Table]:
    """Yield the episodes of an HDF5 file; each must be used before the next.

    Raises:
        UserError: the file is damaged, too large, or holds what is refused; or h5py is missing.
    """
    try:
        import h5py
    except ImportError:
        raise missing_package("h5py", where=str(path)) from None

    try:
        file = h5py.File(path, "r")
    except _ERRORS as error:
        what = f"not an HDF5 file, or cut off ({told(error)})"
        raise UserError(what, where=str(path), mend="write it again, and close the file at the end") from None
    with file:
        names: list[str] = []
        _walk(file, "", names, [0], str(path))
        for episode, prefix, columns in episodes_in(names):
            where = str(path) if episode is None else f"{path} episode {episode}"
            group = file[prefix] if prefix else file
            yield _Hdf5Table(str(path), columns, episode, _facts(group, where), group, budget)


def _walk(group: Any, above: str, names: list[str], seen: list[int], file: str, depth: int = 0) -> None:
    """Note the names of all datasets below a group."""
    import h5py

    if depth > _DEEPEST:
        raise UserError("groups are nested too deeply", where=f"{file} {above}", mend=f"use at most {_DEEPEST} levels")
    try:
        keys = list(group)
    except _ERRORS as error:
        raise _damaged(error, f"{file} {above}") from None
    for key in keys:
        where = f"{file} {above}{key}"
        seen[0] += 1
        if seen[0] > _MOST_OBJECTS:
            raise UserError(f"more than {_MOST_OBJECTS:,} datasets and groups", where=file, mend="split the file")
        try:
            link = group.get(key, getlink=True)
            if not isinstance(link, h5py.HardLink):
                kind = "a link to another file" if isinstance(link, h5py.ExternalLink) else "a soft link"
                raise UserError(f"it is {kind}, which is not followed", where=where, mend="store the data itself")
            found = group[key]
        except _ERRORS as error:
            raise _damaged(error, where) from None
        if isinstance(found, h5py.Group):
            _walk(found, f"{above}{key}/", names, seen, file, depth + 1)
        elif isinstance(found, h5py.Dataset):
            names.append(f"{above}{key}")


def _read(group: Any, name: str, budget: Budget, where: str, *, text: bool) -> Column:
    """Return a dataset, after all that is known without reading it was found to be harmless."""
    import h5py

    try:
        dataset = group[name]
        dtype = dataset.dtype
        if text and h5py.check_string_dtype(dtype) is not None:
            return _texts(dataset, budget, where)
        if dtype.hasobject:
            raise not_numbers(dtype, where=where)
        if dataset.is_virtual or dataset.external:
            raise UserError(
                "its data are in another file, which is not read", where=where, mend="store the data itself"
            )
        _check_filters(dataset, where)
        numbers(np.empty(0, dtype), where=where)
        if dataset.shape is None:
            raise UserError("the dataset is empty", where=where, mend="store the data")
        budget.take(int(dataset.size) * dtype.itemsize, where)
        values = dataset[()]
    except _ERRORS as error:
        raise _damaged(error, where) from None
    return np.asarray(values)


def _texts(dataset: Any, budget: Budget, where: str) -> Column:
    _check_filters(dataset, where)
    if dataset.is_virtual or dataset.external or dataset.size * 64 > _LONGEST_TEXT * 64:
        raise UserError("the texts can't be read", where=where, mend="store numbers")
    budget.take(int(dataset.size) * 64, where)
    return np.asarray(dataset.asstr()[()], dtype=str)


def _check_filters(dataset: Any, where: str) -> None:
    plist = dataset.id.get_create_plist()
    for place in range(plist.get_nfilters()):
        code = plist.get_filter(place)[0]
        if code not in _OWN_FILTERS:
            what = f"it is compressed by filter {code}, which HDF5 would load from a plugin"
            raise UserError(what, where=where, mend="compress with gzip: h5repack -f GZIP=4 IN OUT")


def _facts(group: Any, where: str) -> dict[str, Any]:
    """Return what stands in a group's attributes: truth values, and the values of task parameters as JSON."""
    found: dict[str, Any] = {}
    for key in (*_FLAGS, "task"):
        try:
            if key not in group.attrs:
                continue
            kind = group.attrs.get_id(key).dtype
            size = int(np.prod(group.attrs.get_id(key).shape or (1,)))
            if size > _LONGEST_TEXT:
                raise UserError("the attribute is too large", where=f"{where} {key}", mend="store one value")
            if key == "task":
                text = group.attrs[key] if kind.kind in "OSU" else ""
                text = text.decode() if isinstance(text, bytes) else text
                found[key] = task_of(text if isinstance(text, str) else "", where)
            elif kind.kind in "fiub":
                found[key] = group.attrs[key]
            else:
                raise not_numbers(kind, where=f"{where} {key}")
        except _ERRORS as error:
            raise _damaged(error, f"{where} {key}") from None
    return found


def _damaged(error: Exception, where: str) -> UserError:
    return UserError(f"it can't be read ({told(error)})", where=where, mend="write the file again")
