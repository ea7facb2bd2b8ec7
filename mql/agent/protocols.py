"""What can be exchanged in an agent: the context encoder and the algorithm, each chosen by a configuration key.

A new one is one new file, a name in the key's ``Literal`` and a row in the table beside it (``ENCODERS`` and
``ALGORITHMS`` in `mql.config.schema`), which says where the class stands.

Shapes: N tasks in parallel, B transitions, S context sequences, T elements in a sequence, C context element
(`mql.agent.elements`), Z context variable.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import nn

from mql.types import Batch, Context

if TYPE_CHECKING:
    from mql.config.schema import AgentConfig


class Encoder(Protocol):
    """A ``nn.Module`` from the steps so far to the context variable z; made as ``Class(element_dim, config)``.

    One that can carry its state (``ENCODERS[name].carries``) has z itself as its state. The others look at windows
    only: they need no `states` and no `step`, and meet no ``context.read`` and no ``context.initial``.
    """

    context_dim: int

    def __call__(self, context: Context) -> torch.Tensor:
        """Return z [B, Z], one row per state that ``context.read`` names; without elements, that of an empty history.

        It must not depend on elements before ``context.start``, nor after the state that is read. ``start`` may equal
        T: a history of padding alone is an empty one.
        """
        ...

    def states(self, elements: torch.Tensor) -> torch.Tensor:
        """Return the states [T+1, S, Z] of sequences [T, S, C] that begin with an empty history."""
        ...

    def step(self, element: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
        """Return the states [N, Z] after one more element [N, C] each."""
        ...

    def parameters(self) -> Any:
        """Return the parameters, as ``nn.Module`` does."""
        ...


class Actor(Protocol):
    """A ``nn.Module`` that acts; what else it can do is its algorithm's affair."""

    def act(self, obs: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        """Return the actions [N, A] in [-1, 1] of the deterministic policy for obs [N, O] and z [N, Z].

        They are computed in float32 and don't depend on how many tasks act in parallel.
        """
        ...

    def tanh_layers(self) -> Sequence[nn.Linear] | None:
        """Return ReLU layers and an output layer whose tanh is `act`, or None if it is anything else.

        With them it acts in numpy (`acting.py`), which is several times faster.
        """
        ...


class AlgorithmNetworks(Protocol):
    """What an algorithm learns: a ``nn.Module`` with an actor and its encoder, at least.

    Names of modules are names in checkpoints. An agent has one of these and, in equal form, its targets.
    """

    actor_encoder: Any
    critic_encoder: Any
    actor: Any

    def parts(self) -> Mapping[str, Sequence[nn.Parameter]]:
        """Return the parameters that one loss trains each, by the part's name.

        Every parameter is in exactly one part, also those of a loss's own layers: an agent refuses other networks.
        """
        ...

    def to(self, device: torch.device) -> Any:
        """Move all of it, as ``nn.Module`` does, and return it."""
        ...


class Learner(Protocol):
    """An agent with the optimisers that change it: what an algorithm makes.

    One that steps with Adam inherits all but `update` from ``AdamLearner`` (``mql.learning.optimizer``).

    ``lr`` and ``proximal_coef`` may be changed between updates. The latter is lambda of the penalty
    (lambda / 2) ||theta - theta_anchor||^2 over the trained online parameters. ``radii`` are those of balls around the
    anchor, one for each part named there, which no step leaves (scalars, such as infinity); ``farthest`` says how far
    each of these parts has been. ``proximal_c`` is for algorithms that pull to their targets.
    """

    updates: int
    lr: float
    proximal_coef: float
    proximal_c: float
    radii: Mapping[str, torch.Tensor]

    @property
    def farthest(self) -> Mapping[str, torch.Tensor]:
        """The largest distance (a scalar) from the anchor after any step, of each part of ``radii``."""
        ...

    def update(self, batch: Batch, *, generator: torch.Generator) -> dict[str, torch.Tensor]:
        """Make one update from `batch`, whose weights multiply the losses; return the losses (scalars)."""
        ...

    def optimizer_tensors(self) -> dict[str, torch.Tensor]:
        """Return the optimisers' state by name, each name beginning with ``adam.``."""
        ...

    def load_optimizer_tensors(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Restore what `optimizer_tensors` gave."""
        ...


class Algorithm(Protocol):
    """A class whose ``networks`` an agent is built of, and whose objects are learners."""

    networks: Callable[[int, int, AgentConfig], AlgorithmNetworks]  # of (obs_dim, action_dim, config)

    def __call__(self, agent: Any, *, lr: float, anchor: Any = None) -> Learner:
        """Return a learner that trains `agent` in place, pulled to the parameters of `anchor` if there is one."""
        ...


def find(place: str) -> Any:
    """Return what stands at ``module:name``."""
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)
