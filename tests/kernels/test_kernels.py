"""The compiled kernels against the plain versions: outputs and every gradient; and what happens without a compiler."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from mql.agent.encoders import GRUEncoder
from mql.agent.networks import Actor, TwinCritic
from mql.config.schema import AgentConfig
from mql.kernels.gru import gru_states, plain_gru_states
from mql.kernels.layers import hidden, hidden_values, plain_hidden
from mql.kernels.loading import kernels_for, status
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


def agree(value: torch.Tensor, plain: torch.Tensor, variables: Sequence[torch.Tensor], tolerance: float) -> None:
    """Values agree, and the gradients of a random projection to each of `variables`, as parts of norms."""
    assert value.shape == plain.shape
    assert (value - plain).norm() <= tolerance * plain.norm()
    direction = torch.randn_like(plain)
    expected = torch.autograd.grad((plain * direction).sum(), variables, retain_graph=True)
    found = torch.autograd.grad((value * direction).sum(), variables)
    for a, b in zip(found, expected, strict=True):
        assert a.shape == b.shape
        assert (a - b).norm() <= tolerance * b.norm()


def late_starts(steps: int, rows: int) -> torch.Tensor:
    """Beginnings of sequences: one at 0, one that is padding throughout."""
    start = torch.randint(steps + 1, (rows,))
    start[0] = 0
    start[-1] = steps if rows > 1 else 0
    return start


@needs_compiler
@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
@pytest.mark.parametrize(
    ("steps", "rows", "inputs", "size"), [(1, 1, 2, 1), (7, 5, 4, 3), (20, 70, 24, 30), (3, 9, 5, 70)]
)
@pytest.mark.parametrize("last_only", [False, True])
@pytest.mark.parametrize("late", [False, True])
def test_gru(
    dtype: torch.dtype, tolerance: float, steps: int, rows: int, inputs: int, size: int, *, last_only: bool, late: bool
) -> None:
    """From zero and from given states, for whole sequences and for padded ones; gradients also to what goes in."""
    torch.manual_seed(steps)
    gru = torch.nn.GRU(inputs, size).to(dtype)
    elements = torch.randn(steps, rows, inputs, dtype=dtype, requires_grad=True)
    start = late_starts(steps, rows) if late else None
    for initial in (None, torch.randn(rows, size, dtype=dtype, requires_grad=True)):
        context = Context(elements, start=start, initial=initial)
        plain = plain_gru_states(gru, context, last_only=last_only)
        variables = [*gru.parameters(), elements, *([] if initial is None else [initial])]
        agree(gru_states(gru, context, last_only=last_only), plain, variables, tolerance)
        with torch.no_grad():
            assert (gru_states(gru, context, last_only=last_only) - plain).norm() <= tolerance * plain.norm()


@needs_compiler
@pytest.mark.parametrize("last_only", [False, True])
@pytest.mark.parametrize("late", [False, True])
def test_gradients_of_the_gru_are_those_of_small_differences(*, last_only: bool, late: bool) -> None:
    torch.manual_seed(0)
    gru = torch.nn.GRU(2, 3).double()
    elements = torch.randn(4, 3, 2, dtype=torch.float64, requires_grad=True)
    initial = torch.randn(3, 3, dtype=torch.float64, requires_grad=True)
    start = late_starts(4, 3) if late else None

    def states(elements: torch.Tensor, initial: torch.Tensor, *_: torch.Tensor) -> torch.Tensor:
        return gru_states(gru, Context(elements, start=start, initial=initial), last_only=last_only)

    assert torch.autograd.gradcheck(states, (elements, initial, *gru.parameters()))


@needs_compiler
@pytest.mark.parametrize("layer_norm", [False, True])
def test_gradients_of_a_layer_are_those_of_small_differences(*, layer_norm: bool) -> None:
    torch.manual_seed(0)
    x, bias, head = (
        torch.randn(*shape, dtype=torch.float64, requires_grad=True) for shape in ((2, 4, 5), (2, 1, 5), (2, 5, 1))
    )
    # (x * 1: the layer may overwrite what it is given)
    assert torch.autograd.gradcheck(lambda x, b: hidden(x * 1, b, layer_norm=layer_norm), (x, bias))
    assert torch.autograd.gradcheck(lambda x, b, h: hidden_values(x * 1, b, h, layer_norm=layer_norm), (x, bias, head))


@needs_compiler
@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
@pytest.mark.parametrize("layer_norm", [False, True])
@pytest.mark.parametrize(("rows", "sizes"), [(1, (3,)), (37, (40, 24)), (200, (96, 64, 80))])
def test_critics(dtype: torch.dtype, tolerance: float, rows: int, sizes: tuple[int, ...], *, layer_norm: bool) -> None:
    """Against each critic in `torch.nn.functional`; frozen ones give their inputs the same gradients."""
    torch.manual_seed(rows)
    critic = TwinCritic(5, 2, 3, sizes, layer_norm=layer_norm, dtype=torch.float32).to(dtype)
    inputs = [torch.randn(rows, width, dtype=dtype, requires_grad=True) for width in (5, 2, 3)]
    plain = torch.stack([one_critic(critic, k, inputs) for k in range(2)])
    agree(critic(*inputs), plain, [*critic.parameters(), *inputs], tolerance)
    agree(critic.frozen(*inputs), plain, inputs, tolerance)
    agree(critic.frozen(*inputs, critics=1)[0], plain[0], inputs, tolerance)
    with torch.no_grad():
        assert (critic(*inputs) - plain).norm() <= tolerance * plain.norm()


def one_critic(critic: TwinCritic, k: int, inputs: Sequence[torch.Tensor]) -> torch.Tensor:
    x = torch.cat(list(inputs), dim=1)
    *between, (weight, bias) = zip(critic.weights, critic.biases, strict=True)
    for w, b in between:
        x = F.linear(x, w[k].T, b[k, 0])
        if critic.layer_norm:
            x = F.layer_norm(x, x.shape[1:], eps=1e-5)
        x = torch.relu(x)
    return F.linear(x, weight[k].T, bias[k, 0])[:, 0]


@needs_compiler
@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
@pytest.mark.parametrize(("rows", "sizes"), [(1, (3,)), (37, (40, 24)), (200, (96, 64, 80))])
def test_actor(dtype: torch.dtype, tolerance: float, rows: int, sizes: tuple[int, ...]) -> None:
    torch.manual_seed(rows)
    actor = Actor(5, 2, 3, sizes, dtype=torch.float32).to(dtype)
    obs, z = (torch.randn(rows, width, dtype=dtype, requires_grad=True) for width in (5, 3))
    plain = torch.cat([obs, z], dim=1)
    for layer in actor.hidden:
        plain = torch.relu(layer(plain))
    plain = torch.tanh(actor.output(plain))
    agree(actor(obs, z), plain, [*actor.parameters(), obs, z], tolerance)
    with torch.no_grad():
        assert (actor(obs, z) - plain).norm() <= tolerance * plain.norm()


def test_frozen_critics_get_no_gradient() -> None:
    critic = TwinCritic(3, 2, 1, (8,), layer_norm=True, dtype=torch.float32)
    action = torch.randn(4, 2, requires_grad=True)
    critic.frozen(torch.randn(4, 3), action, torch.randn(4, 1)).sum().backward()  # type: ignore[no-untyped-call]
    assert action.grad is not None and all(p.grad is None for p in critic.parameters())


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("read", [None, [[0, 2, 2], [1, 4, 6]]])  # a state may be read twice
def test_encoder_reads_states_and_sends_their_gradients_back(
    monkeypatch: pytest.MonkeyPatch, read: list[list[int]] | None, *, plain: bool
) -> None:
    """Also where there are no kernels."""
    if plain:
        monkeypatch.setattr("mql.kernels.gru.kernels_for", lambda *_: None)
    torch.manual_seed(0)
    encoder = GRUEncoder(5, AgentConfig(context_dim=3)).double()
    elements = torch.randn(6, 2, 5, dtype=torch.float64, requires_grad=True)
    states = torch.cat([torch.zeros(1, 2, 3), encoder.gru(elements)[0]])
    if read is None:
        index, expected = None, states[-1]
    else:
        index = torch.tensor(read)
        expected = torch.stack([states[k, s] for s, ks in enumerate(read) for k in ks])
    agree(encoder(Context(elements, read=index)), expected, [*encoder.parameters(), elements], 1e-10)


@needs_compiler
def test_states_do_not_depend_on_the_sequences_beside_them() -> None:
    gru = torch.nn.GRU(4, 7)
    elements = torch.randn(5, 23, 4)
    with torch.no_grad():
        together = gru_states(gru, Context(elements), last_only=True)
        alone = [gru_states(gru, Context(elements[:, k : k + 1]), last_only=True) for k in range(23)]
    assert torch.allclose(together, torch.cat(alone, dim=1), atol=1e-6)


@needs_compiler
def test_nan_is_not_hidden() -> None:
    """A network that diverged must show it: rectified NaN is NaN."""
    actor = Actor(2, 1, 0, (2,), dtype=torch.float32)
    with torch.no_grad():
        assert actor(torch.tensor([[float("nan"), 1.0]]), torch.zeros(1, 0)).isnan().all()


@pytest.mark.parametrize("layer_norm", [False, True])
def test_memory_laid_out_otherwise_gives_the_same(*, layer_norm: bool) -> None:
    """Transposed and expanded products (an expanded one has less memory than numbers), and other number types."""
    bias, head = torch.randn(2, 1, 5), torch.randn(2, 5, 1)
    layouts = (torch.randn(5, 4, 2).permute(2, 1, 0), torch.randn(2, 1, 5).expand(2, 4, 5))
    with torch.no_grad():
        for product in layouts:
            for row in (bias, bias.double(), bias[0, 0]):  # a single row serves both networks
                expected = plain_hidden(product, row, layer_norm=layer_norm)
                assert torch.allclose(hidden(product.detach(), row, layer_norm=layer_norm), expected, atol=1e-6)
            values = (plain_hidden(product, bias, layer_norm=layer_norm) @ head)[..., 0]
            assert torch.allclose(hidden_values(product, bias, head, layer_norm=layer_norm), values, atol=1e-5)


@needs_compiler
@pytest.mark.parametrize("layer_norm", [False, True])
def test_a_product_that_is_used_again_is_an_error_and_no_wrong_gradient(*, layer_norm: bool) -> None:
    weight, bias, head = torch.randn(1, 3, 5, requires_grad=True), torch.randn(1, 1, 5), torch.randn(1, 5, 1)
    x = torch.randn(1, 4, 3)

    def after() -> torch.Tensor:
        product = x @ weight
        hidden_values(product, bias, head, layer_norm=layer_norm)
        return product.square().sum()

    def before() -> torch.Tensor:
        product = x @ weight
        loss = product.square().sum()
        with torch.no_grad():
            hidden(product, bias, layer_norm=layer_norm)
        return loss

    for use, message in ((after, "used again"), (before, "inplace")):
        with pytest.raises(RuntimeError, match=message):
            torch.autograd.grad(use(), weight)


def test_no_sequences_and_histories_of_any_type() -> None:
    """Nothing at all is encoded as nothing; what the kernel can't read as it is, PyTorch computes or refuses."""
    gru = torch.nn.GRU(3, 5)
    assert gru_states(gru, Context(torch.zeros(4, 0, 3)), last_only=True).shape == (1, 0, 5)
    elements, start = torch.randn(4, 2, 3), torch.tensor([1, 3])
    short = gru_states(gru, Context(elements, start=start.int()), last_only=True)
    assert torch.allclose(short, gru_states(gru, Context(elements, start=start), last_only=True), atol=1e-6)
    for wrong in (torch.zeros(2, 5, dtype=torch.float64), torch.zeros(1, 5)):
        with pytest.raises(RuntimeError):
            gru_states(gru, Context(elements, initial=wrong), last_only=True)


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
        "import torch; from mql.config.schema import AgentConfig; from mql.kernels.loading import status\n"
        "from mql.agent.encoders import GRUEncoder\n"
        "print(GRUEncoder(3, AgentConfig(context_dim=2)).states(torch.ones(4, 5, 3)).shape)\n"
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
    code = "from mql.kernels.loading import status; assert status().library is not None, status().reason"
    settings = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "file")}
    subprocess.run([sys.executable, "-c", code], check=True, env=settings)
