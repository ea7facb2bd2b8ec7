"""Random streams, each derived from a seed and a path of names and counters.

A stream is a function of ``(seed, path)`` alone, so a run that goes on from a checkpoint needs no generator state:
the same iteration draws the same numbers again. No global generator is left changed.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

_FIRST_WEIGHTS = threading.RLock()


def generator(seed: int, *path: str | int) -> np.random.Generator:
    """Return the numpy generator of one stream, e.g. ``generator(0, "collect", 17)``."""
    return np.random.default_rng(_sequence(seed, path))


def torch_generator(seed: int, *path: str | int, device: str = "cpu") -> torch.Generator:
    """Return the torch generator of one stream on `device`."""
    import torch  # (here, so that worker processes that only play need none)

    value = int(_sequence(seed, path).generate_state(1, np.uint64)[0]) >> 1
    return torch.Generator(device=device).manual_seed(value)


@contextmanager
def first_weights_of(seed: int) -> Iterator[None]:
    """Within this block networks are made whose first parameters depend on `seed` alone.

    PyTorch draws them from its one generator of the CPU: threads take turns, and it is afterwards as it was before.
    """
    import torch

    with _FIRST_WEIGHTS, torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # (torch.manual_seed would seed the GPU's generators, too)
        yield


def spawn_seeds(n: int, seed: int, *path: str | int) -> list[int]:
    """Return `n` reset seeds (non-negative 31-bit integers) of one stream."""
    return [int(value) >> 1 for value in _sequence(seed, path).generate_state(n, np.uint32)]


def _sequence(seed: int, path: tuple[str | int, ...]) -> np.random.SeedSequence:
    words = [int.from_bytes(hashlib.blake2b(str(part).encode(), digest_size=8).digest(), "little") for part in path]
    return np.random.SeedSequence([seed, *words])
