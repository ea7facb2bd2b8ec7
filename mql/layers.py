"""Stacks of hidden layers: matrix product, bias, layer normalisation if wanted, ReLU; K networks side by side.

On the CPU, in float32 or float64 and with a C compiler, all that is not a matrix product is one pass of a kernel
(`kernels.c`), and the gradients are written out by hand: of weights only where they are wanted, of inputs only in the
columns where they are wanted. Else PyTorch's own operators do the same; they also serve bfloat16.

Shapes: K networks (2 for twin critics), B transitions, W units of a layer.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from mql.kernels import Kernels, kernels_for

EPSILON = 1e-5  # added to the variance in layer normalisation, as in PyTorch

Tensors = Sequence[torch.Tensor]


def hidden_layers(
    inputs: Tensors, weights: Tensors, biases: Tensors, *, layer_norm: bool, dtype: torch.dtype
) -> torch.Tensor:
    """Return the last hidden layer [K, B, W] over the columns of `inputs` (each [B, .]) taken together.

    Args:
        weights, biases: of each layer, [K, in, W] and [K, 1, W].
        layer_norm: normalise pre-activations (without scale and shift: the next layer has both).
        dtype: what the products are computed in.
    """
    kernels = _kernels(inputs, dtype)
    if kernels is None:
        return plain_hidden_layers(inputs, weights, biases, layer_norm=layer_norm, dtype=dtype)
    return _apply(kernels, inputs, weights, biases, layer_norm=layer_norm, values=False)


def values_of(
    inputs: Tensors, weights: Tensors, biases: Tensors, *, layer_norm: bool, dtype: torch.dtype
) -> torch.Tensor:
    """Return values [K, B]: hidden layers as above, and a last layer of one unit without activation."""
    kernels = _kernels(inputs, dtype)
    if kernels is None:
        return plain_values_of(inputs, weights, biases, layer_norm=layer_norm, dtype=dtype)
    return _apply(kernels, inputs, weights, biases, layer_norm=layer_norm, values=True)


def plain_hidden_layers(
    inputs: Tensors, weights: Tensors, biases: Tensors, *, layer_norm: bool, dtype: torch.dtype
) -> torch.Tensor:
    """Compute `hidden_layers` with PyTorch's own operators."""
    x = torch.cat(list(inputs), dim=-1).to(dtype).unsqueeze(0).expand(len(weights[0]), -1, -1)
    for weight, bias in zip(weights, biases, strict=True):
        x = torch.baddbmm(bias.to(dtype), x, weight.to(dtype))
        if layer_norm:
            x = nn.functional.layer_norm(x, x.shape[-1:], eps=EPSILON)
        x = torch.relu(x)
    return x.to(inputs[0].dtype)


def plain_values_of(
    inputs: Tensors, weights: Tensors, biases: Tensors, *, layer_norm: bool, dtype: torch.dtype
) -> torch.Tensor:
    """Compute `values_of` with PyTorch's own operators."""
    x = plain_hidden_layers(inputs, weights[:-1], biases[:-1], layer_norm=layer_norm, dtype=dtype)
    # One output: a product with a vector, whose batched outer product backward is slow as a matrix product.
    values: torch.Tensor = (x * weights[-1].transpose(1, 2)).sum(-1) + biases[-1][:, 0]
    return values


def _kernels(inputs: Tensors, dtype: torch.dtype) -> Kernels | None:
    first = inputs[0]
    return kernels_for(dtype) if first.device.type == "cpu" and first.dtype == dtype else None


def _apply(
    kernels: Kernels, inputs: Tensors, weights: Tensors, biases: Tensors, *, layer_norm: bool, values: bool
) -> torch.Tensor:
    if not torch.is_grad_enabled():
        return _run(kernels, inputs, weights, biases, layer_norm=layer_norm, values=values).result
    result: torch.Tensor = _Layers.apply(  # type: ignore[no-untyped-call]
        kernels, layer_norm, values, len(inputs), *inputs, *weights, *biases
    )
    return result


@dataclass(frozen=True)
class _Pass:
    """One way forward: the result, and what the way back needs of each hidden layer."""

    result: torch.Tensor
    inputs: list[torch.Tensor]  # [K, B, in]
    seen: list[torch.Tensor]  # [K, B, W]: normalised pre-activations, or activations
    scales: list[torch.Tensor]  # [K, B]: 1 / standard deviation of each row (not used without normalisation)


def _run(
    kernels: Kernels, inputs: Tensors, weights: Tensors, biases: Tensors, *, layer_norm: bool, values: bool
) -> _Pass:
    x = torch.cat(list(inputs), dim=-1)
    networks, rows, hidden = len(weights[0]), len(x), len(weights) - values
    done = _Pass(x.new_empty(networks, rows), [x.unsqueeze(0).expand(networks, -1, -1)], [], [])
    for i in range(hidden):
        product = torch.bmm(done.inputs[-1], weights[i])
        # Without normalisation the product isn't needed again: the activation overwrites it.
        out, scale = (torch.empty_like(product), x.new_empty(networks, rows)) if layer_norm else (product, product)
        last = values and i == hidden - 1
        kernels(
            "hidden_forward", networks, rows, product.shape[2], layer_norm, EPSILON, biases[i].contiguous(), product,
            scale, out, weights[-1].contiguous() if last else None, done.result if last else None,
        )  # fmt: skip
        done.seen.append(product)
        done.scales.append(scale)
        done.inputs.append(out)
    return dataclasses.replace(done, result=done.result.add_(biases[-1][:, 0]) if values else done.inputs[-1])


class _Layers(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, kernels: Kernels, layer_norm: bool, values: bool, parts: int, *tensors: torch.Tensor
    ) -> torch.Tensor:
        layers = (len(tensors) - parts) // 2
        inputs, weights, biases = tensors[:parts], tensors[parts : parts + layers], tensors[parts + layers :]
        done = _run(kernels, inputs, weights, biases, layer_norm=layer_norm, values=values)
        ctx.kernels, ctx.layer_norm, ctx.values, ctx.parts = kernels, layer_norm, values, parts
        ctx.widths = [part.shape[1] for part in inputs]
        ctx.save_for_backward(*weights, *done.inputs, *done.seen, *done.scales)
        return done.result

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        saved, values = ctx.saved_tensors, int(ctx.values)
        hidden = (len(saved) - 1 - values) // 4
        weights, layer_inputs = saved[: hidden + values], saved[hidden + values : 2 * hidden + values + 1]
        seen, scales = saved[2 * hidden + values + 1 : 3 * hidden + values + 1], saved[3 * hidden + values + 1 :]
        wanted = ctx.needs_input_grad[4 + ctx.parts :]
        of_weights: list[torch.Tensor | None] = [None] * len(weights)
        of_biases: list[torch.Tensor | None] = [None] * len(weights)
        grad = gradients[0]
        of_values = grad.contiguous() if values else None
        of_last = torch.empty_like(weights[-1]) if values else None
        for i in reversed(range(hidden)):
            networks, rows, width = seen[i].shape
            top = i == hidden - 1
            # Between layers `grad` is this function's own and may be overwritten; the first is the caller's.
            grad = torch.empty_like(seen[i]) if top and values else grad.clone() if top else grad
            of_bias = grad.new_empty(networks, 1, width)
            ctx.kernels(
                "hidden_backward", networks, rows, width, ctx.layer_norm, seen[i], scales[i],
                of_values if top else None, weights[-1].contiguous() if top and values else None, grad, of_bias,
                of_last if top else None,
            )  # fmt: skip
            if wanted[i]:
                of_weights[i] = _of_weight(layer_inputs[i], grad, like=weights[i])
                of_biases[i] = of_bias
            if i:
                grad = torch.bmm(grad, weights[i].transpose(1, 2))
        if of_values is not None and wanted[hidden]:
            of_weights[-1], of_biases[-1] = of_last, of_values.sum(dim=1)[:, None, None]
        return None, None, None, None, *_of_inputs(ctx, grad, weights[0]), *of_weights, *of_biases


def _of_weight(inputs: torch.Tensor, grad: torch.Tensor, *, like: torch.Tensor) -> torch.Tensor:
    """Gradient [K, in, W] of a layer's weight, laid out in memory as the weight is: a linear layer's is transposed."""
    if like.stride(1) == 1:
        return torch.bmm(grad.transpose(1, 2), inputs).transpose(1, 2)
    return torch.bmm(inputs.transpose(1, 2), grad)


def _of_inputs(ctx: Any, grad: torch.Tensor, weight: torch.Tensor) -> list[torch.Tensor | None]:
    """Gradients of the input's parts that want one, each [B, .]: columns of the product with the first weight."""
    found: list[torch.Tensor | None] = []
    first = 0
    for part, width in enumerate(ctx.widths):
        columns = weight[:, first : first + width]
        wanted = ctx.needs_input_grad[4 + part] and width
        found.append(torch.bmm(grad, columns.transpose(1, 2)).sum(dim=0) if wanted else None)
        first += width
    return found
