"""Finds Minari data sets by their name or folder. Those in HDF5 are read as any HDF5 file, others through Minari."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mql.data import hdf5
from mql.data.logged import Column
from mql.data.table import Budget, Table, check_inside, numbers
from mql.errors import UserError, missing_package, told

SCHEME = "minari:"
_HDF5 = "main_data.hdf5"


@dataclass(frozen=True)
class _MemoryTable(Table):
    arrays: Mapping[str, Any] = field(default_factory=dict)

    def load(self, names: Sequence[str], texts: Sequence[str] = ()) -> dict[str, Column]:
        wanted = dict.fromkeys((*names, *texts))
        return {name: numbers(np.asarray(self.arrays[name]), where=f"{self.where} {name}") for name in wanted}


def is_data_set(folder: Path) -> bool:
    """Tell whether a folder is a Minari data set, or its ``data`` folder."""
    return _inner(folder) is not None


def folder_of(name: str) -> Path:
    """Return the folder of a data set of this machine by its name, such as ``D4RL/pointmaze/umaze-v2``.

    Raises:
        UserError: it was not downloaded, or minari is missing.
    """
    try:
        from minari.storage.datasets_root_dir import get_dataset_path
    except ImportError:
        raise missing_package("minari", where=SCHEME + name) from None
    folder = Path(get_dataset_path(name))
    if _inner(folder) is None:
        mend = f"download it with 'minari download {name}', or set MINARI_DATASETS_PATH"
        raise UserError("this machine has no such data set", where=SCHEME + name, mend=mend)
    return folder


def tables(folder: Path, budget: Budget) -> Iterator[Table]:
    """Yield the episodes of a data set.

    Raises:
        UserError: it is damaged; or a package that it needs is missing.
    """
    data = _inner(folder)
    assert data is not None
    for file in (data, *sorted(data.rglob("*"))):
        check_inside(file, folder)
    if (data / _HDF5).is_file():
        yield from hdf5.tables(data / _HDF5, budget)
        return
    try:
        from minari import MinariDataset
    except ImportError:
        raise missing_package("minari", where=str(folder)) from None
    for file in sorted(data.rglob("*")):
        if file.is_file():
            budget.take(file.stat().st_size, str(file))
    try:
        for episode in MinariDataset(data).iterate_episodes():
            arrays: dict[str, Any] = {}
            for name in ("observations", "actions", "rewards", "terminations", "truncations"):
                _flatten(name, getattr(episode, name), arrays)
            yield _MemoryTable(str(folder), tuple(arrays), str(episode.id), {}, arrays)
    except UserError:
        raise
    except ImportError as error:
        raise missing_package(str(error.name or "pyarrow"), where=str(folder)) from None
    except Exception as error:  # whatever Minari and the packages below it say of a damaged one
        raise UserError(f"it can't be read ({told(error)})", where=str(folder), mend="download it again") from None


def _inner(folder: Path) -> Path | None:
    """Return the folder that holds the data."""
    for inner in (folder / "data", folder):
        if (inner / _HDF5).is_file() or (inner / "metadata.json").is_file():
            return inner
    return None


def _flatten(name: str, value: Any, into: dict[str, Any]) -> None:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            _flatten(f"{name}/{key}", inner, into)
    elif isinstance(value, tuple):
        for place, inner in enumerate(value):
            _flatten(f"{name}/{place}", inner, into)
    else:
        into[name] = value
