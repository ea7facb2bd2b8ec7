"""DQN and Rainbow as a method that the loop drives: an iteration plays some steps, and updates in between.

What is random comes from streams named by the seed and counts of steps and updates, what the lane plays from its own
(`mql.collecting.lanes`). So tensors and counters are all that the rest of a run depends on, the replay included.

Shapes: L lanes (one), O the shape of an observation, A actions.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from mql.agent.reactive import ReactiveAgent
from mql.collecting.lanes import PREFIXES, Ended, Lanes, figures_of
from mql.config.schema import Config
from mql.learning.mean_losses import MeanLosses
from mql.learning.trainer import annealed_rate
from mql.q_learning.acting import epsilon_greedy, values_of
from mql.q_learning.learner import QLearner
from mql.q_learning.networks import QNetwork
from mql.q_learning.replay import QReplay
from mql.q_learning.settings import QSettings
from mql.tasks.family import TaskFamily
from mql.tasks.fault import EpisodeFault
from mql.training.learning import Iteration
from mql.training.measured import MeasuredByAgent
from mql.types import JSON, Episode, FloatArray

ITERATION = 1000  # environment steps


class QLearning(MeasuredByAgent):
    """DQN or Rainbow in training, a `Learning`.

    Args:
        config: resolved; ``config.family`` names `family`, and ``config.method`` is dqn or rainbow.
        family: of choices; its ``train`` tasks are played in turn.
    """

    first_live_episode = 0  # the replay is tensors, and no episode is kept

    def __init__(self, config: Config, family: TaskFamily) -> None:
        self.config, self.family = config, family
        rainbow = config.method == "rainbow"
        self.settings = QSettings(
            **config.q_learning.model_dump(),
            head="c51" if rainbow else "value",
            prioritised=rainbow,
            c=config.proximal_c,
        )
        self._shape = (family.obs_dim,) if family.planes is None else (family.planes[2], *family.planes[:2])
        stored_as = np.float32 if family.planes is None else np.bool_
        self.learner = QLearner(self._shape, family.action_dim, self.settings, seed=config.seed, device=config.device)
        self._values = values_of(self.learner.online)
        self.replay = QReplay(self._shape, stored_as, self.settings)
        self.lanes = Lanes(family, 1, seed=config.seed)
        self._stored_as = stored_as
        self.env_steps = self.iterations = 0

    @property
    def replay_bytes(self) -> int:
        """What a full replay takes."""
        return self.settings.replay_capacity * int(np.prod(self._shape)) * np.dtype(self._stored_as).itemsize

    @property
    def updates(self) -> int:
        """Updates made so far."""
        return self.learner.updates

    def updates_after(self, env_steps: int) -> int:
        """Return how many updates there will have been after `env_steps`."""
        return self.settings.updates_after(env_steps)

    def iterate(self) -> Iteration:
        """Play some steps, with an update after every few of them.

        Raises:
            EpisodeFault: no episode can be played.
        """
        played = learned = 0.0
        losses = MeanLosses()
        ended: list[Ended] = []
        faults: list[EpisodeFault] = []
        eye = np.eye(self.family.action_dim, dtype=np.float32)
        obs = self._seen(self.lanes.obs)
        for _ in range(min(ITERATION, max(self.config.train.env_steps - self.env_steps, 1))):
            begun = time.perf_counter()
            epsilon = 1.0 if self.env_steps < self.settings.random_steps else self.settings.epsilon(self.env_steps)
            action = epsilon_greedy(self._values, obs, epsilon=epsilon, seed=self.config.seed, env_steps=self.env_steps)
            step = self.lanes.step(eye[action])
            after = self._seen(step.after)
            self.replay.add(obs, action, step.reward, step.terminated, step.truncated, after)
            obs = self._seen(self.lanes.obs) if step.ended or step.faults else after
            self.env_steps += 1
            ended += step.ended
            faults += step.faults
            ready = time.perf_counter()
            played += ready - begun
            while self.updates < self.settings.updates_after(self.env_steps):
                self.learner.lr = annealed_rate(self.settings.lr, self.config.train, self.env_steps)
                losses.add(self.learner.learn(self.replay, env_steps=self.env_steps))
            learned += time.perf_counter() - ready
        self.iterations += 1
        metrics: dict[str, JSON] = {
            **figures_of(ended, faults),
            "epsilon": self.settings.epsilon(self.env_steps),
            **losses.means(),
        }
        return Iteration(metrics, (), played, learned)

    @property
    def agent(self) -> ReactiveAgent:
        """The policy of now that takes the best choice, a copy."""
        network = copy.deepcopy(self.learner.online)
        return ReactiveAgent(self.family.obs_dim, self.family.action_dim, _BestChoice(network, self.family.planes))

    def tensors(self) -> dict[str, torch.Tensor]:
        """Networks, the optimiser, the replay, and where the lane is."""
        stored = {f"replay.{name}": torch.from_numpy(array) for name, array in self.replay.arrays().items()}
        lane = {name: torch.from_numpy(array) for name, array in self.lanes.arrays().items()}
        return {**self.learner.tensors(), **stored, **lane}

    def counters(self) -> dict[str, JSON]:
        """Environment steps, iterations and updates."""
        return {"env_steps": self.env_steps, "iterations": self.iterations, "updates": self.updates}

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
        self.learner.restore(tensors, updates=int(counters["updates"]))
        stored = {name.removeprefix("replay."): t.numpy() for name, t in tensors.items() if name.startswith("replay.")}
        self.replay.restore(stored)
        self.lanes.restore({name: t.numpy() for name, t in tensors.items() if name.startswith(PREFIXES)})
        self.env_steps, self.iterations = int(counters["env_steps"]), int(counters["iterations"])

    def _seen(self, obs: FloatArray) -> npt.NDArray[Any]:
        """Return observations [L, O] as the network reads them."""
        if self.family.planes is None:
            return obs
        planes: npt.NDArray[Any] = obs.reshape(len(obs), *self.family.planes).transpose(0, 3, 1, 2) != 0.0
        return planes


class _BestChoice(nn.Module):
    """From observations [N, O] to the best choice, as numbers [N, A] of which one is 1."""

    def __init__(self, network: QNetwork, planes: tuple[int, int, int] | None) -> None:
        super().__init__()
        self.network, self.planes = network, planes

    def forward(self, obs: torch.Tensor) -> torch.Tensor:
        if self.planes is not None:
            obs = obs.view(len(obs), *self.planes).permute(0, 3, 1, 2)
        values = self.network(obs)
        return nn.functional.one_hot(values.argmax(dim=1), values.shape[1]).to(values.dtype)
