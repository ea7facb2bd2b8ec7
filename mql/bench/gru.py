"""`mql bench gru`: the context encoder's GRU, forward and backward, beside PyTorch's own.

Shapes: T steps, S sequences, C inputs, Z state.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from mql.bench.timing import Call, Results, alternate, announce, medians
from mql.kernels.gru import gru_states, plain_gru_states
from mql.types import Context


@dataclass(frozen=True)
class Sizes:
    """(C, Z, S, T) of a fast update's segments, of images' features, and of long histories of them."""

    shapes: tuple[tuple[int, int, int, int], ...] = ((24, 30, 32, 32), (394, 128, 32, 32), (394, 20, 256, 200))
    rounds: int = 15


FULL = Sizes()


def measure(threads: int, sizes: Sizes = FULL) -> Results:
    """Time all states and the gradients of all weights, of both in turn; ``vs_nn_gru`` above 1: ours is faster."""
    announce(f"gru: {sizes.rounds} rounds, on {threads} threads")
    results: Results = {}
    for inputs, size, rows, steps in sizes.shapes:
        contenders = {
            "ours": _both_ways(gru_states, inputs, size, rows, steps),
            "nn_gru": _both_ways(plain_gru_states, inputs, size, rows, steps),
        }
        seconds = medians(alternate(contenders, rounds=sizes.rounds))
        results[f"c{inputs}_z{size}_s{rows}_t{steps}"] = {
            "both_ways_ms": 1e3 * seconds["ours"],
            "vs_nn_gru": seconds["nn_gru"] / seconds["ours"],
        }
    return results


def _both_ways(states: Callable[..., torch.Tensor], inputs: int, size: int, rows: int, steps: int) -> Call:
    gru = torch.nn.GRU(inputs, size)
    noise = torch.Generator().manual_seed(0)
    context = Context(torch.randn(steps, rows, inputs, generator=noise))
    parameters, gradient = list(gru.parameters()), torch.randn(steps + 1, rows, size, generator=noise)
    return lambda: torch.autograd.grad(states(gru, context, last_only=False), parameters, gradient)
