"""RL^2's networks.

Shapes: L steps of a sequence, N sequences, I = O + A + 2 input (observation, last action, last reward, first step or
not), Z state, A action.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import nn

from mql.baselines.rl2.acting import Memory
from mql.config.schema import AgentConfig
from mql.kernels.gru import gru_states
from mql.types import Context

FIRST_STD = 0.5  # of the policy before training, in actions


class Outputs(NamedTuple):
    """Means [L, N, A] and values [L, N] after each step's input, and the states [L+1, N, Z] before and after them."""

    mean: torch.Tensor
    value: torch.Tensor
    states: torch.Tensor


class RecurrentNetworks(nn.Module):
    """A GRU whose state gives the mean of a Gaussian policy and a value; the policy's spread is learned, one for all.

    Args:
        config: its ``context_dim`` is the size of the state.
    """

    def __init__(self, obs_dim: int, action_dim: int, config: AgentConfig) -> None:
        super().__init__()
        size = config.context_dim
        self.actor_encoder = Memory(size, action_dim)
        self.gru = nn.GRU(obs_dim + action_dim + 2, size)
        self.actor, self.critic = nn.Linear(size, action_dim), nn.Linear(size, 1)
        self.log_std = nn.Parameter(torch.full((action_dim,), math.log(FIRST_STD)))
        for name, parameter in self.gru.named_parameters():
            if name.startswith("weight"):
                for gate in parameter.chunk(3):
                    nn.init.orthogonal_(gate)
            else:
                nn.init.zeros_(parameter)
        nn.init.orthogonal_(self.actor.weight, gain=0.01)  # the first actions are near 0 on average
        nn.init.orthogonal_(self.critic.weight)
        nn.init.zeros_(self.actor.bias)
        nn.init.zeros_(self.critic.bias)

    def forward(self, inputs: torch.Tensor, initial: torch.Tensor | None = None) -> Outputs:
        """Go through sequences of inputs [L, N, I] from the states `initial` [N, Z] (None: zero)."""
        states = gru_states(self.gru, Context(inputs, initial=initial), last_only=False)
        after = states[1:]
        return Outputs(torch.tanh(self.actor(after)), self.critic(after).squeeze(-1), states)

    def parts(self) -> Mapping[str, Sequence[nn.Parameter]]:
        """Return all parameters: one loss trains them."""
        return {"policy": list(self.parameters())}
