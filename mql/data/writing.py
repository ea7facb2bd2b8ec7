"""Writes logged episodes in the layouts of docs/own-data.md: NPZ and HDF5 bit for bit, CSV in decimal digits that give
the same numbers back.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mql.data.logged import Column, LoggedEpisode
from mql.errors import UserError, missing_package
from mql.files import user_errors, write_atomic
from mql.plain_text import counted
from mql.types import JSON

_WORTH_PACKING = 2**16  # bytes of a column: packing has a price of its own


def write(path: Path, episodes: Sequence[LoggedEpisode]) -> None:
    """Write episodes to a file, whose suffix chooses the layout: .npz, .h5 (or .hdf5), or .csv.

    Raises:
        UserError: another suffix, nothing to write, a CSV file that can't say it, or no permission; an error leaves
            nothing of the file.
    """
    make = _FORMATS.get(path.suffix.lower())
    if make is None:
        what, mend = f"can't write {path.suffix or 'a file without a suffix'!r}", "give a name in .npz, .h5 or .csv"
        raise UserError(what, where=str(path), mend=mend)
    if not episodes:
        raise UserError("there are no episodes to write", where=str(path), mend="give a file that holds some")
    data = make(path, episodes)
    with user_errors(path):
        write_atomic(path, data)


def _npz(path: Path, episodes: Sequence[LoggedEpisode]) -> bytes:
    arrays: dict[str, Any] = {}
    for name, episode in _named(episodes):
        arrays |= {f"episode_{name}/{key}": values for key, values in _columns(episode).items()}
        arrays |= {f"episode_{name}/{key}": np.asarray(value) for key, value in _facts(episode).items()}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def _hdf5(path: Path, episodes: Sequence[LoggedEpisode]) -> bytes:
    try:
        import h5py
    except ImportError:
        raise missing_package("h5py", where=str(path)) from None

    buffer = io.BytesIO()
    with h5py.File(buffer, "w", libver=("v110", "v110")) as file:
        for name, episode in _named(episodes):
            group = file.create_group(f"episode_{name}")
            for key, values in _columns(episode).items():
                packed = {"compression": "gzip", "shuffle": True} if values.nbytes > _WORTH_PACKING else {}
                group.create_dataset(key, data=values, **packed)
            for key, value in _facts(episode).items():
                group.attrs[key] = value
    return buffer.getvalue()


def _csv(path: Path, episodes: Sequence[LoggedEpisode]) -> bytes:
    widths: dict[str, int] = {}
    tasks: dict[str, None] = {}
    flags: dict[str, None] = {}
    for episode in episodes:
        columns = {key: values for key, values in _columns(episode).items() if values is not None}
        for key, values in columns.items():
            wide = 0 if values.ndim == 1 else values.shape[1]
            if widths.setdefault(key, wide) != wide:
                what = f"{key} has {counted(wide, 'value')} in a step, and {widths[key]} in other episodes"
                raise UserError(what, where=episode.where(), mend="write a .npz or .h5 file, or two files")
        tasks |= dict.fromkeys(episode.task or {})
        flags |= dict.fromkeys(key for key in _facts(episode) if key != "task")
    header = ["episode", *(column for key, wide in widths.items() for column in _heads(key, wide))]
    header += [*flags, *(f"task.{name}" for name in tasks)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    for name, episode in _named(episodes):
        known, facts = _columns(episode), _facts(episode)
        for row in range(episode.length + 1):
            cells: list[str] = [name]
            for key, wide in widths.items():
                cells += _cells(known.get(key), row, max(wide, 1))
            last = row >= episode.length - 1
            cells += ["" if key not in facts else str(int(facts[key] and last)) for key in flags]
            task = episode.task or {}
            cells += [_cell(task[key]) if key in task else "" for key in tasks]
            writer.writerow(cells)
    return text.getvalue().encode()


_FORMATS: Mapping[str, Callable[[Path, Sequence[LoggedEpisode]], bytes]] = {
    ".npz": _npz,
    ".h5": _hdf5,
    ".hdf5": _hdf5,
    ".csv": _csv,
}


def _named(episodes: Sequence[LoggedEpisode]) -> Iterator[tuple[str, LoggedEpisode]]:
    """Yield (number, episode): their own numbers where all have one, else their places."""
    names = [episode.name for episode in episodes]
    own = all(name.isascii() and name.isdigit() and len(name) < 10 for name in names) and len(set(names)) == len(names)
    for place, episode in enumerate(episodes):
        yield (episode.name if own else str(place)), episode


def _columns(episode: LoggedEpisode) -> dict[str, Column]:
    found = {key: getattr(episode, key) for key in ("time", "obs", "action", "reward")}
    signals = {f"signals/{name}": values for name, values in episode.signals.items()}
    return {key: values for key, values in {**found, **signals}.items() if values is not None}


def _facts(episode: LoggedEpisode) -> dict[str, JSON]:
    found: dict[str, JSON] = {"terminated": episode.terminated, "truncated": episode.truncated}
    if episode.success is not None:
        found["success"] = episode.success
    if episode.task is not None:
        found["task"] = json.dumps(dict(episode.task))
    return found


def _heads(key: str, wide: int) -> list[str]:
    stem = key.replace("signals/", "signals.")
    return [f"{stem}_{place}" for place in range(wide)] if wide else [stem]


def _cells(values: Column | None, row: int, wide: int) -> list[str]:
    if values is None or row >= len(values):
        return [""] * wide
    return [_cell(value) for value in np.atleast_1d(values[row]).tolist()]


def _cell(value: Any) -> str:
    if isinstance(value, list | tuple):
        return json.dumps(list(value))
    return repr(value) if isinstance(value, float) else str(value)
