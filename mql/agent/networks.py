"""The networks: a GRU context encoder, a deterministic actor and twin critics.

Calling a network gives its value. Its `vjp` gives also the pullback (`pullback.py`), which is how it learns: with the
compiled kernels of `gru.py` and `layers.py` where they can be used. What a call computes while automatic
differentiation is on, and all of bfloat16, is the plain version that stands here in PyTorch's own operators.

Shapes: B transitions, S context sequences, T elements in a sequence, L states read per sequence (B = S * L),
O observation, A action, C = O + A + 1 context element, Z context variable.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn

from mql.kernels.gru import gru_states, gru_vjp
from mql.kernels.layers import EPSILON, HiddenPass, Layer, Tensors
from mql.kernels.loading import Kernels, kernels_for
from mql.kernels.pullback import Pullback, grad_of, plain_vjp
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
        return self._read(self._states(context, last_only=context.read is None), context)

    def vjp(self, context: Context) -> tuple[torch.Tensor, Pullback]:
        """Return z [B, Z] and its pullback: nothing comes back but the parameters' gradients."""
        last_only = context.read is None
        if self.gru is None or len(context.elements) == 0:
            return self(context), torch.zeros_like
        states, pullback_states = gru_vjp(self.gru, context, last_only=last_only)

        def pullback(gradient: torch.Tensor) -> torch.Tensor:
            if context.read is None:
                return pullback_states(gradient.unsqueeze(0))
            by_state = gradient.reshape(*context.read.shape, -1).transpose(0, 1)
            of_states = torch.zeros_like(states).scatter_add_(0, self._index(context.read), by_state)
            return pullback_states(of_states)

        return self._read(states, context), pullback

    def states(self, elements: torch.Tensor) -> torch.Tensor:
        """Return all states [T+1, S, Z] of sequences [T, S, C] that begin in the zero state."""
        return self._states(Context(elements), last_only=False)

    def _states(self, context: Context, *, last_only: bool) -> torch.Tensor:
        elements, initial = context.elements, context.initial
        if self.gru is None or len(elements) == 0:
            if initial is None:
                initial = elements.new_zeros(elements.shape[1], self.context_dim)
            return initial.expand(1 if last_only else len(elements) + 1, -1, -1)
        return gru_states(self.gru, context, last_only=last_only)

    def _read(self, states: torch.Tensor, context: Context) -> torch.Tensor:
        """Pick z [B, Z] from states, [T+1, S, Z] or the last alone."""
        if context.read is None:
            return states[0]
        z = states.gather(0, self._index(context.read)).transpose(0, 1)
        return z.reshape(context.read.numel(), self.context_dim)

    def _index(self, read: torch.Tensor) -> torch.Tensor:
        return read.T.unsqueeze(-1).expand(-1, -1, self.context_dim)


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
        self._pairs = [tuple(layer.parameters()) for layer in self.hidden]  # (looking them up each time is slow)

    def forward(self, obs: torch.Tensor, z: torch.Tensor, *, exact: bool = False) -> torch.Tensor:
        """Map obs [B, O] and z [B, Z] to actions [B, A].

        Acting is `exact`, in the inputs' own type: an action must not depend on how many tasks run side by side.
        """
        dtype = obs.dtype if exact else _type_for(obs, self.dtype)
        kernels = _kernels(obs, dtype)
        if kernels is not None and not torch.is_grad_enabled():
            x = HiddenPass(kernels, self._layers(), layer_norm=False).forward((obs, z))[0]
        else:
            x = torch.cat([obs, z], dim=-1).to(dtype)
            for layer in self.hidden:
                weight, bias = (p.to(dtype) for p in layer.parameters())
                x = torch.relu(nn.functional.linear(x, weight, bias))
        return torch.tanh(self.output(x.to(obs.dtype)))

    def vjp(self, obs: torch.Tensor, z: torch.Tensor) -> tuple[torch.Tensor, Pullback]:
        """Return actions [B, A] and their pullback to the gradient of z [B, Z]."""
        kernels = _kernels(obs, _type_for(obs, self.dtype))
        if kernels is None:
            return plain_vjp(lambda point: self(obs, point), z, list(self.parameters()))
        hidden = HiddenPass(kernels, self._layers(learned=True), layer_norm=False)
        x = hidden.forward((obs, z))[0]
        weight, bias = self.output.weight, self.output.bias
        action = torch.addmm(bias, x, weight.T).tanh_()

        def pullback(gradient: torch.Tensor) -> torch.Tensor:
            of_sums = gradient * (1.0 - action.square())
            torch.mm(of_sums.T, x, out=grad_of(weight))
            torch.sum(of_sums, dim=0, out=grad_of(bias))
            return hidden.backward(torch.mm(of_sums, weight)[None], slice(obs.shape[1], None))

        return action, pullback

    def _layers(self, *, learned: bool = False) -> list[Layer]:
        """The hidden layers as one network's (K = 1): a linear layer's weight stands transposed."""
        return [
            Layer(
                weight.T[None],
                bias[None, None],
                grad_of(weight).T[None] if learned else None,
                grad_of(bias)[None, None] if learned else None,
            )
            for weight, bias in self._pairs
        ]


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
        self._pairs = list(zip(self.weights, self.biases, strict=True))

    def forward(self, obs: torch.Tensor, action: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        """Return both values [2, B] for obs [B, O], action [B, A], z [B, Z]."""
        kernels = _kernels(obs, _type_for(obs, self.dtype))
        if kernels is None or torch.is_grad_enabled():
            return self._plain((obs, action, z), list(self.weights), list(self.biases))
        return self._pass(kernels, critics=2).forward((obs, action, z))

    def vjp(self, obs: torch.Tensor, action: torch.Tensor, z: torch.Tensor) -> tuple[torch.Tensor, Pullback]:
        """Return both values [2, B] and their pullback to the gradient of z [B, Z]."""
        kernels = _kernels(obs, _type_for(obs, self.dtype))
        if kernels is None:
            return plain_vjp(lambda point: self(obs, action, point), z, list(self.parameters()))
        run = self._pass(kernels, critics=2, learned=True)
        columns = slice(obs.shape[1] + action.shape[1], None)
        return run.forward((obs, action, z)), lambda gradient: run.backward(gradient, columns)

    def first_vjp(self, obs: torch.Tensor, action: torch.Tensor, z: torch.Tensor) -> tuple[torch.Tensor, Pullback]:
        """Return the first critic's values [B] (the actor's objective) and their pullback to the gradient of action.

        The critic itself does not learn from it.
        """
        kernels = _kernels(obs, _type_for(obs, self.dtype))
        if kernels is None:
            weights, biases = ([p.detach()[:1] for p in parameters] for parameters in (self.weights, self.biases))
            return plain_vjp(lambda point: self._plain((obs, point, z), weights, biases)[0], action, [])
        run = self._pass(kernels, critics=1)
        columns = slice(obs.shape[1], obs.shape[1] + action.shape[1])
        return run.forward((obs, action, z))[0], lambda gradient: run.backward(gradient[None], columns)

    def _pass(self, kernels: Kernels, *, critics: int, learned: bool = False) -> HiddenPass:
        if learned:
            layers = [Layer(weight, bias, grad_of(weight), grad_of(bias)) for weight, bias in self._pairs]
        else:
            layers = [Layer(weight[:critics], bias[:critics]) for weight, bias in self._pairs]
        return HiddenPass(kernels, layers[:-1], self.layer_norm, head=layers[-1])

    def _plain(self, inputs: Sequence[torch.Tensor], weights: Tensors, biases: Tensors) -> torch.Tensor:
        dtype = _type_for(inputs[0], self.dtype)
        x = torch.cat(list(inputs), dim=-1).to(dtype).unsqueeze(0).expand(len(weights[0]), -1, -1)
        for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
            x = torch.baddbmm(bias.to(dtype), x, weight.to(dtype))
            if self.layer_norm:
                x = nn.functional.layer_norm(x, x.shape[-1:], eps=EPSILON)
            x = torch.relu(x)
        # One output: a product with a vector, whose batched outer product backward is slow as a matrix product.
        values: torch.Tensor = (x.to(inputs[0].dtype) * weights[-1].transpose(1, 2)).sum(-1) + biases[-1][:, 0]
        return values


def _type_for(inputs: torch.Tensor, dtype: torch.dtype) -> torch.dtype:
    """What a batch is computed in: `dtype`, or the inputs' own type if it is small."""
    return dtype if dtype == torch.bfloat16 and len(inputs) >= LOW_PRECISION_ROWS else inputs.dtype


def _kernels(inputs: torch.Tensor, dtype: torch.dtype) -> Kernels | None:
    return kernels_for(dtype) if inputs.device.type == "cpu" and inputs.dtype == dtype else None
