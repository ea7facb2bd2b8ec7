"""P3O, and A2C, as a method that the loop drives: an iteration steps all lanes for a while, then learns.

What is random in iteration i comes from streams named by (seed, purpose, i), and what the lanes play from their own
(`mql.collecting.lanes`). So tensors and counters are all that the rest of a run depends on, stored segments included.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Iterable, Mapping
from functools import partial

import torch
from torch import nn

from mql.agent.reactive import ReactiveAgent
from mql.collecting.lane_shares import share_out
from mql.collecting.lanes import PREFIXES, figures_of
from mql.config.schema import Config
from mql.p3o.acting import OBS_LIMIT
from mql.p3o.agent import P3OAgent
from mql.p3o.distributions import Categorical, Gaussian
from mql.p3o.playing import play
from mql.p3o.segments import Segments
from mql.p3o.update import P3O
from mql.seeding import generator
from mql.tasks.family import TaskFamily
from mql.training.learning import Iteration
from mql.training.measured import MeasuredByAgent
from mql.types import JSON, Episode


class P3OLearning(MeasuredByAgent):
    """P3O in training, a `Learning`.

    Args:
        config: resolved; ``config.family`` names `family`.
        family: its ``train`` tasks are played in turn, by ``p3o.lanes`` lanes.
    """

    first_live_episode = 0  # stored segments are tensors, and no episode is kept
    replay_bytes = 0

    def __init__(self, config: Config, family: TaskFamily) -> None:
        self.config, self.family = config, family
        self.settings = config.p3o
        kind = Categorical(family.action_dim) if family.choices else Gaussian(family.action_dim)
        self.trained = P3OAgent(
            family.obs_dim,
            kind,
            hidden_sizes=self.settings.hidden_sizes,
            normalize=self.settings.normalize,
            seed=int(generator(config.seed, "agent").integers(2**31)),
            device=config.device,
        )
        self.learner = P3O(self.trained, self.settings, seed=config.seed)
        self.lanes = share_out(family, self.settings.lanes, seed=config.seed, workers=config.workforce)
        self.env_steps = self.iterations = 0

    @property
    def updates(self) -> int:
        """Optimiser steps made so far, on and off policy."""
        return self.learner.updates

    def updates_after(self, env_steps: int) -> int:
        """Return how many steps there will have been after `env_steps`, as far as that is not left to chance."""
        iterations = -(-env_steps // self._steps)
        return round(iterations * (1.0 + self.settings.replay_ratio))

    def iterate(self) -> Iteration:
        """Step every lane ``p3o.steps`` times, and learn from that.

        Raises:
            EpisodeFault: a lane can play no episode.
        """
        begun = time.perf_counter()
        rng = generator(self.config.seed, "p3o acting", self.iterations)
        policy = self.trained.policy()
        noise = policy.draws.noise(rng, (self.settings.steps, self.settings.lanes))
        parts, lost = self.lanes.each(
            partial(play, choices=self.family.choices), policy, noise, steps=self.settings.steps
        )
        fresh = Segments.of(*(part.recorded for part in parts))
        ready = time.perf_counter()
        progress = self.env_steps / self.config.train.env_steps
        figures = self.learner.learn(fresh, iteration=self.iterations, progress=progress)
        self.env_steps += self._steps
        self.iterations += 1
        metrics: dict[str, JSON] = {
            **figures_of(
                [ended for part in parts for ended in part.ended],
                [*lost, *(fault for part in parts for fault in part.faults)],
            ),
            **figures,
        }
        return Iteration(metrics, (), ready - begun, time.perf_counter() - ready)

    @property
    def agent(self) -> ReactiveAgent:
        """The policy of now that takes the most probable actions, a copy."""
        return ReactiveAgent(self.family.obs_dim, self.family.action_dim, _BestActions(self.trained))

    def tensors(self) -> dict[str, torch.Tensor]:
        """Networks, what was seen, the optimiser, stored segments, and where the lanes are."""
        return {
            **self.learner.tensors(),
            **{name: torch.from_numpy(array) for name, array in self.lanes.arrays().items()},
        }

    def counters(self) -> dict[str, JSON]:
        """Environment steps, iterations and updates."""
        return {"env_steps": self.env_steps, "iterations": self.iterations, **self.learner.counters()}

    def restore(
        self,
        tensors: Mapping[str, torch.Tensor],
        counters: Mapping[str, JSON],
        episodes: Iterable[tuple[int, Episode]],
    ) -> None:
        """Take over tensors and counters.

        Raises:
            KeyError: a tensor or counter is missing.
            ValueError: a tensor has another shape.
        """
        del episodes
        self.learner.restore(tensors, counters)
        self.lanes.restore({name: t.numpy() for name, t in tensors.items() if name.startswith(PREFIXES)})
        self.env_steps, self.iterations = int(counters["env_steps"]), int(counters["iterations"])

    @property
    def _steps(self) -> int:
        """Environment steps of an iteration."""
        return self.settings.lanes * self.settings.steps


class _BestActions(nn.Module):
    """From observations [N, O] to the most probable actions [N, A] in [-1, 1]; a copy of an agent's networks."""

    shift: torch.Tensor
    scale: torch.Tensor

    def __init__(self, agent: P3OAgent) -> None:
        super().__init__()
        self.actor = copy.deepcopy(agent.networks.actor)
        self.choices = agent.distribution.head_dim if isinstance(agent.distribution, Categorical) else 0
        self.normalize = agent.normalize
        shift, scale = agent.shift_and_scale()
        self.register_buffer("shift", shift.clone())
        self.register_buffer("scale", scale.clone())

    def forward(self, obs: torch.Tensor) -> torch.Tensor:
        if self.normalize:
            obs = ((obs - self.shift) * self.scale).clamp(-OBS_LIMIT, OBS_LIMIT)
        head: torch.Tensor = self.actor(obs)
        if not self.choices:
            return head.clamp(-1.0, 1.0)
        return nn.functional.one_hot(head.argmax(dim=-1), self.choices).to(head.dtype)
