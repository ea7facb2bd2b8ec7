"""The compiled kernels against the plain versions: outputs and every gradient; and what happens without a compiler."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest
import torch

from mql.gru import gru_states, gru_vjp, plain_gru_states
from mql.kernels import kernels_for, status
from mql.networks import Actor, ContextEncoder, TwinCritic
from mql.pullback import Pullback
from mql.types import Context

PRECISIONS = [(torch.float64, 1e-10), (torch.float32, 1e-5)]
needs_compiler = pytest.mark.skipif(
    not any(map(shutil.which, ("cc", "gcc", "clang"))) or "MQL_KERNELS" in os.environ, reason="no C compiler"
)


def test_there_are_kernels_where_there_is_a_compiler() -> None:
    if any(map(shutil.which, ("cc", "gcc", "clang"))) and "MQL_KERNELS" not in os.environ:
        assert status().library is not None, status().reason
        assert kernels_for(torch.float32) and kernels_for(torch.float64)
        assert kernels_for(torch.bfloat16) is None


@pytest.fixture(autouse=True, params=[1, 2], ids=["one thread", "two threads"])
def threads(request: pytest.FixtureRequest) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield
    torch.set_num_threads(before)


def agree(
    vjp: Callable[[], tuple[torch.Tensor, Pullback]],
    plain: torch.Tensor,
    learned: Sequence[torch.nn.Parameter],
    point: torch.Tensor | None,
    tolerance: float,
) -> None:
    """Values agree, and the gradients of a random projection to each of `learned` and to `point`, as parts of norms."""
    with torch.no_grad():
        value, pullback = vjp()
    assert value.shape == plain.shape
    assert (value - plain).norm() <= tolerance * plain.norm()
    direction = torch.randn_like(plain)
    variables = [*learned, *([] if point is None else [point])]
    expected = torch.autograd.grad((plain * direction).sum(), variables)
    with torch.no_grad():
        of_point = pullback(direction.clone())
    found = [parameter.grad for parameter in learned] + ([] if point is None else [of_point])
    for a, b in zip(found, expected, strict=True):
        assert a is not None and a.shape == b.shape
        assert (a - b).norm() <= tolerance * b.norm()


@needs_compiler
@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
@pytest.mark.parametrize(("steps", "rows", "inputs", "size"), [(1, 1, 2, 1), (7, 5, 4, 3), (20, 70, 24, 30)])
@pytest.mark.parametrize("last_only", [False, True])
@pytest.mark.parametrize("late", [False, True])
def test_gru(
    dtype: torch.dtype, tolerance: float, steps: int, rows: int, inputs: int, size: int, *, last_only: bool, late: bool
) -> None:
    """From zero and from given states, for whole sequences and for padded ones (one is padding throughout)."""
    torch.manual_seed(steps)
    gru = torch.nn.GRU(inputs, size).to(dtype)
    elements = torch.randn(steps, rows, inputs, dtype=dtype)
    start = torch.randint(steps + 1, (rows,)) if late else None
    if start is not None:
        start[0] = 0
        start[-1] = steps if rows > 1 else 0
    for initial in (None, torch.randn(rows, size, dtype=dtype)):
        context = Context(elements, start=start, initial=initial)
        plain = plain_gru_states(gru, context, last_only=last_only)
        agree(partial(gru_vjp, gru, context, last_only=last_only), plain, list(gru.parameters()), None, tolerance)
        with torch.no_grad():
            assert (gru_states(gru, context, last_only=last_only) - plain).norm() <= tolerance * plain.norm()


@needs_compiler
@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
@pytest.mark.parametrize("layer_norm", [False, True])
@pytest.mark.parametrize(("rows", "sizes"), [(1, (3,)), (37, (40, 24)), (200, (96, 64, 80))])
def test_critics(dtype: torch.dtype, tolerance: float, rows: int, sizes: tuple[int, ...], *, layer_norm: bool) -> None:
    torch.manual_seed(rows)
    critic = TwinCritic(5, 2, 3, sizes, layer_norm=layer_norm, dtype=torch.float32).to(dtype)
    obs, action, z = (torch.randn(rows, width, dtype=dtype, requires_grad=True) for width in (5, 2, 3))
    plain, learned = critic(obs, action, z), list(critic.parameters())
    agree(partial(critic.vjp, obs.detach(), action.detach(), z.detach()), plain, learned, z, tolerance)
    plain = critic(obs, action, z)[0]
    agree(partial(critic.first_vjp, obs.detach(), action.detach(), z.detach()), plain, [], action, tolerance)
    with torch.no_grad():
        assert (critic(obs, action, z)[0] - plain).norm() <= tolerance * plain.norm()


@needs_compiler
@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
@pytest.mark.parametrize(("rows", "sizes"), [(1, (3,)), (37, (40, 24)), (200, (96, 64, 80))])
def test_actor(dtype: torch.dtype, tolerance: float, rows: int, sizes: tuple[int, ...]) -> None:
    torch.manual_seed(rows)
    actor = Actor(5, 2, 3, sizes, dtype=torch.float32).to(dtype)
    obs, z = (torch.randn(rows, width, dtype=dtype, requires_grad=True) for width in (5, 3))
    plain = actor(obs, z)
    agree(partial(actor.vjp, obs.detach(), z.detach()), plain, list(actor.parameters()), z, tolerance)
    with torch.no_grad():
        assert (actor(obs, z) - plain).norm() <= tolerance * plain.norm()


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("read", [None, [[0, 2, 2], [1, 4, 6]]])  # a state may be read twice
def test_encoder_reads_states_and_sends_their_gradients_back(
    monkeypatch: pytest.MonkeyPatch, read: list[list[int]] | None, *, plain: bool
) -> None:
    """Also where there are no kernels."""
    if plain:
        monkeypatch.setattr("mql.gru.kernels_for", lambda dtype: None)
    torch.manual_seed(0)
    encoder = ContextEncoder(5, 3).double()
    index = None if read is None else torch.tensor(read)
    context = Context(torch.randn(6, 2, 5, dtype=torch.float64), read=index)
    agree(partial(encoder.vjp, context), encoder(context), list(encoder.parameters()), None, 1e-10)


@needs_compiler
def test_nan_is_not_hidden() -> None:
    """A network that diverged must show it: rectified NaN is NaN."""
    actor = Actor(2, 1, 0, (2,), dtype=torch.float32)
    with torch.no_grad():
        assert actor(torch.tensor([[float("nan"), 1.0]]), torch.zeros(1, 0)).isnan().all()


@pytest.mark.parametrize("threads", [1], indirect=True)
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
        "import torch; from mql.kernels import status; from mql.networks import ContextEncoder\n"
        "with torch.no_grad(): print(ContextEncoder(3, 2).states(torch.ones(4, 5, 3)).shape)\n"
        "print(status().reason)"
    )
    inherited = {name: value for name, value in os.environ.items() if name not in ("CC", "MQL_KERNELS")}
    settings = {**inherited, "XDG_CACHE_HOME": str(tmp_path), **environment}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=settings)
    assert done.stdout.startswith("torch.Size([5, 5, 2])")
    assert reason in done.stdout


@needs_compiler
@pytest.mark.parametrize("threads", [1], indirect=True)
def test_a_broken_cache_is_no_failure(tmp_path: Path) -> None:
    """A cache folder that can't be made: the library goes to a temporary folder."""
    (tmp_path / "file").write_text("")
    code = "from mql.kernels import status; assert status().library is not None, status().reason"
    settings = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "file")}
    subprocess.run([sys.executable, "-c", code], check=True, env=settings)
