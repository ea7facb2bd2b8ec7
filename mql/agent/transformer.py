"""A transformer as the context encoder: z from self-attention over a window of the last steps.

It looks at windows only (`agent.context_mode: window`): it has no state to carry from step to step.

Shapes: S context sequences, T elements in a sequence (at most H, the context length), C = O + A + 1 context element,
Z context variable, which is the width of all layers too; D heads of Z / D numbers each.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from mql.config.schema import AgentConfig
from mql.types import Context

LAYERS = 2  # the first relates elements to one another, the second reads what it found
MOST_HEADS = 4
WIDENING = 2  # of the feed-forward layers
PLACE_SPREAD = 0.1  # initial standard deviation of places: elements weigh more than when they happened


class TransformerEncoder(nn.Module):
    """Pre-norm layers over (o_i, a_i, r_i) and a learned token for the present, from which z is read.

    The token comes after the newest element. All see one another; padding is seen by none. With no element yet the
    token sees itself only, and z is learned, too. What says where an element stands is its distance to the present, so
    that a history looks the same wherever its window began. As a GRU's state, z lies in [-1, 1].

    Args:
        element_dim: C.
        config: gives Z and H. Z has as many heads as divide it: 4, 2 or 1.
    """

    def __init__(self, element_dim: int, config: AgentConfig) -> None:
        super().__init__()
        self.context_dim = width = config.context_dim
        self.elements = nn.Linear(element_dim, width)
        # By distance to the present, the farthest first; the last row is the token of the present.
        self.places = nn.Parameter(PLACE_SPREAD * torch.randn(config.context_length + 1, width))
        self.layers = nn.ModuleList([_Layer(width, math.gcd(width, MOST_HEADS)) for _ in range(LAYERS)])
        self.norm = nn.LayerNorm(width)
        self.output = nn.Linear(width, width)

    def forward(self, context: Context) -> torch.Tensor:
        """Encode `context` and return z [S, Z].

        Raises:
            ValueError: there are more elements than the context length.
        """
        steps = len(context.elements)
        if steps >= len(self.places):
            raise ValueError(f"{steps} elements, but the encoder knows places for {len(self.places) - 1}")
        elements = self.elements(context.elements).transpose(0, 1)
        x = nn.functional.pad(elements, (0, 0, 0, 1)) + self.places[-steps - 1 :]  # [S, T+1, Z]
        seen = None
        if context.start is not None:
            seen = torch.arange(steps + 1, device=x.device) >= context.start[:, None]
        *before, last = self.layers
        for layer in before:
            x = layer(x, seen)
        x = last(x, seen, present_only=True)
        return torch.tanh(self.output(self.norm(x[:, 0])))


class _Layer(nn.Module):
    """Attention, then a feed-forward layer; each is added to what it reads."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm, self.feed_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        # (A bias of keys would change nothing, as all scores would shift alike, and one of values is the output's.)
        self.key_value = nn.Linear(width, 2 * width, bias=False)
        self.output = nn.Linear(width, width)
        self.feed = nn.Sequential(nn.Linear(width, WIDENING * width), nn.ReLU(), nn.Linear(WIDENING * width, width))

    def forward(self, x: torch.Tensor, seen: torch.Tensor | None, *, present_only: bool = False) -> torch.Tensor:
        """Return x [S, N, Z], or the present's alone [S, 1, Z], after a look at what is seen [S, N] (None: all)."""
        normed, first = self.norm(x), x.shape[1] - 1 if present_only else 0
        query = self._by_head(self.query(normed[:, first:]))
        key, value = (self._by_head(part) for part in self.key_value(normed).chunk(2, dim=-1))
        mask = None if seen is None else seen[:, None, None]
        found = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        x = x[:, first:] + self.output(found.transpose(1, 2).flatten(2))
        y: torch.Tensor = x + self.feed(self.feed_norm(x))
        return y

    def _by_head(self, x: torch.Tensor) -> torch.Tensor:
        """[S, N, Z] -> [S, D, N, Z / D]."""
        return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)
