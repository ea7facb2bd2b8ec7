"""TD3 (Fujimoto et al. 2018, arXiv 1802.09477) with a context: losses as plain functions, and one update.

Shapes: B transitions, O observation, A action, Z context variable; twin values are [2, B].

The update serves meta-training (eq. 8 of Meta-Q-Learning, arXiv 1910.00125: uniform weights, no anchor) and both steps
of adaptation (eqs. 18 and 19: importance weights, and the proximal pull toward the meta-trained parameters).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from mql.agent.networks import HistogramCritic, Networks
from mql.learning.optimizer import AdamLearner, move_target
from mql.types import Batch, Transition


def smooth_target_action(
    action: torch.Tensor, *, noise: float, noise_clip: float, generator: torch.Generator
) -> torch.Tensor:
    """Target policy smoothing: actions [B, A] plus clipped Gaussian noise, kept in [-1, 1]."""
    perturbation = torch.randn(action.shape, generator=generator, device=action.device).mul_(noise)
    return (action + perturbation.clamp_(-noise_clip, noise_clip)).clamp_(-1.0, 1.0)


@dataclass(frozen=True)
class Goal:
    """What critics learn to say: values [B] and, where these are given as such, the histograms [B, bins] of them."""

    values: torch.Tensor
    histograms: torch.Tensor | None = None


def td_target(
    reward: torch.Tensor, terminated: torch.Tensor, next_values: torch.Tensor, *, discount: float | torch.Tensor
) -> torch.Tensor:
    """Clipped double-Q target [B] from next twin values [2, B]; a time limit is no termination, so it bootstraps.

    `discount` is one for all, or [B] for rewards that are sums over several steps (`Transition.discount`).
    """
    return reward + discount * (1.0 - terminated) * next_values.amin(dim=0)


def critic_loss(values: torch.Tensor, target: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Weighted squared error of both critics: the sum over the pair of the mean over B of w (Q - y)^2."""
    return (weights * (values - target).square()).mean(dim=1).sum()


def histogram_loss(logits: torch.Tensor, histograms: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Weighted cross-entropy of both critics' logits [2, B, bins], summed over the pair as in `critic_loss`."""
    entropy = -(histograms * torch.log_softmax(logits, dim=-1)).sum(dim=-1)
    return (weights * entropy).mean(dim=1).sum()


def goal_of(
    critic: Any,
    transition: Transition,
    next_action: torch.Tensor,
    z: torch.Tensor,
    *,
    discount: float,
    entropy: torch.Tensor | None = None,
) -> Goal:
    """Return what to learn of transitions if `next_action` [B, A] follows; `critic` are the target critics.

    Args:
        z: the target critics' context variable of the next states.
        discount: of one step; transitions over several have their own.
        entropy: what is taken off the next value: alpha log pi of SAC, [B].
    """
    reward, terminated, next_obs = transition.reward, transition.terminated, transition.next_obs
    gamma = discount if transition.discount is None else transition.discount
    shared_out = isinstance(critic, HistogramCritic) and not critic.bins.smooth
    logits = critic.logits(next_obs, next_action, z) if shared_out else None
    values = critic(next_obs, next_action, z) if logits is None else critic.bins.mean(logits)
    if entropy is not None:
        values = values - entropy
    goal = td_target(reward, terminated, values, discount=gamma)
    if not isinstance(critic, HistogramCritic):
        return Goal(goal)
    if logits is None:
        return Goal(goal, critic.bins.around(goal))
    smaller = values.argmin(dim=0)
    worse = torch.where((smaller == 0)[:, None], logits[0], logits[1])
    # (Each atom goes where a value of its size would: the goal, moved by what the atom is beside its mean.)
    part = torch.as_tensor(gamma * (1.0 - terminated))[:, None]
    atoms = goal[:, None] + part * (critic.bins.worth - critic.bins.mean(worse)[:, None])
    return Goal(goal, critic.bins.shared_out(atoms, torch.softmax(worse, dim=-1)))


def learned_from(
    critic: Any, transition: Transition, z: torch.Tensor, goal: Goal, weights: torch.Tensor
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Return the critics' loss, and what there is to say of it by name."""
    obs, action = transition.obs, transition.action
    if goal.histograms is None:
        values = critic(obs, action, z)
        loss = critic_loss(values, goal.values, weights)
        return loss, {"critic_loss": loss.detach(), "q_mean": values.detach().mean()}
    logits = critic.logits(obs, action, z)
    loss = histogram_loss(logits, goal.histograms, weights)
    return loss, {
        "critic_loss": loss.detach(),
        "q_mean": critic.bins.mean(logits.detach()).mean(),
        "targets_clipped": critic.bins.beyond(goal.values),
    }


def actor_loss(values: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Weighted negative value of the policy's own actions: minus the mean over B of w Q_1."""
    return -(weights * values).mean()


def actor_contexts(online: Any, batch: Batch, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the context variables [B, Z] that the actor and the critics read in the actor's loss.

    Args:
        online: networks, whose critics have just made their step.
        batch: what the loss is of.
        z: the critics' context variable of just before that step, without its graph.
    """
    if online.shared_encoder:  # z saves a pass, and only the critics' loss trains the encoder
        return z, z
    with torch.no_grad():
        z = online.critic_encoder(batch.context)
    return online.actor_encoder(batch.context), z


class TD3(AdamLearner):
    """An agent with the optimisers that change it (`protocols.Learner`)."""

    networks = Networks

    def update(self, batch: Batch, *, generator: torch.Generator) -> dict[str, torch.Tensor]:
        """Make one TD3 update from `batch` and return its losses (scalars)."""
        config, online, transition = self.agent.config, self.agent.online, batch.transition
        goal = self._target(batch, generator)

        z = online.critic_encoder(batch.context)
        loss, losses = learned_from(online.critic, transition, z, goal, batch.weights)
        self.step("critic", loss)

        self.updates += 1
        if self.updates % config.policy_delay == 0:
            loss = self._actor_loss(batch, z.detach())
            self.step("actor", loss)
            losses["actor_loss"] = loss.detach()
            for part in self.agent.parts.values():
                move_target(part, config.tau)
        return losses

    @torch.no_grad()
    def _target(self, batch: Batch, generator: torch.Generator) -> Goal:
        """What the critics learn to say, from the target networks."""
        config, target, transition = self.agent.config, self.agent.target, batch.transition
        z = target.critic_encoder(batch.next_context)
        z_actor = z if target.shared_encoder else target.actor_encoder(batch.next_context)
        next_action = smooth_target_action(
            target.actor(transition.next_obs, z_actor),
            noise=config.target_policy_noise,
            noise_clip=config.target_noise_clip,
            generator=generator,
        )
        return goal_of(target.critic, transition, next_action, z, discount=config.discount)

    def _actor_loss(self, batch: Batch, z: torch.Tensor) -> torch.Tensor:
        """The actor's loss; `z` is the critics' context variable of just before their step."""
        online, obs = self.agent.online, batch.transition.obs
        z_actor, z = actor_contexts(online, batch, z)
        return actor_loss(online.critic.frozen(obs, online.actor(obs, z_actor), z, critics=1)[0], batch.weights)
