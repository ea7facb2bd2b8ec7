"""How the policy acts on the CPU while its context grows with every step.

A control loop asks for one action, or for some dozens, at a time. Then the cost is that of starting operators, which
numpy does several times faster than PyTorch. So an agent of known modules (a GRU or no encoder; ReLU layers and a tanh)
acts in numpy; any other acts through its own modules. A policy pickles: worker processes act with it. In numpy it needs
no PyTorch there.

An episode begins with an empty context, or, where an agent carries one, with that (`CarryingPolicy`).

Shapes: N tasks in parallel, O observation, A action, C context element (`ContextElements`), Z context variable,
H context length.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from mql.types import FloatArray

if TYPE_CHECKING:
    from mql.agent.elements import ContextElements
    from mql.agent.protocols import Actor, Encoder
    from mql.agent.scaling import Scaling


@dataclass
class ActingContext:
    """What a policy remembers of N running episodes.

    ``state`` [N, Z] is the context variable. With context_mode ``window``, ``elements`` [H, N, C] holds the last
    ``length`` steps, the newest at the end (with ``carry`` it is empty). ``policy`` is the one that acts. ``ahead`` is
    what it has computed in `act` and needs in `observe`, if there is such a thing.
    """

    state: FloatArray
    elements: FloatArray
    policy: Policy
    length: int = 0
    ahead: FloatArray | None = None


@dataclass(frozen=True)
class CarriedContext:
    """What episodes begin with that go on from earlier ones of their task: the context of one episode at its end.

    ``state`` [Z]; with context_mode ``window`` also ``elements`` [L, C], the last L <= H steps, the newest at the end
    (with ``carry`` there are none). They are as the policy keeps them, scaled where it scales.
    """

    state: FloatArray
    elements: FloatArray

    @classmethod
    def of(cls, context: ActingContext) -> CarriedContext:
        """Return what a context of one episode holds."""
        first = len(context.elements) - context.length if len(context.elements) else 0
        return cls(context.state[0].copy(), context.elements[first:, 0].copy())


class Policy(Protocol):
    """Acts in N episodes in parallel: `begin` once, then `act` and `observe` in turn."""

    def begin(self, n: int) -> ActingContext:
        """Return the context of `n` episodes that start now; it is empty as a rule."""
        ...

    def act(self, obs: FloatArray, context: ActingContext) -> FloatArray:
        """Return deterministic actions [N, A] for observations [N, O]."""
        ...

    def observe(self, context: ActingContext, obs: FloatArray, action: FloatArray, reward: FloatArray | None) -> None:
        """Add one step of each episode, (o [N, O], a [N, A], r [N]), to `context` in place.

        `reward` may be None where an element has none.
        """
        ...


def make_policy(actor: Actor, encoder: Encoder, *, elements: ContextElements, window: int, scaling: Scaling) -> Policy:
    """Return the policy of these modules, which acts on what they learn later, too (on the CPU).

    Args:
        actor: maps observation and context variable to an action.
        encoder: maps the steps so far to the context variable.
        elements: what it sees of a step.
        window: the last steps that the encoder looks at, H; 0: it carries its state from the episode's start.
        scaling: of what they read.
    """
    policy = _modules_policy(actor, encoder, elements=elements, window=window)
    if not scaling.may_act:
        return policy
    return ScaledPolicy(policy, _array(scaling.shift), _array(scaling.scale))


def _modules_policy(actor: Actor, encoder: Encoder, *, elements: ContextElements, window: int) -> Policy:
    from mql.agent.encoders import GRUEncoder, NoEncoder

    layers = actor.tanh_layers()
    if layers is None or not isinstance(encoder, (GRUEncoder, NoEncoder)):
        return TorchPolicy(actor, encoder, elements=elements, window=window)
    gru = list(encoder.gru.parameters()) if isinstance(encoder, GRUEncoder) else []
    return NumpyPolicy(
        [tuple(_array(p) for p in layer.parameters()) for layer in layers],
        [_array(p) for p in gru],
        context_dim=encoder.context_dim,
        elements=elements,
        window=window,
    )


def _array(parameter: Any) -> FloatArray:
    """A parameter, transposed; on the CPU it is the parameter itself (shared memory)."""
    array: FloatArray = parameter.detach().cpu().numpy().T
    return array


class ScaledPolicy:
    """A policy that sees scaled observations and rewards (`scaling.Scaling`); actions need none.

    Args:
        policy: acts on scaled numbers.
        shift, scale: [O + A + 1], of rows (o, a, r); on the CPU those of the agent (shared memory).
    """

    def __init__(self, policy: Policy, shift: FloatArray, scale: FloatArray) -> None:
        self._policy, self._shift, self._scale = policy, shift, scale

    def begin(self, n: int) -> ActingContext:
        """Return the empty context of `n` episodes that start now."""
        return replace(self._policy.begin(n), policy=self)

    def act(self, obs: FloatArray, context: ActingContext) -> FloatArray:
        """Return deterministic actions [N, A] for observations [N, O]."""
        return self._policy.act(self._scaled(obs), context)

    def observe(self, context: ActingContext, obs: FloatArray, action: FloatArray, reward: FloatArray | None) -> None:
        """Add one step of each episode, (o [N, O], a [N, A], r [N]), to `context` in place."""
        scaled = None if reward is None else (reward - self._shift[-1]) * self._scale[-1]
        self._policy.observe(context, self._scaled(obs), action, scaled)

    def _scaled(self, obs: FloatArray) -> FloatArray:
        size = obs.shape[1]
        scaled: FloatArray = (obs - self._shift[:size]) * self._scale[:size]
        return scaled


class CarryingPolicy:
    """A policy whose episodes all begin with `carried` instead of an empty context."""

    def __init__(self, policy: Policy, carried: CarriedContext) -> None:
        self._policy, self._carried = policy, carried

    def begin(self, n: int) -> ActingContext:
        """Return the context of `n` episodes that start now: each has a copy of its own."""
        context, carried = self._policy.begin(n), self._carried
        elements = context.elements
        length = len(carried.elements)
        if length:
            elements[-length:] = carried.elements[:, None]
        state = np.repeat(carried.state[None], n, axis=0)
        return ActingContext(state=state, elements=elements, policy=self, length=length)

    def act(self, obs: FloatArray, context: ActingContext) -> FloatArray:
        """Return deterministic actions [N, A] for observations [N, O]."""
        return self._policy.act(obs, context)

    def observe(self, context: ActingContext, obs: FloatArray, action: FloatArray, reward: FloatArray | None) -> None:
        """Add one step of each episode, (o [N, O], a [N, A], r [N]), to `context` in place."""
        self._policy.observe(context, obs, action, reward)


class TorchPolicy:
    """The policy of any actor and encoder, computed by the modules themselves; see `make_policy`."""

    def __init__(self, actor: Actor, encoder: Encoder, *, elements: ContextElements, window: int) -> None:
        self._actor, self._encoder, self._elements, self._window = actor, encoder, elements, window

    def __getstate__(self) -> dict[str, Any]:
        # Copied, parameters have memory of their own; else each would bring along the vector that all of them lie in.
        return {name: copy.deepcopy(value) for name, value in self.__dict__.items()}

    def begin(self, n: int) -> ActingContext:
        """Return the empty context of `n` episodes that start now."""
        elements = np.zeros((self._window, n, self._elements.dim), dtype=np.float32)
        return ActingContext(state=self._encode(elements[:0]), elements=elements, policy=self)

    def act(self, obs: FloatArray, context: ActingContext) -> FloatArray:
        """Return deterministic actions [N, A] for observations [N, O]."""
        return self._computed(lambda tensor: self._actor.act(tensor(obs), tensor(context.state)))

    def observe(self, context: ActingContext, obs: FloatArray, action: FloatArray, reward: FloatArray | None) -> None:
        """Add one step of each episode, (o [N, O], a [N, A], r [N]), to `context` in place."""
        element = self._elements.of_step(obs, action, reward)
        if not self._window:
            context.state = self._computed(lambda tensor: self._encoder.step(tensor(element), tensor(context.state)))
            return
        _take_up(context, element, self._window)
        context.state = self._encode(context.elements[self._window - context.length :])

    def _encode(self, elements: FloatArray) -> FloatArray:
        from mql.types import Context

        return self._computed(lambda tensor: self._encoder(Context(tensor(elements))))

    def _computed(self, function: Any) -> FloatArray:
        """Return ``function(tensor)`` as an array, where ``tensor`` moves an array to where the modules are."""
        import torch

        device = next(iter(self._actor.parameters())).device  # type: ignore[attr-defined]
        with torch.no_grad():
            result: FloatArray = function(lambda array: torch.from_numpy(array).to(device)).cpu().numpy()
        return result


def _take_up(context: ActingContext, element: FloatArray, window: int) -> None:
    """Add an element [N, C] to the end of the window."""
    context.elements = np.concatenate((context.elements[1:], element[None]))
    context.length = min(context.length + 1, window)


class NumpyPolicy:
    """ReLU layers and a tanh behind a GRU, or behind no context at all.

    Args:
        layers: weight [in, out] and bias [out] of each.
        gru: its four parameters, transposed; empty: no context.
        context_dim: Z.
        elements, window: see `make_policy`.
    """

    def __init__(
        self,
        layers: list[tuple[FloatArray, ...]],
        gru: list[FloatArray],
        *,
        context_dim: int,
        elements: ContextElements,
        window: int,
    ) -> None:
        self._layers, self._gru = layers, gru
        self._context_dim, self._elements, self._window = context_dim, elements, window

    def begin(self, n: int) -> ActingContext:
        """Return the empty context of `n` episodes that start now."""
        return ActingContext(
            state=np.zeros((n, self._context_dim), dtype=np.float32),
            elements=np.zeros((self._window, n, self._elements.dim), dtype=np.float32),
            policy=self,
        )

    def act(self, obs: FloatArray, context: ActingContext) -> FloatArray:
        """Return deterministic actions [N, A] for observations [N, O]."""
        x: FloatArray = np.concatenate((obs, context.state), axis=1)
        for weight, bias in self._layers[:-1]:
            x = x @ weight
            x += bias
            np.maximum(x, 0.0, out=x)
        weight, bias = self._layers[-1]
        x = x @ weight
        x += bias
        return np.tanh(x, out=x)

    def observe(self, context: ActingContext, obs: FloatArray, action: FloatArray, reward: FloatArray | None) -> None:
        """Add one step of each episode, (o [N, O], a [N, A], r [N]), to `context` in place."""
        element = self._elements.of_step(obs, action, reward)
        if not self._window:
            context.state = self._step(element, context.state)
            return
        _take_up(context, element, self._window)
        state = np.zeros_like(context.state)
        for past in context.elements[self._window - context.length :]:
            state = self._step(past, state)
        context.state = state

    def _step(self, element: FloatArray, state: FloatArray) -> FloatArray:
        """Advance states [N, Z] by one element [N, C] each."""
        return gru_step(self._gru, element, state) if self._gru else state


def gru_step(gru: Sequence[FloatArray], element: FloatArray, state: FloatArray) -> FloatArray:
    """Return the states [N, Z] that a GRU makes of `state` [N, Z] and one element [N, C] each (equations in `gru.py`).

    Args:
        gru: its four parameters, transposed.
    """
    w_ih, w_hh, b_ih, b_hh = gru
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
