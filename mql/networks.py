"""The networks: a GRU context encoder, a deterministic actor and twin critics.

Shapes: B transitions, S context sequences, T elements in a sequence, L states read per sequence (B = S * L),
O observation, A action, C = O + A + 1 context element, Z context variable.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn

from mql.gru import gru_states
from mql.layers import hidden_layers, values_of
from mql.types import Context

LOW_PRECISION_ROWS = 64  # smaller batches gain nothing from bfloat16 and stay in float32


class ContextEncoder(nn.Module):
    """One-layer GRU over (o_i, a_i, r_i); its state after the elements seen so far is the context variable z.

    ``context_dim`` 0 gives the context-blind baseline: z has no components.
    """

    def __init__(self, element_dim: int, context_dim: int) -> None:
        super().__init__()
        self.context_dim = context_dim
        self.gru = nn.GRU(element_dim, context_dim) if context_dim else None

    def forward(self, context: Context) -> torch.Tensor:
        """Encode `context` and return z [B, Z], one row per state that ``context.read`` names."""
        elements, read = context.elements, context.read
        rows = elements.shape[1] * (1 if read is None else read.shape[1])
        if self.gru is None:
            return elements.new_zeros(rows, 0)
        if read is None:
            return self._states(context, last_only=True)[0]
        index = read.T.unsqueeze(-1).expand(-1, -1, self.context_dim)
        return self._states(context).gather(0, index).transpose(0, 1).reshape(rows, self.context_dim)

    def states(self, elements: torch.Tensor) -> torch.Tensor:
        """Return all states [T+1, S, Z] of sequences [T, S, C] that begin in the zero state."""
        return self._states(Context(elements))

    def _states(self, context: Context, *, last_only: bool = False) -> torch.Tensor:
        elements, initial = context.elements, context.initial
        if self.gru is None or len(elements) == 0:
            if initial is None:
                initial = elements.new_zeros(elements.shape[1], self.context_dim)
            return initial.expand(1 if last_only else len(elements) + 1, -1, -1)
        return gru_states(self.gru, elements, initial=initial, start=context.start, last_only=last_only)


class Actor(nn.Module):
    """Deterministic policy u(o, z) in [-1, 1]^A: ReLU layers and a tanh.

    With `dtype` bfloat16, the hidden layers of larger batches are computed in it (see `TwinCritic`).
    """

    def __init__(
        self, obs_dim: int, action_dim: int, context_dim: int, hidden_sizes: Sequence[int], *, dtype: torch.dtype
    ) -> None:
        super().__init__()
        self.dtype = dtype
        sizes = [obs_dim + context_dim, *hidden_sizes]
        self.hidden = nn.ModuleList([nn.Linear(a, b) for a, b in pairwise(sizes)])
        self.output = nn.Linear(sizes[-1], action_dim)

    def forward(self, obs: torch.Tensor, z: torch.Tensor, *, exact: bool = False) -> torch.Tensor:
        """Map obs [B, O] and z [B, Z] to actions [B, A].

        Acting is `exact`, in the inputs' own type: an action must not depend on how many tasks run side by side.
        """
        dtype = self.dtype if len(obs) >= LOW_PRECISION_ROWS and not exact else obs.dtype
        layers = [tuple(layer.parameters()) for layer in self.hidden]
        weights, biases = [weight.T[None] for weight, _ in layers], [bias[None, None] for _, bias in layers]
        x = hidden_layers((obs, z), weights, biases, layer_norm=False, dtype=dtype)
        return torch.tanh(self.output(x[0]))


class TwinCritic(nn.Module):
    """Two Q functions Q(o, a, z) side by side: each layer is one batched product over the pair.

    With `layer_norm`, pre-activations are normalised (without scale and shift: the next layer has both), which keeps
    values bounded off the data (Ball et al. 2023, arXiv 2302.02948). With `dtype` bfloat16, all layers but the last are
    computed in it; parameters, their updates and the values themselves stay float32.
    """

    def __init__(
        self,
        obs_dim: int,
        action_dim: int,
        context_dim: int,
        hidden_sizes: Sequence[int],
        *,
        layer_norm: bool,
        dtype: torch.dtype,
    ) -> None:
        super().__init__()
        self.dtype = dtype
        sizes = [obs_dim + action_dim + context_dim, *hidden_sizes, 1]
        self.layer_norm = layer_norm
        self.weights = nn.ParameterList()
        self.biases = nn.ParameterList()
        for fan_in, fan_out in pairwise(sizes):
            bound = 1.0 / math.sqrt(fan_in)
            self.weights.append(nn.Parameter(torch.empty(2, fan_in, fan_out).uniform_(-bound, bound)))
            self.biases.append(nn.Parameter(torch.empty(2, 1, fan_out).uniform_(-bound, bound)))

    def forward(self, obs: torch.Tensor, action: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        """Return both values [2, B] for obs [B, O], action [B, A], z [B, Z]."""
        return self._values((obs, action, z), list(self.weights), list(self.biases))

    def first(self, obs: torch.Tensor, action: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        """Return the first critic's values [B] (the actor's objective); no gradient goes to its parameters."""
        weights, biases = ([p.detach()[:1] for p in parameters] for parameters in (self.weights, self.biases))
        return self._values((obs, action, z), weights, biases)[0]

    def _values(
        self, inputs: tuple[torch.Tensor, ...], weights: list[torch.Tensor], biases: list[torch.Tensor]
    ) -> torch.Tensor:
        dtype = self.dtype if len(inputs[0]) >= LOW_PRECISION_ROWS else inputs[0].dtype
        return values_of(inputs, weights, biases, layer_norm=self.layer_norm, dtype=dtype)
