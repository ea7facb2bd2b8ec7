"""The main job on real physics in a few minutes: ``python -m mql.cli.quickstart``.

Meta-trains on reacher-goal with its default experiment, then compares three agents on held-out targets, which none of
them sees: untrained (random parameters), zero-shot (what the rewards of the running episode tell, no gradient step) and
adapted (within a budget of five episodes, and only where it did better). Writes ``runs/quickstart``: the run,
``report.png`` and ``summary.json``. Another call replaces it.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from mql.api.display import Display
from mql.api.families import source_of
from mql.api.training import Job, create_run
from mql.config.loading import load_config
from mql.errors import UserError
from mql.files import to_json, write_atomic
from mql.learning.trainer import Trainer
from mql.report.curves import draw_quickstart
from mql.runs.run_dir import RunDir
from mql.threads import keep_freed_memory, limit_threads
from mql.training.loop import Interrupted
from mql.training.meta_q_learning import evaluation_record
from mql.types import JSON

FAMILY = "reacher-goal"
RUN = Path("runs") / "quickstart"
STAGES = {"untrained": "untrained", "zero_shot": "zero-shot", "adapted": "adapted"}

Record = Mapping[str, JSON]


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
    config = load_config(FAMILY, overrides=overrides)
    limit_threads(config.threads)
    run = create_run(config, path, replace=True)
    with Job(run, config, source_of(run)) as job:
        family = job.family
        targets = family.tasks(config.evaluate.split)[: config.evaluate.final_tasks]
        fresh = Trainer(config, family).agent  # the parameters that training starts from
        untrained = evaluation_record(config, family, targets, fresh, None, split=config.evaluate.split)
        print(
            f"an arm learns to reach targets that it cannot see; then it is tested on {len(targets)} new ones",
            file=sys.stderr,
        )
        with Display(job.run, config) as display:
            last = job.train(display)
        stages = {
            "untrained": _stage(untrained["tasks"], "zero_shot"),
            "zero_shot": _stage(last["tasks"], "zero_shot"),
            "adapted": _stage(last["tasks"], "adapted"),
        }
        summary = {"seconds": time.perf_counter() - begun, **{name: _means(stage) for name, stage in stages.items()}}
        summary["tasks"] = len(targets)
        _draw(job.run, stages)
        write_atomic(job.run.path / "summary.json", to_json(summary, indent=1))
    _print(summary, path)
    return summary


def _stage(rows: Sequence[Record], policy: str) -> dict[str, list[float]]:
    """Of one policy, per task: return, distance to the target at the end (m), share of episodes that solved it."""
    return {
        "return": [row[f"{policy}_return"] for row in rows],
        "final_distance": [row[f"{policy}_final"]["distance"] for row in rows],
        "success": [row[f"{policy}_success"] for row in rows],
    }


def _means(stage: Mapping[str, list[float]]) -> dict[str, JSON]:
    return {
        "return": float(np.mean(stage["return"])),
        "final_distance": float(np.mean(stage["final_distance"])),
        "tasks_solved": sum(share >= 0.5 for share in stage["success"]),
    }


def _draw(run: RunDir, stages: Mapping[str, Mapping[str, list[float]]]) -> None:
    distances = {f"{name}_distance": stage["final_distance"] for name, stage in stages.items()}
    rows = [dict(zip(distances, values, strict=True)) for values in zip(*distances.values(), strict=True)]
    draw_quickstart(
        run.path / "report.png",
        run.read_evaluations(),
        rows,
        metrics=run.read_metrics(),
        title=f"{FAMILY}: held-out targets that the agent cannot see",
    )


def _print(summary: Record, path: Path) -> None:
    table = Table(title=f"{summary['tasks']} held-out targets", title_justify="left")
    table.add_column("agent")
    for title in ("return", "final distance", "targets reached"):
        table.add_column(title, justify="right")
    for name, label in STAGES.items():
        row = summary[name]
        reached = f"{row['tasks_solved']} of {summary['tasks']}"
        table.add_row(label, f"{row['return']:.2f}", f"{100 * row['final_distance']:.1f} cm", reached)
    Console(highlight=False).print(table)
    print(f"{summary['seconds'] / 60:.1f} minutes; the learning curve and all targets are in {path / 'report.png'}")


if __name__ == "__main__":
    main()
