"""`mql bench acting`: one robot, one observation in and one action out, on one thread.

Shapes: O observation, A action.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from mql.agent.agent import Agent
from mql.bench.subjects import (
    CHEETAH_ACTION,
    CHEETAH_CONTEXT_DIM,
    CHEETAH_CONTEXT_LENGTH,
    CHEETAH_OBS,
    agent_config,
)
from mql.bench.timing import Call, Results, alternate_calls, announce
from mql.seeding import generator


@dataclass(frozen=True)
class Sizes:
    """HalfCheetah's sizes; hidden sizes are those of the profiles unless given."""

    obs_dim: int = CHEETAH_OBS
    action_dim: int = CHEETAH_ACTION
    context_dim: int = CHEETAH_CONTEXT_DIM
    context_length: int = CHEETAH_CONTEXT_LENGTH
    hidden_sizes: tuple[int, ...] | None = None
    warm_up: int = 200
    steps: int = 2000
    rounds: int = 5


FULL = Sizes()


def measure(threads: int, sizes: Sizes = FULL) -> Results:
    """Time every step of the fast agent, which carries its GRU state, and of the paper's, which encodes its window."""
    contenders = {profile: _step(profile, sizes) for profile in ("fast", "paper")}
    for call in contenders.values():
        for _ in range(sizes.warm_up):
            call()
    announce(f"acting: {sizes.rounds} rounds of {sizes.steps} steps, on {threads} threads")
    timed = alternate_calls(contenders, rounds=sizes.rounds, calls_per_round=sizes.steps)
    fast, paper = _percentiles(timed["fast"]), _percentiles(timed["paper"])
    return {**fast, "paper": paper, "paper_vs_fast": paper["p50_us"] / fast["p50_us"]}


def _step(profile: str, sizes: Sizes) -> Call:
    """Return a call that makes one control step: act, then take the step into the context."""
    changes = {} if sizes.hidden_sizes is None else {"hidden_sizes": sizes.hidden_sizes}
    config = agent_config(profile, context_dim=sizes.context_dim, context_length=sizes.context_length, **changes)
    agent = Agent(sizes.obs_dim, sizes.action_dim, config, seed=0)
    context = agent.begin(1)
    obs = generator(0, "bench obs").standard_normal((1, sizes.obs_dim), dtype=np.float32)
    reward = np.zeros(1, dtype=np.float32)

    def step() -> None:
        action = agent.act(obs, context)
        agent.observe(context, obs, action, reward)

    return step


def _percentiles(seconds: Sequence[Sequence[float]]) -> dict[str, float]:
    """Return the median over rounds of each percentile of a round, in microseconds."""
    return {f"p{q}_us": median(1e6 * float(np.percentile(calls, q)) for calls in seconds) for q in (50, 99)}
