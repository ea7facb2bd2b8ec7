"""Segments for tests: random numbers in the place of an environment, acted upon by an agent."""

from __future__ import annotations

import numpy as np

from mql.p3o.agent import P3OAgent
from mql.p3o.playing import Recorder
from mql.p3o.segments import Segments


def played(agent: P3OAgent, seed: int, *, lanes: int = 4, steps: int = 5, ends: float = 0.15) -> Segments:
    """T steps of each lane in a world of noise, in which episodes often end, one way or the other."""
    rng = np.random.default_rng(seed)
    recorder = Recorder(lanes=lanes, steps=steps)
    noise = agent.distribution.draws.noise(rng, (steps, lanes))
    obs = world(rng, lanes, agent.obs_dim)
    for t in range(steps):
        following = world(rng, lanes, agent.obs_dim)
        terminated, truncated = rng.random((2, lanes)) < ends
        recorder.add(obs, agent.act(obs, noise[t]), rng.normal(size=lanes), terminated, truncated, following)
        fresh = world(rng, lanes, agent.obs_dim)
        obs = np.where((terminated | truncated)[:, None], fresh, following)
    return Segments.of(recorder.taken())


def world(rng: np.random.Generator, lanes: int, obs_dim: int) -> np.ndarray:
    return rng.normal(3.0, 2.0, size=(lanes, obs_dim)).astype(np.float32)
