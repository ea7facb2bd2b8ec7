"""A run directory that is written without training: what the tests of run directories share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mql.adaptation.meta_training import MetaTraining
from mql.agent.agent import Agent
from mql.config.loading import override
from mql.config.schema import Config
from mql.learning.replay import Replay
from mql.runs.run_dir import RunDir
from mql.tasks.family import TaskFamily
from mql.types import Episode

CONFIG = override(Config(family="point-robot"), ["train.keep_checkpoints=2", "train.random_steps=0"])
TASKS = {"train": [{"goal": [0.5, -0.25]}], "test": []}


def create(path: Path, **more: Any) -> RunDir:
    return RunDir.create(path, config=CONFIG, tasks=TASKS, command=["mql", "train", "point-robot"], **more)


def episodes(first: int, n: int = 2) -> list[Episode]:
    return [
        Episode(
            obs=np.full((3, 2), number, np.float32),
            action=np.full((2, 1), number, np.float32),
            reward=np.full(2, number, np.float32),
            terminated=False,
            truncated=True,
            task=0,
            seed=number,
        )
        for number in range(first, first + n)
    ]


def work(run: RunDir, until: int) -> None:
    """Go on in steps of 10: two lines, two episodes and a checkpoint each; the last six episodes are live."""
    for env_steps in range((run.checkpoints() or [0])[-1] + 10, until + 1, 10):
        run.append_metrics({"env_steps": env_steps, "loss": 1 / env_steps})
        run.append_evaluation({"env_steps": env_steps})
        run.save_checkpoint(
            env_steps,
            tensors={"weight": torch.full((4,), float(env_steps))},
            state={"env_steps": env_steps},
            episodes=episodes(run.next_episode),
            first_live_episode=max(0, run.next_episode + 2 - 6),
        )


def meta_trained(of: Agent, family: TaskFamily, stored: Sequence[Episode], *, n_tasks: int) -> MetaTraining:
    """What an agent without training leaves to adaptation: `stored` episodes of the family's first tasks."""
    kept = Replay(
        n_tasks=n_tasks,
        obs_dim=of.obs_dim,
        action_dim=of.action_dim,
        capacity=2000,
        episode_length=family.episode_length,
        context_dim=of.state_dim,
    )
    for episode in stored:
        kept.append(episode)
    return MetaTraining(of, kept, family, of.learner(lr=1e-3).optimizer_tensors())
