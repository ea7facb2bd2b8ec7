"""PEARL's agent: an `Agent` whose z is no memory of the episode but drawn from a belief, and held.

Shapes: N episodes, O observation, A action, Z latent variable.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from mql.agent.acting import CarriedContext
from mql.agent.agent import Agent
from mql.baselines.pearl.inference import Belief
from mql.baselines.pearl.update import PEARL
from mql.config.schema import AgentConfig, PearlConfig
from mql.types import Context, Episode, FloatArray, Transition


class PearlAgent(Agent):
    """Networks, beliefs, and the deterministic policy for a z; without one (`knowing`) it acts by the prior's mean.

    Args:
        config: of the networks' sizes and of learning; its context is not used.
        pearl: gives the size of z.
    """

    def __init__(
        self,
        obs_dim: int,
        action_dim: int,
        config: AgentConfig,
        pearl: PearlConfig,
        *,
        seed: int,
        device: str = "cpu",
    ) -> None:
        # What an agent knows as its context variable is z: given with the episode, and not moved by its steps.
        held = {"context_dim": pearl.latent_dim, "context_mode": "carry", "shared_encoder": True, "use_context": False}
        super().__init__(obs_dim, action_dim, config.model_copy(update=held), seed=seed, device=device)

    @property
    def _algorithm(self) -> Any:
        return PEARL

    def knowing(self, z: FloatArray) -> PearlAgent:
        """Return an agent with the same parameters (shared with this one) whose episodes are acted with `z` [Z]."""
        agent = copy.copy(self)
        agent.carried = CarriedContext(z.astype(np.float32), np.zeros((0, 0), dtype=np.float32))
        return agent

    def drawn(self, belief: Belief, noise: torch.Generator) -> FloatArray:
        """Draw a z [Z] from the belief [1, Z] about one task; `noise` is a generator of the CPU."""
        on_cpu = Belief(belief.mean.cpu(), belief.variance.cpu())
        z: FloatArray = on_cpu.sample(noise)[0].numpy()
        return z

    @torch.no_grad()
    def belief(self, episodes: Sequence[Episode]) -> Belief:
        """Return the belief [1, Z] that all transitions of `episodes`, of one task, give; without any, the prior."""
        parts = [self._transitions_of(episode) for episode in episodes]
        elements = torch.cat(parts) if parts else torch.zeros(0, 2 * self.obs_dim + self.action_dim + 1)
        belief: Belief = self.online.inference(Context(elements[:, None].to(self.device)))
        return belief

    def _transitions_of(self, episode: Episode) -> torch.Tensor:
        obs, action, reward = (
            torch.from_numpy(x).to(self.device) for x in (episode.obs, episode.action, episode.reward)
        )
        never = torch.zeros_like(reward)
        return context_elements(self.scaling.transition(Transition(obs[:-1], action, reward, obs[1:], never)))


def context_elements(transition: Transition) -> torch.Tensor:
    """Return (o, a, r, o') of scaled transitions: [B, 2 O + A + 1]."""
    t = transition
    return torch.cat([t.obs, t.action, t.reward[:, None], t.next_obs], dim=1)
