"""Forward and backward of a `QNetwork` by hand, on the CPU: autograd costs more than the arithmetic at these sizes.

Products are PyTorch's, all that is small is numpy's, which starts an operator several times faster; both work on the
same memory, which stays from one batch to the next. `QNetwork.logits` and autograd say the same, and are used on other
devices (`mql.q_learning.gradients`).

Shapes: B observations of shape O in columns, A actions, K atoms.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from mql.q_learning.networks import KERNEL, QNetwork

Array = npt.NDArray[np.floating]


class _Layer:
    """``out = relu(weight @ x + bias)``, without the ReLU in the last one, and the way back; views are made once.

    Attributes:
        weight: [units, inputs].
        bias: [units, 1].
        x: [inputs, columns]: of filters, a column for each cell of each observation.
        out, of_out: [units, columns], and the loss's gradient with regard to it.
    """

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor, x: torch.Tensor) -> None:
        self.weight, self.x = weight, x
        self.out = weight.new_empty(len(weight), x.shape[1])
        self.of_out = torch.empty_like(self.out)
        self._bias, self._out = bias.numpy(), self.out.numpy()
        self._turned_x, self._turned_weight = x.t(), weight.t()
        self._turned_of_out, self._of_out = self.of_out.t(), self.of_out.numpy()

    def forward(self, *, relu: bool) -> None:
        torch.mm(self.weight, self.x, out=self.out)
        self._out += self._bias
        if relu:
            np.maximum(self._out, 0.0, out=self._out)

    def backward(self, of_weight: torch.Tensor, of_bias: Array, below: _Layer | None) -> None:
        """Write the gradients of weight and bias, and that of the layer below, whose ``out`` is x."""
        if self.x.shape[1] > self.x.shape[0]:  # (many columns: twice as fast the other way round)
            of_weight.copy_(torch.mm(self.x, self._turned_of_out).t())
        else:
            torch.mm(self.of_out, self._turned_x, out=of_weight)
        np.add.reduce(self._of_out, axis=1, out=of_bias)
        if below is not None:
            torch.mm(self._turned_weight, self.of_out, out=below.of_out.view(self.x.shape))
            np.multiply(below._of_out, below._out > 0.0, out=below._of_out)  # (of the ReLU)


class Columns:
    """What a network says of `batch` observations, with the parameters that it has when it is asked.

    Args:
        network: on the CPU, its parameters where they will stay.
        batch: B.
        gradient: where `backward` writes to, in the order and shapes of the network's parameters.
    """

    def __init__(self, network: QNetwork, batch: int, gradient: Sequence[torch.Tensor] = ()) -> None:
        self._batch = batch
        self._gradient = [
            (of_weight.flatten(1), of_bias.numpy())
            for of_weight, of_bias in zip(gradient[::2], gradient[1::2], strict=True)
        ]
        dtype = network.output.weight.dtype
        x = torch.empty(int(np.prod(network.obs_shape)), batch, dtype=dtype)
        self._seen: Array = x.numpy()
        self._windows = self._patches = self._seen[:0]
        self._layers: list[_Layer] = []
        for layer in network.layers():
            if isinstance(layer, nn.Conv2d):
                windows = x.view(*network.obs_shape, batch).unfold(1, KERNEL, 1).unfold(2, KERNEL, 1)
                windows = windows.permute(0, 4, 5, 1, 2, 3)  # [C, KERNEL, KERNEL, cells down, cells across, B]
                patches = torch.empty(windows.shape, dtype=dtype)
                self._windows, self._patches = windows.numpy(), patches.numpy()
                x = patches
            weight = layer.weight.detach().flatten(1)
            self._layers.append(_Layer(weight, network.bias_of(layer).detach(), x.view(weight.shape[1], -1)))
            x = self._layers[-1].out
        self._said: Array = x.numpy()
        self._of_said: Array = self._layers[-1].of_out.numpy()

    def forward(self, obs: npt.NDArray[Any]) -> Array:
        """Return what the output layer says of observations [B, *O], [A or A K, B], until it is asked again."""
        np.copyto(self._seen, obs.reshape(self._batch, -1).T)
        np.copyto(self._patches, self._windows)
        for layer in self._layers:
            layer.forward(relu=layer is not self._layers[-1])
        return self._said

    def backward(self, of_said: Array) -> None:
        """Write the gradient of a loss, given that with regard to what `forward` said last, [A or A K, B]."""
        self._of_said[...] = of_said
        below = [None, *self._layers[:-1]]
        for layer, (of_weight, of_bias), before in reversed(
            list(zip(self._layers, self._gradient, below, strict=True))
        ):
            layer.backward(of_weight, of_bias, before)


def squared_errors(values: Array, action: npt.NDArray[np.int64], targets: Array, weights: Array) -> tuple[Array, Array]:
    """Return (Q(s, a) - y)^2 [B], and the gradient [A, B] of their weighted mean with regard to the values [A, B].

    Args:
        values: what a network says, in columns.
        action, targets, weights: [B].
    """
    each = np.arange(len(action))
    errors = values[action, each] - targets
    gradient = np.zeros_like(values)
    gradient[action, each] = 2.0 / len(action) * weights * errors
    return errors * errors, gradient


def cross_entropies(said: Array, action: npt.NDArray[np.int64], targets: Array, weights: Array) -> tuple[Array, Array]:
    """Return cross-entropies [B] of distributions, and the gradient [A K, B] of their weighted mean.

    Args:
        said: logits [A K, B] in columns.
        action, weights: [B].
        targets: distributions [B, K] to learn.
    """
    each, atoms = np.arange(len(action)), targets.shape[1]
    taken = said.reshape(-1, atoms, len(action))[action, :, each]  # [B, K]
    taken -= taken.max(axis=1, keepdims=True)
    shares = np.exp(taken)
    total = shares.sum(axis=1, keepdims=True)
    entropies = -(targets * (taken - np.log(total))).sum(axis=1)
    gradient = np.zeros((len(said) // atoms, atoms, len(action)), said.dtype)
    of_taken = shares / total * targets.sum(axis=1, keepdims=True) - targets
    gradient[action, :, each] = of_taken * (weights / len(action))[:, None]
    return entropies, gradient.reshape(said.shape)
