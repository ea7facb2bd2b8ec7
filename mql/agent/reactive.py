"""Agents that act on the observation alone: what methods without a context leave to evaluation and export.

Shapes: N tasks in parallel, O observation, A action.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from mql.agent.agent import Agent
from mql.agent.encoders import NoEncoder
from mql.config.schema import AgentConfig

# Makes actions [N, A] in [-1, 1] of observations [N, O].
Act = Callable[[torch.Tensor], torch.Tensor]


class ReactiveAgent(Agent):
    """An agent around a module that maps observations [N, O] to actions [N, A]; it learns nothing.

    Args:
        act: the module; it is kept as it is, not copied.
    """

    def __init__(self, obs_dim: int, action_dim: int, act: nn.Module, *, device: str = "cpu") -> None:
        self._act = act
        super().__init__(obs_dim, action_dim, AgentConfig(use_context=False), seed=0, device=device)

    def named_tensors(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Every tensor of the module by name: there are no targets."""
        return ((name, tensor) for name, tensor in super().named_tensors() if name.startswith("online."))

    @property
    def _algorithm(self) -> Any:
        return _Made(self._act)


class _Made:
    """Stands where an agent looks for its algorithm."""

    def __init__(self, act: nn.Module) -> None:
        self._act = act

    def networks(self, obs_dim: int, action_dim: int, config: AgentConfig) -> nn.Module:
        del obs_dim, action_dim, config
        return _Networks(self._act)


class _Networks(nn.Module):
    def __init__(self, act: nn.Module) -> None:
        super().__init__()
        self.actor = _Actor(act)
        self.actor_encoder = self.critic_encoder = NoEncoder()

    def parts(self) -> Mapping[str, Sequence[nn.Parameter]]:
        return {"actor": list(self.actor.parameters())}


class _Actor(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def act(self, obs: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        del z
        actions: torch.Tensor = self.inner(obs)
        return actions

    def tanh_layers(self) -> None:
        return None
