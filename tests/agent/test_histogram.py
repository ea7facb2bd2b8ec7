"""Histograms of values against scipy's Gaussian, and C51's projection against a loop over atoms."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from scipy.stats import norm

from mql.agent.histogram import MARGIN, Bins
from mql.agent.networks import HistogramCritic

RANGES = [(0.0, 50.0), (-8.0, 0.0), (-30.0, 650.0)]


@pytest.mark.parametrize("ends", RANGES)
@pytest.mark.parametrize("fine", [False, True])
def test_hl_gauss_is_a_gaussian_cut_into_bins(ends: tuple[float, float], fine: bool) -> None:
    low, high = ends
    bins = Bins(31, fine=fine, smooth=True, low=low, high=high)
    values = np.linspace(low, high, 23)
    unit = max(abs(low), abs(high)) / 100.0
    in_u = (lambda x: np.arcsinh(x / unit)) if fine else (lambda x: x)
    width = (in_u(high) - in_u(low)) / (31 - 2 * MARGIN)
    edges = in_u(low) + width * np.arange(-MARGIN, 32 - MARGIN)
    cumulative = norm.cdf(edges[None], loc=in_u(values)[:, None], scale=0.75 * width)
    expected = np.diff(cumulative) / (cumulative[:, -1:] - cumulative[:, :1])
    found = bins.around(torch.from_numpy(values).float())
    assert np.allclose(found, expected, atol=2e-5)
    assert np.allclose(found.sum(-1), 1.0, atol=1e-6)
    assert (bins.low, bins.high) == pytest.approx(ends, rel=1e-5)


@pytest.mark.parametrize("ends", RANGES)
@pytest.mark.parametrize("fine", [False, True])
def test_the_mean_of_a_histogram_is_the_value_that_it_stands_for(ends: tuple[float, float], fine: bool) -> None:
    bins = Bins(101, fine=fine, smooth=True, low=ends[0], high=ends[1])
    values = torch.linspace(*ends, 1001)
    histograms = bins.around(values)
    size = max(map(abs, ends))
    assert torch.allclose(histograms @ bins.worth, values, atol=2e-5 * size)
    assert torch.allclose(bins.mean(histograms.log()), values, atol=2e-5 * size)
    # Also of a mixture: what a critic learns of targets that vary is their mean.
    assert float(histograms.mean(0) @ bins.worth) == pytest.approx(float(values.mean()), rel=1e-3)
    assert bins.beyond(values) == 0.0


def test_fine_bins_tell_small_values_apart() -> None:
    """0.1 and 0.2 beside 50: one bin when even, several when fine."""
    even, fine = (Bins(101, fine=fine, smooth=True, low=0.0, high=50.0) for fine in (False, True))
    values = torch.tensor([0.1, 0.2])
    far, near = (bins.around(values).argmax(-1).diff() for bins in (even, fine))
    assert far == 0
    assert near >= 2


def test_values_beyond_the_ends_are_put_there_and_counted() -> None:
    bins = Bins(101, fine=False, smooth=True, low=0.0, high=10.0)
    values = torch.tensor([-5.0, 0.0, 4.0, 10.0, 1e6])
    assert torch.allclose(bins.around(values) @ bins.worth, torch.tensor([0.0, 0.0, 4.0, 10.0, 10.0]), atol=1e-3)
    assert bins.beyond(values) == pytest.approx(0.4)


@pytest.mark.parametrize("fine", [False, True])
def test_c51_shares_each_atom_out_to_its_neighbours(fine: bool) -> None:
    bins = Bins(13, fine=fine, smooth=False, low=-2.0, high=5.0)
    g = torch.Generator().manual_seed(0)
    atoms = torch.randn(4, 9, generator=g) * 4.0
    probabilities = torch.softmax(torch.randn(4, 9, generator=g), dim=-1)
    places = bins.worth.tolist()
    expected = np.zeros((4, 13))
    for b in range(4):
        for atom, probability in zip(atoms[b].tolist(), probabilities[b].tolist(), strict=True):
            atom = min(max(atom, places[0]), places[-1])
            upper = next(i for i in range(1, 13) if places[i] >= atom)
            part = (atom - places[upper - 1]) / (places[upper] - places[upper - 1])
            expected[b, upper - 1] += probability * (1.0 - part)
            expected[b, upper] += probability * part
    found = bins.shared_out(atoms, probabilities)
    assert np.allclose(found, expected, atol=1e-6)
    clipped = atoms.clamp(places[0], places[-1])
    assert torch.allclose(found @ bins.worth, (clipped * probabilities).sum(-1), atol=1e-5)


def critic(*, fine: bool = False, bins: int = 101) -> HistogramCritic:
    torch.manual_seed(0)
    made = Bins(bins, fine=fine, smooth=True, low=-1.0, high=1.0)
    return HistogramCritic(3, 2, 4, (16,), layer_norm=True, dtype=torch.float32, bins=made)


INPUTS = [torch.randn(50, n, generator=torch.Generator().manual_seed(n)) for n in (3, 2, 4)]


@pytest.mark.parametrize("ends", [(0.0, 50.0), (-8.0, 0.0), (-600.0, 650.0)])
@pytest.mark.parametrize("fine", [False, True])
def test_critics_start_near_zero_wherever_their_bins_are(ends: tuple[float, float], fine: bool) -> None:
    net = critic(fine=fine)
    fresh = copy.deepcopy(net)
    net.place_bins(-3.0, 3.0, afresh=True)
    net.place_bins(*ends, afresh=True)
    assert net(*INPUTS).abs().max() < 0.03 * (ends[1] - ends[0])
    net.place_bins(-1.0, 1.0, afresh=True)
    assert all(torch.allclose(p, q, atol=1e-5) for p, q in zip(net.parameters(), fresh.parameters(), strict=True))


@pytest.mark.parametrize("to", [(-1.0, 3.0), (-8.0, 1.0), (-1.0, 1.2)])
@pytest.mark.parametrize("fine", [False, True])
def test_values_stay_when_the_bins_move_outward(fine: bool, to: tuple[float, float]) -> None:
    """To a width of the new bins there."""
    bins, moved = (Bins(101, fine=fine, smooth=True, low=low, high=high) for low, high in ((-1.0, 1.0), to))
    values = torch.linspace(-0.9, 0.9, 500)
    logits = torch.log(bins.around(values) + 1e-5)
    here, more = bins.moved(moved)
    edges = moved._from_u(moved.edges)
    width = edges.diff()[torch.searchsorted(edges, values) - 1]
    found = moved.mean(logits[:, here] + more)
    assert ((found - values).abs() / width).max() < 1.0


def test_a_critic_goes_on_with_the_logits_of_the_bins_that_were_there() -> None:
    net = critic()
    before = net.logits(*INPUTS).detach()
    target = Bins(101, fine=False, smooth=True, low=-1.0, high=3.0)
    here, more = net.bins.moved(target)
    net.place_bins(-1.0, 3.0, afresh=False)
    assert torch.allclose(net.logits(*INPUTS), before[..., here] + more, atol=1e-5)
    assert (net.bins.low, net.bins.high) == (-1.0, 3.0)
    assert torch.equal(net.bins.edges, target.edges)


def test_bins_are_tensors_of_the_critic_and_no_parameters() -> None:
    net = critic()
    assert {"bins.ends", "bins.edges", "bins.worth", "bins.unit", "bins.fitted"} <= set(net.state_dict())
    assert not any(name.startswith("bins") for name, _ in net.named_parameters())


def test_ends_must_leave_room() -> None:
    with pytest.raises(ValueError, match="no room"):
        Bins(101, fine=False, smooth=True, low=1.0, high=1.0)
