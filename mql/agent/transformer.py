"""A transformer as the context encoder: z from self-attention over a window of the last steps.

It looks at windows only (`agent.context_mode: window`): it has no state to carry from step to step.

Shapes: S context sequences, T elements in a sequence (at most H, the context length), C context element, Z context
variable, which is the width of all layers too; D heads of Z / D numbers each.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from mql.config.schema import AgentConfig
from mql.types import Context

LAYERS = 1  # two regress a point's hidden goal from a window no better, at three to four times the cost
MOST_HEADS = 4
WIDENING = 2  # of the feed-forward layers
SPREAD = 0.1  # standard deviation of places at first: an element weighs more than when it was


class TransformerEncoder(nn.Module):
    """Pre-norm layers over a learned token and the elements behind it; z is read at the newest one.

    All see one another; padding is seen by none. A history without elements is read at the token. What says where an
    element stands is its distance to the newest, so that a step looks the same however long the history is. As a GRU's
    state, z lies in [-1, 1].

    Args:
        element_dim: C.
        config: gives Z and H. Z has as many heads as divide it: 4, 2 or 1.
    """

    def __init__(self, element_dim: int, config: AgentConfig) -> None:
        super().__init__()
        self.context_dim = width = config.context_dim
        self.elements = nn.Linear(element_dim, width)
        self.token = nn.Parameter(SPREAD * torch.randn(width))
        self.places = nn.Parameter(SPREAD * torch.randn(config.context_length, width))  # that of the newest comes last
        self.layers = nn.ModuleList([_Layer(width, math.gcd(width, MOST_HEADS)) for _ in range(LAYERS)])
        self.norm = nn.LayerNorm(width)
        self.output = nn.Linear(width, width)

    def forward(self, context: Context) -> torch.Tensor:
        """Encode `context` and return z [S, Z].

        Raises:
            ValueError: there are more elements than the context length.
        """
        steps, rows, _ = context.elements.shape
        if steps > len(self.places):
            raise ValueError(f"{steps} elements, but the encoder knows places for {len(self.places)}")
        elements = self.elements(context.elements).transpose(0, 1) + self.places[len(self.places) - steps :]
        x = torch.cat([self.token.expand(rows, 1, -1), elements], dim=1)  # [S, T+1, Z]
        seen = None
        if context.start is not None:
            place = torch.arange(steps + 1, device=x.device)
            seen = (place == 0) | (place > context.start[:, None])
        for layer in self.layers[:-1]:
            x = layer(x, x, seen)
        newest = x[:, -1:]
        if context.start is not None:
            newest = torch.where((context.start < steps)[:, None, None], newest, x[:, :1])
        return torch.tanh(self.output(self.norm(self.layers[-1](newest, x, seen)[:, 0])))


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

    def forward(self, x: torch.Tensor, others: torch.Tensor, seen: torch.Tensor | None) -> torch.Tensor:
        """Return x [S, N, Z] after a look at those of others [S, K, Z] that are seen [S, K] (None: all)."""
        query = self._by_head(self.query(self.norm(x)))
        key, value = (self._by_head(part) for part in self.key_value(self.norm(others)).chunk(2, dim=-1))
        mask = None if seen is None else seen[:, None, None]
        found = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        x = x + self.output(found.transpose(1, 2).flatten(2))
        y: torch.Tensor = x + self.feed(self.feed_norm(x))
        return y

    def _by_head(self, x: torch.Tensor) -> torch.Tensor:
        """[S, N, Z] -> [S, D, N, Z / D]."""
        return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)
