"""The functions for a GPU against the plain versions, in Triton's interpreter: no GPU is needed, but Triton is.

On a machine with a GPU (and without ``TRITON_INTERPRET=1``) the same tests run there, compiled.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.util import find_spec

import pytest
import torch

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # before Triton is first imported
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"

pytestmark = [
    pytest.mark.needs_extra,
    pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed"),
]

from mql.kernels.gru import gru_states, plain_gru_states  # noqa: E402
from mql.kernels.layers import hidden, hidden_values, plain_hidden  # noqa: E402
from mql.kernels.loading import kernels_for  # noqa: E402
from mql.types import Context  # noqa: E402
from tests.kernels.test_kernels import agree, late_starts  # noqa: E402

TOLERANCE = 2e-5


@pytest.fixture(autouse=True)
def on_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    from mql.kernels.on_gpu import GPUKernels

    for module in ("gru", "layers"):
        monkeypatch.setattr(f"mql.kernels.{module}.kernels_for", lambda *_: GPUKernels())
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    torch.manual_seed(0)
    yield


@pytest.mark.parametrize("last_only", [False, True])
@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize(("steps", "rows", "size"), [(1, 1, 1), (4, 19, 15), (3, 5, 33)])
def test_gru(steps: int, rows: int, size: int, *, last_only: bool, late: bool, given: bool) -> None:
    gru = torch.nn.GRU(4, size).to(DEVICE)
    elements = torch.randn(steps, rows, 4, device=DEVICE, requires_grad=True)
    start = late_starts(steps, rows).to(DEVICE) if late else None
    initial = torch.randn(rows, size, device=DEVICE, requires_grad=True) if given else None
    context = Context(elements, start=start, initial=initial)
    plain = plain_gru_states(gru, context, last_only=last_only)
    variables = [*gru.parameters(), elements, *([] if initial is None else [initial])]
    agree(gru_states(gru, context, last_only=last_only), plain, variables, TOLERANCE)
    with torch.no_grad():
        assert (gru_states(gru, context, last_only=last_only) - plain).norm() <= TOLERANCE * plain.norm()


def test_wide_states_are_left_to_the_plain_version() -> None:
    gru, elements = torch.nn.GRU(2, 65).to(DEVICE), torch.randn(2, 3, 2, device=DEVICE)
    context = Context(elements)
    with torch.no_grad():
        found, plain = (states(gru, context, last_only=False) for states in (gru_states, plain_gru_states))
    assert torch.equal(found, plain)


@pytest.mark.parametrize("layer_norm", [False, True])
@pytest.mark.parametrize(("networks", "rows", "units"), [(1, 1, 3), (2, 70, 40)])
def test_layers(networks: int, rows: int, units: int, *, layer_norm: bool) -> None:
    product = torch.randn(networks, rows, units, device=DEVICE, requires_grad=True)
    bias = torch.randn(networks, 1, units, device=DEVICE, requires_grad=True)
    head = torch.randn(networks, units, 1, device=DEVICE, requires_grad=True)
    plain = plain_hidden(product, bias, layer_norm=layer_norm)
    # (* 1: the layer may overwrite what it is given)
    agree(hidden(product * 1, bias, layer_norm=layer_norm), plain, [product, bias], TOLERANCE)
    values = hidden_values(product * 1, bias, head, layer_norm=layer_norm)
    agree(values, (plain * head.transpose(1, 2)).sum(-1), [product, bias, head], TOLERANCE)
    with torch.no_grad():
        found = hidden_values(product * 1, bias, head, layer_norm=layer_norm)
    assert torch.allclose(found, values)


def test_nan_is_not_hidden() -> None:
    product = torch.full((1, 2, 3), float("nan"), device=DEVICE)
    with torch.no_grad():
        assert hidden(product, torch.zeros(1, 1, 3, device=DEVICE), layer_norm=False).isnan().all()


def test_they_stand_where_a_gpu_is() -> None:
    from mql.kernels.on_gpu import GPUKernels

    assert isinstance(kernels_for(torch.float32, "cuda"), GPUKernels)
    assert kernels_for(torch.float64, "cuda") is None
    assert not isinstance(kernels_for(torch.float32, "cpu"), GPUKernels)
