"""Explorers: what noise is drawn, and that nobody's noise depends on how episodes are shared out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

import numpy as np
import pytest

from mql.agent.agent import Agent
from mql.collecting.exploration import (
    EXPLORERS,
    RANDOM_ACTIONS,
    Exploration,
    Explorer,
    begin,
    explorer_for,
    random_actions,
)
from mql.collecting.roll_in import RollIn
from mql.collecting.rollout import collect
from mql.config.schema import AgentConfig, TrainConfig
from mql.tasks import registry
from mql.types import Episode, FloatArray, IntArray

FAMILY = registry.load("point-robot")
STEPS, ACTION = FAMILY.episode_length, FAMILY.action_dim


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def acted(running: Exploration, n: int) -> FloatArray:
    """What a policy's actions 0 become: [T, N, A]."""
    actions, obs = np.zeros((n, ACTION), np.float32), np.zeros((n, FAMILY.obs_dim), np.float32)
    return np.stack([running.act(actions, obs, t) for t in range(STEPS)])


@dataclass(frozen=True)
class Drifting:
    """An explorer with a state of its own: each step adds to where the one before has led."""

    def begin(self, n: int, rng: np.random.Generator) -> Exploration:
        return Drift(rng.spawn(n), np.zeros((n, ACTION), np.float32))


@dataclass
class Drift:
    streams: list[np.random.Generator]
    offset: FloatArray
    follows_policy = True

    def act(self, actions: FloatArray, obs: FloatArray, t: int) -> FloatArray:
        pushed = np.stack([own.uniform(-0.1, 0.1, ACTION) for own in self.streams]).astype(np.float32)
        self.offset = self.offset + pushed + 0.01 * obs
        return np.clip(actions + self.offset, -1.0, 1.0)

    def share(self, episodes: IntArray) -> Exploration:
        return Drift([self.streams[place] for place in episodes], self.offset[episodes])


KINDS: dict[str, Explorer] = {
    **{kind: make(0.3, STEPS, ACTION, 1.0) for kind, make in EXPLORERS.items()},
    **{f"{kind}, spread": make(0.3, STEPS, ACTION, 3.0) for kind, make in EXPLORERS.items()},
    **{kind: random_actions(FAMILY, kind) for kind in RANDOM_ACTIONS},
    "with a state": Drifting(),
    "rolled in": RollIn(Drifting(), EXPLORERS["white"](0.3, STEPS, ACTION, 1.0), 0.5, STEPS),
    "rolled in, no noise": RollIn(random_actions(FAMILY), None, 1.0, STEPS),
}
by_kind = pytest.mark.parametrize("explorer", KINDS.values(), ids=KINDS)


def test_every_choice_of_the_configuration_has_its_explorer() -> None:
    assert set(get_args(AgentConfig.model_fields["exploration"].annotation)) == set(EXPLORERS)
    assert set(get_args(TrainConfig.model_fields["random_actions"].annotation)) == {*RANDOM_ACTIONS, "play"}
    assert explorer_for(FAMILY, "white", 0.0) is None


@by_kind
def test_equal_seeds_explore_equally_and_others_do_not(explorer: Explorer) -> None:
    first, again, other = (acted(explorer.begin(3, rng(seed)), 3) for seed in (1, 1, 2))
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    assert first.dtype == np.float32 and first.shape == (STEPS, 3, ACTION) and np.abs(first).max() <= 1.0


@by_kind
@pytest.mark.parametrize("shares", [[[0, 1, 2, 3, 4]], [[0, 1, 2], [3, 4]], [[4], [0], [3], [1], [2]]])
def test_a_share_explores_as_among_the_others(explorer: Explorer, shares: list[list[int]]) -> None:
    whole = acted(explorer.begin(5, rng()), 5)
    running = explorer.begin(5, rng())
    for share in map(np.array, shares):
        assert np.array_equal(acted(running.share(share), len(share)), whole[:, share])


@by_kind
def test_with_a_generator_for_each_an_episode_depends_on_no_other(explorer: Explorer) -> None:
    many = acted(begin(explorer, 4, [rng(seed) for seed in range(4)]), 4)
    few = acted(begin(explorer, 4, [rng(seed) for seed in range(4)]).share(np.array([1, 2])), 2)
    assert np.array_equal(many[:, 1:3], few)
    for seed in range(4):
        assert np.array_equal(many[:, [seed]], acted(explorer.begin(1, rng(seed)), 1))


@by_kind
@pytest.mark.parametrize("workers", [1, 3])
def test_collected_episodes_are_those_of_one_worker(explorer: Explorer, workers: int) -> None:
    config = AgentConfig(hidden_sizes=(8,), context_dim=4)
    agent, tasks = Agent(FAMILY.obs_dim, ACTION, config, seed=0), FAMILY.tasks("train")[:4]
    one, other = (
        collect(agent, FAMILY, tasks, [0, 1, 2, 3], explorer=explorer, rng=rng(1), workers=n) for n in (1, workers)
    )
    for a, b in zip(one, other, strict=True):
        assert isinstance(a, Episode) and np.array_equal(a.action, b.action)
    plain = collect(agent, FAMILY, tasks, [0, 1, 2, 3])
    assert not any(np.allclose(a.action, b.action, atol=1e-3) for a, b in zip(one, plain, strict=True))


def test_white_noise_and_random_actions_draw_the_numbers_that_they_always_drew() -> None:
    """One standard normal, or uniform, array of all episodes: runs of earlier versions go on as they began."""
    noise = 0.3 * rng(4).standard_normal((STEPS, 6, ACTION), dtype=np.float32)
    assert np.array_equal(acted(KINDS["white"].begin(6, rng(4)), 6), np.clip(noise, -1.0, 1.0))
    uniform = rng(4).uniform(-1.0, 1.0, (STEPS, 6, ACTION)).astype(np.float32)
    assert np.array_equal(acted(KINDS["uniform"].begin(6, rng(4)), 6), uniform)


@pytest.mark.parametrize("kind", EXPLORERS)
def test_a_spread_gives_each_episode_a_noise_of_its_own_size(kind: str) -> None:
    """The same noise as without a spread, times a factor that is log-uniform from 1 / 4 to 4."""
    n, small = 4000, 0.01  # so small that nothing is clipped
    plain, spread = (acted(EXPLORERS[kind](small, STEPS, ACTION, by).begin(n, rng(5)), n) for by in (1.0, 4.0))
    factor = np.median(spread / plain, axis=(0, 2))
    np.testing.assert_allclose(spread, plain * factor[:, None], rtol=1e-4, atol=1e-9)
    powers = np.log(factor) / np.log(4.0)
    assert powers.min() > -1.001 and powers.max() < 1.001
    np.testing.assert_allclose(np.quantile(powers, [0.25, 0.5, 0.75]), [-0.5, 0.0, 0.5], atol=0.06)


def test_random_actions_need_no_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    agent = Agent(FAMILY.obs_dim, ACTION, AgentConfig(hidden_sizes=(8,)), seed=0)
    monkeypatch.setattr("mql.agent.acting.Policy.act", None)
    for streams in (rng(), [rng()]):
        collect(agent, FAMILY, FAMILY.tasks("train")[:1], [0], explorer=random_actions(FAMILY), rng=streams)
