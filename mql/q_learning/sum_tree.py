"""Weights that rows are drawn in proportion to.

A tree whose nodes have 64 children each: the root of 100,000 rows is three levels away. A node's sum is computed afresh
from its children whenever one of them changed, so no error adds up, and equal weights give equal sums whatever
happened before.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mql.types import IntArray

FloatArray = npt.NDArray[np.float64]
CHILDREN = 64
_BELOW_ONE = np.nextafter(1.0, 0.0)


class SumTree:
    """Weights of `size` rows, 0 at first.

    Args:
        size: the number of rows.
        summed: whether rows are ever looked for; weights alone cost no sums.
    """

    def __init__(self, size: int, *, summed: bool = True) -> None:
        self._size, self._summed = size, summed
        self._levels: list[FloatArray] = []  # [nodes, CHILDREN] each, the rows first, one node last
        while not self._levels or size > 1:
            size = -(-size // CHILDREN)
            self._levels.append(np.zeros((size, CHILDREN)))
        self._rows = self._levels[0].reshape(-1)
        self._changed: list[IntArray] = []  # rows whose nodes' sums are old

    @property
    def weights(self) -> FloatArray:
        """The weights of all rows [size]; not to be written."""
        return self._rows[: self._size]

    def set(self, rows: IntArray | int, weights: FloatArray | float) -> None:
        """Give weights of at least 0 to rows, or to one."""
        self._rows[rows] = weights
        if self._summed:
            self._changed.append(np.atleast_1d(rows))

    def find(self, places: FloatArray) -> IntArray:
        """Return the rows at `places` [B] in [0, 1) of all weights laid end to end.

        Raises:
            ValueError: all weights are 0.
        """
        self._sum_up()
        node = np.zeros(len(places), dtype=np.int64)
        for level in reversed(self._levels):
            ends = level[node].cumsum(axis=1)
            if not ends[0, -1] > 0.0:
                raise ValueError("no row has a weight")
            place = places * ends[:, -1]
            child = (ends <= place[:, None]).sum(axis=1)  # the first one that ends beyond the place, so no empty one
            lane = np.arange(len(places))
            end = ends[lane, child]
            begin = np.where(child > 0, ends[lane, child - 1], 0.0)
            places = np.minimum((place - begin) / (end - begin), _BELOW_ONE)
            node = node * CHILDREN + child
        return node

    def _sum_up(self) -> None:
        if not self._changed:
            return
        nodes = np.concatenate(self._changed) // CHILDREN
        self._changed.clear()
        for below, above in zip(self._levels, self._levels[1:], strict=False):
            above.reshape(-1)[nodes] = below[nodes].sum(axis=1)
            nodes = nodes // CHILDREN
