"""TD3 (Fujimoto et al. 2018, arXiv 1802.09477) with a context: losses as plain functions, and one update.

Shapes: B transitions, O observation, A action, Z context variable; twin values are [2, B].

The update serves meta-training (eq. 8 of Meta-Q-Learning, arXiv 1910.00125: uniform weights, no anchor) and both steps
of adaptation (eqs. 18 and 19: importance weights, and the proximal pull toward the meta-trained parameters).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn
from torch.optim.adam import adam

from mql.agent.agent import Agent
from mql.types import Batch


def smooth_target_action(
    action: torch.Tensor, *, noise: float, noise_clip: float, generator: torch.Generator
) -> torch.Tensor:
    """Target policy smoothing: actions [B, A] plus clipped Gaussian noise, kept in [-1, 1]."""
    perturbation = torch.randn(action.shape, generator=generator, device=action.device).mul_(noise)
    return (action + perturbation.clamp_(-noise_clip, noise_clip)).clamp_(-1.0, 1.0)


def td_target(
    reward: torch.Tensor, terminated: torch.Tensor, next_values: torch.Tensor, *, discount: float
) -> torch.Tensor:
    """Clipped double-Q target [B] from next twin values [2, B]; a time limit is no termination, so it bootstraps."""
    return reward + discount * (1.0 - terminated) * next_values.amin(dim=0)


def critic_loss(values: torch.Tensor, target: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Weighted squared error of both critics: the sum over the pair of the mean over B of w (Q - y)^2."""
    return (weights * (values - target).square()).mean(dim=1).sum()


def critic_loss_gradient(values: torch.Tensor, target: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Gradient [2, B] of `critic_loss` by the values."""
    return (values - target).mul_(weights).mul_(2.0 / values.shape[1])


def actor_loss(values: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Weighted negative value of the policy's own actions: minus the mean over B of w Q_1."""
    return -(weights * values).mean()


def actor_loss_gradient(weights: torch.Tensor) -> torch.Tensor:
    """Gradient [B] of `actor_loss` by the values."""
    return weights / -len(weights)


class Learner:
    """An agent with the optimisers that change it.

    Args:
        agent: trained in place.
        lr: Adam's step size for actor and critics; it may be changed between updates (`lr`).
        anchor: the meta-trained agent (theta_meta). With a ``proximal_coef`` lambda above 0, every update has the
            penalty (lambda / 2) ||theta - theta_meta||^2 over the trained online parameters.
    """

    def __init__(self, agent: Agent, *, lr: float, anchor: Agent | None = None) -> None:
        self.agent = agent
        self.updates = 0
        self.lr = lr
        self.proximal_coef = 0.0
        self._actor = _Part(
            agent.online.actor_parameters(),
            agent.target.actor_parameters(),
            anchor=anchor.online.actor_parameters() if anchor else None,
        )
        self._critic = _Part(
            agent.online.critic_parameters(),
            agent.target.critic_parameters(),
            anchor=anchor.online.critic_parameters() if anchor else None,
        )

    @torch.no_grad()
    def update(self, batch: Batch, *, generator: torch.Generator) -> dict[str, torch.Tensor]:
        """Make one TD3 update from `batch` and return its losses (scalars)."""
        config, online, target = self.agent.config, self.agent.online, self.agent.target
        transition, weights = batch.transition, batch.weights

        next_z = target.critic_encoder(batch.next_context)
        next_z_actor = next_z if target.shared_encoder else target.actor_encoder(batch.next_context)
        next_action = smooth_target_action(
            target.actor(transition.next_obs, next_z_actor),
            noise=config.target_policy_noise,
            noise_clip=config.target_noise_clip,
            generator=generator,
        )
        goal = td_target(
            transition.reward * config.reward_scale,
            transition.terminated,
            target.critic(transition.next_obs, next_action, next_z),
            discount=config.discount,
        )

        z, pullback_z = online.critic_encoder.vjp(batch.context)
        values, pullback_values = online.critic.vjp(transition.obs, transition.action, z)
        losses = {"critic_loss": critic_loss(values, goal, weights), "q_mean": values.mean()}
        pullback_z(pullback_values(critic_loss_gradient(values, goal, weights)))
        self._critic.step(self.lr, self.proximal_coef)

        self.updates += 1
        if self.updates % config.policy_delay == 0:
            losses["actor_loss"] = self._update_actor(batch, z)
            for part in (self._actor, self._critic):
                part.move_target(config.tau)
        return losses

    def _update_actor(self, batch: Batch, z: torch.Tensor) -> torch.Tensor:
        online, transition = self.agent.online, batch.transition
        if online.shared_encoder:
            # z is of just before the critics' step: saves a pass, and only the critics' loss trains the encoder.
            action, pullback_action = online.actor.vjp(transition.obs, z)
        else:
            z_actor, pullback_z = online.actor_encoder.vjp(batch.context)
            action, pullback_action = online.actor.vjp(transition.obs, z_actor)
            z = online.critic_encoder(batch.context)
        values, pullback_values = online.critic.first_vjp(transition.obs, action, z)
        of_z = pullback_action(pullback_values(actor_loss_gradient(batch.weights)))
        if not online.shared_encoder:
            pullback_z(of_z)
        self._actor.step(self.lr, self.proximal_coef)
        return actor_loss(values, batch.weights)

    def optimizer_tensors(self) -> dict[str, torch.Tensor]:
        """Adam's moments and step counts by name: what a checkpoint stores beside the agent's tensors."""
        return {f"{owner}.{name}": t for owner, part in self._parts() for name, t in part.moments().items()}

    def load_optimizer_tensors(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Restore what `optimizer_tensors` gave."""
        for owner, part in self._parts():
            prefix = f"{owner}."
            part.load_moments({n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)})

    def _parts(self) -> tuple[tuple[str, _Part], ...]:
        return (("adam.actor", self._actor), ("adam.critic", self._critic))


class _Part:
    """Parameters that one loss trains, with their targets and their Adam.

    They lie end to end in one vector, the targets in another: a step of Adam, the pull to the anchor and the move of
    the targets are then a few operators, not a few for each of a dozen tensors.
    """

    def __init__(
        self,
        online: Sequence[nn.Parameter],
        target: Sequence[nn.Parameter],
        *,
        anchor: Sequence[nn.Parameter] | None,
    ) -> None:
        self._parameters = list(online)
        self._anchor = None if anchor is None else torch.cat([p.detach().flatten() for p in anchor])
        self._target = _lay_end_to_end(target)
        self._vector = _lay_end_to_end(online)
        self._gradient = torch.zeros_like(self._vector)
        for parameter, place in zip(online, _views(self._gradient, online), strict=True):
            parameter.grad = place  # where the networks' pullbacks write
        # Adam's state: both moments, and the number of steps (a tensor, as the fused operator wants it).
        self._first, self._second = torch.zeros_like(self._vector), torch.zeros_like(self._vector)
        self._steps = torch.zeros((), device=self._vector.device)

    def step(self, lr: float, proximal_coef: float) -> None:
        """Move the parameters down their gradients plus that of (proximal_coef / 2) ||theta - anchor||^2."""
        if proximal_coef and self._anchor is not None:
            self._gradient.add_(self._vector - self._anchor, alpha=proximal_coef)
        # PyTorch's Adam as a function: the class around it costs more than the arithmetic.
        adam(
            [self._vector], [self._gradient], [self._first], [self._second], [], [self._steps], fused=True,
            amsgrad=False, beta1=0.9, beta2=0.999, lr=lr, weight_decay=0.0, eps=1e-8, maximize=False,
        )  # fmt: skip

    def move_target(self, tau: float) -> None:
        """Polyak averaging: move the targets by `tau` of the way to the online parameters."""
        self._target.lerp_(self._vector, tau)

    def moments(self) -> dict[str, torch.Tensor]:
        """Adam's state by each parameter's place: ``0.exp_avg``, ``0.exp_avg_sq``, ``0.step``, ``1.exp_avg``, ..."""
        found: dict[str, torch.Tensor] = {}
        views = zip(_views(self._first, self._parameters), _views(self._second, self._parameters), strict=True)
        for index, (first, second) in enumerate(views):
            found |= {f"{index}.exp_avg": first, f"{index}.exp_avg_sq": second, f"{index}.step": self._steps}
        return found

    def load_moments(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Restore what `moments` gave."""
        for name, place in self.moments().items():
            place.copy_(tensors[name])


def _lay_end_to_end(parameters: Sequence[nn.Parameter]) -> torch.Tensor:
    """Move `parameters` into one vector, of which they become views; return it."""
    vector = torch.cat([parameter.detach().flatten() for parameter in parameters])
    for parameter, place in zip(parameters, _views(vector, parameters), strict=True):
        parameter.data = place
    return vector


def _views(vector: torch.Tensor, parameters: Sequence[nn.Parameter]) -> list[torch.Tensor]:
    parts = vector.split_with_sizes([parameter.numel() for parameter in parameters])
    return [part.view(parameter.shape) for part, parameter in zip(parts, parameters, strict=True)]
