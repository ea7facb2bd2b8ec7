"""`mql bench growth`: how times grow with the context, the replay and the number of tasks in parallel.

Updates include their sampling, as training makes them. Tasks are those of cheetah-vel, collected as in training, but in
shorter episodes.

Shapes: H context length, N tasks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from mql.agent.agent import Agent
from mql.bench.subjects import (
    CHEETAH_ACTION,
    CHEETAH_CONTEXT_DIM,
    CHEETAH_CONTEXT_LENGTH,
    CHEETAH_OBS,
    agent_config,
    batch_size,
    fill_replay,
    make_update,
)
from mql.bench.timing import Call, Results, alternate, announce, medians
from mql.collecting.rollout import collect
from mql.config.loading import load_config
from mql.learning.replay import Replay
from mql.seeding import spawn_seeds
from mql.tasks.families.locomotion.cheetah_vel import CheetahVel, cheetah_vel

FAMILY = "cheetah-vel"
FLAT_FROM = 32  # tasks in parallel from which on the time of an env step should not depend on their number


@dataclass(frozen=True)
class Sizes:
    """What grows, each list from the smallest to the largest; `calls_per_round` is a multiple of `policy_delay`.

    `overrides` change the packaged configuration of the agent that acts.
    """

    context_lengths: tuple[int, ...] = (10, 20, 40, 80)
    buffers: tuple[int, ...] = (10_000, 100_000, 1_000_000)
    parallel: tuple[int, ...] = (8, 16, 32, 64, 128, 256, 512)
    hidden_sizes: tuple[int, ...] = (300, 300)
    policy_delay: int = 2
    paper_batch: int = batch_size("paper")
    fast_batch: int = batch_size("fast")
    tasks: int = 10
    episode_length: int = 200
    overrides: tuple[str, ...] = ()
    steps: int = 50
    calls_per_round: int = 6
    rounds: int = 5


FULL = Sizes()


def measure(threads: int, sizes: Sizes = FULL) -> Results:
    """Time the members of each of the three groups in turn."""
    announce(f"growth: updates with contexts of {sizes.context_lengths} steps, on {threads} threads")
    by_context = _time_updates(
        {str(length): _update_of_length(length, sizes) for length in sizes.context_lengths}, sizes
    )
    announce(f"growth: updates with replays of {sizes.buffers} transitions")
    buffers = {str(transitions): _update_of_buffer(transitions, sizes) for transitions in sizes.buffers}
    by_buffer = _time_updates(buffers, sizes)
    announce(f"growth: {sizes.steps} control steps of {sizes.parallel} tasks in parallel")
    by_parallel = _time_parallel(threads, sizes)
    flat = [
        speed for parallel, speed in zip(sizes.parallel, by_parallel.values(), strict=True) if parallel >= FLAT_FROM
    ]
    first_context, *_, last_context = by_context.values()
    first_buffer, *_, last_buffer = by_buffer.values()
    return {
        "update_ms_by_context_length": by_context,
        "update_ms_by_buffer": by_buffer,
        "env_steps_per_s_by_lanes": by_parallel,
        "context_length_exponent": math.log(last_context / first_context)
        / math.log(sizes.context_lengths[-1] / sizes.context_lengths[0]),
        "slowest_vs_fastest_from_32_lanes": max(flat) / min(flat),
        "largest_vs_smallest_buffer": last_buffer / first_buffer,
    }


def _time_updates(updates: dict[str, Call], sizes: Sizes) -> dict[str, float]:
    """Return the milliseconds of an update."""
    seconds = medians(alternate(updates, rounds=sizes.rounds, calls_per_round=sizes.calls_per_round))
    return {name: 1e3 * spent for name, spent in seconds.items()}


def _agent(profile: str, context_length: int, sizes: Sizes) -> Agent:
    config = agent_config(
        profile,
        context_dim=CHEETAH_CONTEXT_DIM,
        context_length=context_length,
        hidden_sizes=sizes.hidden_sizes,
        policy_delay=sizes.policy_delay,
    )
    return Agent(CHEETAH_OBS, CHEETAH_ACTION, config, seed=0)


def _replay(agent: Agent, transitions: int, sizes: Sizes) -> Replay:
    return fill_replay(
        obs_dim=CHEETAH_OBS,
        action_dim=CHEETAH_ACTION,
        context_dim=agent.state_dim,
        tasks=sizes.tasks,
        transitions=transitions,
        episode_length=sizes.episode_length,
    )


def _update_of_length(context_length: int, sizes: Sizes) -> Call:
    agent = _agent("paper", context_length, sizes)
    return make_update(agent, _replay(agent, sizes.buffers[len(sizes.buffers) // 2], sizes), sizes.paper_batch)


def _update_of_buffer(transitions: int, sizes: Sizes) -> Call:
    agent = _agent("fast", CHEETAH_CONTEXT_LENGTH, sizes)
    replay = _replay(agent, transitions, sizes)
    replay.refresh_states(agent.online.critic_encoder)
    return make_update(agent, replay, sizes.fast_batch)


def _time_parallel(threads: int, sizes: Sizes) -> dict[str, float]:
    """Return the env steps per second of each number of tasks in parallel, in episodes of `sizes.steps`."""
    family = replace(cheetah_vel(), episode_length=sizes.steps)
    agent = Agent(family.obs_dim, family.action_dim, load_config(FAMILY, overrides=sizes.overrides).agent, seed=0)
    collections = {str(parallel): _collection(agent, family, parallel, threads) for parallel in sizes.parallel}
    seconds = medians(alternate(collections, rounds=sizes.rounds))
    return {name: int(name) * sizes.steps / spent for name, spent in seconds.items()}


def _collection(agent: Agent, family: CheetahVel, parallel: int, threads: int) -> Call:
    tasks, seeds = family.tasks("train"), spawn_seeds(parallel, 0, "bench reset")
    return lambda: collect(agent, family, [tasks[i % len(tasks)] for i in range(parallel)], seeds, workers=threads)
