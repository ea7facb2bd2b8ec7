"""SAC (Haarnoja et al. 2018, arXiv 1812.05905) with a context: networks, losses as plain functions, and one update.

The policy is a Gaussian under a tanh, a = tanh(u) with u ~ N(mean, std^2), whose entropy is part of what is maximised,
at a temperature alpha that is learned, too. It acts by tanh(mean), while collecting as well: there noise is added as
for any other algorithm (``agent.exploration_noise``). Its own distribution serves learning only.

Shapes: B transitions, O observation, A action, Z context variable; twin values are [2, B].

As in `td3.py`, weights and an anchor serve both steps of adaptation. It starts from the meta-trained temperature.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from mql.agent.networks import Actor, Networks, hidden_layers, product_dtype
from mql.config.schema import AgentConfig
from mql.learning.optimizer import AdamLearner, move_target
from mql.learning.td3 import Goal, actor_contexts, goal_of, learned_from
from mql.types import Batch

LOG_STD_RANGE = (-5.0, 2.0)  # before the tanh: from an action that is all but certain to one at either of its ends
INITIAL_TEMPERATURE = 0.01  # near where it settles for rewards of about 1 a step; collecting does not need a high one


class GaussianActor(Actor):
    """Policy tanh(N(mean(o, z), std(o, z)^2)) in [-1, 1]^A; `act` and `forward` give tanh(mean)."""

    def __init__(
        self, obs_dim: int, action_dim: int, context_dim: int, hidden_sizes: Sequence[int], *, dtype: torch.dtype
    ) -> None:
        super().__init__(obs_dim, action_dim, context_dim, hidden_sizes, dtype=dtype)
        self.spread = nn.Linear(self.output.in_features, action_dim)

    def distribution(self, obs: torch.Tensor, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return mean and logarithm of the standard deviation, [B, A] each, of u for obs [B, O] and z [B, Z]."""
        x = hidden_layers(self.hidden, torch.cat([obs, z], dim=-1), product_dtype(obs, self.dtype))
        low, high = LOG_STD_RANGE
        return self.output(x), low + (high - low) / 2.0 * (1.0 + torch.tanh(self.spread(x)))

    def sample(
        self, obs: torch.Tensor, z: torch.Tensor, *, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw actions [B, A] and return them with their log-probabilities [B]; both carry gradients."""
        mean, log_std = self.distribution(obs, z)
        noise = torch.randn(mean.shape, generator=generator, device=mean.device)
        u = mean + log_std.exp() * noise
        return torch.tanh(u), log_probability(u, mean, log_std)


class SACNetworks(Networks):
    """Actor and twin critics as in TD3, the actor Gaussian, and the logarithm of the temperature.

    The targets of actor and temperature are not used: the critics' goal is about the policy of now.
    """

    def __init__(self, obs_dim: int, action_dim: int, config: AgentConfig) -> None:
        super().__init__(obs_dim, action_dim, config)
        self.actor = GaussianActor(
            obs_dim, action_dim, self.actor_encoder.context_dim, config.hidden_sizes, dtype=self.actor.dtype
        )
        self.log_temperature = nn.Parameter(torch.tensor(math.log(INITIAL_TEMPERATURE)))

    def parts(self) -> dict[str, list[nn.Parameter]]:
        """Return what the actor's, the critics' and the temperature's loss train."""
        return {**super().parts(), "temperature": [self.log_temperature]}


def log_probability(u: torch.Tensor, mean: torch.Tensor, log_std: torch.Tensor) -> torch.Tensor:
    """Log-density [B] of the actions tanh(u) for u [B, A] ~ N(mean, std^2).

    The density of u, and of the tanh the correction log(1 - tanh(u)^2) = 2 (log 2 - u - softplus(-2 u)): in this form
    it is exact for large u, too.
    """
    of_u = -0.5 * ((u - mean) * (-log_std).exp()).square() - log_std - 0.5 * math.log(2.0 * math.pi)
    return (of_u - 2.0 * (math.log(2.0) - u - F.softplus(-2.0 * u))).sum(dim=-1)


def actor_loss(
    values: torch.Tensor, log_prob: torch.Tensor, weights: torch.Tensor, *, temperature: torch.Tensor
) -> torch.Tensor:
    """Eq. 7 for actions drawn from the policy: the mean over B of w (alpha log pi - min Q), from twin values [2, B]."""
    return (weights * (temperature * log_prob - values.amin(dim=0))).mean()


def temperature_loss(
    log_temperature: torch.Tensor, log_prob: torch.Tensor, weights: torch.Tensor, *, target_entropy: float
) -> torch.Tensor:
    """Eq. 18: minus the mean over B of w alpha (log pi + target entropy); alpha rises while the entropy is too low."""
    return -(weights * log_temperature.exp() * (log_prob + target_entropy)).mean()


class SAC(AdamLearner):
    """An agent with the optimisers that change it (`protocols.Learner`).

    Actor and temperature step, and targets move, every ``policy_delay``-th update (in the paper every one). The target
    entropy is -A, as in the paper.
    """

    networks = SACNetworks

    def update(self, batch: Batch, *, generator: torch.Generator) -> dict[str, torch.Tensor]:
        """Make one SAC update from `batch` and return its losses, temperature and entropy (scalars)."""
        config, online, transition = self.agent.config, self.agent.online, batch.transition
        goal = self._target(batch, generator)

        z = online.critic_encoder(batch.context)
        loss, losses = learned_from(online.critic, transition, z, goal, batch.weights)
        self.step("critic", loss)

        self.updates += 1
        if self.updates % config.policy_delay == 0:
            losses |= self._update_policy(batch, z.detach(), generator)
            move_target(self.agent.parts["critic"], config.tau)
        return losses

    @torch.no_grad()
    def _target(self, batch: Batch, generator: torch.Generator) -> Goal:
        """What the critics learn to say: the target critics' values of what the policy does now.

        With the next action's entropy bonus (eqs. 2, 3), min Q - alpha log pi; where rewards are sums over several
        steps, of those in between no entropy is counted.
        """
        online, target, transition = self.agent.online, self.agent.target, batch.transition
        action, log_prob = online.actor.sample(
            transition.next_obs, online.actor_encoder(batch.next_context), generator=generator
        )
        return goal_of(
            target.critic,
            transition,
            action,
            target.critic_encoder(batch.next_context),
            discount=self.agent.config.discount,
            entropy=online.log_temperature.exp() * log_prob,
        )

    def _update_policy(self, batch: Batch, z: torch.Tensor, generator: torch.Generator) -> dict[str, torch.Tensor]:
        """Step actor, then temperature; `z` is the critics' context variable of just before their step."""
        online, obs = self.agent.online, batch.transition.obs
        z_actor, z = actor_contexts(online, batch, z)
        action, log_prob = online.actor.sample(obs, z_actor, generator=generator)
        temperature = online.log_temperature.detach().exp()
        loss = actor_loss(online.critic.frozen(obs, action, z), log_prob, batch.weights, temperature=temperature)
        self.step("actor", loss)

        log_prob = log_prob.detach()
        of_temperature = temperature_loss(
            online.log_temperature, log_prob, batch.weights, target_entropy=-float(action.shape[1])
        )
        self.step("temperature", of_temperature)
        return {
            "actor_loss": loss.detach(),
            "temperature_loss": of_temperature.detach(),
            "temperature": temperature,
            "entropy": -(batch.weights * log_prob).mean(),
        }
