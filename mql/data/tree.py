"""The layout that NPZ and HDF5 files share: a folder, or group, of columns for each episode.

``episode_0/obs``, ``episode_0/action``, ``episode_0/reward``, ``episode_1/obs`` and so on; also ``data/demo_0/obs`` as
robomimic writes it. A file whose columns stand at the top is one episode, or several where a column counts them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

_EPISODE = re.compile(r"(?:data/)?((?:episode|demo|trajectory|traj|ep)[_-]?(\d{1,9}))/(.+)")
# Small facts of a whole episode that are stored as arrays beside its columns.
_FACTS = ("task",)


def episodes_in(names: Iterable[str]) -> Iterator[tuple[str | None, str, tuple[str, ...]]]:
    """Yield (episode's name, prefix, its columns' names) of what a file holds; one without a name is the whole file.

    Episodes come in the order of their numbers.
    """
    known: dict[tuple[int, str], tuple[str, list[str]]] = {}
    top = []
    for name in names:
        match = _EPISODE.fullmatch(name)
        if match is None:
            top.append(name)
            continue
        prefix = name[: -len(match[3])]
        known.setdefault((int(match[2]), prefix), (match[1], []))[1].append(match[3])
    if not known:
        yield None, "", tuple(top)
    for (number, prefix), (_, columns) in sorted(known.items()):
        yield str(number), prefix, tuple(columns)


def facts_of(columns: Sequence[str]) -> list[str]:
    """Return which of an episode's columns are facts."""
    return [name for name in columns if name in _FACTS]
