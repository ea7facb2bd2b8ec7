"""Trials side by side, as they are learned from, and the sequences that they are cut into.

Shapes: L steps of a trial, N trials, S steps of a sequence, B sequences, I input, A action, Z state.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Trials:
    """Whole trials as sequences, padded at their ends.

    ``inputs`` [L, N, I] is what the networks read (scaled), ``noise`` [L, N, A] what was drawn from a standard normal
    for each action, ``reward`` [L, N] what followed, in the task's units; ``valid`` [L, N] tells steps from padding.
    """

    inputs: torch.Tensor
    noise: torch.Tensor
    reward: torch.Tensor
    valid: torch.Tensor


@dataclass(frozen=True)
class Sequences:
    """What is learned from, [S, B, ...] each; ``taken`` are the actions as drawn, not yet clipped to [-1, 1]."""

    inputs: torch.Tensor
    taken: torch.Tensor
    log_prob: torch.Tensor
    advantage: torch.Tensor
    value: torch.Tensor
    valid: torch.Tensor

    def of(self, some: torch.Tensor) -> Sequences:
        """Return some of the sequences, by their places."""
        return Sequences(**{name: value[:, some] for name, value in vars(self).items()})


def in_sequences(whole: Sequences, states: torch.Tensor, length: int) -> tuple[Sequences, torch.Tensor]:
    """Cut trials [L, N, ...] into sequences of `length` steps, but for those of padding; and the states before them.

    `states` [L+1, N, Z] are those before each step, and after the last; those returned are [B, Z].
    """
    steps, n = whole.valid.shape
    length = min(length, steps)
    pieces = -(-steps // length)

    def cut(values: torch.Tensor) -> torch.Tensor:
        padded = values.new_zeros(pieces * length, *values.shape[1:])
        padded[:steps] = values
        parts = padded.view(pieces, length, *values.shape[1:]).transpose(0, 1)
        return parts.reshape(length, pieces * n, *values.shape[2:])

    parts = {name: cut(value) for name, value in vars(whole).items()}
    used = parts["valid"].any(dim=0)
    initial = states[:steps:length].reshape(pieces * n, -1)
    return Sequences(**{name: value[:, used] for name, value in parts.items()}), initial[used]
