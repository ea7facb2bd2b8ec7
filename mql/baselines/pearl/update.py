"""One update of PEARL (Rakelly et al. 2019, arXiv 1903.08254, algorithm 1): SAC with a z of each task, and its belief.

Shapes: S tasks in a batch, B transitions (B / S of each task, one task after the other), T context transitions of each
task, O observation, A action, Z latent variable.

z is drawn from the belief and carries the critics' gradient to the encoder, which learns from that and from its own
divergence from the prior. Actor, temperature and target see z as a given number.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from mql.agent.encoders import NoEncoder
from mql.agent.networks import TwinCritic
from mql.baselines.pearl.inference import FactorEncoder, kl_to_prior
from mql.config.schema import AgentConfig
from mql.learning.optimizer import move_target
from mql.learning.sac import INITIAL_TEMPERATURE, SAC, GaussianActor
from mql.learning.td3 import Goal, goal_of, learned_from
from mql.types import Batch, Context


class HeldVariable(NoEncoder):
    """Stands where an agent's context encoder does: z is given when an episode begins, and held to its end.

    Where none is given it is 0, the prior's mean.
    """

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.context_dim = latent_dim

    def forward(self, context: Context) -> torch.Tensor:
        """Return the prior's mean [S, Z]."""
        return context.elements.new_zeros(context.elements.shape[1], self.context_dim)


class PearlNetworks(nn.Module):
    """SAC's actor and twin critics with z in the place of a context, the encoder of beliefs, and the temperature.

    ``config.context_dim`` is the size of z, ``config.hidden_sizes`` are those of all three.
    """

    shared_encoder = True  # actor and critics read the same z

    def __init__(self, obs_dim: int, action_dim: int, config: AgentConfig) -> None:
        super().__init__()
        z, sizes, dtype = config.context_dim, config.hidden_sizes, getattr(torch, config.precision)
        self.inference = FactorEncoder(2 * obs_dim + action_dim + 1, z, sizes)
        self.actor_encoder = self.critic_encoder = HeldVariable(z)
        self.actor = GaussianActor(obs_dim, action_dim, z, sizes, dtype=dtype)
        self.critic = TwinCritic(obs_dim, action_dim, z, sizes, layer_norm=config.layer_norm, dtype=dtype)
        self.log_temperature = nn.Parameter(torch.tensor(math.log(INITIAL_TEMPERATURE)))

    def parts(self) -> dict[str, list[nn.Parameter]]:
        """Return what each loss trains: the critics' loss, with the divergence, the encoder, too."""
        return {
            "actor": list(self.actor.parameters()),
            "critic": [*self.inference.parameters(), *self.critic.parameters()],
            "temperature": [self.log_temperature],
        }


class PEARL(SAC):
    """An agent with the optimisers that change it (`protocols.Learner`).

    ``kl_weight`` is beta, the factor of the divergence. A batch's ``context`` is that of its S tasks: elements
    [T, S, 2 O + A + 1], of which those before ``start`` are padding; ``next_context`` is not looked at.
    """

    networks = PearlNetworks  # type: ignore[assignment]
    kl_weight = 0.1

    def update(self, batch: Batch, *, generator: torch.Generator) -> dict[str, torch.Tensor]:
        """Make one update from `batch` and return its losses, temperature and entropy (scalars)."""
        config, online, transition = self.agent.config, self.agent.online, batch.transition
        belief = online.inference(batch.context)
        z = belief.sample(generator)
        z = z.repeat_interleave(len(transition.obs) // len(z), dim=0)
        goal = self._goal(batch, z.detach(), generator)

        loss, losses = learned_from(online.critic, transition, z, goal, batch.weights)
        divergence = kl_to_prior(belief).mean()
        self.step("critic", loss + self.kl_weight * divergence)
        losses |= {"kl": divergence.detach(), "belief_std": belief.variance.detach().sqrt().mean()}

        self.updates += 1
        if self.updates % config.policy_delay == 0:
            losses |= self._update_policy(batch, z.detach(), generator)
            move_target(self.agent.parts["critic"], config.tau)
        return losses

    @torch.no_grad()
    def _goal(self, batch: Batch, z: torch.Tensor, generator: torch.Generator) -> Goal:
        """What the critics learn to say: the target critics' values of what the policy does next, knowing z."""
        online, transition = self.agent.online, batch.transition
        action, log_prob = online.actor.sample(transition.next_obs, z, generator=generator)
        return goal_of(
            self.agent.target.critic,
            transition,
            action,
            z,
            discount=self.agent.config.discount,
            entropy=online.log_temperature.exp() * log_prob,
        )
