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

import mql
from mql import tasks
from mql.config.loading import parse_overrides
from mql.tasks.distributions import Uniform
from mql.tasks.parameter import Parameter

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
    changes = {key: given.value for key, given in parse_overrides(options.settings).items()}
    run = mql.train(family, run_dir=options.run, settings={**SETTINGS, **changes}, progress=True)
    assert run.result
    zero_shot, adapted = run.result["summary"]["zero_shot"]["mean"], run.result["summary"]["adapted"]["mean"]
    print(f"{len(run.result['tasks'])} held-out gravities: return {zero_shot:.0f} zero-shot")
    print(f"after one episode and adaptation: {adapted:.0f}")


if __name__ == "__main__":
    main()
