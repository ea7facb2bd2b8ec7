"""One update of DQN or Rainbow, with the proximal step to the targets.

Shapes: B transitions, A actions.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import torch

from mql.agent.parameter_vector import ParameterVector
from mql.agent.restoring import copy_named
from mql.learning.optimizer import Adam
from mql.learning.proximal import kappa_of, pull_of
from mql.q_learning.gradients import Learned, gradients_of
from mql.q_learning.networks import make_network
from mql.q_learning.replay import QBatch, QReplay
from mql.q_learning.settings import QSettings
from mql.seeding import generator


class QLearner:
    """A network, its targets, and Adam over all parameters at once.

    Every K-th update copies the parameters to the targets, and says ``target_distance`` (the 2-norm over all parameters
    of how far the targets have moved) and ``kappa`` = lr K / c (`mql.learning.proximal`).

    Args:
        obs_shape: of an observation.
        actions: A.
        settings: of the method.
        seed: of the first parameters, and of all draws from a replay.

    Attributes:
        online, target: the networks.
        updates: made so far.
        lr: Adam's step size, which may be changed between updates.
        c: of the pull to the targets, 0 for none.
    """

    def __init__(
        self, obs_shape: Sequence[int], actions: int, settings: QSettings, *, seed: int, device: str = "cpu"
    ) -> None:
        self.settings, self.seed, self.device = settings, seed, torch.device(device)
        first = int(generator(seed, "network").integers(2**31))
        self.online = make_network(obs_shape, actions, settings, seed=first).to(self.device)
        self.target = copy.deepcopy(self.online).requires_grad_(False)
        self._parameters = ParameterVector(list(self.online.parameters()))
        self._targets = ParameterVector(list(self.target.parameters()))
        self._gradients = gradients_of(self.online, self.target, self._parameters)
        self._adam = Adam(self._parameters, eps=settings.adam_eps)
        self.lr, self.c = settings.lr, settings.c
        self.updates = 0

    def learn(self, replay: QReplay, *, env_steps: int) -> dict[str, torch.Tensor]:
        """Draw transitions, update from them, and tell the replay their losses; return what the update says.

        The draw is the one of (seed, "draw", updates), and its weights those of `env_steps`.
        """
        rng = generator(self.seed, "draw", self.updates)
        batch = replay.sample(self.settings.batch_size, rng, beta=self.settings.beta(env_steps))
        learned = self.update(batch)
        if self.settings.prioritised:
            replay.learned(batch.rows, learned.of_each.cpu().numpy())
        return learned.losses

    def update(self, batch: QBatch) -> Learned:
        """Make one update from `batch`."""
        learned, gradient = self._gradients(batch)
        self._adam.follow(
            gradient, lr=self.lr, toward=self._targets.data if self.c else None, pull=pull_of(self.lr, self.c)
        )
        self.updates += 1
        if self.updates % self.settings.updates_per_copy == 0:
            learned.losses.update(self._copy())
        return learned

    def _copy(self) -> dict[str, torch.Tensor]:
        """Copy the parameters to the targets."""
        distance = torch.linalg.vector_norm(self._parameters.data - self._targets.data)
        self._targets.data.copy_(self._parameters.data)
        if self.settings.reset_optimizer:
            self._adam.clear()
        kappa = kappa_of(self.lr, self.c, self.settings.updates_per_copy)
        return {"target_distance": distance, "kappa": torch.tensor(kappa)}

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return parameters, targets and Adam's state by name: with ``updates``, all that later updates depend on."""
        return {
            **{f"online.{name}": tensor.detach() for name, tensor in self.online.named_parameters()},
            **{f"target.{name}": tensor.detach() for name, tensor in self.target.named_parameters()},
            **{f"adam.{name}": tensor for name, tensor in self._adam.tensors().items()},
        }

    def restore(self, tensors: Mapping[str, torch.Tensor], *, updates: int) -> None:
        """Take over what `tensors` gave, and the number of updates.

        Raises:
            KeyError: a tensor is missing.
            ValueError: a tensor has another shape.
        """
        copy_named(self.tensors().items(), tensors)
        self.updates = updates
