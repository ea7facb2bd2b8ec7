"""The functions of `kernels.c` for tensors on a GPU, in Triton: same names, arguments and results.

PyTorch brings Triton where it brings CUDA. Where it is missing, PyTorch's own operators do the same work.

A GRU's recurrence is one kernel here for all its steps, as on the CPU; with an operator for each step's sums and gates
an update would be a few hundred launches. Its products are made of three in tf32 each, which keeps float32's digits.

Shapes: T steps, S sequences, Z state; K networks, B rows, W units of a layer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import triton
import triton.language as tl

WIDEST_STATE = 64  # three square matrices of this width have to fit into a multiprocessor
ROWS = 16  # sequences that go through a recurrence together: the fewest that the matrix units take
# By the padded size of its state: the precision of its products ("ieee" or "tf32x3", which are as exact here) and the
# warps that were the fastest on an H200, there and back (docs/performance.md).
FORWARD = {16: ("ieee", 4), 32: ("tf32x3", 4), 64: ("tf32x3", 8)}
BACKWARD = {16: ("ieee", 8), 32: ("ieee", 4), 64: ("tf32x3", 4)}
COLUMNS = 32  # units whose sums over rows one program makes


class GPUKernels:
    """Called like `mql.kernels.loading.Kernels`; tensors must be contiguous, on the GPU and float32."""

    widest_state = WIDEST_STATE

    def __call__(self, name: str, *arguments: Any) -> None:
        """Call the function `name` of `kernels.c` with its arguments there."""
        _FUNCTIONS[name](*arguments)


@triton.jit  # type: ignore[untyped-decorator]
def _sigmoid(x: Any) -> Any:
    return 1.0 / (1.0 + tl.exp(-x))


@triton.jit  # type: ignore[untyped-decorator]
def _tanh(x: Any) -> Any:
    e = tl.exp(-2.0 * tl.abs(x))
    y = (1.0 - e) / (1.0 + e)
    return tl.where(x < 0.0, -y, y)


@triton.jit  # type: ignore[untyped-decorator]
def _gru_forward_kernel(  # type: ignore[no-untyped-def]
    inputs, initial, start, w_hh, b_ih, b_hh, states, kept, steps, sequences, size, first,
    HAS_INITIAL: tl.constexpr, HAS_START: tl.constexpr, KEEP: tl.constexpr, ROWS: tl.constexpr, WIDTH: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    unit = tl.arange(0, WIDTH)
    units = unit < size
    here = (row < sequences)[:, None] & units[None, :]
    square = units[:, None] & units[None, :]
    turned = unit[None, :] * size + unit[:, None]  # h [S, k] times w[j, k]
    area = size * size
    w_r = tl.load(w_hh + turned, mask=square, other=0.0)
    w_u = tl.load(w_hh + area + turned, mask=square, other=0.0)
    w_n = tl.load(w_hh + 2 * area + turned, mask=square, other=0.0)
    b_r = tl.load(b_ih + unit, mask=units, other=0.0) + tl.load(b_hh + unit, mask=units, other=0.0)
    b_u = tl.load(b_ih + size + unit, mask=units, other=0.0) + tl.load(b_hh + size + unit, mask=units, other=0.0)
    b_n = tl.load(b_ih + 2 * size + unit, mask=units, other=0.0)
    b_m = tl.load(b_hh + 2 * size + unit, mask=units, other=0.0)
    place = row[:, None] * size + unit[None, :]
    h = tl.zeros((ROWS, WIDTH), dtype=tl.float32)
    if HAS_INITIAL:
        h = tl.load(initial + place, mask=here, other=0.0)
    if HAS_START:
        begin = tl.load(start + row, mask=row < sequences, other=0)
    if first == 0:
        tl.store(states + place, h, mask=here)
    # (What the next step is given is on its way while this one is computed: only the recurrence has to wait.)
    given = inputs + row[:, None] * 3 * size + unit[None, :]
    next_r = tl.load(given, mask=here, other=0.0)
    next_u = tl.load(given + size, mask=here, other=0.0)
    next_n = tl.load(given + 2 * size, mask=here, other=0.0)
    for t in range(steps):
        x_r, x_u, x_n = next_r, next_u, next_n
        given += sequences * 3 * size
        if t + 1 < steps:
            next_r = tl.load(given, mask=here, other=0.0)
            next_u = tl.load(given + size, mask=here, other=0.0)
            next_n = tl.load(given + 2 * size, mask=here, other=0.0)
        r = _sigmoid(tl.dot(h, w_r, input_precision=PRECISION) + b_r[None, :] + x_r)
        u = _sigmoid(tl.dot(h, w_u, input_precision=PRECISION) + b_u[None, :] + x_u)
        m = tl.dot(h, w_n, input_precision=PRECISION) + b_m[None, :]
        n = _tanh(x_n + b_n[None, :] + r * m)
        after = n + u * (h - n)
        if HAS_START:
            after = tl.where((t >= begin)[:, None], after, h)
        if KEEP:
            keep = kept + (t * sequences + row)[:, None] * 4 * size + unit[None, :]
            tl.store(keep, r, mask=here)
            tl.store(keep + size, u, mask=here)
            tl.store(keep + 2 * size, n, mask=here)
            tl.store(keep + 3 * size, m, mask=here)
        h = after
        if t + 1 >= first:
            tl.store(states + (t + 1 - first) * sequences * size + place, h, mask=here)


@triton.jit  # type: ignore[untyped-decorator]
def _gru_backward_kernel(  # type: ignore[no-untyped-def]
    start, w_hh, states, kept, of_states, of_sums, of_initial, steps, sequences, size, first,
    HAS_START: tl.constexpr, ROWS: tl.constexpr, WIDTH: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    unit = tl.arange(0, WIDTH)
    units = unit < size
    here = (row < sequences)[:, None] & units[None, :]
    square = units[:, None] & units[None, :]
    straight = unit[:, None] * size + unit[None, :]  # gradients [S, j] times w[j, k]
    area = size * size
    w_r = tl.load(w_hh + straight, mask=square, other=0.0)
    w_u = tl.load(w_hh + area + straight, mask=square, other=0.0)
    w_n = tl.load(w_hh + 2 * area + straight, mask=square, other=0.0)
    place = row[:, None] * size + unit[None, :]
    if HAS_START:
        begin = tl.load(start + row, mask=row < sequences, other=0)
    back = tl.zeros((ROWS, WIDTH), dtype=tl.float32)
    # (As on the way there: what the step before needs is on its way while this one is computed.)
    t = steps - 1
    line = (t * sequences + row)[:, None] * 4 * size + unit[None, :]
    next_r = tl.load(kept + line, mask=here, other=0.0)
    next_u = tl.load(kept + line + size, mask=here, other=0.0)
    next_n = tl.load(kept + line + 2 * size, mask=here, other=0.0)
    next_m = tl.load(kept + line + 3 * size, mask=here, other=0.0)
    next_h = tl.load(states + t * sequences * size + place, mask=here, other=0.0)
    for i in range(steps):
        t = steps - 1 - i
        line = (t * sequences + row)[:, None] * 4 * size + unit[None, :]
        r, u, n, m, h = next_r, next_u, next_n, next_m, next_h
        if t > 0:
            before = line - sequences * 4 * size
            next_r = tl.load(kept + before, mask=here, other=0.0)
            next_u = tl.load(kept + before + size, mask=here, other=0.0)
            next_n = tl.load(kept + before + 2 * size, mask=here, other=0.0)
            next_m = tl.load(kept + before + 3 * size, mask=here, other=0.0)
            next_h = tl.load(states + (t - 1) * sequences * size + place, mask=here, other=0.0)
        if t + 1 >= first:
            back += tl.load(of_states + (t + 1 - first) * sequences * size + place, mask=here, other=0.0)
        e = back * (1.0 - u)
        of_u = e * u * (h - n)
        of_n = e * (1.0 - n * n)
        of_m = of_n * r
        of_r = of_m * m * (1.0 - r)
        if HAS_START:
            alive = (t >= begin)[:, None]
            of_r = tl.where(alive, of_r, 0.0)
            of_u = tl.where(alive, of_u, 0.0)
            of_n = tl.where(alive, of_n, 0.0)
            of_m = tl.where(alive, of_m, 0.0)
        tl.store(of_sums + line, of_r, mask=here)
        tl.store(of_sums + line + size, of_u, mask=here)
        tl.store(of_sums + line + 2 * size, of_n, mask=here)
        tl.store(of_sums + line + 3 * size, of_m, mask=here)
        through = tl.dot(of_r, w_r, input_precision=PRECISION)
        through += tl.dot(of_u, w_u, input_precision=PRECISION)
        through += tl.dot(of_m, w_n, input_precision=PRECISION)
        gated = back * u
        if HAS_START:
            gated = tl.where(alive, gated, back)
        back = gated + through
    if first == 0:
        back += tl.load(of_states + place, mask=here, other=0.0)
    tl.store(of_initial + place, back, mask=here)


@triton.jit  # type: ignore[untyped-decorator]
def _hidden_forward_kernel(  # type: ignore[no-untyped-def]
    bias, x, inverse_std, out, weight, values, rows, units, epsilon,
    NORMALISE: tl.constexpr, VALUES: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0)
    network = row // rows
    unit = tl.arange(0, WIDTH)
    here = unit < units
    y = tl.load(x + row * units + unit, mask=here, other=0.0)
    y += tl.load(bias + network * units + unit, mask=here, other=0.0)
    if NORMALISE:
        mean = tl.sum(y, axis=0) / units
        centred = tl.where(here, y - mean, 0.0)
        scale = 1.0 / tl.sqrt(tl.sum(centred * centred, axis=0) / units + epsilon)
        y = centred * scale
        tl.store(inverse_std + row, scale)
        tl.store(x + row * units + unit, y, mask=here)
    rectified = tl.where(y < 0.0, 0.0, y)  # this way round, NaN stays NaN
    if not NORMALISE:
        tl.store(x + row * units + unit, rectified, mask=here)
    if VALUES:
        last = tl.load(weight + network * units + unit, mask=here, other=0.0)
        tl.store(values + row, tl.sum(rectified * last, axis=0))
    elif NORMALISE:
        tl.store(out + row * units + unit, rectified, mask=here)


@triton.jit  # type: ignore[untyped-decorator]
def _hidden_backward_kernel(  # type: ignore[no-untyped-def]
    seen, inverse_std, of_out, of_values, weight, grad, rows, units,
    NORMALISE: tl.constexpr, VALUES: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0)
    unit = tl.arange(0, WIDTH)
    here = unit < units
    y = tl.load(seen + row * units + unit, mask=here, other=0.0)
    if VALUES:
        g = tl.load(of_values + row) * tl.load(weight + row // rows * units + unit, mask=here, other=0.0)
    else:
        g = tl.load(of_out + row * units + unit, mask=here, other=0.0)
    g = tl.where(y > 0.0, g, 0.0)
    if NORMALISE:
        mean = tl.sum(g, axis=0) / units
        slope = tl.sum(g * y, axis=0) / units
        g = tl.load(inverse_std + row) * (g - mean - y * slope)
    tl.store(grad + row * units + unit, g, mask=here)


@triton.jit  # type: ignore[untyped-decorator]
def _sum_rows_kernel(  # type: ignore[no-untyped-def]
    grad, seen, of_values, of_bias, of_weight, rows, units,
    BIAS: tl.constexpr, WEIGHT: tl.constexpr, BLOCK: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    network = tl.program_id(0)
    unit = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    units_here = unit < units
    biases = tl.zeros((COLUMNS,), dtype=tl.float32)
    weights = tl.zeros((COLUMNS,), dtype=tl.float32)
    for begin in range(0, rows, BLOCK):
        row = begin + tl.arange(0, BLOCK)
        here = (row < rows)[:, None] & units_here[None, :]
        place = (network * rows + row)[:, None] * units + unit[None, :]
        if BIAS:
            biases += tl.sum(tl.load(grad + place, mask=here, other=0.0), axis=0)
        if WEIGHT:
            y = tl.load(seen + place, mask=here, other=0.0)
            value = tl.load(of_values + network * rows + row, mask=row < rows, other=0.0)
            weights += tl.sum(tl.where(y > 0.0, value[:, None] * y, 0.0), axis=0)
    if BIAS:
        tl.store(of_bias + network * units + unit, biases, mask=units_here)
    if WEIGHT:
        tl.store(of_weight + network * units + unit, weights, mask=units_here)


def _gru_forward(
    steps: int,
    sequences: int,
    size: int,
    inputs: torch.Tensor,
    initial: torch.Tensor | None,
    start: torch.Tensor | None,
    w_hh: torch.Tensor,
    b_ih: torch.Tensor,
    b_hh: torch.Tensor,
    first: int,
    states: torch.Tensor,
    kept: torch.Tensor | None,
) -> None:
    width = _width(size)
    precision, warps = FORWARD[width]
    _gru_forward_kernel[(triton.cdiv(sequences, ROWS),)](
        inputs, _or(initial, inputs), _or(start, inputs), w_hh, b_ih, b_hh, states, _or(kept, states), steps,
        sequences, size, first, HAS_INITIAL=initial is not None, HAS_START=start is not None, KEEP=kept is not None,
        ROWS=ROWS, WIDTH=width, PRECISION=precision, num_warps=warps,
    )  # fmt: skip


def _gru_backward(
    steps: int,
    sequences: int,
    size: int,
    start: torch.Tensor | None,
    w_hh: torch.Tensor,
    states: torch.Tensor,
    kept: torch.Tensor,
    first: int,
    of_states: torch.Tensor,
    of_sums: torch.Tensor,
    of_initial: torch.Tensor,
) -> None:
    width = _width(size)
    precision, warps = BACKWARD[width]
    _gru_backward_kernel[(triton.cdiv(sequences, ROWS),)](
        _or(start, states), w_hh, states, kept, of_states, of_sums, of_initial, steps, sequences, size, first,
        HAS_START=start is not None, ROWS=ROWS, WIDTH=width, PRECISION=precision,
        num_warps=warps,
    )  # fmt: skip


def _hidden_forward(
    networks: int,
    rows: int,
    units: int,
    normalise: bool,
    epsilon: float,
    bias: torch.Tensor,
    x: torch.Tensor,
    inverse_std: torch.Tensor | None,
    out: torch.Tensor | None,
    weight: torch.Tensor | None,
    values: torch.Tensor | None,
) -> None:
    _hidden_forward_kernel[(networks * rows,)](
        bias, x, _or(inverse_std, x), _or(out, x), _or(weight, x), _or(values, x), rows, units, epsilon,
        NORMALISE=bool(normalise), VALUES=weight is not None, WIDTH=_width(units),
    )  # fmt: skip


def _hidden_backward(
    networks: int,
    rows: int,
    units: int,
    normalise: bool,
    seen: torch.Tensor,
    inverse_std: torch.Tensor | None,
    of_out: torch.Tensor | None,
    of_values: torch.Tensor | None,
    weight: torch.Tensor | None,
    grad: torch.Tensor,
    of_bias: torch.Tensor | None,
    of_weight: torch.Tensor | None,
) -> None:
    _hidden_backward_kernel[(networks * rows,)](
        seen, _or(inverse_std, seen), _or(of_out, seen), _or(of_values, seen), _or(weight, seen), grad, rows, units,
        NORMALISE=bool(normalise), VALUES=weight is not None, WIDTH=_width(units),
    )  # fmt: skip
    if of_bias is None and of_weight is None:
        return
    _sum_rows_kernel[(networks, triton.cdiv(units, COLUMNS))](
        grad, seen, _or(of_values, seen), _or(of_bias, grad), _or(of_weight, grad), rows, units,
        BIAS=of_bias is not None, WEIGHT=of_weight is not None, BLOCK=128, COLUMNS=COLUMNS,
    )  # fmt: skip


_FUNCTIONS: dict[str, Callable[..., None]] = {
    "gru_forward": _gru_forward,
    "gru_backward": _gru_backward,
    "hidden_forward": _hidden_forward,
    "hidden_backward": _hidden_backward,
}


def _or(tensor: torch.Tensor | None, other: torch.Tensor) -> torch.Tensor:
    """Stand `other` in for an argument that is not given, and that the kernel does not touch."""
    return other if tensor is None else tensor


def _width(size: int) -> int:
    """The power of two that `size` units fit into, at least what the matrix units take."""
    return max(1 << (size - 1).bit_length(), 16)
