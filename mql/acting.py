"""How the policy acts on the CPU: in numpy, and what it remembers of running episodes.

A control loop asks for one action, or for some dozens, at a time. Then the cost is that of starting operators, which
numpy does several times faster than PyTorch.

Shapes: N tasks side by side, O observation, A action, C = O + A + 1 context element, Z context variable,
H context length.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mql.networks import Actor, ContextEncoder
from mql.types import FloatArray


@dataclass
class ActingContext:
    """What the policy remembers of N running episodes.

    ``state`` [N, Z] is the context variable. With context_mode ``window``, ``elements`` [H, N, C] holds the last
    ``length`` steps, the newest at the end (with ``carry`` it is empty). ``policy`` acts (None: not on the CPU).
    """

    state: FloatArray
    elements: FloatArray
    policy: NumpyPolicy | None = None
    length: int = 0


class NumpyPolicy:
    """Actor and one step of the context encoder in numpy, on the networks' own parameters (shared memory, CPU)."""

    def __init__(self, actor: Actor, encoder: ContextEncoder) -> None:
        layers = [*actor.hidden, actor.output]
        self._layers = [tuple(p.detach().numpy().T for p in layer.parameters()) for layer in layers]
        self._gru = [p.detach().numpy().T for p in encoder.gru.parameters()] if encoder.gru else []

    def act(self, obs: FloatArray, state: FloatArray) -> FloatArray:
        """Map obs [N, O] and context variables [N, Z] to actions [N, A]."""
        x: FloatArray = np.concatenate((obs, state), axis=1)
        for weight, bias in self._layers[:-1]:
            x = x @ weight
            x += bias
            np.maximum(x, 0.0, out=x)
        weight, bias = self._layers[-1]
        x = x @ weight
        x += bias
        return np.tanh(x, out=x)

    def step(self, element: FloatArray, state: FloatArray) -> FloatArray:
        """Advance states [N, Z] by one element [N, C] each (equations in `gru.py`)."""
        if not self._gru:
            return state
        w_ih, w_hh, b_ih, b_hh = self._gru
        size = state.shape[1]
        inputs, recurrent = element @ w_ih, state @ w_hh
        inputs += b_ih
        recurrent += b_hh
        gates = inputs[:, : 2 * size]
        gates += recurrent[:, : 2 * size]
        gates *= 0.5  # sigmoid(x) = (1 + tanh(x / 2)) / 2, which cannot overflow
        np.tanh(gates, out=gates)
        gates += 1.0
        gates *= 0.5
        new, hidden = inputs[:, 2 * size :], recurrent[:, 2 * size :]
        hidden *= gates[:, :size]
        new += hidden
        np.tanh(new, out=new)
        after: FloatArray = state - new
        after *= gates[:, size:]
        after += new
        return after
