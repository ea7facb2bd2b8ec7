"""Batches that are drawn on the device: the host's `Replay.gather` is what their contents are compared with."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from mql.agent.agent import Agent
from mql.agent.elements import ContextElements
from mql.agent.scaling import Scaling
from mql.config.schema import AgentConfig, TrainConfig
from mql.learning.contexts import ContextPlan, Segments, Windows
from mql.learning.device_batches import DeviceBatches
from mql.learning.n_step import NStep
from mql.learning.replay import Replay
from mql.learning.updates import DeviceUpdates, HostUpdates, Updates, updates_for
from mql.types import Episode
from tests.learning.test_replay import ACTION, OBS, episode

CONTEXT = 3
PLANS = [
    Windows(4),
    Windows(0),
    Windows(3, NStep(3, 0.9)),
    Segments(length=4, burn_in=2),
    Segments(length=1, burn_in=0),
    Segments(length=5, burn_in=3, n_step=NStep(2, 0.9)),
]


def scaling(*, fitted: bool) -> Scaling:
    made = Scaling(ContextElements(OBS, ACTION), reward_scale=0.5, normalize=fitted, device="cpu")
    if fitted:
        made.fit(torch.randn(9, OBS) * 3.0 + 1.0, torch.randn(9))
    return made


def stored(scaling: Scaling) -> Replay:
    """Three tasks of five have episodes; two rings have gone round, and one episode ended early."""
    replay = Replay(
        n_tasks=5, obs_dim=OBS, action_dim=ACTION, capacity=120, episode_length=10, context_dim=CONTEXT, scaling=scaling
    )
    for number, (task, length, terminated) in enumerate(
        [(0, 10, False), (3, 7, True), (0, 10, True), (0, 9, False), (3, 10, False), (3, 10, False), (4, 2, True)]
    ):
        replay.append(episode(number, length, task, terminated=terminated))
    replay.states.copy_(torch.randn(replay.states.shape))
    return replay


class OffsetsInTurn:
    """Stands for the host's generator: gives the offsets that the device was told."""

    def __init__(self, offsets: np.ndarray[Any, Any]) -> None:
        self.offsets = offsets

    def integers(self, high: int, size: int) -> np.ndarray[Any, Any]:
        assert high > self.offsets.max() and size == len(self.offsets)
        return self.offsets


def assert_same(ours: Any, theirs: Any, name: str = "batch") -> None:
    if is_dataclass(ours):
        for field in fields(ours):
            assert_same(getattr(ours, field.name), getattr(theirs, field.name), f"{name}.{field.name}")
    elif ours is None or theirs is None:
        assert ours is theirs, name
    else:
        assert ours.shape == theirs.shape and ours.dtype == theirs.dtype, name
        assert torch.equal(ours, theirs) or torch.allclose(ours, theirs, rtol=1e-6, atol=0.0), name


@pytest.mark.parametrize("fitted", [False, True])
@pytest.mark.parametrize("plan", PLANS)
def test_a_batch_is_the_one_that_the_host_gathers(plan: ContextPlan, *, fitted: bool) -> None:
    """For every stored transition, with every offset."""
    scaled = scaling(fitted=fitted)
    replay = stored(scaled)
    length = plan.length if isinstance(plan, Segments) else 1
    batches = DeviceBatches(replay, scaled, 1, plan)
    batches.refresh()
    rows = replay.all_rows()
    offsets = np.arange(len(rows)) % length
    told = torch.from_numpy((offsets + 0.5) / length)
    # Twice the rows, the other way round in the second batch.
    drawn = batches.indices(
        torch.stack([torch.from_numpy(rows), torch.from_numpy(rows).flip(0)]), torch.stack([told, told.flip(0)])
    )
    for which, order in enumerate([slice(None), slice(None, None, -1)]):
        rng: Any = OffsetsInTurn(offsets[order])
        assert_same(batches.batch(drawn, which), replay.gather(rows[order].copy(), plan, rng=rng))


def test_rows_are_drawn_with_equal_probability_in_each_task() -> None:
    scaled = scaling(fitted=False)
    replay = stored(scaled)
    batches = DeviceBatches(replay, scaled, 3000, Windows(0))
    batches.refresh()
    at = batches.draw(4, torch.Generator().manual_seed(1)).at.numpy().ravel()
    assert set(at) == set(replay.all_rows())
    task = at // replay.rows
    assert chisquare([(task == which).sum() for which in (0, 3, 4)]).pvalue > 1e-3
    for which in (0, 3, 4):
        assert chisquare(np.unique(at[task == which], return_counts=True)[1]).pvalue > 1e-3


def test_every_place_in_a_segment_is_as_likely() -> None:
    scaled = scaling(fitted=False)
    replay = Replay(n_tasks=1, obs_dim=OBS, action_dim=ACTION, capacity=200, episode_length=200)
    replay.append(episode(0, 200))
    batches = DeviceBatches(replay, scaled, 4 * 5000, Segments(length=4, burn_in=0))
    batches.refresh()
    # (What is drawn lies within the segment that is read: over all draws, places in an episode are hit alike.)
    drawn = batches.draw(1, torch.Generator().manual_seed(0))
    assert drawn.weights is not None
    hits = np.bincount(drawn.at.numpy().ravel(), weights=drawn.weights.numpy().ravel(), minlength=201)[:200]
    assert abs(hits.mean() - 100.0) < 1e-3 and hits.std() < 4 * np.sqrt(100.0)


def test_what_is_drawn_does_not_depend_on_where_rings_lie() -> None:
    """A resumed run holds the same episodes, at other places of its rings."""
    scaled = scaling(fitted=False)
    gone_round, fresh = (
        Replay(n_tasks=1, obs_dim=OBS, action_dim=ACTION, capacity=20, episode_length=10) for _ in range(2)
    )
    for number in range(5):
        gone_round.append(episode(number, 10))
    for number in (3, 4):
        fresh.append(episode(number, 10), number=number)
    assert int(gone_round._tail[0]) != int(fresh._tail[0])
    found = []
    for replay in (gone_round, fresh):
        batches = DeviceBatches(replay, scaled, 50, Windows(2))
        batches.refresh()
        found.append(batches.batch(batches.draw(1, torch.Generator().manual_seed(0)), 0))
    assert_same(*found)


def filled(config: AgentConfig) -> tuple[Agent, Replay]:
    agent = Agent(OBS, ACTION, config, seed=0)
    replay = Replay(
        n_tasks=2, obs_dim=OBS, action_dim=ACTION, capacity=200, episode_length=10, context_dim=agent.state_dim,
        scaling=agent.scaling,
    )  # fmt: skip
    rng = np.random.default_rng(0)
    for number in range(12):
        replay.append(
            Episode(
                obs=rng.standard_normal((11, OBS), dtype=np.float32),
                action=rng.uniform(-1, 1, (10, ACTION)).astype(np.float32),
                reward=rng.standard_normal(10, dtype=np.float32),
                terminated=number % 3 == 0,
                truncated=number % 3 != 0,
                task=number % 2,
                seed=0,
            )
        )
    if agent.state_dim:
        replay.refresh_states(agent.online.critic_encoder)
    return agent, replay


def device_updates(agent: Agent, replay: Replay, *, seed: int = 0) -> DeviceUpdates:
    from mql.learning.contexts import context_plan

    learner = agent.learner(lr=1e-3)
    batches = DeviceBatches(replay, agent.scaling, 16, context_plan(agent.config))
    return DeviceUpdates(learner, batches, period=agent.config.policy_delay, seed=seed, recorded=False)


def parameters(agent: Agent) -> torch.Tensor:
    return torch.cat([part.online.data for part in agent.parts.values()])


def test_updates_depend_on_seed_and_iteration_alone() -> None:
    config = AgentConfig(context_dim=4, hidden_sizes=(8,), policy_delay=3)
    learned = []
    for seed, counts in ((0, (40, 7)), (0, (40, 7)), (1, (40, 7))):
        agent, replay = filled(config)
        updates = device_updates(agent, replay, seed=seed)
        for iteration, count in enumerate(counts):
            losses = updates.make(count, iteration=iteration)
        assert updates._learner.updates == 47 and losses["critic_loss"] > 0.0 and "actor_loss" in losses
        learned.append(parameters(agent))
    assert torch.equal(learned[0], learned[1]) and not torch.equal(learned[0], learned[2])


def test_updates_drawn_on_the_device_learn_what_the_hosts_do() -> None:
    """In expectation: the mean losses of many updates at a learning rate of 0 agree."""
    config = AgentConfig(context_dim=4, hidden_sizes=(8,))
    means = []
    for on_device in (False, True):
        agent, replay = filled(config)
        made: Updates
        if on_device:
            made = device_updates(agent, replay)
        else:
            made = updates_for(agent, agent.learner(lr=0.0), replay, TrainConfig(batch_size=16), seed=0)
        assert isinstance(made, HostUpdates | DeviceUpdates)
        made._learner.lr = 0.0
        means.append(made.make(400, iteration=0))
    assert means[0].keys() == means[1].keys()
    for name in ("critic_loss", "q_mean"):
        assert means[1][name] == pytest.approx(means[0][name], rel=0.05, abs=0.01)
