"""Functions that come with their pullback: from the gradient of what they gave to the gradients of what they took.

A network's ``vjp`` returns its value and such a pullback. The pullback writes the gradients of the network's
parameters into their ``.grad`` (a learner lays those end to end) and returns the gradient of the one input that has
any. On the CPU the compiled kernels do it; elsewhere, and for bfloat16, automatic differentiation does (`plain_vjp`).
Both are to be called with automatic differentiation off (``torch.no_grad``), as a learner's update is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn

Pullback = Callable[[torch.Tensor], torch.Tensor]


def plain_vjp(
    function: Callable[[torch.Tensor], torch.Tensor], point: torch.Tensor, parameters: Sequence[nn.Parameter]
) -> tuple[torch.Tensor, Pullback]:
    """Return ``function(point)`` and its pullback by automatic differentiation."""
    leaf = point.detach().requires_grad_()
    with torch.enable_grad():
        value = function(leaf)

    def pullback(gradient: torch.Tensor) -> torch.Tensor:
        found = torch.autograd.grad(value, [leaf, *parameters], gradient, allow_unused=True)
        for parameter, own in zip(parameters, found[1:], strict=True):
            grad_of(parameter).copy_(torch.zeros_like(parameter) if own is None else own)
        return torch.zeros_like(leaf) if found[0] is None else found[0]

    return value.detach(), pullback


def grad_of(parameter: torch.Tensor) -> torch.Tensor:
    """The place for the gradient of `parameter`."""
    if parameter.grad is None:
        parameter.grad = torch.zeros_like(parameter)
    return parameter.grad
