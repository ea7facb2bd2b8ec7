"""RL^2's networks, and its agent: one whose episodes can begin with the memory of earlier ones (`Agent.after`).

Shapes: L steps of a sequence, N sequences, I = O + A + 2 input (observation, last action, last reward, first step or
not), Z state, A action.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from mql.agent.acting import CarriedContext, CarryingPolicy, Policy, ScaledPolicy
from mql.agent.agent import Agent
from mql.baselines.rl2.acting import Memory, RecurrentPolicy
from mql.config.rl2 import RL2Config
from mql.config.schema import AgentConfig
from mql.kernels.gru import gru_states
from mql.types import Context, Episode, FloatArray

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


class RL2Agent(Agent):
    """Networks, the scaling of what they read, and the deterministic policy.

    Args:
        rl2: gives the size of the state.
    """

    def __init__(self, obs_dim: int, action_dim: int, rl2: RL2Config, *, seed: int, device: str = "cpu") -> None:
        config = AgentConfig(context_mode="carry", context_dim=rl2.state_dim, normalize=True)
        super().__init__(obs_dim, action_dim, config, seed=seed, device=device)

    @property
    def memory(self) -> Memory:
        """What a row of memory consists of."""
        memory: Memory = self.online.actor_encoder
        return memory

    def policy(self) -> Policy:
        """Return the deterministic policy; on the CPU it shares this agent's parameters."""
        networks = self.online
        actor = (_array(networks.actor.weight), _array(networks.actor.bias))
        inner = RecurrentPolicy([_array(parameter) for parameter in networks.gru.parameters()], actor)
        policy = ScaledPolicy(inner, _array(self.scaling.shift), _array(self.scaling.scale))
        return policy if self.carried is None else CarryingPolicy(policy, self.carried)

    def after(self, episode: Episode) -> RL2Agent:
        """Return a copy whose episodes go on with the memory that this agent has at the end of `episode`."""
        agent = super().after(episode)
        assert isinstance(agent, RL2Agent) and agent.carried is not None
        state = agent.carried.state.copy()
        state[-1] = 1.0  # the next step is an episode's first one
        agent.carried = CarriedContext(state, np.zeros((0, self.elements.dim), np.float32))
        return agent

    def named_tensors(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Every learned tensor and buffer once, by name, and the carried memory: there are no targets."""
        return ((name, tensor) for name, tensor in super().named_tensors() if not name.startswith("target."))

    @property
    def _algorithm(self) -> Any:
        from mql.baselines.rl2.ppo import PPO

        return PPO


def _array(parameter: torch.Tensor) -> FloatArray:
    """A parameter, transposed; on the CPU it is the parameter itself (shared memory)."""
    array: FloatArray = parameter.detach().cpu().numpy().T
    return array
