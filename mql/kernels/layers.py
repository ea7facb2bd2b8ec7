"""Stacks of hidden layers: matrix product, bias, layer normalisation if wanted, ReLU; K networks side by side.

On the CPU, in float32 or float64 and with a C compiler, all that is not a matrix product is one pass of a kernel
(`kernels.c`), and the way back is written out by hand: weights only where they are learned, inputs only in the columns
that are asked for. `networks.py` has the plain version in PyTorch's own operators.

Shapes: K networks (2 for twin critics), B transitions, W units of a layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from mql.kernels.loading import Kernels

EPSILON = 1e-5  # added to the variance in layer normalisation, as in PyTorch

Tensors = Sequence[torch.Tensor]


@dataclass(frozen=True)
class Layer:
    """A layer's weight [K, in, W] and bias [K, 1, W], and where their gradients go (None: it is not learned)."""

    weight: torch.Tensor
    bias: torch.Tensor
    of_weight: torch.Tensor | None = None
    of_bias: torch.Tensor | None = None


@dataclass
class HiddenPass:
    """One way through hidden layers, and back.

    Args:
        layer_norm: normalise pre-activations (without scale and shift: the next layer has both).
        head: a last layer of one unit without activation, if there is one.
    """

    kernels: Kernels
    layers: Sequence[Layer]
    layer_norm: bool
    head: Layer | None = None
    _inputs: list[torch.Tensor] = field(default_factory=list)  # of each layer: [K, B, in]
    _seen: list[torch.Tensor] = field(default_factory=list)  # of each: normalised pre-activations, or activations
    _scales: list[torch.Tensor | None] = field(default_factory=list)  # of each: 1 / standard deviation, [K, B]

    def forward(self, inputs: Tensors) -> torch.Tensor:
        """Return the last hidden layer [K, B, W], or the head's values [K, B], over all columns of `inputs`, [B, .]."""
        x = torch.cat(list(inputs), dim=-1)
        networks, rows = len(self.layers[0].weight), len(x)
        values = None if self.head is None else x.new_empty(networks, rows)
        x = x.unsqueeze(0).expand(networks, -1, -1)
        for i, layer in enumerate(self.layers):
            self._inputs.append(x)
            product = torch.bmm(x, layer.weight)
            # Without normalisation the product isn't needed again: the activation overwrites it.
            scale = product.new_empty(networks, rows) if self.layer_norm else None
            x = torch.empty_like(product) if self.layer_norm else product
            head = self.head if i == len(self.layers) - 1 else None
            self.kernels(
                "hidden_forward", networks, rows, product.shape[2], self.layer_norm, EPSILON, layer.bias.contiguous(),
                product, scale, x, None if head is None else head.weight.contiguous(),
                None if head is None else values,
            )  # fmt: skip
            self._seen.append(product)
            self._scales.append(scale)
        if values is None or self.head is None:
            return x
        return values.add_(self.head.bias[:, 0])

    def backward(self, gradient: torch.Tensor, columns: slice) -> torch.Tensor:
        """From the gradient of what `forward` gave to that of the input's `columns`, [B, .]; sets the layers' own.

        Without a head, `gradient` is overwritten.
        """
        values, grad = (gradient.contiguous(), None) if self.head is not None else (None, gradient.contiguous())
        for i in reversed(range(len(self.layers))):
            layer, seen = self.layers[i], self._seen[i]
            head = self.head if i == len(self.layers) - 1 else None
            grad = torch.empty_like(seen) if grad is None else grad
            of_bias = torch.empty_like(layer.bias) if layer.of_bias is None else layer.of_bias
            of_head = None
            if head is not None:
                of_head = torch.empty_like(head.weight) if head.of_weight is None else head.of_weight
            self.kernels(
                "hidden_backward", *seen.shape, self.layer_norm, seen, self._scales[i], values if head else None,
                None if head is None else head.weight.contiguous(), grad, of_bias, of_head,
            )  # fmt: skip
            if head is not None and head.of_bias is not None:
                torch.sum(gradient, dim=1, out=head.of_bias[:, 0, 0])
            if layer.of_weight is not None:
                _multiply(self._inputs[i].transpose(1, 2), grad, out=layer.of_weight)
            weight = layer.weight if i else layer.weight[:, columns]
            grad = torch.bmm(grad, weight.transpose(1, 2))
        if grad is None:
            raise ValueError("there is no layer")
        return grad[0] if len(grad) == 1 else grad.sum(dim=0)


def _multiply(a: torch.Tensor, b: torch.Tensor, *, out: torch.Tensor) -> None:
    """Write the batched product of `a` and `b` to `out`, whichever of its last two dimensions is contiguous."""
    if out.stride(1) == 1 and out.stride(2) != 1:
        torch.bmm(b.transpose(1, 2), a.transpose(1, 2), out=out.transpose(1, 2))
    else:
        torch.bmm(a, b, out=out)
