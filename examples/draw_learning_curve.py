"""Draw a run's learning curve, and keep what it was drawn from.

    python examples/draw_learning_curve.py runs/vel -o results/cheetah-vel

Writes curve.png, and copies config.yaml, environment.json and evaluations.jsonl beside it.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from mql.report.curves import draw_training
from mql.runs.run_dir import RunDir


def main() -> None:
    """Draw one run into a folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True)
    options = parser.parse_args()

    run = RunDir.open_readonly(options.run)
    options.out.mkdir(parents=True, exist_ok=True)
    evaluations = run.read_evaluations()
    tasks = "the training tasks themselves" if evaluations[-1]["shared_splits"] else "held-out tasks"
    title = f"{run.config.family} ({run.config.profile}, seed {run.config.seed}): return on {tasks}"
    draw_training(options.out / "curve.png", run.read_metrics(), evaluations, title=title)
    for name in ("config.yaml", "environment.json", "evaluations.jsonl"):
        shutil.copy(run.path / name, options.out / name)


if __name__ == "__main__":
    main()
