"""One update of DQN or Rainbow, with the proximal step to the targets.

Shapes: B transitions, A actions.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from mql.agent.parameter_vector import ParameterVector
from mql.learning.optimizer import Adam
from mql.learning.proximal import kappa_of, pull_of
from mql.q_learning.losses import cross_entropies, squared_errors, target_distributions, td_targets
from mql.q_learning.networks import make_network
from mql.q_learning.replay import QBatch, QReplay
from mql.q_learning.settings import QSettings
from mql.seeding import generator


@dataclass(frozen=True)
class Learned:
    """What an update says: scalars by name, and the loss [B] of each transition, without weights."""

    losses: dict[str, torch.Tensor]
    of_each: torch.Tensor


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
        obs, next_obs, action, reward, discount, weights = (
            tensor.to(self.device)
            for tensor in (batch.obs, batch.next_obs, batch.action, batch.reward, batch.discount, batch.weights)
        )
        if self.online.distributional:
            with torch.no_grad():
                logits = self.target.logits(next_obs)
                goal = target_distributions(reward, discount, logits, self.online.atoms)
            of_each = cross_entropies(self.online.logits(obs), action, goal)
            # (What lies at the ends tells whether the atoms reach far enough.)
            said = {"target_mean": (goal @ self.online.atoms).mean(), "at_ends": goal[:, [0, -1]].sum(dim=1).mean()}
        else:
            with torch.no_grad():
                goal = td_targets(reward, discount, self.target(next_obs))
            of_each = squared_errors(self.online(obs), action, goal)
            said = {"target_mean": goal.mean()}
        loss = (weights * of_each).mean()
        self._adam.step(loss, lr=self.lr, toward=self._targets.data, pull=pull_of(self.lr, self.c))
        self.updates += 1
        losses = {"loss": loss.detach(), **said}
        if self.updates % self.settings.updates_per_copy == 0:
            losses |= self._copy()
        return Learned(losses, of_each.detach())

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
        for name, place in self.tensors().items():
            if tensors[name].shape != place.shape:
                raise ValueError(f"{name} has shape {tuple(tensors[name].shape)}, expected {tuple(place.shape)}")
            place.copy_(tensors[name])
        self.updates = updates
