"""`mql bench collecting`: env steps of a Meta-World family, policy included, by workers of this machine and by Ray's.

Each call plays what an iteration of training collects, by an agent of its own: as after every update, the policy is
sent anew.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import cloudpickle

from mql.agent.agent import Agent
from mql.bench.timing import Call, Results, alternate, announce, medians
from mql.collecting.rollout import collect
from mql.collecting.workforce import hire, workers
from mql.config.loading import load_config
from mql.tasks import registry
from mql.types import OnCluster, Workforce


@dataclass(frozen=True)
class Sizes:
    """What `configs/ml1-reach.yaml` collects between updates, in each of some rounds; `address`: of Ray."""

    family: str = "ml1-reach"
    episodes: int = 10
    rounds: int = 9
    address: str | None = None


FULL = Sizes()


def measure(threads: int, sizes: Sizes = FULL) -> Results:
    """Time collection by as many workers as there are threads, here and on a Ray of our own, in turn.

    Raises:
        UserError: Ray, or the family's package, is not installed.
    """
    family, config = registry.load(sizes.family), load_config(sizes.family).agent
    cluster = OnCluster(threads, sizes.address)
    workers(cluster)  # connects
    announce(f"collecting: {sizes.rounds} rounds of {sizes.episodes} episodes of {sizes.family}, {threads} workers")
    tasks = [family.tasks("train")[place % len(family.tasks("train"))] for place in range(sizes.episodes)]
    agents = [Agent(family.obs_dim, family.action_dim, config, seed=seed) for seed in range(sizes.rounds + 1)]
    played = collect(agents[0], family, tasks, range(sizes.episodes))

    def by(workforce: Workforce) -> Call:
        turns = itertools.cycle(agents)
        return lambda: collect(next(turns), family, tasks, range(sizes.episodes), workers=workforce)

    pool = hire(OnCluster(1, sizes.address))
    try:
        idle = pool.bound(_nothing, timeout=60.0)
        seconds = medians(alternate({"local": by(threads), "ray": by(cluster), "call": idle}, rounds=sizes.rounds))
    finally:
        pool.close()
    steps = sum(episode.length for episode in played)
    return {
        "family": sizes.family,
        "local": {"env_steps_per_s": steps / seconds["local"]},
        "ray": {"env_steps_per_s": steps / seconds["ray"]},
        "ray_against_local": seconds["local"] / seconds["ray"],
        "ray_call_ms": 1e3 * seconds["call"],
        "episode_bytes": len(cloudpickle.dumps(played)) / len(played),
        "policy_bytes": len(cloudpickle.dumps(agents[0].policy())),
        "workers": threads,
    }


def _nothing() -> None:
    """Take no time: what is left is the way to a worker and back."""
