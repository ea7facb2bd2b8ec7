"""`mql bench replay`: what a full replay costs in memory, and what sampling from it costs beside an update.

Shapes: O observation, A action, H context length, Z context variable.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from mql.agent.agent import Agent
from mql.bench.subjects import agent_config, batch_size, fill_replay
from mql.bench.timing import Results, alternate, announce, medians
from mql.learning.contexts import context_plan
from mql.seeding import generator, torch_generator

FLOAT_BYTES = 4


@dataclass(frozen=True)
class Sizes:
    """The sizes of an ant that looks for a goal. `calls_per_round` is a multiple of `policy_delay`."""

    obs_dim: int = 113
    action_dim: int = 8
    context_dim: int = 40
    context_length: int = 40
    hidden_sizes: tuple[int, ...] = (300, 300)
    policy_delay: int = 4
    batch: int = batch_size("paper")
    tasks: int = 100
    transitions: int = 1_000_000
    episode_length: int = 200
    calls_per_round: int = 8
    rounds: int = 9


FULL = Sizes()


def measure(threads: int, sizes: Sizes = FULL) -> Results:
    """Fill a replay of the fast profile, then sample windows from it and update the paper's agent in turn.

    The update gets a batch that was sampled before, so that the sampling counts on one side only. A second replay, in
    a file (``train.replay_on_disk``), is sampled from, too: what an update with it takes beside one from memory.
    """
    announce(f"replay: filling it with {sizes.transitions:,} transitions")
    fast = Agent(sizes.obs_dim, sizes.action_dim, agent_config("fast", context_dim=sizes.context_dim), seed=0)
    filled = partial(
        fill_replay,
        obs_dim=sizes.obs_dim,
        action_dim=sizes.action_dim,
        context_dim=fast.state_dim,
        tasks=sizes.tasks,
        transitions=sizes.transitions,
        episode_length=sizes.episode_length,
    )
    replay = filled()
    announce("replay: filling another one, in a file of this folder")
    on_disk = filled(folder=".")
    config = agent_config(
        "paper",
        context_dim=sizes.context_dim,
        context_length=sizes.context_length,
        hidden_sizes=sizes.hidden_sizes,
        policy_delay=sizes.policy_delay,
    )
    agent = Agent(sizes.obs_dim, sizes.action_dim, config, seed=0)
    learner = agent.learner(lr=config.lr)
    plan, rng, noise = context_plan(config), generator(0, "bench draws"), torch_generator(0, "bench noise")
    batch = replay.sample(sizes.batch, plan, rng)
    announce(f"replay: {sizes.rounds} rounds of {sizes.calls_per_round} batches and updates, on {threads} threads")
    seconds = medians(
        alternate(
            {
                "gather": lambda: replay.sample(sizes.batch, plan, rng),
                "gather_on_disk": lambda: on_disk.sample(sizes.batch, plan, rng),
                "update": lambda: learner.update(batch, generator=noise),
            },
            rounds=sizes.rounds,
            calls_per_round=sizes.calls_per_round,
        )
    )
    # One copy of a transition: observation, action, reward, terminated. The next observation is the next row's.
    flat_bytes = replay.transitions * (sizes.obs_dim + sizes.action_dim + 2) * FLOAT_BYTES
    return {
        "bytes_vs_flat": replay.nbytes / flat_bytes,
        "gather_fraction_of_update": seconds["gather"] / seconds["update"],
        "on_disk_vs_memory": (seconds["gather_on_disk"] + seconds["update"]) / (seconds["gather"] + seconds["update"]),
        "gather_s": seconds["gather"],
        "gather_on_disk_s": seconds["gather_on_disk"],
        "update_s": seconds["update"],
        "bytes": replay.nbytes,
        "flat_bytes": flat_bytes,
        "transitions": replay.transitions,
    }
