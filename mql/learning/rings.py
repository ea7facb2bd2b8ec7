"""Where episodes lie in the rings of a replay.

Shapes: S episodes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

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


def zeros(shape: tuple[int, ...], dtype: npt.DTypeLike, device: str) -> torch.Tensor:
    """Return zeros; on the CPU their memory is only taken up where something is written (PyTorch's own are written)."""
    if torch.device(device).type == "cpu":
        return torch.from_numpy(np.zeros(shape, dtype))
    return torch.zeros(shape, dtype=torch.float16 if dtype == np.float16 else torch.float32, device=device)
