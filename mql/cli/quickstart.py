"""The main job on real physics in a few minutes: ``python -m mql.cli.quickstart``.

Meta-trains on reacher-goal-narrow with its default experiment: an arm learns to reach targets near its shoulder, which
it can't see. Then held-out targets among these, and targets outside: random actions, zero-shot (what the rewards of the
running episode tell, no gradient step) and adapted (within a budget of a few episodes, and only where it did better).
Writes ``runs/quickstart``: the run, ``report.png`` and ``summary.json``. Another call replaces it.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from mql.api.display import Display
from mql.api.families import source_of
from mql.api.run import open_run
from mql.api.training import Job, create_run
from mql.cli.task_bar import task_bar
from mql.config.loading import load_config
from mql.errors import UserError
from mql.files import to_json, write_atomic
from mql.report.curves import draw_quickstart
from mql.runs.run_dir import RunDir
from mql.threads import keep_freed_memory, limit_threads
from mql.training.loop import Interrupted
from mql.types import JSON

FAMILY = "reacher-goal-narrow"
CORES = 2  # that are used, where there are so many: targets are adapted to in parallel
RUN = Path("runs") / "quickstart"
STAGES = ("random", "zero_shot", "adapted")
GROUPS = {"inside": "held-out targets", "outside": "targets outside the training range"}

Record = Mapping[str, JSON]
Stages = Mapping[str, Mapping[str, list[float]]]  # by stage: figures by name, one for each task


def main() -> None:
    """Run the quickstart, and end the process with its exit status."""
    try:
        quickstart(RUN)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except (Interrupted, KeyboardInterrupt):
        again = f"mql train {FAMILY} --run-dir {RUN} --resume"
        print(f"stopped; start over with make quickstart, or continue with {again}", file=sys.stderr)
        sys.exit(130)


def quickstart(path: Path, *, overrides: Sequence[str] = ()) -> dict[str, JSON]:
    """Train, evaluate, print the table and write report and summary into the run directory `path`.

    Args:
        path: replaced, if it is an earlier run.
        overrides: ``key=value`` texts as of ``--set``, for a smaller experiment.

    Returns:
        What ``summary.json`` holds.
    """
    begun = time.perf_counter()
    keep_freed_memory()
    threads = min(os.cpu_count() or 1, CORES)
    config = load_config(FAMILY, overrides=[f"threads={threads}", *overrides])
    limit_threads(config.threads)
    run = create_run(config, path, replace=True)
    with Job(run, config, source_of(run)) as job:
        print("an arm learns to reach targets that it cannot see; then it is tested on new ones", file=sys.stderr)
        with Display(job.run, config) as display:
            inside = job.train(display)
        print("and on targets farther away than any in training", file=sys.stderr)
        with task_bar("adapting") as on_task:
            outside = open_run(path).evaluate(split="ood", on_task=on_task)
        groups = {name: _stages(record["tasks"]) for name, record in zip(GROUPS, (inside, outside), strict=True)}
        summary: dict[str, JSON] = {
            "seconds": time.perf_counter() - begun,
            "episodes": config.adapt.adaptation_episodes,
            **{name: _means(stages) for name, stages in groups.items()},
        }
        _draw(job.run, groups)
        write_atomic(job.run.path / "summary.json", to_json(summary, indent=1))
    _print(summary, path)
    return summary


def _stages(rows: Sequence[Record]) -> Stages:
    """Of each stage, per task: return, distance to the target at the end (m), share of episodes that solved it."""
    return {
        stage: {
            "return": [row[f"{stage}_return"] for row in rows],
            "final_distance": [row[f"{stage}_final"]["distance"] for row in rows],
            "success": [row[f"{stage}_success"] for row in rows],
        }
        for stage in STAGES
    }


def _means(stages: Stages) -> dict[str, JSON]:
    means: dict[str, JSON] = {"tasks": len(stages["zero_shot"]["return"])}
    for stage, values in stages.items():
        means[stage] = {
            "return": float(np.mean(values["return"])),
            "final_distance": float(np.mean(values["final_distance"])),
            "tasks_solved": sum(share >= 0.5 for share in values["success"]),
        }
    return means


def _draw(run: RunDir, groups: Mapping[str, Stages]) -> None:
    distances = {
        title: {stage: groups[name][stage]["final_distance"] for stage in STAGES} for name, title in GROUPS.items()
    }
    draw_quickstart(
        run.path / "report.png",
        run.read_evaluations(),
        distances,
        metrics=run.read_metrics(),
        title=f"{FAMILY}: an arm and targets that it cannot see",
    )


def _print(summary: Record, path: Path) -> None:
    """Print distances, and how many targets were reached, of random actions and of the agent before and after."""
    table = Table(title="final distance to the target (targets reached)", title_justify="left")
    table.add_column("")
    for title in ("random", "zero-shot", f"adapted, {summary['episodes']} episodes"):
        table.add_column(title, justify="right")
    for name, title in GROUPS.items():
        group = summary[name]
        cells = [f"{100 * group[stage]['final_distance']:.1f} cm ({group[stage]['tasks_solved']})" for stage in STAGES]
        table.add_row(f"{group['tasks']} {title}", *cells)
    Console(highlight=False).print(table)
    print(f"{summary['seconds'] / 60:.1f} minutes; the learning curve and all targets are in {path / 'report.png'}")


if __name__ == "__main__":
    main()
