"""What follows a hidden layer's matrix product: bias, layer normalisation if wanted, ReLU; K networks in parallel.

On the CPU, in float32 or float64 and with a C compiler, that is one pass of a kernel (`kernels.c`), and one on the way
back; on a GPU, too, in float32 (`on_gpu.py`); else it is PyTorch's own operators. The matrix products before it are
plain ones.

Shapes: K networks (2 for twin critics), B transitions, W units of a layer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.autograd.function import once_differentiable

from mql.kernels.loading import Kernels, kernels_for

if TYPE_CHECKING:
    from mql.kernels.on_gpu import GPUKernels

EPSILON = 1e-5  # added to the variance in layer normalisation, as in PyTorch


def hidden(product: torch.Tensor, bias: torch.Tensor, *, layer_norm: bool) -> torch.Tensor:
    """Return the activations [K, B, W] of a layer from its product of inputs and weights, and bias [K, 1, W].

    Args:
        product: [K, B, W], or [B, W] of a single network; it may be overwritten.
        bias: one row for each network; [W] of a single one.
        layer_norm: normalise pre-activations (without scale and shift: the next layer has both).
    """
    kernels = _kernels(product, bias)
    if kernels is None:
        return plain_hidden(product, bias, layer_norm=layer_norm)
    product = product.contiguous()
    if not torch.is_grad_enabled():
        _note_overwriting(product)
        return _run(kernels, product, bias, layer_norm=layer_norm)[0]
    out: torch.Tensor = _Hidden.apply(product, bias, layer_norm)[0]  # type: ignore[no-untyped-call]
    return out


def hidden_values(product: torch.Tensor, bias: torch.Tensor, head: torch.Tensor, *, layer_norm: bool) -> torch.Tensor:
    """Return the products [K, B] of a layer's activations (see `hidden`) with a last layer of one unit, [K, W, 1]."""
    kernels = _kernels(product, bias, head)
    if kernels is None:
        # One unit: a product with a vector, whose batched outer product backward is slow as a matrix product.
        x = plain_hidden(product, bias, layer_norm=layer_norm)
        return (x * head.transpose(1, 2)).sum(-1)
    product = product.contiguous()
    if not torch.is_grad_enabled():
        _note_overwriting(product)
        return _run_values(kernels, product, bias, head, layer_norm=layer_norm)[0]
    values: torch.Tensor = _HiddenValues.apply(product, bias, head, layer_norm)[0]  # type: ignore[no-untyped-call]
    return values


def plain_hidden(product: torch.Tensor, bias: torch.Tensor, *, layer_norm: bool) -> torch.Tensor:
    """Compute `hidden` with PyTorch's own operators."""
    x = product + bias
    if layer_norm:
        x = torch.nn.functional.layer_norm(x, x.shape[-1:], eps=EPSILON)
    return torch.relu(x)


def _kernels(product: torch.Tensor, *rows: torch.Tensor) -> Kernels | GPUKernels | None:
    """The kernels, where they can be used: they read memory as it is, as one row of W numbers for each network."""
    numbers = product.shape[-1] * (len(product) if product.dim() == 3 else 1)
    for row in rows:
        if row.numel() != numbers or row.dtype != product.dtype:
            return None
    return kernels_for(product.dtype, product.device.type)


def _run(
    kernels: Kernels | GPUKernels, product: torch.Tensor, bias: torch.Tensor, *, layer_norm: bool
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return activations and, with `layer_norm`, 1 / standard deviation [K, B]; `product` becomes normalised.

    Without it, the activations overwrite `product`.
    """
    networks, rows, units = product.shape if product.dim() == 3 else (1, *product.shape)
    scale = product.new_empty(networks, rows) if layer_norm else None
    out = torch.empty_like(product) if layer_norm else product
    kernels(
        "hidden_forward", networks, rows, units, layer_norm, EPSILON, bias.contiguous(), product, scale, out, None,
        None,
    )  # fmt: skip
    return out, scale


def _run_values(
    kernels: Kernels | GPUKernels, product: torch.Tensor, bias: torch.Tensor, head: torch.Tensor, *, layer_norm: bool
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return values [K, B] and, with `layer_norm`, 1 / standard deviation; `product` is overwritten as in `_run`."""
    networks, rows, units = product.shape
    scale = product.new_empty(networks, rows) if layer_norm else None
    values = product.new_empty(networks, rows)
    kernels(
        "hidden_forward", networks, rows, units, layer_norm, EPSILON, bias.contiguous(), product, scale, None,
        head.contiguous(), values,
    )  # fmt: skip
    return values, scale


def _note_overwriting(product: torch.Tensor) -> None:
    """Let autograd find out if an earlier use of `product` needs what it was (a `Function` does so by itself)."""
    if not product.is_inference():
        torch.autograd.graph.increment_version(product)


def _refuse(*of_product: torch.Tensor | None) -> None:
    """Say that a product was used after it was overwritten, rather than lose what that use says about the inputs."""
    if any(gradient is not None for gradient in of_product):
        raise RuntimeError("a product was used again after `hidden` or `hidden_values` had overwritten it")


class _Hidden(torch.autograd.Function):
    """`hidden`. The product, which the kernel overwrites, is the second output, so that autograd knows of it."""

    @staticmethod
    def forward(
        ctx: Any,
        product: torch.Tensor,
        bias: torch.Tensor,
        layer_norm: bool,
    ) -> tuple[torch.Tensor, ...]:
        kernels = _kernels(product)
        assert kernels is not None
        ctx.mark_dirty(product)
        ctx.set_materialize_grads(False)
        out, scale = _run(kernels, product, bias, layer_norm=layer_norm)
        ctx.save_for_backward(product, scale)
        ctx.kernels, ctx.layer_norm, ctx.bias_shape = kernels, layer_norm, bias.shape
        return (out, product) if layer_norm else (product,)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_out: torch.Tensor | None, *of_product: torch.Tensor | None) -> tuple[Any, ...]:
        _refuse(*of_product)
        if of_out is None:
            return None, None, None
        seen, scale = ctx.saved_tensors
        networks, rows, units = seen.shape if seen.dim() == 3 else (1, *seen.shape)
        grad = torch.empty_like(seen)
        of_bias = seen.new_empty(ctx.bias_shape) if ctx.needs_input_grad[1] else None
        ctx.kernels(
            "hidden_backward", networks, rows, units, ctx.layer_norm, seen, scale, of_out.contiguous(), None, None,
            grad, of_bias, None,
        )  # fmt: skip
        return grad, of_bias, None


class _HiddenValues(torch.autograd.Function):
    """`hidden_values`. The product, which the kernel overwrites, is the second output, so that autograd knows of it."""

    @staticmethod
    def forward(
        ctx: Any,
        product: torch.Tensor,
        bias: torch.Tensor,
        head: torch.Tensor,
        layer_norm: bool,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        kernels = _kernels(product)
        assert kernels is not None
        ctx.mark_dirty(product)
        ctx.set_materialize_grads(False)
        values, scale = _run_values(kernels, product, bias, head, layer_norm=layer_norm)
        ctx.save_for_backward(product, scale, head)
        ctx.kernels, ctx.layer_norm = kernels, layer_norm
        return values, product

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_values: torch.Tensor | None, of_product: torch.Tensor | None) -> tuple[Any, ...]:
        _refuse(of_product)
        if of_values is None:
            return None, None, None, None
        seen, scale, head = ctx.saved_tensors
        networks, rows, units = seen.shape
        grad = torch.empty_like(seen)
        of_bias = seen.new_empty(networks, 1, units) if ctx.needs_input_grad[1] else None
        of_head = torch.empty_like(head, memory_format=torch.contiguous_format) if ctx.needs_input_grad[2] else None
        ctx.kernels(
            "hidden_backward", networks, rows, units, ctx.layer_norm, seen, scale, None, of_values.contiguous(),
            head.contiguous(), grad, of_bias, of_head,
        )  # fmt: skip
        return grad, of_bias, of_head, None
