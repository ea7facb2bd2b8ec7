"""The loss of a batch and its gradient, by autograd on any device, or by hand on the CPU: the same numbers.

Shapes: B transitions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from mql.agent.parameter_vector import ParameterVector
from mql.learning.optimizer import gradient_of
from mql.q_learning import by_hand
from mql.q_learning.losses import cross_entropies, squared_errors, target_distributions, td_targets
from mql.q_learning.networks import QNetwork
from mql.q_learning.replay import QBatch


@dataclass(frozen=True)
class Learned:
    """What an update says: scalars by name, and the loss [B] of each transition, without weights."""

    losses: dict[str, torch.Tensor]
    of_each: torch.Tensor


Gradients = Callable[[QBatch], tuple[Learned, torch.Tensor]]  # of a batch: what it says, and the gradient as one vector


def gradients_of(online: QNetwork, target: QNetwork, parameters: ParameterVector) -> Gradients:
    """Return how a batch's gradient is computed.

    Args:
        online, target: the networks.
        parameters: of the online one.
    """
    way = ByHand if parameters.data.device.type == "cpu" else ByAutograd
    return way(online, target, parameters)


class ByAutograd:
    """In PyTorch's operators (`mql.q_learning.losses`)."""

    def __init__(self, online: QNetwork, target: QNetwork, parameters: ParameterVector) -> None:
        self._online, self._target, self._parameters = online, target, parameters

    def __call__(self, batch: QBatch) -> tuple[Learned, torch.Tensor]:
        online, target = self._online, self._target
        obs, next_obs, action, reward, discount, weights = (
            tensor.to(self._parameters.data.device)
            for tensor in (batch.obs, batch.next_obs, batch.action, batch.reward, batch.discount, batch.weights)
        )
        if online.distributional:
            with torch.no_grad():
                goal = target_distributions(reward, discount, target.logits(next_obs), online.atoms)
            of_each = cross_entropies(online.logits(obs), action, goal)
            said = _said_of(goal, online.atoms)
        else:
            with torch.no_grad():
                goal = td_targets(reward, discount, target(next_obs))
            of_each = squared_errors(online(obs), action, goal)
            said = {"target_mean": goal.mean()}
        loss = (weights * of_each).mean()
        learned = Learned({"loss": loss.detach(), **said}, of_each.detach())
        return learned, gradient_of(loss, self._parameters)


class ByHand:
    """In numpy and products of PyTorch (`mql.q_learning.by_hand`)."""

    def __init__(self, online: QNetwork, target: QNetwork, parameters: ParameterVector) -> None:
        self._online, self._target = online, target
        self._gradient = torch.zeros_like(parameters.data)
        self._places = parameters.views(self._gradient)
        self._columns: dict[int, tuple[by_hand.Columns, by_hand.Columns]] = {}  # by B

    def __call__(self, batch: QBatch) -> tuple[Learned, torch.Tensor]:
        size = len(batch.action)
        if size not in self._columns:
            online = by_hand.Columns(self._online, size, self._places)
            self._columns[size] = online, by_hand.Columns(self._target, size)
        online, target = self._columns[size]
        after, now = target.forward(batch.next_obs.numpy()), online.forward(batch.obs.numpy())
        action, weights = batch.action.numpy(), batch.weights.numpy()
        if self._online.distributional:
            logits = torch.from_numpy(after).t().reshape(size, self._online.actions, -1)
            goals = target_distributions(batch.reward, batch.discount, logits, self._online.atoms)
            of_each, of_said = by_hand.cross_entropies(now, action, goals.numpy(), weights)
            said = _said_of(goals, self._online.atoms)
        else:
            goal = batch.reward.numpy() + batch.discount.numpy() * after.max(axis=0)
            of_each, of_said = by_hand.squared_errors(now, action, goal, weights)
            said = {"target_mean": torch.as_tensor(goal.mean())}
        online.backward(of_said)
        loss = torch.as_tensor((weights * of_each).mean())
        return Learned({"loss": loss, **said}, torch.from_numpy(of_each)), self._gradient


def _said_of(goals: torch.Tensor, atoms: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return what is said of distributions [B, K]; what lies at the ends tells whether the atoms reach far enough."""
    return {"target_mean": (goals @ atoms).mean(), "at_ends": goals[:, [0, -1]].sum(dim=1).mean()}
