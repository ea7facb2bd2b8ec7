"""n-step returns (Sutton 1988): rewards of several steps are summed before a critic is asked what follows.

A return ends where its episode does. After a termination nothing follows; at a time limit, what follows is read at the
final observation, with the discount of the steps there were.

Shapes: B transitions; n steps; S context sequences of elements of C numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from mql.types import IntArray


@dataclass(frozen=True)
class NStep:
    """Returns over up to `n` steps, a later reward multiplied by `discount` for each step."""

    n: int
    discount: float

    def steps(self, remaining: npt.NDArray[np.integer]) -> IntArray:
        """Return the steps k, of any shape, that returns have whose episodes go on for `remaining` steps."""
        steps: IntArray = np.minimum(remaining, self.n).astype(np.int64)
        return steps

    def terms(self, steps: IntArray) -> tuple[IntArray, npt.NDArray[np.float64]]:
        """Return by how many steps the rewards [n, B] of returns over `steps` [B] are later, and their factors.

        Those past a return's end count 0 and stand at its last step.
        """
        place = np.arange(self.n)[:, None]
        factors = np.where(place < steps, self.discount**place, 0.0)
        return np.minimum(place, steps - 1), factors

    def discounts(self, steps: IntArray) -> npt.NDArray[np.float64]:
        """Return the factors on the values that follow returns over `steps`."""
        return np.power(self.discount, steps)


def steps_ahead(n_step: NStep | None, remaining: IntArray) -> tuple[IntArray, int]:
    """Return how many steps ahead the states of targets lie, and the most that these may be: 1 without `n_step`."""
    return (np.ones_like(remaining), 1) if n_step is None else (n_step.steps(remaining), n_step.n)


def window_to(elements: torch.Tensor, ahead: torch.Tensor, length: int) -> torch.Tensor:
    """Return the `length` elements [length, S, C] that end `ahead` [S] steps after the first window of `elements`."""
    places = torch.arange(length, device=elements.device)[:, None] + ahead
    return elements.gather(0, places[:, :, None].expand(-1, -1, elements.shape[2]))
