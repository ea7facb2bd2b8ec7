"""Products of activations and weights, in float32 or, rounded to bfloat16 on the way in and out, on faster units.

Only what goes into a product is rounded, and what comes out: parameters, biases, normalisation and gradients' sums stay
float32, and so do the kernels that follow (`layers.py`).

Shapes: K networks (2 for twin critics), B transitions, V inputs and W units of a layer.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch.autograd.function import once_differentiable


def product(x: torch.Tensor, weight: torch.Tensor, *, dtype: torch.dtype) -> torch.Tensor:
    """Return the products of x [B, V] or [K, B, V] with weight [V, W] or [K, V, W], in the type of x.

    Args:
        x: inputs; [B, V] beside a weight of K networks: all read the same.
        weight: of the type of x.
        dtype: what both are rounded to, bfloat16; or the type of x: they are not.
    """
    if x.dtype == dtype:
        return torch.matmul(x, weight) if weight.dim() == 2 else torch.bmm(x.expand(len(weight), -1, -1), weight)
    found: torch.Tensor = _Rounded.apply(x, weight, dtype)  # type: ignore[no-untyped-call]
    return found


@cache
def bfloat16_in_hardware(device_type: str = "cpu") -> bool:
    """Tell whether a device multiplies bfloat16 in units of its own; a CPU without them is slower than in float32."""
    return device_type != "cpu" or any(bool(getattr(torch.cpu, name, bool)()) for name in _ASKED)


# Functions of `torch.cpu`, which have no public names yet.
_ASKED = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")


class _Rounded(torch.autograd.Function):
    """`product` of rounded numbers; on the way back, gradients are rounded in the same way."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        rounded, weights = x.to(dtype), weight.to(dtype)
        ctx.save_for_backward(rounded, weights)
        ctx.given = x.dtype
        return torch.matmul(rounded, weights).to(x.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_product: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor | None, None]:
        x, weights = ctx.saved_tensors
        gradient = of_product.to(x.dtype)
        of_x = of_weight = None
        if ctx.needs_input_grad[0]:
            of_x = torch.matmul(gradient, weights.mT).to(ctx.given)
            if of_x.dim() > x.dim():
                of_x = of_x.sum(0)
        if ctx.needs_input_grad[1]:
            of_weight = torch.matmul(x.mT, gradient).to(ctx.given)
        return of_x, of_weight, None
