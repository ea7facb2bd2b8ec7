"""Which part of adaptation pays? One run, one split, several variants, at several ages of the meta-trained agent.

    python examples/compare_adaptations.py runs/narrow --split ood --checkpoints 64000 1280000 -o results/narrow

The control (all weights 1, lambda 0) is nothing but more meta-training: where it does as well as the full method, the
gain is not adaptation's. All variants see the same new episodes and are evaluated from the same reset seeds.

With --anneal-lr, meta-training first continues from each checkpoint for --anneal-steps at this smaller learning rate:
an agent that small steps alone no longer improve.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mql.adaptation.adapters import prepare
from mql.api.families import family_of
from mql.config.loading import override
from mql.evaluation.held_out import evaluate, summarize_results
from mql.runs.run_dir import RunDir
from mql.seeding import generator
from mql.training.meta_q_learning import load_trainer

VARIANTS = {
    "full method (lambda = 1 - ESS)": [],
    "lambda = 0": ["adapt.proximal_coef=0"],
    "step 1 only": ["adapt.step2_updates=0"],
    "control: weights 1, lambda 0, step 2 only": [
        "adapt.weights=uniform",
        "adapt.proximal_coef=0",
        "adapt.step1_updates=0",
    ],
    "control: weights 1, lambda 0": ["adapt.weights=uniform", "adapt.proximal_coef=0"],
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Evaluate every variant at every checkpoint and write table.md and table.json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--split", default="ood")
    parser.add_argument("--tasks", type=int, default=20)
    parser.add_argument("--episodes", type=int, default=1)
    parser.add_argument("--checkpoints", type=int, nargs="+", required=True)
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="applied to every variant")
    parser.add_argument("--anneal-lr", type=float)
    parser.add_argument("--anneal-steps", type=int, default=96_000)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--trust", action="store_true", help="run the Python of the run's own definition")
    options = parser.parse_args(arguments)

    run = RunDir.open_readonly(options.run)
    family = family_of(run, trust=options.trust)
    tasks = family.tasks(options.split)[: options.tasks]
    rows = []
    for checkpoint in options.checkpoints:
        slower = [f"agent.lr={options.anneal_lr}"] if options.anneal_lr else []
        trainer = load_trainer(run, family, override(run.config, slower), env_steps=checkpoint)
        if slower:
            while trainer.env_steps < checkpoint + options.anneal_steps:
                trainer.iterate()
        for name, changes in VARIANTS.items():
            config = override(run.config, [*options.set, *changes])
            results = evaluate(
                trainer.agent,
                family,
                tasks,
                evaluation_episodes=options.episodes,
                seed=int(generator(config.seed, "evaluate", options.split).integers(2**31)),
                meta=prepare(trainer.agent, trainer.replay, config.adapt),
                config=config.adapt,
            )
            reports = [result.report for result in results if result.report]
            aucs = [report["classifier_auc"] for report in reports if report["classifier_auc"] is not None]
            rows.append(
                {
                    "env_steps": trainer.env_steps,
                    "updates": trainer.updates,
                    "variant": name,
                    **summarize_results(results),
                    "normalized_ess": float(np.mean([report["normalized_ess"] for report in reports])),
                    "proximal_coef": float(np.mean([report["proximal_coef"] for report in reports])),
                    "classifier_auc": float(np.mean(aucs)) if aucs else None,
                    "adapt_seconds": float(np.mean([report["adapt_seconds"] for report in reports])),
                }
            )
            print(_line(rows[-1]), file=sys.stderr, flush=True)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "table.json").write_text(json.dumps(rows, indent=1) + "\n")
    head = "| env steps | variant | zero-shot | adapted | paired gain, 95 % interval | ESS | lambda | AUC |"
    lines = [head, "|---|---|---|---|---|---|---|---|", *map(_line, rows)]
    (options.out / "table.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


def _line(row: dict) -> str:
    low, high = row["gain"]["ci95"]
    auc = "-" if row["classifier_auc"] is None else f"{row['classifier_auc']:.3f}"
    return (
        f"| {row['env_steps']:,} | {row['variant']} | {row['zero_shot']['mean']:.1f} | {row['adapted']['mean']:.1f} "
        f"| {row['gain']['mean']:+.1f} [{low:+.1f}, {high:+.1f}] | {row['normalized_ess']:.3f} "
        f"| {row['proximal_coef']:.3f} | {auc} |"
    )


if __name__ == "__main__":
    main()
