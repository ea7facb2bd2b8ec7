"""A GRU over short sequences: its states after each step, or after the last.

The recurrence of a small GRU costs many small operators (a dozen per step, of some microseconds each), not arithmetic.
On the CPU, with a C compiler, a kernel takes blocks of sequences through all their steps (`kernels.c`), and so does one
on a GPU (`on_gpu.py`); else PyTorch's own GRU is used. All compute the same function and gradients (Cho et al. 2014 in
PyTorch's form, gates r, u, n)::

    r = sigmoid(W_ir x + b_ir + W_hr h + b_hr)        u = sigmoid(W_iu x + b_iu + W_hu h + b_hu)
    n = tanh(W_in x + b_in + r * (W_hn h + b_hn))     h' = n + u (h - n)

The elements' products with W_ih, and the weights' gradients, are single products of matrices over all steps and
sequences. Only the recurrence between them is the kernel's.

Shapes: T steps, S sequences, C inputs, Z state. Sequences may begin late: before element ``start``, of a sequence whose
history is shorter than T, the state stays as it was.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable

from mql.kernels.loading import Kernels, kernels_for
from mql.types import Context

if TYPE_CHECKING:
    from mql.kernels.on_gpu import GPUKernels


def gru_states(gru: nn.GRU, context: Context, *, last_only: bool) -> torch.Tensor:
    """Return the states [T+1, S, Z] of a one-layer `gru`, or the last alone, [1, S, Z].

    ``context.read`` has no part in this.
    """
    elements, start, initial = context.elements, context.start, context.initial
    steps, rows, size = elements.shape
    kernels = kernels_for(elements.dtype, elements.device.type)
    # (The kernel reads memory as it is: what has another shape or type is for PyTorch to compute with, or to refuse.)
    fits = (initial is None or (initial.shape == (rows, gru.hidden_size) and initial.dtype == elements.dtype)) and (
        start is None or (start.shape == (rows,) and start.dtype == torch.int64)
    )
    if kernels is None or not fits or gru.hidden_size > kernels.widest_state:
        return plain_gru_states(gru, context, last_only=last_only)
    w_ih, w_hh, b_ih, b_hh = gru.all_weights[0]
    inputs = torch.mm(elements.reshape(steps * rows, size), w_ih.T).view(steps, rows, len(w_ih))
    if not torch.is_grad_enabled():
        return _run(kernels, inputs, initial, start, w_hh, b_ih, b_hh, first=steps if last_only else 0)
    states: torch.Tensor = _Recurrence.apply(inputs, initial, start, w_hh, b_ih, b_hh, last_only)  # type: ignore[no-untyped-call]
    return states


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


class _Recurrence(torch.autograd.Function):
    """From the elements' products with W_ih, [T, S, 3 Z], to the states."""

    @staticmethod
    def forward(
        ctx: Any,
        inputs: torch.Tensor,
        initial: torch.Tensor | None,
        start: torch.Tensor | None,
        w_hh: torch.Tensor,
        b_ih: torch.Tensor,
        b_hh: torch.Tensor,
        last_only: bool,
    ) -> torch.Tensor:
        kernels = kernels_for(inputs.dtype, inputs.device.type)
        assert kernels is not None
        steps, rows, _ = inputs.shape
        kept = inputs.new_empty(steps, rows, 4, w_hh.shape[1])
        states = _run(kernels, inputs, initial, start, w_hh, b_ih, b_hh, first=0, kept=kept)
        ctx.save_for_backward(start, w_hh, states, kept)
        ctx.kernels, ctx.first = kernels, steps if last_only else 0
        return states[ctx.first :]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_states: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        start, w_hh, states, kept = ctx.saved_tensors
        steps, rows, _, size = kept.shape
        of_sums, of_initial = torch.empty_like(kept), kept.new_empty(rows, size)
        ctx.kernels(
            "gru_backward", steps, rows, size, start, w_hh, states, kept, ctx.first, of_states.contiguous(), of_sums,
            of_initial,
        )  # fmt: skip
        of_sums, before = of_sums.view(steps * rows, 4 * size), states[:-1].view(steps * rows, size)
        # (This way round the product is twice as fast. Of its columns those of n's input part are not needed.)
        products, of_biases = torch.mm(before.T, of_sums), of_sums.sum(dim=0)
        of_w_hh = torch.cat([products[:, : 2 * size], products[:, 3 * size :]], dim=1).T
        of_b_hh = torch.cat([of_biases[: 2 * size], of_biases[3 * size :]])
        of_inputs = of_sums[:, : 3 * size].view(steps, rows, 3 * size)
        return (
            of_inputs,
            of_initial if ctx.needs_input_grad[1] else None,
            None,
            of_w_hh,
            of_biases[: 3 * size],
            of_b_hh,
            None,
        )


def _run(
    kernels: Kernels | GPUKernels,
    inputs: torch.Tensor,
    initial: torch.Tensor | None,
    start: torch.Tensor | None,
    *weights: torch.Tensor,
    first: int,
    kept: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return the states from `first` on, [T + 1 - first, S, Z]; `kept` takes what the way back needs."""
    steps, rows, gates = inputs.shape
    states = inputs.new_empty(steps + 1 - first, rows, gates // 3)
    kernels(
        "gru_forward", steps, rows, gates // 3, inputs, None if initial is None else initial.contiguous(),
        None if start is None else start.contiguous(), *(weight.contiguous() for weight in weights), first, states,
        kept,
    )  # fmt: skip
    return states
