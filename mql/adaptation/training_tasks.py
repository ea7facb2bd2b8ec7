"""What the training tasks offer a new one without a gradient step: their contexts, and how well their behaviours do.

Far outside the training range a context may be one that no training task ever led to, and the actor falls over it. To
act with the fixed context of a training task is then to do at least what was learned there. Whether that helps can be
told beforehand where the reward is a function: the stored episodes of a training task, with the new task's reward, are
worth so much; the agent's own first episodes in the new task, so much (the better of data and policy is what to keep:
Li et al. 2025, arXiv 2510.01460).

Shapes: K training tasks that have stored episodes, Z context variable.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from mql.adaptation.meta_training import MetaTraining
from mql.adaptation.old_data import contexts_of, newest_of_each_task, newest_rows
from mql.adaptation.rewards import relabelled
from mql.agent.agent import Agent
from mql.config.schema import AdaptConfig
from mql.tasks.family import Task, TaskFamily
from mql.types import Episode, FloatArray, IntArray

EPISODES = 2  # the newest ones of each training task, whose returns say what its behaviour is worth


@dataclass(frozen=True)
class TrainingTasks:
    """The training tasks' numbers [K], mean contexts [K, Z], and the newest episodes of each."""

    numbers: IntArray
    contexts: FloatArray
    episodes: Sequence[Episode]

    def nearest(self, context: np.ndarray) -> IntArray:
        """Return places [K] of the training tasks, the one with the most similar mean context first.

        Distances are in standard deviations of these contexts along each of their principal axes.
        """
        spread = self.contexts - self.contexts.mean(axis=0)
        _, lengths, axes = np.linalg.svd(spread, full_matrices=False)
        kept = lengths > 1e-6 * max(float(lengths[0]), 1e-12)
        away = (self.contexts - context) @ axes[kept].T / lengths[kept]
        order: IntArray = np.argsort(np.square(away).sum(axis=1), kind="stable")
        return order

    def returns(self, family: TaskFamily, task: Task) -> FloatArray:
        """Return what the stored episodes of each training task would have been worth in `task`: their mean, [K].

        Raises:
            UserError: the family can't say its reward as a function.
        """
        changed = relabelled(self.episodes, family, task)
        of_task: dict[int, list[float]] = {}
        for episode in changed:
            of_task.setdefault(episode.task, []).append(episode.episode_return)
        means: FloatArray = np.array([np.mean(of_task[int(number)]) for number in self.numbers], np.float32)
        return means


def training_tasks(trained: MetaTraining, config: AdaptConfig) -> TrainingTasks:
    """Look up the training tasks' mean contexts, over ``config.scored_transitions`` rows, and newest episodes."""
    replay, rows = newest_rows(trained.agent, trained.replay, config)
    rows = rows[rows // replay.rows < replay.n_trained]
    contexts = contexts_of(trained.agent, replay, rows).double().cpu().numpy()
    tasks = rows // replay.rows
    numbers = np.unique(tasks)
    means = np.stack([contexts[tasks == number].mean(axis=0) for number in numbers]).astype(np.float32)
    return TrainingTasks(numbers, means, newest_of_each_task(trained.replay, EPISODES))


def with_fixed_context(agent: Agent, context: FloatArray) -> Agent:
    """Return a copy whose actor takes `context` [Z] in the place of z, whatever it meets; its targets, too."""
    fixed = agent.copy()
    for networks in (fixed.online, fixed.target):
        first = networks.actor.tanh_layers()[0]
        with torch.no_grad():
            own = first.weight[:, -len(context) :]
            first.bias += own @ torch.from_numpy(context).to(own)
            own.zero_()
    return fixed
