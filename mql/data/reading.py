"""Reads episodes that were recorded elsewhere, whatever the kind of the file."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from mql.data import csv_file, hdf5, lerobot, minari_sets, npz
from mql.data.assembling import assemble
from mql.data.column_map import Columns, read_columns
from mql.data.logged import LoggedEpisode
from mql.data.table import MAX_BYTES, Budget, Table
from mql.errors import UserError
from mql.files import user_errors

_KINDS = "an NPZ, HDF5, CSV or Parquet file, or the folder of a Minari or LeRobot data set"
# How files begin, and what reads them.
_BEGINNINGS: tuple[tuple[bytes, Callable[[Path, Budget], Iterator[Table]]], ...] = (
    (b"PK\x03\x04", npz.tables),
    (b"PK\x05\x06", npz.tables),
    (b"\x89HDF\r\n\x1a\n", hdf5.tables),
    (b"PAR1", lerobot.tables),
)
_SUFFIXES = {
    ".npz": npz.tables,
    ".h5": hdf5.tables,
    ".hdf5": hdf5.tables,
    ".csv": csv_file.tables,
    ".tsv": csv_file.tables,
    ".txt": csv_file.tables,
    ".parquet": lerobot.tables,
}


def read(
    path: str | os.PathLike[str],
    *,
    columns: Columns | str | os.PathLike[str] | None = None,
    max_bytes: int = MAX_BYTES,
) -> list[LoggedEpisode]:
    """Read the episodes of a file or a data set (docs/own-data.md).

    Nothing in the file is executed, no other file is read, and no network is used.

    Args:
        path: an NPZ, HDF5, CSV or Parquet file, the folder of a Minari or LeRobot data set, or ``minari:NAME`` of one
            on this machine.
        columns: a column map, or the YAML file that holds one; None: columns have their usual names.
        max_bytes: of the arrays that are read, uncompressed.

    Raises:
        UserError: the file is none of these, damaged, too large, or its columns don't fit together; or the package
            that reads it is missing. What the numbers themselves say is not judged: `mql.data.checking` does.
    """
    known = columns if isinstance(columns, Columns) or columns is None else read_columns(Path(columns))
    text = os.fspath(path)
    budget = Budget(max_bytes)
    if text.startswith(minari_sets.SCHEME):
        found = minari_sets.tables(minari_sets.folder_of(text.removeprefix(minari_sets.SCHEME)), budget)
    else:
        found = _reader(Path(text))(Path(text), budget)
    episodes: list[LoggedEpisode] = []
    names: set[str] = set()
    with user_errors(Path(text)):
        for table in found:
            for episode in assemble(table, known):
                if episode.name in names:
                    mend = "give every episode its own number"
                    raise UserError("there are two episodes of this name", where=episode.where(), mend=mend)
                names.add(episode.name)
                episodes.append(episode)
    if not episodes:
        raise UserError("there are no episodes in it", where=text, mend="see docs/own-data.md for the layouts")
    return episodes


def _reader(path: Path) -> Callable[[Path, Budget], Iterator[Table]]:
    """Return what reads a file or folder: by what it is, and its suffix only where that doesn't tell."""
    if not os.path.lexists(path):
        raise UserError("no such file", where=str(path), mend="check the path")
    if path.is_dir():
        if minari_sets.is_data_set(path):
            return minari_sets.tables
        if lerobot.is_data_set(path):
            return lerobot.tables
        raise UserError("the folder is no data set", where=str(path), mend=f"give {_KINDS}")
    if not path.is_file():
        raise UserError("this is no file", where=str(path), mend=f"give {_KINDS}")
    with user_errors(path), path.open("rb") as file:
        begins = file.read(16)
    if not begins:
        raise UserError("the file is empty", where=str(path), mend=f"give {_KINDS}")
    for beginning, reader in _BEGINNINGS:
        if begins.startswith(beginning):
            return reader
    if (reader_of_suffix := _SUFFIXES.get(path.suffix.lower())) is not None:
        return reader_of_suffix
    raise UserError("the kind of the file is not known", where=str(path), mend=f"give {_KINDS}")
