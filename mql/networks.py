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
        rows, reads = context.read.shape
        if self.gru is None:
            return context.elements.new_zeros(rows * reads, 0)
        states = self.states(context.elements, context.initial)
        index = context.read.unsqueeze(-1).expand(rows, reads, self.context_dim)
        return states.gather(1, index).reshape(rows * reads, self.context_dim)

    def states(self, elements: torch.Tensor, initial: torch.Tensor | None = None) -> torch.Tensor:
        """Return all states [S, T+1, Z] of sequences [S, T, C]; state 0 is `initial` [S, Z], by default zero."""
        if initial is None:
            initial = elements.new_zeros(elements.shape[0], self.context_dim)
        if self.gru is None or elements.shape[1] == 0:
            return initial.unsqueeze(1).expand(-1, elements.shape[1] + 1, -1)
        if elements.device.type == "cpu":
            return gru_states(self.gru, elements.transpose(0, 1), initial).permute(2, 0, 1)
        first = initial.unsqueeze(0)
        states, _ = self.gru(elements.transpose(0, 1), first)
        return torch.cat([first, states]).transpose(0, 1)

    def step(self, element: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
        """Advance states [N, Z] by one element [N, C] each: the same function as one step of `states`."""
        if self.gru is None:
            return state
        _, after = self.gru(element.unsqueeze(0), state.unsqueeze(0))
        result: torch.Tensor = after.squeeze(0)
        return result


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
        x = torch.cat([obs, z], dim=-1)
        dtype = self.dtype if len(x) >= LOW_PRECISION_ROWS and not exact else x.dtype
        x = x.to(dtype)
        for layer in self.hidden:
            weight, bias = (p.to(dtype) for p in layer.parameters())
            x = torch.relu(nn.functional.linear(x, weight, bias))
        return torch.tanh(self.output(x.to(obs.dtype)))


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
        return self._values(torch.cat([obs, action, z], dim=-1), critics=2)

    def first(self, obs: torch.Tensor, action: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        """Return the first critic's values [B] (the actor's objective)."""
        return self._values(torch.cat([obs, action, z], dim=-1), critics=1)[0]

    def _values(self, inputs: torch.Tensor, *, critics: int) -> torch.Tensor:
        dtype = self.dtype if len(inputs) >= LOW_PRECISION_ROWS else inputs.dtype
        x = inputs.to(dtype).unsqueeze(0).expand(critics, -1, -1)
        weights, biases = list(self.weights), list(self.biases)
        if critics == 1:  # slicing both would cost a copy of every gradient backward
            weights, biases = [w[:1] for w in weights], [b[:1] for b in biases]
        for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
            x = torch.baddbmm(bias.to(dtype), x, weight.to(dtype))
            if self.layer_norm:
                x = nn.functional.layer_norm(x, x.shape[-1:])
            x = torch.relu(x)
        # One output: a product with a vector, whose batched outer product backward is slow as a matrix product.
        values: torch.Tensor = (x.to(inputs.dtype) * weights[-1].transpose(1, 2)).sum(-1) + biases[-1][:, 0]
        return values
