"""How many environment steps a second does collection make in every family, beside a single Gymnasium environment?

    python examples/measure_families.py --threads 2 -o results/performance/families.json

Collection is the one that training uses: an untrained fast-profile agent acts; parallel families step 32 tasks side
by side, all others play whole episodes in worker processes. The peer is one environment in a loop with random actions
and no agent: Gymnasium's own of the same robot for parallel families, else the very environment that the family wraps.
Both take turns. The machine should be idle. Prints a table in Markdown, and writes the figures as JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import gymnasium
import gymnasium_robotics
import numpy as np

from mql.agent.agent import Agent
from mql.api.families import family_of, find_family
from mql.collecting.rollout import collect
from mql.config.loading import load_config
from mql.runs.run_dir import RunDir
from mql.seeding import spawn_seeds
from mql.tasks import names
from mql.tasks.family import TaskFamily
from mql.threads import limit_threads

PARALLEL_TASKS = 32
EPISODES_PER_WORKER = 1
ROUNDS = 3
PEER_SECONDS = 0.3  # a peer steps for at least this long in each round

# Whose robot a parallel family moves, or whose task it does with another: the beginning of its name, the environment.
ROBOTS = {
    "arm-reach": "FetchReach-v4",
    "arm-push": "FetchPush-v4",
    "ant": "Ant-v5",
    "cheetah": "HalfCheetah-v5",
    "hopper": "Hopper-v5",
    "humanoid": "Humanoid-v5",
    "reacher": "Reacher-v5",
    "walker": "Walker2d-v5",
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the families named, or all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("families", nargs="*", help="names, or definitions or runs whose Python you trust")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args(arguments)
    limit_threads(options.threads)
    gymnasium.register_envs(gymnasium_robotics)
    rows = []
    print("| family | collection, env steps/s | single environment, env steps/s | ratio |")
    print("| --- | ---: | ---: | ---: |")
    for name in options.families or names():
        row = measure(find(name), options.threads)
        rows.append(row)
        single = f"{row['single']:,.0f} ({row['peer']})"
        print(f"| {row['family']} | {row['collection']:,.0f} | {single} | {row['ratio']:.1f} |")
        sys.stdout.flush()
        if options.output:  # after every family: a long measurement loses nothing
            options.output.write_text(json.dumps({"threads": options.threads, "families": rows}, indent=1) + "\n")


def find(target: str) -> TaskFamily:
    """Return the family of a name, a definition's file or a run directory."""
    if target not in names() and Path(target).is_dir():
        return family_of(RunDir.open_readonly(target), trust=True)
    return find_family(target, trust=True)


def measure(family: TaskFamily, threads: int) -> dict[str, Any]:
    """Return one family's figures: medians over rounds in which both take turns."""
    agent = Agent(family.obs_dim, family.action_dim, load_config(family.name).agent, seed=0)
    parallel = PARALLEL_TASKS if family.native else EPISODES_PER_WORKER * threads
    tasks = family.sample("train", parallel, np.random.default_rng(0))
    seeds = spawn_seeds(parallel, 0, "measure")
    ours = family.native and family.name in names()
    robots = (env_id for robot, env_id in ROBOTS.items() if ours and family.name.startswith(robot))
    peer_name = next(robots, "")
    peer = gymnasium.make(peer_name) if peer_name else family.make(tasks[0])
    inner: gymnasium.Env[Any, Any] = peer if peer_name or family.native else peer.inner  # type: ignore[attr-defined]
    if inner is not peer:
        peer.reset(seed=0)  # tells the environment its task
    collect(agent, family, tasks[:threads], seeds[:threads], workers=threads)  # builds environments, starts processes
    collection, single = [], []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        episodes = collect(agent, family, tasks, seeds, workers=threads)
        collection.append(sum(episode.length for episode in episodes) / (time.perf_counter() - begun))
        single.append(step_alone(inner))
    peer.close()
    return {
        "family": family.name,
        "native": family.native,
        "collection": median(collection),
        "single": median(single),
        "ratio": median(collection) / median(single),
        "peer": peer_name or ("the family's own" if family.native else "the wrapped one"),
    }


def step_alone(env: gymnasium.Env[Any, Any]) -> float:
    """Return the env steps per second of one environment in a loop, resets included."""
    env.action_space.seed(0)
    actions: Sequence[Any] = [env.action_space.sample() for _ in range(200)]
    env.reset(seed=0)
    steps, begun = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - begun) < PEER_SECONDS:
        *_, terminated, truncated, _ = env.step(actions[steps % len(actions)])
        steps += 1
        if terminated or truncated:
            env.reset()
    return steps / elapsed


if __name__ == "__main__":
    main()
