"""The compiled kernels against the plain versions: outputs and every gradient; and what happens without a compiler."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from mql.gru import gru_states, plain_gru_states
from mql.kernels import kernels_for, status
from mql.layers import hidden_layers, plain_hidden_layers, plain_values_of, values_of

PRECISIONS = [(torch.float64, 1e-10), (torch.float32, 1e-5)]
needs_compiler = pytest.mark.skipif(
    not any(map(shutil.which, ("cc", "gcc", "clang"))) or "MQL_KERNELS" in os.environ, reason="no C compiler"
)


def test_there_are_kernels_where_there_is_a_compiler() -> None:
    if any(map(shutil.which, ("cc", "gcc", "clang"))) and "MQL_KERNELS" not in os.environ:
        assert status().library is not None, status().reason
        assert kernels_for(torch.float32) and kernels_for(torch.float64)
        assert kernels_for(torch.bfloat16) is None


def agree(
    ours: Callable[[], torch.Tensor], plain: Callable[[], torch.Tensor], variables: list[torch.Tensor], tolerance: float
) -> None:
    """Outputs, and the gradients of a random projection to each of `variables`, agree within a part of their norm."""
    a, b = ours(), plain()
    assert a.shape == b.shape
    assert (a - b).norm() <= tolerance * b.norm()
    direction = torch.randn_like(b)
    gradients = (torch.autograd.grad((result * direction).sum(), variables) for result in (a, b))
    for of_ours, of_plain in zip(*gradients, strict=True):
        assert of_ours.shape == of_plain.shape
        assert (of_ours - of_plain).norm() <= tolerance * of_plain.norm()


@needs_compiler
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
@pytest.mark.parametrize(("steps", "rows", "inputs", "size"), [(1, 1, 2, 1), (7, 5, 4, 3), (20, 70, 24, 30)])
@pytest.mark.parametrize("last_only", [False, True])
@pytest.mark.parametrize("late", [False, True])
def test_gru(
    dtype: torch.dtype, tolerance: float, steps: int, rows: int, inputs: int, size: int, *, threads: int,
    last_only: bool, late: bool,
) -> None:  # fmt: skip
    """From zero and from given states, for whole sequences and for padded ones (one is padding throughout)."""
    torch.manual_seed(steps)
    gru = torch.nn.GRU(inputs, size).to(dtype)
    elements = torch.randn(steps, rows, inputs, dtype=dtype)
    start = torch.randint(steps + 1, (rows,)) if late else None
    if start is not None:
        start[0] = 0
        start[-1] = steps if rows > 1 else 0
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for initial in (None, torch.randn(rows, size, dtype=dtype)):
            options = {"initial": initial, "start": start, "last_only": last_only}
            agree(
                lambda options=options: gru_states(gru, elements, **options),  # type: ignore[misc]
                lambda options=options: plain_gru_states(gru, elements, **options),  # type: ignore[misc]
                list(gru.parameters()),
                tolerance,
            )
    finally:
        torch.set_num_threads(before)


@needs_compiler
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
@pytest.mark.parametrize("layer_norm", [False, True])
@pytest.mark.parametrize("networks", [1, 2])
@pytest.mark.parametrize(("rows", "sizes"), [(1, (3,)), (37, (40, 24)), (200, (96, 64, 80))])
def test_layers(
    dtype: torch.dtype, tolerance: float, rows: int, sizes: tuple[int, ...], *, networks: int, layer_norm: bool,
    threads: int,
) -> None:  # fmt: skip
    """Hidden layers, and with a last layer of one unit; gradients of all parameters and of all parts of the input."""
    torch.manual_seed(rows)
    inputs = [torch.randn(rows, width, dtype=dtype, requires_grad=True) for width in (5, 2, 3)]
    widths = [10, *sizes]
    weights = [torch.randn(networks, a, b, dtype=dtype) / a**0.5 for a, b in pairwise(widths)]
    biases = [torch.randn(networks, 1, b, dtype=dtype) / 10 for b in widths[1:]]
    last_weight, last_bias = torch.randn(networks, widths[-1], 1, dtype=dtype), torch.randn(networks, 1, 1, dtype=dtype)
    hidden = [tensor.requires_grad_() for tensor in (*weights, *biases)]
    last = [tensor.requires_grad_() for tensor in (last_weight, last_bias)]
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        agree(
            lambda: hidden_layers(inputs, weights, biases, layer_norm=layer_norm, dtype=dtype),
            lambda: plain_hidden_layers(inputs, weights, biases, layer_norm=layer_norm, dtype=dtype),
            [*inputs, *hidden],
            tolerance,
        )
        stack = [*weights, last_weight], [*biases, last_bias]
        agree(
            lambda: values_of(inputs, *stack, layer_norm=layer_norm, dtype=dtype),
            lambda: plain_values_of(inputs, *stack, layer_norm=layer_norm, dtype=dtype),
            [*inputs, *hidden, *last],
            tolerance,
        )
    finally:
        torch.set_num_threads(before)


@needs_compiler
def test_nan_is_not_hidden() -> None:
    """A network that diverged must show it: rectified NaN is NaN."""
    x = torch.tensor([[float("nan"), 1.0]])
    weight, bias = torch.eye(2)[None], torch.zeros(1, 1, 2)
    assert hidden_layers([x], [weight], [bias], layer_norm=False, dtype=torch.float32).isnan().any()


@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        ({"MQL_KERNELS": "off"}, "MQL_KERNELS is off"),
        ({"PATH": ""}, "no C compiler"),
        ({"CC": "false"}, "false failed"),
    ],
)
def test_without_kernels_pytorch_does_the_work(environment: dict[str, str], reason: str, tmp_path: Path) -> None:
    code = (
        "import torch; from mql.gru import gru_states; from mql.kernels import status\n"
        "print(gru_states(torch.nn.GRU(3, 2), torch.ones(4, 5, 3)).shape); print(status().reason)"
    )
    settings = {**os.environ, "XDG_CACHE_HOME": str(tmp_path), **environment}
    if "CC" not in environment:
        settings.pop("CC", None)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=settings)
    assert done.stdout.startswith("torch.Size([5, 5, 2])")
    assert reason in done.stdout


@needs_compiler
def test_a_broken_cache_is_no_failure(tmp_path: Path) -> None:
    """A cache folder that can't be made: the library goes to a temporary folder."""
    (tmp_path / "file").write_text("")
    code = "from mql.kernels import status; assert status().library is not None, status().reason"
    settings = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "file")}
    subprocess.run([sys.executable, "-c", code], check=True, env=settings)
