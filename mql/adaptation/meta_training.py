"""What meta-training leaves to adaptation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch

from mql.adaptation.old_data import newest_of_each_task
from mql.agent.agent import Agent
from mql.learning.replay import Replay
from mql.tasks.family import TaskFamily
from mql.types import FloatArray


@dataclass(frozen=True)
class MetaTraining:
    """The meta-trained agent and its data. Adaptation changes none of it.

    Attributes:
        agent: theta_meta.
        replay: episodes of the training tasks, numbered as in ``family.tasks("train")``, and of prior ones behind them.
        family: of these tasks; None: nobody knows it, and methods that need rewards as a function, or a simulator,
            refuse.
        moments: of the optimisers at the end of meta-training (`Learner.optimizer_tensors`); empty: they start anew.
    """

    agent: Agent
    replay: Replay
    family: TaskFamily | None = None
    moments: Mapping[str, torch.Tensor] = field(default_factory=dict)

    def newest_returns(self, episodes: int) -> list[FloatArray]:
        """Return the returns of the newest `episodes` of each task that has some; they hold exploration noise."""
        of_task: dict[int, list[float]] = {}
        for episode in newest_of_each_task(self.replay, episodes):
            of_task.setdefault(episode.task, []).append(episode.episode_return)
        return [np.array(own) for own in of_task.values()]
