"""What several updates lost on average, whatever each of them computed."""

from __future__ import annotations

from collections.abc import Mapping

import torch


class MeanLosses:
    """Sums of losses by name, on their device: no update waits for a number to be read."""

    def __init__(self) -> None:
        self._sums: dict[str, torch.Tensor] = {}
        self._counts: dict[str, int] = {}

    def add(self, losses: Mapping[str, torch.Tensor]) -> None:
        """Take in the losses of one update; the policy's are not in every one."""
        for name, value in losses.items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value
            self._counts[name] = self._counts.get(name, 0) + 1

    def merge(self, losses: MeanLosses) -> None:
        """Take in what another has, as it is now."""
        for name, value in losses._sums.items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value.clone()
            self._counts[name] = self._counts.get(name, 0) + losses._counts[name]

    def means(self) -> dict[str, float]:
        """Return each loss's mean over the updates that computed it."""
        return {name: float(total) / self._counts[name] for name, total in self._sums.items()}
