"""The agent: everything learned, and how it acts on many tasks at once while its context grows.

Shapes: N tasks side by side, O observation, A action, C = O + A + 1 context element, Z context variable,
H context length.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from mql.config import AgentConfig
from mql.networks import Actor, ContextEncoder, TwinCritic
from mql.types import Context, FloatArray


class Networks(nn.Module):
    """Actor and twin critics with their context encoders (one and the same encoder if `shared_encoder`)."""

    def __init__(self, obs_dim: int, action_dim: int, config: AgentConfig) -> None:
        super().__init__()
        context_dim = config.context_dim if config.use_context else 0
        element_dim = obs_dim + action_dim + 1
        self.actor_encoder = ContextEncoder(element_dim, context_dim)
        self.critic_encoder = self.actor_encoder if config.shared_encoder else ContextEncoder(element_dim, context_dim)
        dtype = matmul_dtype(config.precision)
        sizes = config.hidden_sizes
        self.actor = Actor(obs_dim, action_dim, context_dim, sizes, dtype=dtype)
        self.critic = TwinCritic(obs_dim, action_dim, context_dim, sizes, layer_norm=config.layer_norm, dtype=dtype)

    @property
    def shared_encoder(self) -> bool:
        """Whether actor and critics read one encoder, which then only the critics' loss trains."""
        return self.critic_encoder is self.actor_encoder

    def actor_parameters(self) -> list[nn.Parameter]:
        """Parameters that the actor's loss trains."""
        encoder = [] if self.shared_encoder else list(self.actor_encoder.parameters())
        return [*encoder, *self.actor.parameters()]

    def critic_parameters(self) -> list[nn.Parameter]:
        """Parameters that the critics' loss trains."""
        return [*self.critic_encoder.parameters(), *self.critic.parameters()]


@dataclass
class ActingContext:
    """What the policy remembers of N running episodes.

    ``carry``: ``state`` [N, Z], the encoder's state since the reset. ``window``: ``elements`` [N, H, C], the last steps
    left-aligned, ``length`` of them.
    """

    state: torch.Tensor
    elements: torch.Tensor
    length: int = 0


class Agent:
    """Online and target networks, and the deterministic policy they define."""

    def __init__(self, obs_dim: int, action_dim: int, config: AgentConfig, *, seed: int, device: str = "cpu") -> None:
        self.obs_dim, self.action_dim, self.config = obs_dim, action_dim, config
        self.device = torch.device(device)
        with torch.random.fork_rng(devices=[]):  # initial weights depend on `seed` alone
            torch.manual_seed(seed)
            self.online = Networks(obs_dim, action_dim, config).to(self.device)
        self.target = copy.deepcopy(self.online).requires_grad_(False)

    @property
    def state_dim(self) -> int:
        """Size of the state that the policy carries through an episode (0: it looks at a window, or is blind)."""
        return self.online.actor_encoder.context_dim if self.config.context_mode == "carry" else 0

    def copy(self) -> Agent:
        """Return an agent with equal, independent parameters."""
        return copy.deepcopy(self)

    def named_tensors(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Every learned tensor once, by name: what a checkpoint stores."""
        for owner, networks in (("online", self.online), ("target", self.target)):
            for name, parameter in networks.named_parameters():
                yield f"{owner}.{name}", parameter.data

    def begin(self, n: int) -> ActingContext:
        """Return the empty context of `n` episodes that start now."""
        element_dim = self.obs_dim + self.action_dim + 1
        horizon = self.config.context_length if self.config.context_mode == "window" else 0
        return ActingContext(
            state=torch.zeros(n, self.online.actor_encoder.context_dim, device=self.device),
            elements=torch.zeros(n, horizon, element_dim, device=self.device),
        )

    @torch.no_grad()
    def act(self, obs: FloatArray, context: ActingContext) -> FloatArray:
        """Return deterministic actions [N, A] for observations [N, O]."""
        inputs = torch.from_numpy(obs).to(self.device)
        action: FloatArray = self.online.actor(inputs, context.state, exact=True).cpu().numpy()
        return action

    @torch.no_grad()
    def observe(self, context: ActingContext, obs: FloatArray, action: FloatArray, reward: FloatArray) -> None:
        """Add one step of each episode, (o [N, O], a [N, A], r [N]), to `context` in place."""
        joined = np.concatenate([obs, action, reward[:, None]], axis=1)
        element = torch.from_numpy(joined).to(self.device)
        encoder = self.online.actor_encoder
        if self.config.context_mode == "carry":
            context.state = encoder.step(element, context.state)
            return
        horizon = context.elements.shape[1]
        if context.length == horizon:
            context.elements = context.elements.roll(-1, dims=1)
        context.length = min(context.length + 1, horizon)
        context.elements[:, context.length - 1] = element
        read = torch.full((len(obs), 1), context.length, device=self.device)
        context.state = encoder(Context(elements=context.elements, read=read))


def matmul_dtype(precision: str) -> torch.dtype:
    """The type that hidden layers are computed in; ``auto`` takes bfloat16 where the CPU multiplies it in hardware."""
    if precision == "auto":
        has_amx = getattr(torch.cpu, "_is_amx_tile_supported", None)  # no public name for it yet
        precision = "bfloat16" if has_amx is not None and has_amx() else "float32"
    return torch.bfloat16 if precision == "bfloat16" else torch.float32
