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

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from mql.kernels import Kernels, kernels_for


def gru_states(
    gru: nn.GRU,
    elements: torch.Tensor,
    *,
    initial: torch.Tensor | None = None,
    start: torch.Tensor | None = None,
    last_only: bool = False,
) -> torch.Tensor:
    """Return the states [T+1, S, Z] of a one-layer `gru` over elements [T, S, C]; state 0 is `initial`.

    Args:
        initial: [S, Z], by default zero. No gradient goes to it: where it is not zero, it comes from earlier steps
            (truncated back-propagation). None goes to `elements` either: they are data.
        start: [S] of int64, at most T: elements before it are padding; by default zero.
        last_only: return the last state alone, [1, S, Z].
    """
    kernels = kernels_for(elements.dtype) if elements.device.type == "cpu" else None
    if kernels is None:
        return plain_gru_states(gru, elements, initial=initial, start=start, last_only=last_only)
    weights = tuple(gru.parameters())  # of the inputs, of the state, and their biases
    begin = _Begin(_contiguous(initial), _contiguous(start), first=len(elements) if last_only else 0)
    if not torch.is_grad_enabled():
        return _run(kernels, elements.contiguous(), begin, weights, kept=None)
    result: torch.Tensor = _States.apply(kernels, elements.contiguous(), begin, *weights)  # type: ignore[no-untyped-call]
    return result


def plain_gru_states(
    gru: nn.GRU,
    elements: torch.Tensor,
    *,
    initial: torch.Tensor | None = None,
    start: torch.Tensor | None = None,
    last_only: bool = False,
) -> torch.Tensor:
    """Compute `gru_states` with PyTorch's own operators."""
    steps, rows = elements.shape[:2]
    first = elements.new_zeros(rows, gru.hidden_size) if initial is None else initial
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


@dataclass(frozen=True)
class _Begin:
    """Where sequences begin, and after how many elements states are wanted from."""

    initial: torch.Tensor | None
    start: torch.Tensor | None
    first: int


def _run(
    kernels: Kernels,
    elements: torch.Tensor,
    begin: _Begin,
    weights: tuple[torch.Tensor, ...],
    *,
    kept: torch.Tensor | None,
) -> torch.Tensor:
    """Return states [T+1-first, S, Z]; `kept` takes what the way back needs."""
    steps, rows, inputs = elements.shape
    size = weights[1].shape[1]
    states = elements.new_empty(steps + 1 - begin.first, rows, size)
    kernels(
        "gru_forward", steps, rows, inputs, size, elements, begin.initial, begin.start, *weights, begin.first, states,
        kept,
    )  # fmt: skip
    return states


class _States(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, kernels: Kernels, elements: torch.Tensor, begin: _Begin, *weights: torch.Tensor
    ) -> torch.Tensor:
        steps, rows, _ = elements.shape
        blocks = -(-rows // kernels.lanes)
        kept = elements.new_empty(blocks * steps * 5 * weights[1].shape[1] * kernels.lanes)
        ctx.kernels, ctx.begin = kernels, begin
        ctx.save_for_backward(elements, weights[1], kept)
        return _run(kernels, elements, begin, weights, kept=kept)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        elements, w_hh, kept = ctx.saved_tensors
        steps, rows, inputs = elements.shape
        size, begin = w_hh.shape[1], ctx.begin
        parts = [3 * size * inputs, 3 * size * size, 3 * size, 3 * size]
        grads = elements.new_empty(sum(parts))
        ctx.kernels(
            "gru_backward", steps, rows, inputs, size, elements, begin.start, w_hh, begin.first,
            gradients[0].contiguous(), kept, grads,
        )  # fmt: skip
        of_w_ih, of_w_hh, of_b_ih, of_b_hh = grads.split_with_sizes(parts)
        return None, None, None, of_w_ih.view(3 * size, inputs), of_w_hh.view(3 * size, size), of_b_ih, of_b_hh


def _contiguous(tensor: torch.Tensor | None) -> torch.Tensor | None:
    return None if tensor is None else tensor.contiguous()
