"""Noise correlated in time: its spectrum, its variance at every step, and independence of all else."""

from __future__ import annotations

import numpy as np
import pytest

from mql.collecting.exploration import white_noise
from mql.collecting.pink import coloured_noise, pink_noise
from mql.types import FloatArray


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def spectrum_slope(noise: FloatArray) -> float:
    """The slope of log power against log frequency, without the constant part and the highest frequency."""
    power = (np.abs(np.fft.rfft(noise, axis=0)) ** 2).mean(axis=(1, 2))[1:-1]
    return float(np.polyfit(np.log(np.arange(1, len(power) + 1)), np.log(power), 1)[0])


@pytest.mark.parametrize("steps", [50, 201])
def test_power_falls_as_one_over_frequency(steps: int) -> None:
    shape = (steps, 2000, 2)
    assert spectrum_slope(pink_noise(shape, rng())) == pytest.approx(-1.0, abs=0.03)
    assert spectrum_slope(white_noise(shape, rng())) == pytest.approx(0.0, abs=0.03)
    assert spectrum_slope(coloured_noise(shape, rng(), beta=2.0)) == pytest.approx(-2.0, abs=0.03)


@pytest.mark.parametrize("steps", [1, 2, 3, 20, 51])
def test_pink_noise_has_unit_variance_at_every_step(steps: int) -> None:
    noise = pink_noise((steps, 20_000, 2), rng())
    assert np.allclose(noise.mean(axis=(1, 2)), 0.0, atol=0.03)
    assert np.allclose(noise.std(axis=(1, 2)), 1.0, atol=0.03)
    kurtosis = (noise**4).mean() / (noise**2).mean() ** 2
    assert kurtosis == pytest.approx(3.0, abs=0.15)  # Gaussian


def test_pink_noise_is_correlated_in_time_as_its_spectrum_says() -> None:
    """By hand for T = 4: power 1 and 1/2 at k = 1, 2 (k / T = 1/4, 1/2), and that of k = 1 for the constant part."""
    noise = pink_noise((4, 40_000, 1), rng())[..., 0]
    variance = 1 + 2 * 1 + 1 / 2
    assert np.mean(noise[0] * noise[1]) == pytest.approx((1 + 0 - 1 / 2) / variance, abs=0.02)
    assert np.mean(noise[0] * noise[2]) == pytest.approx((1 - 2 + 1 / 2) / variance, abs=0.02)


def test_pink_noise_is_independent_between_episodes_and_dimensions() -> None:
    draws = np.stack([pink_noise((20, 2, 2), own) for own in rng().spawn(4000)])  # [draws, T, N, A]
    signals = draws.reshape(4000, 20, 4)
    for t, later in ((0, 0), (5, 5), (5, 6), (3, 19)):
        correlation = signals[:, t].T @ signals[:, later] / 4000
        assert np.abs(correlation[~np.eye(4, dtype=bool)]).max() < 0.06
