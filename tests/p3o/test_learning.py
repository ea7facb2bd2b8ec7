"""Two tiny problems are learned, one with continuous actions and time limits, one with discrete actions and ends."""

from __future__ import annotations

import numpy as np
import pytest

from mql.config.p3o import P3OConfig
from mql.p3o.agent import P3OAgent
from mql.p3o.distributions import Categorical, Gaussian
from mql.p3o.playing import Recorder
from mql.p3o.segments import Segments
from mql.p3o.update import P3O
from mql.seeding import generator

LANES = 16


class Point:
    """A point on a line moves by up to 0.3 a step towards a target that it sees; 10 steps, reward -|distance|."""

    obs_dim, kind = 2, Gaussian(1)

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.at, self.target = rng.uniform(-1.0, 1.0, (2, LANES))
        self.steps = rng.integers(10, size=LANES)  # the lanes' time limits come at different times

    def obs(self) -> np.ndarray:
        return np.stack([self.at, self.target], axis=1).astype(np.float32)

    def step(self, action: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        self.at = self.at + 0.3 * action[:, 0]
        self.steps += 1
        return -np.abs(self.at - self.target), np.zeros(LANES, bool), self.steps >= 10

    def reset(self, lanes: np.ndarray) -> None:
        self.at[lanes], self.target[lanes] = self.rng.uniform(-1.0, 1.0, (2, lanes.sum()))
        self.steps[lanes] = 0


class Chain:
    """Four places: one arm leads on, and from the last place to a reward of 1 and the end; the other leads back to the
    first place, for 0.001. At most 40 steps."""

    obs_dim, kind = 4, Categorical(2)

    def __init__(self, rng: np.random.Generator) -> None:
        self.at, self.steps = np.zeros(LANES, int), rng.integers(40, size=LANES)

    def obs(self) -> np.ndarray:
        return np.eye(4, dtype=np.float32)[np.minimum(self.at, 3)]

    def step(self, action: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        self.at = np.where(action == 1, self.at + 1, 0)
        self.steps += 1
        there = self.at == 4
        return np.where(there, 1.0, np.where(action == 0, 0.001, 0.0)), there, self.steps >= 40

    def reset(self, lanes: np.ndarray) -> None:
        self.at[lanes], self.steps[lanes] = 0, 0


def learned(world: type[Point] | type[Chain], settings: P3OConfig, iterations: int) -> tuple[float, float, P3O]:
    """The mean reward of a step over the first three and over the last ten iterations."""
    env = world(generator(0, "env"))
    agent = P3OAgent(env.obs_dim, env.kind, normalize=settings.normalize, seed=0)
    p3o = P3O(agent, settings, seed=0)
    recorder = Recorder(lanes=LANES, steps=settings.steps)
    means = []
    for iteration in range(iterations):
        noise = env.kind.draws.noise(generator(0, "actions", iteration), (settings.steps, LANES))
        for each in noise:
            obs = env.obs()
            acted = agent.act(obs, each)
            reward, terminated, truncated = env.step(acted.sent)
            recorder.add(obs, acted, reward, terminated, truncated, env.obs())
            env.reset(terminated | truncated)
        fresh = Segments.of(recorder.taken())
        means.append(float(fresh.reward.mean()))
        figures = p3o.learn(fresh, iteration=iteration, progress=iteration / iterations)
        assert np.isfinite(list(figures.values())).all()
    return float(np.mean(means[:3])), float(np.mean(means[-10:])), p3o


@pytest.mark.parametrize("replay_ratio", [0.0, 2.0])
@pytest.mark.parametrize(
    ("world", "at_first", "at_last"),
    # Straight to the target costs the point less than 0.1 a step; straight on gives 1/4 a step on the chain.
    [(Point, -0.4, -0.25), (Chain, 0.1, 0.18)],
)
def test_it_learns(world: type[Point] | type[Chain], at_first: float, at_last: float, replay_ratio: float) -> None:
    settings = P3OConfig(replay_ratio=replay_ratio, lr=5e-3, segments=32, replay_capacity=5_000, off_policy_after=1_000)
    first, last, p3o = learned(world, settings, 100)
    assert first < at_first and last > at_last
    assert (p3o.off_policy_updates > 0) == (replay_ratio > 0)
