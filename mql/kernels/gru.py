"""A GRU over short sequences: its states after each step, or after the last.

The recurrence of a small GRU costs many small operators (a dozen per step, of some microseconds each), not arithmetic.
On the CPU, with a C compiler, a kernel takes blocks of sequences through all their steps (`kernels.c`); else PyTorch's
own GRU is used. Both compute the same function and gradients (Cho et al. 2014 in PyTorch's form, gates r, u, n)::

    r = sigmoid(W_ir x + b_ir + W_hr h + b_hr)        u = sigmoid(W_iu x + b_iu + W_hu h + b_hu)
    n = tanh(W_in x + b_in + r * (W_hn h + b_hn))     h' = n + u (h - n)

Shapes: T steps, S sequences, C inputs, Z state. Sequences may begin late: before element ``start``, of a sequence whose
history is shorter than T, the state stays as it was.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from mql.kernels.loading import Kernels, kernels_for
from mql.kernels.pullback import Pullback, grad_of, plain_vjp
from mql.types import Context


def gru_states(gru: nn.GRU, context: Context, *, last_only: bool) -> torch.Tensor:
    """Return the states [T+1, S, Z] of a one-layer `gru`, or the last alone, [1, S, Z].

    ``context.read`` has no part in this. Where automatic differentiation is on, PyTorch's own operators are used.
    """
    kernels = _kernels(context)
    if kernels is None or torch.is_grad_enabled():
        return plain_gru_states(gru, context, last_only=last_only)
    return _run(kernels, gru.all_weights[0], context, last_only=last_only, kept=None)


def gru_vjp(gru: nn.GRU, context: Context, *, last_only: bool) -> tuple[torch.Tensor, Pullback]:
    """Return `gru_states` and their pullback, which sets the gradients of the parameters (and returns an empty one)."""
    kernels, elements = _kernels(context), context.elements
    parameters = gru.all_weights[0]
    if kernels is None:
        return plain_vjp(
            lambda _: plain_gru_states(gru, context, last_only=last_only), elements.new_empty(0), parameters
        )
    steps, rows, inputs = elements.shape
    size = gru.hidden_size
    kept = elements.new_empty(-(-rows // kernels.lanes) * steps * 5 * size * kernels.lanes)
    states = _run(kernels, parameters, context, last_only=last_only, kept=kept)

    def pullback(gradient: torch.Tensor) -> torch.Tensor:
        kernels(
            "gru_backward", steps, rows, inputs, size, elements.contiguous(), _contiguous(context.start),
            parameters[1], steps if last_only else 0, gradient.contiguous(), kept, *map(grad_of, parameters),
        )  # fmt: skip
        return elements.new_empty(0)

    return states, pullback


def plain_gru_states(gru: nn.GRU, context: Context, *, last_only: bool) -> torch.Tensor:
    """Compute `gru_states` with PyTorch's own operators."""
    elements, start = context.elements, context.start
    steps, rows = elements.shape[:2]
    first = elements.new_zeros(rows, gru.hidden_size) if context.initial is None else context.initial
    if start is None:
        after, last = gru(elements, first[None])
        return last if last_only else torch.cat([first[None], after])
    # Move each sequence's padding to its end, where it has no effect on what is read.
    place = torch.arange(steps, device=elements.device)[:, None] + start
    index = place.clamp(max=steps - 1)[:, :, None].expand(-1, -1, elements.shape[2])
    after, _ = gru(elements.gather(0, index), first[None])
    states = torch.cat([first[None], after])
    reads = torch.arange(steps if last_only else 0, steps + 1, device=elements.device)[:, None] - start
    return states.gather(0, reads.clamp(min=0)[:, :, None].expand(-1, -1, gru.hidden_size))


def _kernels(context: Context) -> Kernels | None:
    elements = context.elements
    return kernels_for(elements.dtype) if elements.device.type == "cpu" else None


def _run(
    kernels: Kernels,
    parameters: Sequence[nn.Parameter],
    context: Context,
    *,
    last_only: bool,
    kept: torch.Tensor | None,
) -> torch.Tensor:
    """Return the states; `kept` takes what the way back needs."""
    elements = context.elements
    steps, rows, inputs = elements.shape
    size, first = parameters[1].shape[1], steps if last_only else 0
    states = elements.new_empty(steps + 1 - first, rows, size)
    kernels(
        "gru_forward", steps, rows, inputs, size, elements.contiguous(), _contiguous(context.initial),
        _contiguous(context.start), *parameters, first, states, kept,
    )  # fmt: skip
    return states


def _contiguous(tensor: torch.Tensor | None) -> torch.Tensor | None:
    return None if tensor is None else tensor.contiguous()
