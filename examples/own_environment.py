"""Meta-train on an environment of your own: Gymnasium's Pendulum, whose gravity the agent is not told.

    python examples/own_environment.py runs/pendulum

Takes about three minutes. Everything that `mql train` does works here too: the run directory, its checkpoints, and the
evaluation on held-out tasks, zero-shot and adapted. With environments of yours: one function that builds one, and the
distributions of what varies.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

import gymnasium

from mql import load_config, tasks
from mql.runs.run_dir import RunDir
from mql.tasks.distributions import Uniform
from mql.tasks.parameter import Parameter
from mql.training import loop as meta_train

SETTINGS = {
    "collect.workers": 2,  # processes that play episodes
    "agent.discount": 0.95,
    "train.env_steps": 60_000,
    "train.random_steps": 10_000,
    "train.batch_size": 256,
    "train.env_steps_per_update": 6,
    "adapt.batch_size": 256,
    "adapt.step2_updates": 50,
}


def main() -> None:
    """Make the family, train on it, and say how held-out tasks go."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--set", dest="settings", nargs="*", default=[], metavar="KEY=VALUE")
    options = parser.parse_args()

    gravity = Parameter(distribution=Uniform(5.0, 15.0), unit="m/s^2", doc="gravity", bounds=(0.0, 100.0))
    family = tasks.from_gymnasium(
        partial(gymnasium.make, "Pendulum-v1"), {"g": gravity}, name="pendulum-gravity", control_timestep=0.05
    )
    tasks.add(family)  # so that load_config, mql.tasks.load and a later evaluation in this process find it by name
    settings = [f"{key}={value}" for key, value in SETTINGS.items()]
    config = load_config("pendulum-gravity", overrides=[*settings, *options.settings], families=tasks.names())
    splits = {split: [task.to_json() for task in family.tasks(split)] for split in family.splits}
    with RunDir.create(options.run, config=config, tasks=splits, command=["examples/own_environment.py"]) as run:
        record = meta_train(config, family, run)
    summary = record["summary"]
    print(f"{len(record['tasks'])} held-out gravities: return {summary['zero_shot']['mean']:.0f} zero-shot")
    print(f"after one episode and adaptation: {summary['adapted']['mean']:.0f}")


if __name__ == "__main__":
    main()
