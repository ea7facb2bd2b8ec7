"""Prior data in the replay of a trainer: tasks of their own, which count no steps and survive a restart."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from tiny_runs import TINY

from mql.config.loading import override
from mql.config.schema import Config
from mql.learning.prior import PriorTask
from mql.learning.trainer import Trainer
from mql.tasks import registry
from mql.types import Episode

LENGTH = 20


def logged(value: float, count: int = 2) -> list[Episode]:
    rng = np.random.default_rng(int(10 * value))
    return [
        Episode(
            obs=rng.standard_normal((LENGTH + 1, 2)).astype(np.float32),
            action=rng.uniform(-1, 1, (LENGTH, 2)).astype(np.float32),
            reward=np.full(LENGTH, value, np.float32),
            terminated=False,
            truncated=True,
            task=0,
            seed=0,
        )
        for _ in range(count)
    ]


PRIOR = (PriorTask("prior:0", logged(1.0), {}), PriorTask("prior:1", logged(2.0, 3), {}))


def trainer(*settings: str, prior: tuple[PriorTask, ...] = PRIOR) -> Trainer:
    config = override(Config(family="point-robot"), {key: value for key, value in TINY.items()})
    return Trainer(override(config, list(settings)), registry.load("point-robot"), prior)


def test_they_stand_behind_the_training_tasks_and_count_no_steps() -> None:
    one = trainer("train.replay_capacity=20000")
    replay, n = one.replay, len(one.tasks)
    assert (replay.n_tasks, replay.n_trained, replay.transitions) == (n + 2, n, 5 * LENGTH)
    rows = replay.all_rows()
    rewards = replay.table[torch.from_numpy(rows), -1].numpy()
    for place, value in ((n, 1.0), (n + 1, 2.0)):
        assert (rewards[rows // replay.rows == place] == value).all()
    assert replay.appended == replay.first_live_episode == 0  # the run's own episodes are numbered as ever
    one.iterate()
    assert one.env_steps == 5 * LENGTH and replay.appended == 5 and replay.first_live_episode == 0
    assert len(replay.observations_and_rewards()[1]) == 5 * LENGTH  # the scaling is that of the run's random steps


def test_batches_hold_every_task_equally_often() -> None:
    one = trainer("train.random_steps=0", "train.env_steps_per_update=1000")
    one.iterate()
    rows = one.replay.sample_rows(7000, np.random.default_rng(0))
    tasks, counts = np.unique(rows // one.replay.rows, return_counts=True)
    assert len(tasks) == 7 and counts.min() > 900


@pytest.mark.parametrize("mode", ["carry", "window"])
def test_a_restart_between_regular_checkpoints_changes_nothing(mode: str) -> None:
    settings = ["train.checkpoint_every=100000", "train.refresh_rows_per_update=50", f"agent.context_mode={mode}"]
    one = trainer(*settings)
    collected = [episode for _ in range(4) for episode in one.iterate().episodes]
    if mode == "carry":
        assert -1 in one.tensors()["replay.refreshed"][:, 0]  # states of prior episodes are kept, too
    tensors = {name: tensor.clone() for name, tensor in one.tensors().items()}
    other = trainer(*settings)
    other.restore(tensors, one.counters())
    for number, episode in enumerate(collected):
        other.replay.append(episode, number=number)
    for _ in range(2):
        assert one.iterate().losses == other.iterate().losses
    for (name, mine), (_, its) in zip(one.tensors().items(), other.tensors().items(), strict=True):
        assert torch.equal(mine, its), name


def test_a_task_with_more_than_its_share_keeps_its_newest_episodes() -> None:
    many = PriorTask("prior:0", [dataclasses.replace(e, seed=n) for n, e in enumerate(logged(1.0, 50))], {})
    one = trainer("train.replay_capacity=4000", prior=(many,))
    own = one.replay.all_rows()
    assert 0 < len(own) <= one.replay.rows and len(own) % LENGTH == 0
    newest = torch.from_numpy(many.episodes[-1].obs[0])
    assert torch.equal(one.replay.table[int(own[0]), :2], newest)


def test_no_prior_data_is_a_run_as_before() -> None:
    mine, its = trainer(prior=()), trainer(prior=())
    assert mine.replay.n_trained == mine.replay.n_tasks == len(mine.tasks)
    assert mine.iterate().episodes[0].seed == its.iterate().episodes[0].seed
