"""How the policy acts: in numpy, on the CPU, while its context grows with every step.

A control loop asks for one action, or for some dozens, at a time. Then the cost is that of starting operators, which
numpy does several times faster than PyTorch. A policy pickles, and needs no PyTorch where it is unpickled: worker
processes act with it.

Shapes: N tasks side by side, O observation, A action, C = O + A + 1 context element, Z context variable,
H context length.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mql.types import FloatArray

if TYPE_CHECKING:
    from mql.agent.networks import Actor, ContextEncoder


@dataclass
class ActingContext:
    """What a policy remembers of N running episodes.

    ``state`` [N, Z] is the context variable. With context_mode ``window``, ``elements`` [H, N, C] holds the last
    ``length`` steps, the newest at the end (with ``carry`` it is empty). ``policy`` is the one that acts.
    """

    state: FloatArray
    elements: FloatArray
    policy: Policy
    length: int = 0


class Policy:
    """Actor and context encoder in numpy. On the CPU they are the networks' own parameters (shared memory).

    Args:
        actor: maps observation and context variable to an action.
        encoder: maps the steps so far to the context variable.
        window: the last steps that the encoder looks at, H; 0: it carries its state from the episode's start.
    """

    def __init__(self, actor: Actor, encoder: ContextEncoder, *, window: int) -> None:
        layers = [*actor.hidden, actor.output]
        self._layers = [tuple(p.detach().cpu().numpy().T for p in layer.parameters()) for layer in layers]
        self._gru = [p.detach().cpu().numpy().T for p in encoder.gru.parameters()] if encoder.gru else []
        self._context_dim, self._window = encoder.context_dim, window

    def begin(self, n: int, element_dim: int) -> ActingContext:
        """Return the empty context of `n` episodes that start now, for elements of C numbers."""
        return ActingContext(
            state=np.zeros((n, self._context_dim), dtype=np.float32),
            elements=np.zeros((self._window, n, element_dim), dtype=np.float32),
            policy=self,
        )

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

    def observe(self, context: ActingContext, obs: FloatArray, action: FloatArray, reward: FloatArray) -> None:
        """Add one step of each episode, (o [N, O], a [N, A], r [N]), to `context` in place."""
        element: FloatArray = np.concatenate((obs, action, reward[:, None]), axis=1)
        if not self._window:
            context.state = self._step(element, context.state)
            return
        context.elements = np.concatenate((context.elements[1:], element[None]))
        context.length = min(context.length + 1, self._window)
        state = np.zeros_like(context.state)
        for past in context.elements[self._window - context.length :]:
            state = self._step(past, state)
        context.state = state

    def _step(self, element: FloatArray, state: FloatArray) -> FloatArray:
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
