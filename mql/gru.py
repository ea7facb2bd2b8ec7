"""A GRU over short sequences on the CPU, forward and backward by hand.

The recurrence of a small GRU spends its time on the overhead of many small operators, not on arithmetic. Here the input
products of all steps are one matrix product, a step is a dozen numpy calls into preallocated arrays, and the backward
loop is five: everything in it that doesn't depend on the running gradient is computed for all steps at once. Same
function and gradients as ``torch.nn.GRU`` (checked against it in the tests); used where tensors are on the CPU.

Equations (Cho et al. 2014 in PyTorch's form, gates in the order r, u, n)::

    r = sigmoid(W_ir x + b_ir + W_hr h + b_hr)        u = sigmoid(W_iu x + b_iu + W_hu h + b_hu)
    n = tanh(W_in x + b_in + r * (W_hn h + b_hn))     h' = n + u (h - n)

Shapes: T steps, S sequences, C inputs, Z state. Arrays inside are feature-major, [T, 3Z, S]: each gate is contiguous.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn


def gru_states(gru: nn.GRU, elements: torch.Tensor, initial: torch.Tensor) -> torch.Tensor:
    """Return the states [T+1, Z, S] of a one-layer `gru` over elements [T, S, C], from `initial` [S, Z] on.

    No gradient goes to `initial`: where it is not zero, it comes from earlier steps (truncated back-propagation).
    """
    result: torch.Tensor = _States.apply(  # type: ignore[no-untyped-call]
        elements, initial, gru.weight_ih_l0, gru.weight_hh_l0, gru.bias_ih_l0, gru.bias_hh_l0
    )
    return result


class _States(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        elements: torch.Tensor,
        initial: torch.Tensor,
        w_ih: torch.Tensor,
        w_hh: torch.Tensor,
        b_ih: torch.Tensor,
        b_hh: torch.Tensor,
    ) -> torch.Tensor:
        steps, rows, _ = elements.shape
        size = w_hh.shape[1]
        both = b_ih.clone()
        both[: 2 * size] += b_hh[: 2 * size]  # b_hn stays with the recurrent product: r multiplies it
        inputs = torch.baddbmm(both[None, :, None], w_ih.expand(steps, -1, -1), elements.transpose(1, 2)).numpy()
        recurrent, bias_n = w_hh.numpy(), b_hh[2 * size :, None].numpy()
        states = np.empty((steps + 1, size, rows), dtype=inputs.dtype)
        states[0] = initial.detach().numpy().T
        gates = np.empty((steps, 3 * size, rows), dtype=inputs.dtype)  # r, u, n of every step
        hidden_n = np.empty((steps, size, rows), dtype=inputs.dtype)  # W_hn h + b_hn
        product = np.empty((3 * size, rows), dtype=inputs.dtype)
        half = inputs.dtype.type(0.5)
        for t in range(steps):
            h, after, gate = states[t], states[t + 1], gates[t]
            r, u, n = gate[:size], gate[size : 2 * size], gate[2 * size :]
            np.matmul(recurrent, h, out=product)
            ru = gate[: 2 * size]
            np.add(inputs[t, : 2 * size], product[: 2 * size], out=ru)
            np.multiply(ru, half, out=ru)  # sigmoid(x) = (1 + tanh(x / 2)) / 2, which cannot overflow
            np.tanh(ru, out=ru)
            np.multiply(ru, half, out=ru)
            np.add(ru, half, out=ru)
            np.add(product[2 * size :], bias_n, out=hidden_n[t])
            np.multiply(r, hidden_n[t], out=n)
            np.add(n, inputs[t, 2 * size :], out=n)
            np.tanh(n, out=n)
            np.subtract(h, n, out=after)
            np.multiply(after, u, out=after)
            np.add(after, n, out=after)
        ctx.save_for_backward(elements, w_ih, w_hh)
        ctx.arrays = (states, gates, hidden_n)
        return torch.from_numpy(states)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        elements, w_ih, w_hh = ctx.saved_tensors
        states, gates, hidden_n = ctx.arrays
        steps, size, rows = hidden_n.shape
        of_states = gradients[0].contiguous().numpy()
        r, u, n = gates[:, :size], gates[:, size : 2 * size], gates[:, 2 * size :]
        keep = 1.0 - u
        to_n = keep * (1.0 - n * n)  # d(pre-tanh of n) / dh'
        # The gradient of the recurrent products (r, u, n rows) is the running gradient times these.
        factor = np.empty((steps, 3, size, rows), dtype=gates.dtype)
        np.multiply(to_n, r, out=factor[:, 2])
        np.multiply(factor[:, 2], hidden_n * (1.0 - r), out=factor[:, 0])
        np.multiply((states[:-1] - n) * u, keep, out=factor[:, 1])
        back = np.ascontiguousarray(w_hh.numpy().T)
        running = np.empty((steps, size, rows), dtype=gates.dtype)  # dL/dh' of every step
        of_products = np.empty((steps, 3, size, rows), dtype=gates.dtype)
        through = np.empty((size, rows), dtype=gates.dtype)
        carried = np.zeros((size, rows), dtype=gates.dtype)
        for t in range(steps - 1, -1, -1):
            np.add(of_states[t + 1], carried, out=running[t])
            np.multiply(running[t], factor[t], out=of_products[t])
            np.matmul(back, of_products[t].reshape(3 * size, rows), out=through)
            np.multiply(running[t], u[t], out=carried)
            np.add(carried, through, out=carried)
        of_inputs = of_products.copy()
        np.multiply(running, to_n, out=of_inputs[:, 2])

        products = torch.from_numpy(of_products).view(steps, 3 * size, rows)
        inputs = torch.from_numpy(of_inputs).view(steps, 3 * size, rows)
        before = torch.from_numpy(states[:-1])
        of_elements = torch.matmul(inputs.transpose(1, 2), w_ih) if ctx.needs_input_grad[0] else None
        flat = inputs.transpose(0, 1).reshape(3 * size, -1)
        return (
            of_elements,
            None,
            flat @ elements.reshape(steps * rows, -1),
            products.transpose(0, 1).reshape(3 * size, -1) @ before.transpose(1, 2).reshape(-1, size),
            flat.sum(dim=1),
            products.sum(dim=(0, 2)),
        )
