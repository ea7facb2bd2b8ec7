"""What does it cost that the fast profile trains on short segments and acts with a state carried since the reset?

    python examples/compare_contexts.py runs/vel --lengths 8 16 32 64

One agent acts on the test tasks from the same reset seeds with the carried state, and with windows of the last H steps
(recomputed from an empty state, as training's segments see them). Prints mean returns and the paired differences.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import mql
from mql.evaluation.held_out import evaluate
from mql.evaluation.statistics import paired_gain


def main(arguments: Sequence[str] | None = None) -> None:
    """Evaluate one agent with several contexts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--lengths", type=int, nargs="+", default=[8, 16, 32, 64])
    parser.add_argument("--checkpoint", type=int)
    parser.add_argument("--episodes", type=int, default=1)
    parser.add_argument("--trust", action="store_true", help="run the Python of the run's own definition")
    options = parser.parse_args(arguments)

    run = mql.open_run(options.run, trust=options.trust)
    config, family, agent = run.config, run.family, run.agent(options.checkpoint)
    tasks = family.tasks("test")

    def returns() -> np.ndarray:
        results = evaluate(agent, family, tasks, evaluation_episodes=options.episodes, seed=config.seed)
        return np.array([np.mean([episode.episode_return for episode in r.zero_shot]) for r in results])

    agent.config = config.agent.model_copy(update={"context_mode": "carry"})
    carried = returns()
    print(f"carried since the reset: mean return {carried.mean():.1f} on {len(tasks)} tasks")
    for length in options.lengths:
        agent.config = config.agent.model_copy(update={"context_mode": "window", "context_length": length})
        windowed = returns()
        gain = paired_gain(windowed, carried)
        interval = " [{:+.1f}, {:+.1f}]".format(*gain["ci95"]) if gain["ci95"] else ""
        difference = f"carried is {gain['mean']:+.1f}{interval} (n = {gain['n']})"
        print(f"window of {length:3d} steps: {windowed.mean():.1f}; {difference}")


if __name__ == "__main__":
    main()
