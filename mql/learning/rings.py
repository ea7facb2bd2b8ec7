"""Where episodes lie in the rings of a replay.

Shapes: S episodes.
"""

from __future__ import annotations

import math
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from mql.files import user_errors
from mql.types import IntArray


@dataclass(frozen=True)
class EpisodeRows:
    """Where episodes lie: the table row [S] at which the ring begins, and the ring position [S] of the first step."""

    ring: IntArray
    start: IntArray
    size: int

    def rows(self, steps: IntArray) -> IntArray:
        """Table rows of steps [..., S], at most `size` of them: the ring is circular."""
        place: IntArray = self.start + steps
        np.subtract(place, self.size, out=place, where=place >= self.size)
        place += self.ring
        return place


def zeros(
    shape: tuple[int, ...], dtype: npt.DTypeLike, device: str, folder: str | os.PathLike[str] | None = None
) -> torch.Tensor:
    """Return zeros; on the CPU their memory is only taken up where something is written (PyTorch's own are written).

    Args:
        folder: where a file holds them instead of memory. Its room is taken at once: a disk that fills up later would
            end the process. It has no name, and is gone with the tensor.

    Raises:
        UserError: the file can't be made, or the disk has no room for it.
    """
    nbytes = math.prod(shape) * np.dtype(dtype).itemsize
    if folder is not None and nbytes:
        with user_errors(Path(folder)), tempfile.TemporaryFile(dir=folder) as file:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, nbytes)
            file.truncate(nbytes)
            return torch.from_numpy(np.memmap(file, dtype, "r+", shape=shape))
    if torch.device(device).type == "cpu":
        return torch.from_numpy(np.zeros(shape, dtype))
    return torch.zeros(shape, dtype=torch.float16 if dtype == np.float16 else torch.float32, device=device)
