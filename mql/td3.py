"""TD3 (Fujimoto et al. 2018, arXiv 1802.09477) with a context: losses as plain functions, and one update.

Shapes: B transitions, O observation, A action, Z context variable; twin values are [2, B].

The update serves meta-training (eq. 8 of Meta-Q-Learning, arXiv 1910.00125: uniform weights, no anchor) and both steps
of adaptation (eqs. 18 and 19: importance weights, and the proximal pull toward the meta-trained parameters).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from mql.agent import Agent
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


def actor_loss(values: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Weighted negative value of the policy's own actions: minus the mean over B of w Q_1."""
    return -(weights * values).mean()


class Learner:
    """An agent with the optimisers that change it.

    Args:
        agent: trained in place.
        lr: Adam's step size for actor and critics.
        anchor: the meta-trained agent (theta_meta). With a ``proximal_coef`` lambda above 0, every update has the
            penalty (lambda / 2) ||theta - theta_meta||^2 over the trained online parameters.
    """

    def __init__(self, agent: Agent, *, lr: float, anchor: Agent | None = None) -> None:
        self.agent = agent
        self.updates = 0
        self.proximal_coef = 0.0
        self.actor_parameters = agent.online.actor_parameters()
        self.critic_parameters = agent.online.critic_parameters()
        self.actor_optimizer = torch.optim.Adam(self.actor_parameters, lr=lr, fused=True)
        self.critic_optimizer = torch.optim.Adam(self.critic_parameters, lr=lr, fused=True)
        self._online: list[torch.Tensor] = list(agent.online.parameters())
        self._target: list[torch.Tensor] = list(agent.target.parameters())
        centre = anchor.online.parameters() if anchor else ()
        self._anchor_of = {p: q.detach() for p, q in zip(self._online, centre, strict=anchor is not None)}

    def update(self, batch: Batch, *, generator: torch.Generator) -> dict[str, torch.Tensor]:
        """Make one TD3 update from `batch` and return its losses (scalars, detached)."""
        config, online, target = self.agent.config, self.agent.online, self.agent.target
        transition, weights = batch.transition, batch.weights

        with torch.no_grad():
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

        z = online.critic_encoder(batch.context)
        values = online.critic(transition.obs, transition.action, z)
        loss = critic_loss(values, goal, weights)
        self._step(loss, self.critic_parameters, self.critic_optimizer)
        losses = {"critic_loss": loss.detach(), "q_mean": values.detach().mean()}

        self.updates += 1
        if self.updates % config.policy_delay == 0:
            losses["actor_loss"] = self._update_actor(batch, z.detach())
            with torch.no_grad():
                torch._foreach_lerp_(self._target, self._online, config.tau)
        return losses

    def _update_actor(self, batch: Batch, z: torch.Tensor) -> torch.Tensor:
        online, transition = self.agent.online, batch.transition
        if online.shared_encoder:
            z_actor = z  # of just before the critics' step: saves a pass, and only the critics' loss trains the encoder
        else:
            z_actor = online.actor_encoder(batch.context)
            with torch.no_grad():
                z = online.critic_encoder(batch.context)
        action = online.actor(transition.obs, z_actor)
        loss = actor_loss(online.critic.first(transition.obs, action, z), batch.weights)
        self._step(loss, self.actor_parameters, self.actor_optimizer)
        return loss.detach()

    def _step(self, loss: torch.Tensor, parameters: Sequence[nn.Parameter], optimizer: torch.optim.Optimizer) -> None:
        gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = torch.zeros_like(parameter) if gradient is None else gradient.contiguous()
            if self.proximal_coef:  # the penalty's gradient is lambda (theta - theta_meta)
                pull = parameter.detach() - self._anchor_of[parameter]
                parameter.grad.add_(pull, alpha=self.proximal_coef)
        optimizer.step()

    def optimizer_tensors(self) -> dict[str, torch.Tensor]:
        """Adam's moments and step counts by name: what a checkpoint stores beside the agent's tensors."""
        tensors = {}
        for owner, optimizer in self._optimizers():
            for index, state in optimizer.state_dict()["state"].items():
                for key, value in state.items():
                    tensors[f"{owner}.{index}.{key}"] = value
        return tensors

    def load_optimizer_tensors(self, tensors: dict[str, torch.Tensor]) -> None:
        """Restore what `optimizer_tensors` gave."""
        for owner, optimizer in self._optimizers():
            content = optimizer.state_dict()
            for name, value in tensors.items():
                prefix, index, key = name.rsplit(".", 2)
                if prefix == owner:
                    content["state"].setdefault(int(index), {})[key] = value
            optimizer.load_state_dict(content)

    def _optimizers(self) -> tuple[tuple[str, torch.optim.Optimizer], ...]:
        return (("adam.actor", self.actor_optimizer), ("adam.critic", self.critic_optimizer))
