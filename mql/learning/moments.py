"""Mean and spread of all that a run has seen so far, number by number, in one pass (Chan et al. 1979)."""

from __future__ import annotations

import torch

from mql.agent.scaling import CONSTANT_SPREAD


class Moments:
    """Of rows with `dim` numbers; in double precision."""

    def __init__(self, dim: int, *, device: torch.device) -> None:
        self.count = torch.zeros((), dtype=torch.float64, device=device)
        self.mean = torch.zeros(dim, dtype=torch.float64, device=device)
        self.squares = torch.zeros_like(self.mean)  # sums of squared distances from the mean

    def add(self, rows: torch.Tensor) -> None:
        """Take up rows [n, dim]."""
        rows = rows.double()
        n, mean = len(rows), rows.mean(dim=0)
        apart, total = mean - self.mean, self.count + n
        self.squares += (rows - mean).square().sum(dim=0) + apart.square() * self.count * n / total
        self.mean += apart * n / total
        self.count += n

    def scale(self) -> torch.Tensor:
        """Return what brings each number to a spread of 1, [dim]; 1 for what does not vary."""
        spread = (self.squares / self.count.clamp(min=1.0)).sqrt()
        constant = spread <= CONSTANT_SPREAD * self.mean.abs().clamp(min=1.0)
        return 1.0 / torch.where(constant, 1.0, spread)

    def named_tensors(self) -> dict[str, torch.Tensor]:
        """What a checkpoint stores."""
        return {"count": self.count, "mean": self.mean, "squares": self.squares}
