"""Context encoders: from the steps of an episode so far to the context variable z (see `protocols.Encoder`).

Shapes: B transitions, S context sequences, T elements in a sequence, L states read per sequence (B = S * L),
C context element (`elements.py`), Z context variable.
"""

from __future__ import annotations

import torch
from torch import nn

from mql.agent.protocols import Encoder, find
from mql.config.schema import ENCODERS, AgentConfig
from mql.kernels.gru import gru_states
from mql.types import Context


def make_encoder(element_dim: int, config: AgentConfig) -> Encoder:
    """Return the encoder that `config` names, of elements of C numbers; one that sees nothing if it asks for that."""
    if not config.use_context:
        return NoEncoder()
    encoder: Encoder = find(ENCODERS[config.encoder].place)(element_dim, config)
    return encoder


class GRUEncoder(nn.Module):
    """One-layer GRU over the elements, (o_i, a_i, r_i) as a rule; its state after the elements seen so far is z."""

    def __init__(self, element_dim: int, config: AgentConfig) -> None:
        super().__init__()
        self.context_dim = config.context_dim
        self.gru = nn.GRU(element_dim, config.context_dim)

    def forward(self, context: Context) -> torch.Tensor:
        """Encode `context` and return z [B, Z], one row per state that ``context.read`` names."""
        states = self._states(context, last_only=context.read is None)
        if context.read is None:
            return states[0]
        index = context.read.T.unsqueeze(-1).expand(-1, -1, self.context_dim)
        return states.gather(0, index).transpose(0, 1).reshape(context.read.numel(), self.context_dim)

    def states(self, elements: torch.Tensor) -> torch.Tensor:
        """Return all states [T+1, S, Z] of sequences [T, S, C] that begin in the zero state."""
        return self._states(Context(elements), last_only=False)

    def step(self, element: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
        """Return the states [N, Z] after one more element [N, C] each."""
        return self.forward(Context(element[None], initial=state))

    def _states(self, context: Context, *, last_only: bool) -> torch.Tensor:
        elements, initial = context.elements, context.initial
        if len(elements) == 0:
            return (elements.new_zeros(elements.shape[1], self.context_dim) if initial is None else initial)[None]
        return gru_states(self.gru, context, last_only=last_only)


class NoEncoder(nn.Module):
    """The context-blind baseline: z has no components."""

    context_dim = 0

    def forward(self, context: Context) -> torch.Tensor:
        """Return z [B, 0]."""
        rows = context.elements.shape[1] if context.read is None else context.read.numel()
        return context.elements.new_zeros(rows, 0)

    def states(self, elements: torch.Tensor) -> torch.Tensor:
        """Return states [T+1, S, 0]."""
        return elements.new_zeros(len(elements) + 1, elements.shape[1], 0)

    def step(self, element: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
        """Return `state` [N, 0]."""
        return state
