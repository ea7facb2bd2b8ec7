"""P3O's equations by hand: effective sample size of ratios, caps and lambda, advantages along segments."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from mql.p3o.losses import policy_loss, ratio_ess, segment_advantages, trust, value_loss
from mql.p3o.segments import Segments


def logs(*ratios: float) -> torch.Tensor:
    return torch.tensor(ratios, dtype=torch.float64).log()


@pytest.mark.parametrize(
    ("ratios", "expected"),
    [((4.0, 1.0, 1.0, 1.0), 49 / 76), ((1.0, 0.0, 0.0, 0.0), 0.25), ((0.5, 0.5, 0.5), 1.0), ((0.0, 0.0), 0.0)],
)
def test_ess_by_hand(ratios: tuple[float, ...], expected: float) -> None:
    assert ratio_ess(logs(*ratios)) == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [1.0, 1e-30, 1e30])
def test_ess_ignores_the_size_of_ratios_and_is_exactly_one_for_equal_ones(scale: float, dtype: torch.dtype) -> None:
    shift = math.log(scale)
    assert ratio_ess(torch.full((1536,), shift, dtype=dtype)) == 1.0
    found = ratio_ess(logs(4.0, 1.0, 1.0, 1.0).to(dtype) + shift)
    assert found == pytest.approx(49 / 76, rel=1e-13 if dtype == torch.float64 else 1e-5)


def test_ess_lies_between_one_over_n_and_one() -> None:
    rng = np.random.default_rng(0)
    for spread in (1e-6, 0.1, 1.0, 10.0, 100.0, 700.0):
        log_ratio = torch.from_numpy(spread * rng.normal(size=(8, 12)))
        ess = ratio_ess(log_ratio)
        assert 1 / 96 <= ess <= 1.0 and ess == pytest.approx(ratio_ess(log_ratio.flatten().flip(0)), rel=1e-12)


def test_weights_and_lambda_by_hand() -> None:
    """The cap is the effective sample size of (4, 1.5, 1, 0.3), 6.8^2 / (4 (16 + 2.25 + 1 + 0.09))."""
    found = trust(logs(4.0, 1.5, 1.0, 0.3))
    ess = 6.8**2 / (4 * 19.34)
    assert found.ess == pytest.approx(ess) and found.kl_coef == pytest.approx(1 - ess)
    torch.testing.assert_close(found.weights, torch.tensor([ess, ess, ess, 0.3], dtype=torch.float64))
    assert found.ratio_max == pytest.approx(4.0)


def test_a_cap_of_its_own_bounds_the_ratios_and_leaves_lambda() -> None:
    found = trust(logs(4.0, 1.5, 1.0, 0.3), 0.6447)
    torch.testing.assert_close(found.weights, torch.tensor([0.6447, 0.6447, 0.6447, 0.3], dtype=torch.float64))
    assert found.kl_coef == pytest.approx(1 - 6.8**2 / (4 * 19.34))
    assert trust(logs(4.0, 1.0, 1.0, 1.0)).kl_coef == pytest.approx(0.3553, abs=5e-5)  # where ESS is 0.6447


def test_equal_policies_are_followed_without_a_pull() -> None:
    found = trust(torch.zeros(4, 5))
    assert (found.ess, found.kl_coef, found.ratio_max) == (1.0, 0.0, 1.0) and bool((found.weights == 1.0).all())


@pytest.mark.parametrize("log_ratio", [torch.full((3,), -math.inf), torch.full((3,), -1e4), torch.tensor([-110.0] * 3)])
def test_where_all_ratios_are_zero_only_the_pull_is_left(log_ratio: torch.Tensor) -> None:
    found = trust(log_ratio)
    assert (found.ess, found.kl_coef, found.ratio_max) == (0.0, 1.0, pytest.approx(0.0)) and not found.weights.any()


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("cap", ["auto", 0.5])
def test_ratios_that_are_no_numbers_are_seen(bad: float, cap: float) -> None:
    found = trust(torch.tensor([0.0, bad, 0.3]), cap)
    assert math.isnan(found.ess) and math.isnan(found.kl_coef)


def test_ratios_beyond_all_numbers_are_capped() -> None:
    found = trust(torch.tensor([3e3, 0.0, 0.0, 0.0]))
    assert found.ess == 0.25 and found.weights.tolist() == [0.25] * 4 and math.isfinite(found.ratio_max)


def test_losses_by_hand() -> None:
    log_prob, advantage = torch.tensor([-1.0, -2.0]), torch.tensor([3.0, -1.0])
    assert float(policy_loss(log_prob, advantage)) == -(-3.0 + 2.0) / 2
    assert float(policy_loss(log_prob, advantage, torch.tensor([0.5, 0.25]))) == -(-1.5 + 0.5) / 2
    assert float(value_loss(torch.tensor([1.0, 2.0]), torch.tensor([3.0, 1.0]))) == 2.5


def segments_of(
    reward: torch.Tensor, terminated: torch.Tensor, truncated: torch.Tensor, final: torch.Tensor
) -> Segments:
    n, steps = reward.shape
    obs, action = torch.zeros(n, steps + 1, 1), torch.zeros(n, steps)
    return Segments(obs, action, action[..., None], reward, terminated, truncated, final)


@pytest.mark.parametrize(("limit", "expected"), [(False, [0.95, -1.0, 6.6]), (True, [1.76, 0.8, 6.6])])
def test_advantages_by_hand(limit: bool, expected: list[float]) -> None:
    """An episode terminates after the second step, or a time limit ends it where the value is 2."""
    over = torch.tensor([[False, True, False]])
    flags = (~over & over, over) if limit else (over, ~over & over)
    segments = segments_of(torch.tensor([[1.0, 0.0, 2.0]]), *flags, torch.zeros(int(limit), 1))
    found = segment_advantages(
        segments,
        torch.tensor([[0.5, 1.0, -1.0]]),
        torch.tensor([4.0]),
        torch.full((int(limit),), 2.0),
        discount=0.9,
        decay=0.5,
    )
    torch.testing.assert_close(found, torch.tensor([expected]))


def test_advantages_are_those_of_each_lane_step_by_step() -> None:
    """A plain loop in double precision, with several ends in a segment, at its last step, too."""
    rng = np.random.default_rng(1)
    reward, value = rng.normal(size=(2, 30, 7))
    terminated, truncated = rng.random((30, 7)) < 0.15, rng.random((30, 7)) < 0.25
    truncated &= ~terminated
    after, final = rng.normal(size=30), rng.normal(size=int(truncated[:, :-1].sum()))
    segments = segments_of(*map(torch.from_numpy, (reward, terminated, truncated)), torch.zeros(len(final), 1))
    tensors = map(torch.from_numpy, (value, after, final))
    found = segment_advantages(segments, *tensors, discount=0.9, decay=0.8)
    assert truncated[:, -1].any() and terminated[:, -1].any() and len(final) > 20
    left = list(final)
    last = {(b, t): left.pop(0) for b in range(30) for t in range(6) if truncated[b, t]}
    for b in range(30):
        carried = 0.0
        for t in range(6, -1, -1):
            following = after[b] if t == 6 else last.get((b, t), value[b, min(t + 1, 6)])
            if terminated[b, t]:
                following = 0.0
            if terminated[b, t] or truncated[b, t]:
                carried = 0.0
            carried = reward[b, t] + 0.9 * following - value[b, t] + 0.72 * carried
            assert float(found[b, t]) == pytest.approx(carried, rel=1e-12)
