"""Products of rounded numbers: against products of numbers that were rounded by hand, forwards and backwards."""

from __future__ import annotations

import pytest
import torch

from mql.agent import networks
from mql.agent.networks import Actor, TwinCritic
from mql.kernels import products
from mql.kernels.products import bfloat16_in_hardware, product

SHAPES = [((200, 24), (24, 32)), ((2, 200, 24), (2, 24, 32)), ((200, 24), (2, 24, 32))]


def rounded(x: torch.Tensor) -> torch.Tensor:
    return x.to(torch.bfloat16).to(torch.float64)


@pytest.mark.parametrize(("inputs", "weights"), SHAPES, ids=["one", "two", "two of the same"])
def test_what_goes_in_is_rounded_and_what_comes_out(inputs: tuple[int, ...], weights: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(inputs, requires_grad=True), torch.randn(weights, requires_grad=True)
    found = product(x, weight, dtype=torch.bfloat16)
    exact = rounded(x) @ rounded(weight)
    assert found.dtype == torch.float32 and found.shape == exact.shape
    size = exact.abs() + 1.0
    assert ((found - exact).abs() <= 2.0**-8 * size).all()  # half a digit of the result's own rounding, 2^-9, and sums
    assert torch.equal(found, rounded(found).float()) and not torch.equal(found, (x @ weight).detach())

    direction = torch.randn_like(found)
    found.backward(direction)
    of_x, of_weight = rounded(direction) @ rounded(weight).mT, rounded(x).mT @ rounded(direction)
    of_x = of_x.sum(0) if of_x.dim() > x.dim() else of_x
    for gradient, expected in ((x.grad, of_x), (weight.grad, of_weight)):
        assert gradient is not None and gradient.dtype == torch.float32 and gradient.shape == expected.shape
        assert (gradient - expected).norm() < 2.0**-8 * expected.norm()


@pytest.mark.parametrize(("inputs", "weights"), SHAPES, ids=["one", "two", "two of the same"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_numbers_of_the_type_asked_for_are_multiplied_as_they_are(
    inputs: tuple[int, ...], weights: tuple[int, ...], dtype: torch.dtype
) -> None:
    x, weight = torch.randn(inputs, dtype=dtype), torch.randn(weights, dtype=dtype)
    assert torch.allclose(product(x, weight, dtype=dtype), x @ weight, atol=1e-5)


def test_networks_round_between_hidden_layers_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """A millimetre in 1.3 m is seen; small batches and a single hidden layer are not rounded at all."""
    monkeypatch.setattr(networks, "bfloat16_in_hardware", lambda device: True)
    torch.manual_seed(0)
    made = {}
    for dtype in (torch.float32, torch.bfloat16):
        torch.manual_seed(0)
        made[dtype] = (
            TwinCritic(3, 2, 1, (32, 32), layer_norm=True, dtype=dtype),
            TwinCritic(3, 2, 1, (32,), layer_norm=True, dtype=dtype),
            Actor(3, 2, 1, (32, 32), dtype=dtype),
        )
    obs, action, z = torch.full((100, 3), 1.3), torch.zeros(100, 2), torch.zeros(100, 1)
    for (deep, flat, actor), (deep_rounded, flat_rounded, actor_rounded) in [made.values()]:
        exact, found = deep(obs, action, z), deep_rounded(obs, action, z)
        assert 0.0 < (exact - found).abs().max() < 0.02 * exact.abs().max()
        assert torch.equal(flat(obs, action, z), flat_rounded(obs, action, z))
        assert torch.equal(deep(obs[:63], action[:63], z[:63]), deep_rounded(obs[:63], action[:63], z[:63]))
        assert 0.0 < (actor(obs, z) - actor_rounded(obs, z)).abs().max() < 0.02
        near = deep_rounded(obs + 1e-3, action, z)
        assert not torch.equal(near, found)


def test_bfloat16_is_in_hardware_where_pytorch_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = bfloat16_in_hardware.__wrapped__
    for name in products._ASKED:
        monkeypatch.setattr(torch.cpu, name, lambda: False, raising=False)
    assert not asked() and asked("cuda")
    monkeypatch.setattr(torch.cpu, products._ASKED[0], lambda: True)
    assert asked()
    for name in products._ASKED:  # a PyTorch without these names
        monkeypatch.delattr(torch.cpu, name, raising=False)
    assert not asked()


def test_where_it_would_be_slower_nothing_is_rounded(monkeypatch: pytest.MonkeyPatch) -> None:
    critic = TwinCritic(3, 2, 1, (32, 32), layer_norm=True, dtype=torch.bfloat16)
    inputs = torch.randn(100, 3), torch.zeros(100, 2), torch.zeros(100, 1)
    monkeypatch.setattr(networks, "bfloat16_in_hardware", lambda device: device != "cpu")
    found = critic(*inputs)
    critic.dtype = torch.float32
    assert torch.equal(found, critic(*inputs))
