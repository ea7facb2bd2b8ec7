"""RMSProp beside PyTorch's own, and its state taken out and put back."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mql.agent.parameter_vector import ParameterVector
from mql.learning.rmsprop import RMSProp


def layers(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 1)).double()


def loss_of(network: nn.Module, step: int) -> torch.Tensor:
    inputs = torch.randn(8, 3, generator=torch.Generator().manual_seed(step), dtype=torch.float64)
    loss: torch.Tensor = 10.0 ** (step % 3 - 1) * network(inputs).square().mean()
    return loss


def test_steps_are_those_of_torch_with_gradients_of_bounded_length() -> None:
    ours, theirs = layers(), layers()
    optimizer = RMSProp(ParameterVector(list(ours.parameters())), decay=0.9, eps=1e-5)
    reference = torch.optim.RMSprop(theirs.parameters(), lr=1.0, alpha=0.9, eps=1e-5)
    for step in range(9):
        lr = 1e-2 / (step + 1)
        optimizer.step(loss_of(ours, step), lr=lr, max_norm=0.5)
        reference.param_groups[0]["lr"] = lr
        reference.zero_grad()
        loss_of(theirs, step).backward()
        nn.utils.clip_grad_norm_(theirs.parameters(), 0.5)
        reference.step()
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-7)  # torch's clipping adds 1e-6 to the norm


def test_it_goes_on_from_its_tensors_bit_for_bit() -> None:
    whole, stopped = layers(), layers()
    one = RMSProp(ParameterVector(list(whole.parameters())))
    vector = ParameterVector(list(stopped.parameters()))
    two = RMSProp(vector)
    for step in range(6):
        if step == 3:
            kept = {name: tensor.clone() for name, tensor in two.tensors().items()}
            two = RMSProp(vector)
            two.restore(kept)
        one.step(loss_of(whole, step), lr=1e-2, max_norm=0.5)
        two.step(loss_of(stopped, step), lr=1e-2, max_norm=0.5)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), stopped.parameters(), strict=True))


def test_a_state_of_other_parameters_is_refused() -> None:
    optimizer = RMSProp(ParameterVector([nn.Parameter(torch.zeros(3))]))
    with pytest.raises(ValueError, match=r"0\.square_avg has shape \(2,\), not \(3,\)"):
        optimizer.restore({"0.square_avg": torch.zeros(2)})
    with pytest.raises(KeyError):
        optimizer.restore({})
