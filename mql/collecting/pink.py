"""Noise that is correlated in time: its power falls with frequency f as 1 / f^beta (beta 0: white, 1: pink, 2: red).

Pink action noise explores both far and near: slow parts carry the body away, fast ones vary what it does there
(Eberhard, Hollenstein, Pinneri, Martius, "Pink Noise Is All You Need: Colored Noise Exploration in Deep Reinforcement
Learning", ICLR 2023, https://openreview.net/forum?id=hQ9V5QN27eS). As there, each action dimension of each episode gets
a signal of its own, as long as the whole episode.

Shapes: T steps of a whole episode, N episodes, A action dimensions, F = T // 2 + 1 frequencies.
"""

from __future__ import annotations

import numpy as np

from mql.types import FloatArray

BETA = 1.0  # exponent of pink noise


def pink_noise(shape: tuple[int, int, int], rng: np.random.Generator) -> FloatArray:
    """Draw Gaussian noise [T, N, A] of power 1 / f, with mean 0 and variance 1 at every step."""
    return coloured_noise(shape, rng, beta=BETA)


def coloured_noise(shape: tuple[int, int, int], rng: np.random.Generator, *, beta: float) -> FloatArray:
    """Draw Gaussian noise of power 1 / f^beta, with mean 0 and variance 1 at every step.

    Every frequency k / T of the discrete Fourier transform gets a complex Gaussian amplitude of the wanted power. The
    constant part, which has no power of its own in that law (f = 0), gets that of the lowest frequency. What comes out
    is one period of a periodic signal: its end leads back to its beginning.

    Args:
        shape: [T, N, A]; the signals run along T and are independent of each other.
    """
    steps = shape[0]
    frequency = np.fft.rfftfreq(steps)
    frequency[0] = 1.0 / steps
    power = frequency**-beta
    # Most frequencies stand for a pair, f and -f. A real signal's transform is real, and alone, at f = 0 and, where the
    # number of steps is even, at f = 1/2.
    paired = np.arange(1, len(frequency) + 1) <= (steps + 1) // 2
    paired[0] = False
    variance = float(np.where(paired, 2.0, 1.0) @ power) / steps**2  # of a step: all have the same
    real, imaginary = rng.standard_normal((2, len(frequency), *shape[1:]))
    by_frequency = (slice(None), None, None)
    amplitude = np.where(paired[by_frequency], np.sqrt(0.5) * (real + 1j * imaginary), real)
    amplitude *= np.sqrt(power / variance)[by_frequency]
    return np.fft.irfft(amplitude, n=steps, axis=0).astype(np.float32)
