"""`mql bench p3o`: P3O's env steps, acting and learning included, beside Gymnasium's environment with random actions.

Lanes are shared out to as many worker processes as there are threads, as `collect.workers: auto` does in training.
"""

from __future__ import annotations

from dataclasses import dataclass

import gymnasium
import numpy as np

from mql.bench.timing import Call, Results, alternate, announce, medians
from mql.config.loading import load_config
from mql.p3o.learning import P3OLearning
from mql.seeding import generator
from mql.tasks import registry


@dataclass(frozen=True)
class Sizes:
    """The method's defaults. A turn is `iterations` of them, after `warm_up`, which fill the replay off policy."""

    environment: str = "HalfCheetah-v5"
    settings: tuple[str, ...] = ()
    warm_up: int = 25
    iterations: int = 20
    rounds: int = 7


FULL = Sizes()


def measure(threads: int, sizes: Sizes = FULL) -> Results:
    """Time iterations, and as many steps of one of the environments, in turn."""
    overrides = [*sizes.settings, f"threads={threads}", "train.env_steps=1000000000"]
    config = load_config(sizes.environment, overrides=overrides, method="p3o")
    learning = P3OLearning(config, registry.load(sizes.environment))
    try:
        announce(f"p3o: {sizes.warm_up} iterations of {sizes.environment} first, with {config.workers} workers")
        for _ in range(sizes.warm_up):
            learning.iterate()
        parts: list[tuple[float, float]] = []  # seconds of collection and of updates
        begun, updates = learning.env_steps, learning.updates

        def iterate() -> None:
            for _ in range(sizes.iterations):
                iteration = learning.iterate()
                parts.append((iteration.collect_seconds, iteration.update_seconds))

        announce(f"p3o: {sizes.rounds} rounds of {sizes.iterations} iterations each, on {threads} threads")
        steps = sizes.iterations * config.p3o.lanes * config.p3o.steps
        random = _random_steps(sizes.environment, steps)
        seconds = medians(alternate({"p3o": iterate, "gymnasium": random}, rounds=sizes.rounds))
    finally:
        learning.lanes.close()
    collecting, updating = np.median(parts, axis=0)
    return {
        "family": sizes.environment,
        "env_steps_per_s": steps / seconds["p3o"],
        "vs_gymnasium": seconds["gymnasium"] / seconds["p3o"],
        "gymnasium_env_steps_per_s": steps / seconds["gymnasium"],
        "iteration": {
            "collect_ms": 1e3 * float(collecting),
            "update_ms": 1e3 * float(updating),
            "env_steps": config.p3o.lanes * config.p3o.steps,
            "updates_per_iteration": (learning.updates - updates) / len(parts),
        },
        "updates_per_s": (learning.updates - updates) / (learning.env_steps - begun) * steps / seconds["p3o"],
        "workers": config.workers,
    }


def _random_steps(name: str, steps: int) -> Call:
    """Return a call that makes `steps` of one environment with random actions, which are drawn before."""
    environment = gymnasium.make(name)
    environment.action_space.seed(int(generator(0, "bench actions").integers(2**31)))
    actions = [environment.action_space.sample() for _ in range(steps)]
    environment.reset(seed=0)

    def play() -> None:
        for action in actions:
            _, _, terminated, truncated, _ = environment.step(action)
            if terminated or truncated:
                environment.reset()

    return play
