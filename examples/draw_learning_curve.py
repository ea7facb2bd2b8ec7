"""Draw a run's learning curve, and keep what it was drawn from.

    python examples/draw_learning_curve.py runs/vel -o drawn/vel
    python examples/draw_learning_curve.py drawn/vel --random

Writes curve.png, and copies config.yaml, environment.json and evaluations.jsonl beside it; without -o, a run or an
earlier result is drawn where it is. New runs hold what random actions get. For an older one, --random plays them in the
curve's tasks and keeps their returns in random.json.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from mql.agent.agent import Agent
from mql.api.families import check_unchanged, family_of
from mql.config.schema import Config, EvaluateConfig
from mql.errors import UserError
from mql.report.curves import draw_training
from mql.runs.definition import kept_definition
from mql.runs.machine import describe_environment
from mql.runs.run_dir import RunDir
from mql.tasks import from_file, load
from mql.tasks.family import TaskFamily
from mql.training.records import measure_agent


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw one run into a folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("-o", "--out", type=Path)
    parser.add_argument("--random", action="store_true", help="play random actions where the run has none")
    parser.add_argument("--family", type=Path, help="the run's definition file, for a result that keeps no copy of it")
    parser.add_argument("--trust", action="store_true", help="run the Python of the run's own definition")
    options = parser.parse_args(arguments)

    run = RunDir.open_readonly(options.run)
    out = options.out or run.path
    out.mkdir(parents=True, exist_ok=True)
    evaluations = run.read_evaluations()
    if not evaluations:
        raise SystemExit(f"error: the run has no evaluation yet ({run.path}): wait for the first one")
    settings = _settings(run)
    by_chance = run.path / "random.json"
    if options.random and not any(row.get("random_return") is not None for row in evaluations[0]["tasks"]):
        by_chance = out / "random.json"
        by_chance.write_text(json.dumps(random_actions(run, _family(run, options)), indent=1) + "\n")
    if by_chance.exists():
        rows = json.loads(by_chance.read_text())["tasks"]
        evaluations[0]["tasks"] = [a | b for a, b in zip(evaluations[0]["tasks"], rows, strict=True)]
    tasks = "the training tasks themselves" if evaluations[-1]["shared_splits"] else "held-out tasks"
    draw_training(
        out / "curve.png",
        run.read_metrics() if (run.path / "metrics.jsonl").exists() else [],
        evaluations,
        finished=evaluations[-1]["env_steps"] >= settings["train"]["env_steps"],
        title=f"{settings['family']} ({settings['profile']}, seed {settings['seed']}): return on {tasks}",
    )
    if out.resolve() != run.path.resolve():
        for name in ("config.yaml", "environment.json", "evaluations.jsonl", "random.json"):
            if (run.path / name).exists():
                shutil.copy(run.path / name, out / name)


def random_actions(run: RunDir, family: TaskFamily) -> dict[str, Any]:
    """Play random actions in the tasks of the run's first evaluation, from the starts that its agent had there."""
    settings, first = _settings(run), run.read_evaluations()[0]
    evaluate = EvaluateConfig(evaluation_episodes=settings["evaluate"]["evaluation_episodes"])
    config = Config(family=family.name, seed=settings["seed"], evaluate=evaluate)
    tasks = family.tasks(first["split"])[: len(first["tasks"])]
    if [task.to_json() for task in tasks] != [row["parameters"] for row in first["tasks"]]:
        raise UserError("the family's tasks have changed since", where=str(run.path), mend="use the version of the run")
    fresh = Agent(family.obs_dim, family.action_dim, config.agent, seed=0)
    results = measure_agent(fresh, family, tasks, config=config, split=first["split"], with_random=True)
    keys = ("parameters", "random_return", "random_success")
    commit = describe_environment([])["git_commit"]
    return {
        "git_commit": commit,
        "tasks": [{key: row[key] for key in keys} for row in (result.to_json() for result in results)],
    }


def _settings(run: RunDir) -> dict[str, Any]:
    """Read a run's configuration as it stands: a result may have keys that only an earlier version knew."""
    return dict(yaml.safe_load((run.path / "config.yaml").read_text()))


def _family(run: RunDir, options: argparse.Namespace) -> TaskFamily:
    if options.family is None:
        kept = kept_definition(run.path)
        return family_of(run, trust=options.trust) if kept else load(_settings(run)["family"])
    kept = kept_definition(run.path)
    if kept is not None:
        check_unchanged(kept, options.family, mend="give the definition that the run was made with")
    return from_file(options.family, trust=options.trust)


if __name__ == "__main__":
    main()
