"""The networks of TD3: a deterministic actor and twin critics, with their context encoders.

They are plain modules. Products of matrices are PyTorch's; what follows them in a hidden layer is one pass of a
compiled kernel where that can be used (`layers.py`), and so is a GRU's recurrence (`gru.py`).

Shapes: B transitions, O observation, A action, C context element, Z context variable.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Sequence
from itertools import pairwise

import torch
from torch import nn

from mql.agent.elements import ContextElements
from mql.agent.encoders import make_encoder
from mql.agent.histogram import Bins
from mql.config.schema import AgentConfig
from mql.kernels.layers import hidden, hidden_values
from mql.kernels.products import bfloat16_in_hardware, product

LOW_PRECISION_ROWS = 64  # smaller batches gain nothing from bfloat16 and stay in float32


class Actor(nn.Module):
    """Deterministic policy u(o, z) in [-1, 1]^A: ReLU layers and a tanh.

    With `dtype` bfloat16, products between hidden layers are made in it for larger batches (see `TwinCritic`).
    """

    def __init__(
        self, obs_dim: int, action_dim: int, context_dim: int, hidden_sizes: Sequence[int], *, dtype: torch.dtype
    ) -> None:
        super().__init__()
        self.dtype = dtype
        sizes = [obs_dim + context_dim, *hidden_sizes]
        self.hidden = nn.ModuleList([nn.Linear(a, b) for a, b in pairwise(sizes)])
        self.output = nn.Linear(sizes[-1], action_dim)

    def forward(self, obs: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        """Map obs [B, O] and z [B, Z] to actions [B, A]."""
        return self._act(obs, z, product_dtype(obs, self.dtype))

    def act(self, obs: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        """Map obs [N, O] and z [N, Z] to actions [N, A] in the inputs' own type.

        An action must not depend on how many tasks act in parallel.
        """
        return self._act(obs, z, obs.dtype)

    def tanh_layers(self) -> list[nn.Linear]:
        """Return the hidden layers and the output layer."""
        return [*self.hidden, self.output]

    def _act(self, obs: torch.Tensor, z: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        return torch.tanh(self.output(hidden_layers(self.hidden, torch.cat([obs, z], dim=-1), dtype)))


class TwinCritic(nn.Module):
    """Two Q functions Q(o, a, z) in parallel: each layer is one batched product over the pair.

    With `layer_norm`, pre-activations are normalised (without scale and shift: the next layer has both), which keeps
    values bounded off the data (Ball et al. 2023, arXiv 2302.02948). With `dtype` bfloat16, products between hidden
    layers are made in it, not those of what is observed, nor of the last layer; all else stays float32.
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
        outputs: int = 1,
    ) -> None:
        super().__init__()
        self.dtype = dtype
        sizes = [obs_dim + action_dim + context_dim, *hidden_sizes, outputs]
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

    def frozen(self, obs: torch.Tensor, action: torch.Tensor, z: torch.Tensor, *, critics: int = 2) -> torch.Tensor:
        """Return the values [K, B] of the first K critics as an actor's objective: no gradient reaches the critics."""
        weights, biases = ([p.detach()[:critics] for p in parameters] for parameters in (self.weights, self.biases))
        return self._values((obs, action, z), weights, biases)

    def _values(
        self, inputs: Sequence[torch.Tensor], weights: Sequence[torch.Tensor], biases: Sequence[torch.Tensor]
    ) -> torch.Tensor:
        product = self._last_product(inputs, weights, biases)
        return hidden_values(product, biases[-2], weights[-1], layer_norm=self.layer_norm) + biases[-1][:, 0]

    def _last_product(
        self, inputs: Sequence[torch.Tensor], weights: Sequence[torch.Tensor], biases: Sequence[torch.Tensor]
    ) -> torch.Tensor:
        """Return the last hidden layer's product of inputs and weights [K, B, W], without its bias."""
        x = torch.cat(list(inputs), dim=-1)
        dtype = product_dtype(x, self.dtype)
        x = product(x, weights[0], dtype=x.dtype)  # what is observed keeps its digits
        for weight, bias in zip(weights[1:-1], biases[:-2], strict=True):
            x = product(hidden(x, bias, layer_norm=self.layer_norm), weight, dtype=dtype)
        return x


class HistogramCritic(TwinCritic):
    """Two Q functions that say how probable each of the bins of values is; the value is their mean (`histogram.py`)."""

    def __init__(
        self,
        obs_dim: int,
        action_dim: int,
        context_dim: int,
        hidden_sizes: Sequence[int],
        *,
        layer_norm: bool,
        dtype: torch.dtype,
        bins: Bins,
    ) -> None:
        outputs = len(bins.worth)
        super().__init__(
            obs_dim, action_dim, context_dim, hidden_sizes, layer_norm=layer_norm, dtype=dtype, outputs=outputs
        )
        self.bins = bins
        with torch.no_grad():
            self.biases[-1].add_(bins.at_first())

    def logits(self, obs: torch.Tensor, action: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        """Return both logits [2, B, bins] for obs [B, O], action [B, A], z [B, Z]."""
        return self._logits((obs, action, z), list(self.weights), list(self.biases))

    @torch.no_grad()
    def place_bins(self, low: float, high: float, *, afresh: bool) -> None:
        """Lay the bins over the values from `low` to `high`.

        Values stay about what they are, to a bin's width; with `afresh`, of networks that have not learned yet, they
        start near 0.
        """
        head, bias = self.weights[-1], self.biases[-1]
        if afresh:
            bias.sub_(self.bins.at_first())
            self.bins.place(low, high)
            bias.add_(self.bins.at_first())
            return
        bins = copy.deepcopy(self.bins)
        bins.place(low, high)
        here, more = self.bins.moved(bins)
        head.copy_(head[..., here])
        bias.copy_(bias[..., here] + more)
        self.bins.place(low, high)

    def _values(
        self, inputs: Sequence[torch.Tensor], weights: Sequence[torch.Tensor], biases: Sequence[torch.Tensor]
    ) -> torch.Tensor:
        return self.bins.mean(self._logits(inputs, weights, biases))

    def _logits(
        self, inputs: Sequence[torch.Tensor], weights: Sequence[torch.Tensor], biases: Sequence[torch.Tensor]
    ) -> torch.Tensor:
        x = hidden(self._last_product(inputs, weights, biases), biases[-2], layer_norm=self.layer_norm)
        return torch.baddbmm(biases[-1], x, weights[-1])


class Networks(nn.Module):
    """Actor and twin critics with their context encoders (one and the same encoder if ``shared_encoder``)."""

    def __init__(self, obs_dim: int, action_dim: int, config: AgentConfig) -> None:
        super().__init__()
        element_dim = ContextElements.of(obs_dim, action_dim, config).dim
        self.actor_encoder = make_encoder(element_dim, config)
        self.critic_encoder = self.actor_encoder if config.shared_encoder else make_encoder(element_dim, config)
        z, sizes, dtype = self.actor_encoder.context_dim, config.hidden_sizes, getattr(torch, config.precision)
        self.actor = Actor(obs_dim, action_dim, z, sizes, dtype=dtype)
        self.critic = make_critic(obs_dim, action_dim, z, config)

    @property
    def shared_encoder(self) -> bool:
        """Whether actor and critics read one encoder, which then only the critics' loss trains."""
        return self.critic_encoder is self.actor_encoder

    def parts(self) -> dict[str, list[nn.Parameter]]:
        """Return what the actor's loss trains and what the critics' loss trains."""
        encoder = [] if self.shared_encoder else list(self.actor_encoder.parameters())
        return {
            "actor": [*encoder, *self.actor.parameters()],
            "critic": [*self.critic_encoder.parameters(), *self.critic.parameters()],
        }


def make_critic(obs_dim: int, action_dim: int, context_dim: int, config: AgentConfig) -> TwinCritic:
    """Make the critics that ``config.critic`` names."""
    sizes, dtype = config.hidden_sizes, getattr(torch, config.precision)
    if config.critic == "squared":
        return TwinCritic(obs_dim, action_dim, context_dim, sizes, layer_norm=config.layer_norm, dtype=dtype)
    bins = Bins(
        config.value_bins, fine=config.value_spacing == "fine", smooth=config.critic == "hl_gauss", low=-1.0, high=1.0
    )
    return HistogramCritic(
        obs_dim, action_dim, context_dim, sizes, layer_norm=config.layer_norm, dtype=dtype, bins=bins
    )


def hidden_layers(layers: Iterable[nn.Module], x: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Return what ReLU layers make of x [B, in]: [B, W], with products behind the first layer in `dtype`."""
    of_inputs = True
    for layer in layers:
        weight, bias = layer.parameters()
        x = hidden(product(x, weight.T, dtype=x.dtype if of_inputs else dtype), bias, layer_norm=False)
        of_inputs = False
    return x


def product_dtype(inputs: torch.Tensor, dtype: torch.dtype) -> torch.dtype:
    """What a batch is multiplied in: `dtype`, or the inputs' own type if it is small, or bfloat16 would be slower."""
    if dtype != torch.bfloat16 or len(inputs) < LOW_PRECISION_ROWS or not bfloat16_in_hardware(inputs.device.type):
        return inputs.dtype
    return dtype
