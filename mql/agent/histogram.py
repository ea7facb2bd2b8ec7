"""A value as a histogram: which bins there are, what each is worth, and the histogram that stands for a number.

Two ways to learn one. HL-Gauss (Farebrother et al. 2024, arXiv 2403.03950): a target y becomes the probabilities of a
Gaussian around it in the bins, wide by 0.75 of a bin. C51 (Bellemare et al. 2017, arXiv 1707.06887): the target is a
distribution itself, whose atoms are shared out to their neighbours among the bins' middles.

Bins are equally wide in u. With `even` spacing u is the value; with `fine` it is asinh(value / unit), whose bins are
narrow near 0 and at the ends as wide as a part of the value there: small values are told apart beside large ones.

`MARGIN` bins lie beyond the ends of the range on either side, so that a histogram around an end is whole.

Shapes: K bins; any number of leading dimensions.
"""

from __future__ import annotations

import math

import torch
from torch import nn

MARGIN = 3
WIDTH = 0.75  # standard deviation of HL-Gauss, in bins
FINEST = 100.0  # of `fine` spacing: the larger end, in units within which bins are all but equally wide
START, LEAST = 0.5, 10.0  # logarithm by which a bin is less probable at first for each bin of distance from 0; at most


class Bins(nn.Module):
    """K bins over the values from ``low`` to ``high``, which `place` may move.

    ``ends`` are these two, ``edges`` [K+1] are in u. ``worth`` [K] is what each bin counts when a mean is taken: linear
    in the probabilities, so that the mean of several targets' histograms is the mean of the targets.

    Args:
        count: K.
        fine: narrow near 0.
        smooth: for histograms of `around` (HL-Gauss), or else of `shared_out` (C51).
    """

    ends: torch.Tensor
    edges: torch.Tensor
    worth: torch.Tensor
    unit: torch.Tensor
    fitted: torch.Tensor

    def __init__(self, count: int, *, fine: bool, smooth: bool, low: float, high: float) -> None:
        super().__init__()
        self.fine, self.smooth = fine, smooth
        self.register_buffer("ends", torch.zeros(2))
        self.register_buffer("edges", torch.zeros(count + 1))
        self.register_buffer("worth", torch.zeros(count))
        self.register_buffer("unit", torch.ones(()))
        self.register_buffer("fitted", torch.zeros((), dtype=torch.bool))
        self.place(low, high)

    @property
    def low(self) -> float:
        """The lowest value that can be told."""
        return float(self.ends[0])

    @property
    def high(self) -> float:
        """The highest one."""
        return float(self.ends[1])

    def place(self, low: float, high: float) -> None:
        """Lay the bins over the values from `low` to `high`.

        Raises:
            ValueError: there is nothing between them.
        """
        if not low < high:
            raise ValueError(f"values from {low} to {high} leave no room for bins")
        count = len(self.worth)
        self.ends.copy_(torch.tensor([low, high], dtype=torch.float64))
        self.unit.fill_(max(abs(low), abs(high)) / FINEST if self.fine else 1.0)
        ends = self._to_u(torch.tensor([low, high], dtype=torch.float64, device=self.unit.device))
        width = float(ends[1] - ends[0]) / (count - 2 * MARGIN)
        edges = ends[0] + width * torch.arange(-MARGIN, count + 1 - MARGIN, device=self.unit.device)
        self.edges.copy_(edges)
        worth = self._from_u((edges[1:] + edges[:-1]) / 2)
        if self.fine and self.smooth:
            # sinh grows faster on the upper side of a Gaussian, and of a bin, than it falls on the lower one: its mean
            # over both is larger by just this factor.
            spread = math.exp((WIDTH * width) ** 2 / 2) * math.sinh(width / 2) / (width / 2)
            worth = worth / spread
        self.worth.copy_(worth)

    def mean(self, logits: torch.Tensor) -> torch.Tensor:
        """Return the values [...] that logits [..., K] stand for."""
        return torch.softmax(logits, dim=-1) @ self.worth

    def around(self, values: torch.Tensor) -> torch.Tensor:
        """Return the histograms [..., K] of HL-Gauss around values [...], those beyond the ends put there."""
        u = self._to_u(values).clamp(self.edges[MARGIN], self.edges[-1 - MARGIN])
        spread = WIDTH * math.sqrt(2.0) * (self.edges[1] - self.edges[0])
        below = torch.erf((self.edges - u[..., None]) / spread)
        return below.diff(dim=-1) / (below[..., -1:] - below[..., :1])

    def shared_out(self, atoms: torch.Tensor, probabilities: torch.Tensor) -> torch.Tensor:
        """Return the histograms [..., K] in which atoms of `probabilities`, [..., K'] each, go to their neighbours.

        Means are kept, except for atoms beyond the ends, which are put there.
        """
        return shared_out(self.worth, atoms, probabilities)

    def beyond(self, values: torch.Tensor) -> torch.Tensor:
        """Return the part (a scalar) of values [...] that lie beyond the ends, by more than rounding."""
        slack = 1e-4 * (self.ends[1] - self.ends[0])
        return ((values < self.ends[0] - slack) | (values > self.ends[1] + slack)).float().mean()

    def at_first(self) -> torch.Tensor:
        """Return logits [K] of values near 0, or near the end that is nearer to it."""
        nearest = self._to_u(torch.zeros_like(self.unit)).clamp(self.edges[MARGIN], self.edges[-1 - MARGIN])
        middles = (self.edges[1:] + self.edges[:-1]) / 2
        distance = (middles - nearest).abs() / (self.edges[1] - self.edges[0])
        return -(START * distance).clamp(max=LEAST)

    def moved(self, to: Bins) -> tuple[torch.Tensor, torch.Tensor]:
        """Return which of these bins lies at each of the bins of `to`, [K], and what to add to its logit there, [K].

        A distribution stays about what it is. Beyond these bins it falls off, as at first.
        """
        edges, middles = self._from_u(self.edges), (to.edges[1:] + to.edges[:-1]) / 2
        here = (torch.searchsorted(edges, to._from_u(middles)) - 1).clamp(0, len(self.worth) - 1)
        wider = torch.log(to._from_u(to.edges).diff() / edges.diff()[here])
        below, above = to._to_u(edges[0]) - middles, middles - to._to_u(edges[-1])
        outside = below.maximum(above).clamp(min=0.0) / (to.edges[1] - to.edges[0])
        return here, wider - (START * outside).clamp(max=LEAST)

    def _to_u(self, values: torch.Tensor) -> torch.Tensor:
        return torch.asinh(values / self.unit) if self.fine else values

    def _from_u(self, u: torch.Tensor) -> torch.Tensor:
        return torch.sinh(u) * self.unit if self.fine else u


def shared_out(worth: torch.Tensor, atoms: torch.Tensor, probabilities: torch.Tensor) -> torch.Tensor:
    """Return the histograms [..., K] of atoms [..., K'], over bins worth `worth` [K] in rising order.

    Each atom's probability goes to the two bins that it lies between, so that its mean is kept; atoms beyond the ends
    are put there (the projection of C51).
    """
    atoms = atoms.clamp(worth[0], worth[-1])
    above = torch.searchsorted(worth, atoms.contiguous()).clamp(1, len(worth) - 1)
    low, high = worth[above - 1], worth[above]
    part = (atoms - low) / (high - low)
    found = probabilities.new_zeros(*probabilities.shape[:-1], len(worth))
    found.scatter_add_(-1, above - 1, probabilities * (1.0 - part))
    return found.scatter_add_(-1, above, probabilities * part)
