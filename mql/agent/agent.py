"""The agent: everything learned, and how it acts on many tasks at once while its context grows.

Shapes: N tasks side by side, O observation, A action.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
from torch import nn

from mql.agent.acting import ActingContext, Policy
from mql.agent.networks import Actor, ContextEncoder, TwinCritic
from mql.config.schema import AgentConfig
from mql.types import FloatArray


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

    def policy(self) -> Policy:
        """Return the deterministic policy in numpy; on the CPU it shares this agent's parameters."""
        window = self.config.context_length if self.config.context_mode == "window" else 0
        return Policy(self.online.actor, self.online.actor_encoder, window=window)

    def begin(self, n: int) -> ActingContext:
        """Return the empty context of `n` episodes that start now."""
        return self.policy().begin(n, self.obs_dim + self.action_dim + 1)

    def act(self, obs: FloatArray, context: ActingContext) -> FloatArray:
        """Return deterministic actions [N, A] for observations [N, O]."""
        return context.policy.act(obs, context.state)

    def observe(self, context: ActingContext, obs: FloatArray, action: FloatArray, reward: FloatArray) -> None:
        """Add one step of each episode, (o [N, O], a [N, A], r [N]), to `context` in place."""
        context.policy.observe(context, obs, action, reward)


def matmul_dtype(precision: str) -> torch.dtype:
    """The type that hidden layers are computed in; ``auto`` takes bfloat16 where the CPU has matrix units (AMX) for it.

    Without them the compiled float32 layers (`layers.py`) are the faster ones, as far as measured.
    """
    if precision == "auto":
        has_amx = getattr(torch.cpu, "_is_amx_tile_supported", None)  # no public name for it yet
        precision = "bfloat16" if has_amx is not None and has_amx() else "float32"
    return torch.bfloat16 if precision == "bfloat16" else torch.float32
