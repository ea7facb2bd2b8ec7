"""Meta-Q-Learning as a method that the loop drives: the trainer, and its evaluation on held-out tasks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch

from mql.adaptation.adapters import Adaptation, prepare
from mql.adaptation.meta_training import MetaTraining
from mql.agent.agent import Agent
from mql.config.methods import METHODS
from mql.config.schema import AdaptConfig, Config
from mql.evaluation.held_out import mean_terms
from mql.learning.prior import Prior
from mql.learning.trainer import Trainer, updates_after
from mql.tasks.family import TaskFamily
from mql.training.learning import Iteration
from mql.training.measured import MeasuredByAgent
from mql.types import COLLECTED_TERM, JSON, Episode


class MetaQLearning(MeasuredByAgent):
    """A `Trainer` as a `Learning`."""

    def __init__(self, config: Config, family: TaskFamily, prior: Prior = ()) -> None:
        self.trainer = Trainer(config, family, prior)
        self.config, self.family = config, family

    @property
    def agent(self) -> Agent:
        """The policy of now, the trainer's own."""
        return self.trainer.agent

    @property
    def env_steps(self) -> int:
        """Environment steps collected so far."""
        return self.trainer.env_steps

    @property
    def updates(self) -> int:
        """Updates made so far."""
        return self.trainer.updates

    @property
    def iterations(self) -> int:
        """Iterations made so far."""
        return self.trainer.iterations

    @property
    def first_live_episode(self) -> int:
        """Number of the oldest episode in the replay."""
        return self.trainer.replay.first_live_episode

    @property
    def replay_bytes(self) -> int:
        """The most memory that the replay may take."""
        return self.trainer.replay.nbytes

    def updates_after(self, env_steps: int) -> int:
        """Return how many updates there will have been after `env_steps`."""
        return updates_after(self.trainer.config.train, env_steps)

    def iterate(self) -> Iteration:
        """Collect one episode in each of some tasks, then make the updates that are due.

        Raises:
            EpisodeFault: not one of the episodes could be finished.
        """
        iterated = self.trainer.iterate()
        metrics: dict[str, JSON] = {
            "collected_return": sum(episode.episode_return for episode in iterated.episodes) / len(iterated.episodes),
            **{f"{COLLECTED_TERM}{name}": mean for name, mean in (mean_terms(iterated.episodes) or {}).items()},
            **({} if iterated.relabelled is None else {"relabelled": iterated.relabelled}),
            **({"faults": [str(fault) for fault in iterated.faults]} if iterated.faults else {}),
            **({"remark": iterated.remark} if iterated.remark else {}),
            **iterated.losses,
        }
        return Iteration(metrics, iterated.episodes, iterated.collect_seconds, iterated.update_seconds)

    def adaptation(self, config: AdaptConfig) -> Adaptation | None:
        """Return what the agent adapts by; None where its method does not (`mql.config.methods`)."""
        if not METHODS[self.config.method].adapts:
            return None
        return prepare(meta_training(self.trainer), config)

    def tensors(self) -> dict[str, torch.Tensor]:
        """Networks, targets, optimisers and, where a checkpoint needs them, the replay's states."""
        return self.trainer.tensors()

    def counters(self) -> dict[str, JSON]:
        """Environment steps, iterations and updates."""
        return self.trainer.counters()

    def restore(
        self,
        tensors: Mapping[str, torch.Tensor],
        counters: Mapping[str, JSON],
        episodes: Iterable[tuple[int, Episode]],
    ) -> None:
        """Take over tensors, counters and the replay's episodes.

        Raises:
            KeyError: a tensor or counter is missing.
            ValueError: a tensor has another shape.
        """
        self.trainer.restore(tensors, counters)
        for number, episode in episodes:
            self.trainer.store(episode, number=number)


def meta_training(trainer: Trainer, agent: Agent | None = None) -> MetaTraining:
    """Return what a trainer leaves to adaptation; `agent` in the place of its own."""
    return MetaTraining(agent or trainer.agent, trainer.replay, trainer.family, trainer.learner.optimizer_tensors())
