"""What P3O learns and how it acts: networks, the observations' mean and spread, and one kind of action distribution.

Shapes: N lanes, O observation, P numbers of an action distribution.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import nn

from mql.agent.parameter_vector import ParameterVector
from mql.agent.restoring import copy_named
from mql.learning.moments import Moments
from mql.p3o.acting import OBS_LIMIT, Acted, ActingPolicy
from mql.p3o.distributions import ActionDistribution
from mql.p3o.networks import ActorCritic
from mql.seeding import first_weights_of
from mql.types import FloatArray


class P3OAgent:
    """A stochastic policy and its critic, over raw observations.

    Args:
        normalize: whether networks read observations that are shifted and scaled by what `take_up` got.
        seed: of the first weights.
    """

    def __init__(
        self,
        obs_dim: int,
        distribution: ActionDistribution,
        *,
        hidden_sizes: Sequence[int] = (64, 64),
        normalize: bool = True,
        seed: int,
        device: str = "cpu",
    ) -> None:
        self.obs_dim, self.distribution, self.normalize = obs_dim, distribution, normalize
        self.device = torch.device(device)
        with first_weights_of(seed):
            self.networks = ActorCritic(obs_dim, distribution, hidden_sizes).to(self.device)
        self.parameters = ParameterVector(list(self.networks.parameters()))
        self.seen = Moments(obs_dim, device=self.device)
        self._shift, self._scale = torch.zeros(obs_dim, device=self.device), torch.ones(obs_dim, device=self.device)

    def normalized(self, obs: torch.Tensor) -> torch.Tensor:
        """Return what networks read of raw observations [..., O]."""
        if not self.normalize:
            return obs
        return ((obs - self._shift) * self._scale).clamp_(-OBS_LIMIT, OBS_LIMIT)

    def shift_and_scale(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what `normalized` subtracts and then multiplies by, [O] each."""
        return self._shift, self._scale

    def take_up(self, obs: torch.Tensor) -> None:
        """Normalise from now on by raw observations [..., O], too."""
        self.seen.add(obs.reshape(-1, self.obs_dim))
        self._rescale()

    def policy(self) -> ActingPolicy:
        """Return the policy of now, for acting; on the CPU it shares the agent's memory."""
        linear = [module for module in self.networks.actor if isinstance(module, nn.Linear)]
        free = self.networks.free
        return ActingPolicy(
            [(_array(layer.weight).T, _array(layer.bias)) for layer in linear],
            np.zeros(0, np.float32) if free is None else _array(free),
            _array(self._shift) if self.normalize else None,
            _array(self._scale) if self.normalize else None,
            self.distribution.draws,
        )

    def act(self, obs: FloatArray, noise: FloatArray) -> Acted:
        """Draw an action for each of the observations [N, O], of noise from ``distribution.draws``."""
        return self.policy().act(obs, noise)

    def tensors(self) -> dict[str, torch.Tensor]:
        """Parameters and what was seen of observations, by name: what a checkpoint stores."""
        found = {f"networks.{name}": parameter.detach() for name, parameter in self.networks.named_parameters()}
        return found | {f"seen.{name}": tensor for name, tensor in self.seen.named_tensors().items()}

    def restore(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Restore what `tensors` gave; other names are left alone.

        Raises:
            KeyError: a tensor is missing.
            ValueError: a tensor has another shape.
        """
        copy_named(self.tensors().items(), tensors)
        self._rescale()

    def _rescale(self) -> None:
        self._shift.copy_(self.seen.mean)
        self._scale.copy_(self.seen.scale())


def _array(tensor: torch.Tensor) -> FloatArray:
    array: FloatArray = tensor.detach().cpu().numpy()
    return array
