"""What a reader finds in a file, before anything is made of it: named columns, and how large they may be."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mql.data.logged import Column
from mql.errors import UserError, nearest
from mql.plain_text import counted
from mql.types import JSON

MAX_BYTES = 2 * 1024**3  # of the arrays of one file, uncompressed


class Budget:
    """How many bytes may still be read; a file says how large its arrays are before they are read."""

    def __init__(self, max_bytes: int) -> None:
        self.all = self._left = max_bytes

    def take(self, size: int, where: str) -> None:
        """Count `size` bytes. Raises UserError where they are too many."""
        self._left -= size
        if self._left < 0:
            what = f"more than {_megabytes(self.all)} of data"
            mend = "split the file, or raise the limit (--max-mb)"
            raise UserError(what, where=where, mend=mend)


def _megabytes(size: int) -> str:
    return f"{size / 1024**2:,.0f} MB" if size >= 1024**2 else f"{size:,} bytes"


@dataclass(frozen=True)
class Table(ABC):
    """Columns of one file, or of one episode in it; they are read when they are asked for.

    Args:
        file: the path, for messages.
        names: of all columns.
        episode: the episode's name; None: the rows may belong to several.
        facts: what stands beside the columns: ``terminated``, ``truncated``, ``success``, ``task`` (a mapping).
    """

    file: str
    names: tuple[str, ...]
    episode: str | None = None
    facts: Mapping[str, JSON] = field(default_factory=dict)

    @abstractmethod
    def load(self, names: Sequence[str], texts: Sequence[str] = ()) -> dict[str, Column]:
        """Read some columns: `names` as numbers [n, ...], `texts` as numbers or texts [n].

        Raises:
            UserError: a column is damaged, too large, or holds no numbers.
        """

    @property
    def where(self) -> str:
        """What messages call it."""
        return self.file if self.episode is None else f"{self.file} episode {self.episode}"

    def missing(self, name: str, *, where: str) -> UserError:
        """Return the error that says that there is no such column."""
        names = [known for known in self.names if not known.startswith(f"{name}/")]
        inner = [known for known in self.names if known.startswith(f"{name}/")]
        if inner:
            mend = f"name what you need of it, such as {', '.join(inner[:3])}"
            return UserError(f"{name!r} is a group of {counted(len(inner), 'column')}", where=where, mend=mend)
        return UserError(f"there is no column {name!r} in {self.where}", where=where, mend=nearest(name, names))


def check_inside(file: Path, folder: Path) -> None:
    """Refuse a file of a data set that is a link to somewhere else.

    Raises:
        UserError: it is.
    """
    try:
        inside = file.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError):  # links that lead in a circle
        inside = False
    if not inside:
        mend = "a data set reads nothing outside its folder; copy it with what its links lead to (cp -rL)"
        raise UserError("the file is a link that leads outside", where=str(file), mend=mend)


def numbers(values: npt.NDArray[np.generic], *, where: str) -> Column:
    """Return an array of numbers as it is. Raises UserError where it holds something else."""
    if values.dtype.kind not in "fiub" or values.dtype.itemsize > 8:
        raise not_numbers(values.dtype, where=where)
    return values


def not_numbers(dtype: np.dtype[np.generic], *, where: str) -> UserError:
    """Return the error about an array whose dtype is none of numbers."""
    kinds = {"O": "Python objects or texts", "U": "texts", "S": "texts", "c": "complex numbers", "V": "records"}
    what = f"it holds {kinds.get(dtype.kind, f'values of type {dtype}')}, not numbers"
    return UserError(what, where=where, mend="store it as float32 or float64")
