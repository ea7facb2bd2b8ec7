"""RL^2's agent: one whose episodes can begin with the memory of earlier ones (`Agent.after`)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from mql.agent.acting import CarriedContext, CarryingPolicy, Policy, ScaledPolicy
from mql.agent.agent import Agent
from mql.baselines.rl2.acting import Memory, RecurrentPolicy
from mql.baselines.rl2.ppo import PPO
from mql.config.rl2 import RL2Config
from mql.config.schema import AgentConfig
from mql.types import Episode, FloatArray


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
        return PPO


def _array(parameter: torch.Tensor) -> FloatArray:
    """A parameter, transposed; on the CPU it is the parameter itself (shared memory)."""
    array: FloatArray = parameter.detach().cpu().numpy().T
    return array
