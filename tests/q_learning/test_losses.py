"""Targets and losses by hand, and beside the loops of the papers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from mql.q_learning.losses import cross_entropies, squared_errors, target_distributions, td_targets


def test_a_target_is_the_reward_and_the_best_of_what_follows() -> None:
    reward, discount = torch.tensor([1.0, 2.0]), torch.tensor([0.5, 0.0])
    assert td_targets(reward, discount, torch.tensor([[3.0, 4.0], [9.0, 9.0]])).tolist() == [3.0, 2.0]


def test_the_error_is_that_of_the_action_taken() -> None:
    values = torch.tensor([[1.0, 5.0], [2.0, 7.0]])
    assert squared_errors(values, torch.tensor([1, 0]), torch.tensor([3.0, -1.0])).tolist() == [4.0, 9.0]


def projected(reward: float, discount: float, probabilities: list[float]) -> list[float]:
    """Of one transition, with the action of these probabilities the best one of two."""
    logits = torch.tensor([[probabilities, [1.0 - 2e-9, 1e-9, 1e-9]]]).log()
    atoms = torch.tensor([-1.0, 0.0, 1.0])
    found: list[float] = target_distributions(torch.tensor([reward]), torch.tensor([discount]), logits, atoms)[
        0
    ].tolist()
    return found


@pytest.mark.parametrize(
    ("reward", "discount", "expected"),
    [
        (0.5, 0.5, [0.0, 0.5, 0.5]),
        (0.25, 0.0, [0.0, 0.75, 0.25]),  # after a termination
        (3.0, 0.5, [0.0, 0.0, 1.0]),  # beyond the ends: clipped
        (-3.0, 0.5, [1.0, 0.0, 0.0]),
        (0.0, 1.0, [0.25, 0.5, 0.25]),
        (1.0, 0.0, [0.0, 0.0, 1.0]),
    ],
)
def test_the_projection_by_hand(reward: float, discount: float, expected: list[float]) -> None:
    assert projected(reward, discount, [0.25, 0.5, 0.25]) == pytest.approx(expected, abs=1e-6)


def test_the_projection_is_the_loop_of_the_paper() -> None:
    """Algorithm 1 of Bellemare et al. 2017, in float64."""
    rng, b, a, k = np.random.default_rng(0), 40, 3, 51
    atoms = np.linspace(-10.0, 10.0, k)
    logits = rng.normal(size=(b, a, k)) * 2
    reward, discount = rng.normal(size=b) * 6, rng.choice([0.0, 0.97], b)
    expected = np.zeros((b, k))
    for i in range(b):
        p = np.exp(logits[i]) / np.exp(logits[i]).sum(axis=1, keepdims=True)
        best = p[int((p @ atoms).argmax())]
        for j in range(k):
            place = (min(max(reward[i] + discount[i] * atoms[j], -10.0), 10.0) + 10.0) / (20.0 / (k - 1))
            low, high = math.floor(place), math.ceil(place)
            if low == high:
                expected[i, low] += best[j]
            else:
                expected[i, low] += best[j] * (high - place)
                expected[i, high] += best[j] * (place - low)
    single = (torch.tensor(x, dtype=torch.float32) for x in (reward, discount, logits, atoms))
    found = target_distributions(*single)
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=5e-6)
    assert torch.allclose(found.sum(dim=1), torch.ones(b), atol=1e-5)


def test_the_cross_entropy_of_a_certain_target_is_a_negative_logarithm() -> None:
    logits = torch.tensor([[[0.0, 0.0], [math.log(3.0), 0.0]]])
    assert cross_entropies(logits, torch.tensor([1]), torch.tensor([[0.0, 1.0]])).item() == pytest.approx(math.log(4.0))
    assert cross_entropies(logits, torch.tensor([0]), torch.tensor([[0.3, 0.7]])).item() == pytest.approx(math.log(2.0))
