"""Which way to adapt helps, where, and from how many episodes? Several runs, one split, many methods and budgets.

    python examples/study_adaptation.py play runs/narrow-s1 runs/narrow-s2 --split ood -o results/adaptation/narrow
    python examples/study_adaptation.py headroom runs/narrow-s1 --split ood -o results/adaptation/narrow
    python examples/study_adaptation.py report results/adaptation/narrow

`play` writes a line for every (run, variant, budget) into cells.jsonl, and leaves out those that are there: a study
that was stopped goes on, and one core each can be given to several calls with runs of their own and one folder each.
Evaluation resets are the same for every run. `--draw velocity=3:4` draws tasks from other ranges than the split's own,
and `--split` is then no more than their name. `headroom` goes on with meta-training on the split's own tasks, as an
upper bound. `report` writes table.md, table.json and curves.png: intervals are over runs and tasks, resampled together.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import mql
from mql.adaptation.adapters import prepare
from mql.config.loading import override
from mql.evaluation.held_out import TaskResult, evaluate
from mql.learning.trainer import Trainer
from mql.runs.machine import describe_environment
from mql.tasks.distributions import Uniform
from mql.tasks.family import Split, Task, TaskFamily
from mql.training.meta_q_learning import meta_training
from mql.types import Episode

SEED = 20_000  # of evaluation and adaptation, whatever the run's own
OPEN = ["adapt.gate=false"]
OLD = ["adapt.method=finetune", "adapt.gate=false", "adapt.old_fraction=1"]
HALF = ["adapt.method=finetune", "adapt.gate=false", "adapt.old_fraction=0.5"]
VARIANTS: Mapping[str, Sequence[str]] = {
    "context only": ["adapt.method=context"],
    "carried context": ["adapt.method=context", "adapt.carry_episodes=true"],
    "paper": ["adapt.method=paper"],
    "more training": [*OLD, "adapt.old=uniform"],
    "old, selected": [*OLD, "adapt.old=propensity"],
    "old, permuted": [*OLD, "adapt.old=permuted"],
    "new data": ["adapt.method=finetune", *OPEN],
    "half old, uniform": [*HALF, "adapt.old=uniform"],
    "half old, selected": [*HALF, "adapt.old=propensity"],
    "half old, permuted": [*HALF, "adapt.old=permuted"],
    "search": ["adapt.method=search"],
    "finetune": ["adapt.method=finetune"],
    "relabel, found": ["adapt.method=relabel", "adapt.accept_unseen=true"],
    "relabel, known": ["adapt.method=relabel", "adapt.reward=known", "adapt.accept_unseen=true"],
    "simulate": ["adapt.method=simulate"],
    "auto": ["adapt.method=auto"],
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Play cells, measure headroom, or report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("play", "headroom"):
        command = commands.add_parser(name)
        command.add_argument("runs", type=Path, nargs="+")
        command.add_argument("--split", default="ood")
        command.add_argument("--tasks", type=int, default=20)
        command.add_argument("--draw", nargs="*", default=[], metavar="NAME=LOW:HIGH", help="ranges to draw tasks from")
        command.add_argument("--draw-seed", type=int, default=1, help="another one draws others")
        command.add_argument("--episodes", type=int, default=4)
        command.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="applied to every cell")
        command.add_argument("--label", default="", help="put behind the variants' names, where --set is used")
        command.add_argument("--trust", action="store_true", help="run the Python of the runs' own definitions")
        command.add_argument("-o", "--out", type=Path, required=True)
        if name == "play":
            command.add_argument("--variants", nargs="*", default=list(VARIANTS), choices=list(VARIANTS))
            command.add_argument("--budgets", type=int, nargs="+", default=[1, 5, 20])
        else:
            command.add_argument("--env-steps", type=int, default=96_000)
    report = commands.add_parser("report")
    report.add_argument("out", type=Path)
    options = parser.parse_args(arguments)
    if options.command == "report":
        write_report(options.out)
        return
    options.out.mkdir(parents=True, exist_ok=True)
    cells = options.out / "cells.jsonl"
    for path in options.runs:
        play(path, options, cells) if options.command == "play" else measure_headroom(path, options, cells)


def play(path: Path, options: argparse.Namespace, cells: Path) -> None:
    """Evaluate every variant at every budget that is not there yet."""
    run = mql.open_run(path, trust=options.trust)
    trainer, tasks = run.load().trainer, tasks_of(run.family, options)
    done = {key_of(cell): cell for cell in read(cells)}
    for name in options.variants:
        for budget in options.budgets:
            key = (run.config.seed, options.split, name + options.label, budget)
            settings = [*options.set, *VARIANTS[name], f"adapt.adaptation_episodes={budget}"]
            if key in done:
                check_same(done[key], run, options, settings)
                continue
            config = override(run.config, settings)
            begun = time.perf_counter()
            results = evaluate(
                trainer.agent,
                run.family,
                tasks,
                evaluation_episodes=options.episodes,
                seed=SEED,
                adaptation=prepare(meta_training(trainer), config.adapt),
                workers=config.workers,
            )
            append(cells, key, run, options, results, settings, seconds=time.perf_counter() - begun)


def measure_headroom(path: Path, options: argparse.Namespace, cells: Path) -> None:
    """Go on with training on the tasks of the split themselves, from the run's agent, and evaluate that."""
    run = mql.open_run(path, trust=options.trust)
    key = (run.config.seed, options.split, "headroom", 0)
    for cell in read(cells):
        if key_of(cell) == key:
            check_same(cell, run, options, [])
            return
    begun, agent = time.perf_counter(), run.load().trainer.agent
    tasks = tasks_of(run.family, options)
    specialist = gone_on(run, options, tasks)
    before = evaluate(agent, run.family, tasks, evaluation_episodes=options.episodes, seed=SEED)
    after = evaluate(specialist.agent, run.family, tasks, evaluation_episodes=options.episodes, seed=SEED)
    results = [replace(one, adapted=other.zero_shot) for one, other in zip(before, after, strict=True)]
    append(cells, key, run, options, results, [], seconds=time.perf_counter() - begun)


def tasks_of(family: TaskFamily, options: argparse.Namespace) -> Sequence[Task]:
    """Return the split's first tasks or, with ``--draw``, as many drawn with these ranges in place of the family's."""
    if not options.draw:
        return family.tasks(options.split)[: options.tasks]
    override = {}
    for text in options.draw:
        name, _, ends = text.partition("=")
        low, _, high = ends.partition(":")
        override[name] = Uniform(float(low), float(high))
    drawn = Split(n=options.tasks, seed=options.draw_seed, override=override)
    return replace(family, splits={**family.splits, "drawn": drawn}).tasks("drawn")


def gone_on(run: mql.Run, options: argparse.Namespace, tasks: Sequence[Task]) -> Trainer:
    """Return a trainer that went on from the run's agent for ``env_steps`` on `tasks` themselves, at falling rates.

    Its first episodes have random actions: standardised inputs ask for some, although their scale is the run's.
    """
    steps = options.env_steps
    lengths = [f"train.env_steps={steps}", f"train.anneal_steps={steps // 2}", "train.random_steps=1"]
    config = override(run.config, [*options.set, *lengths])
    listed = tuple(task.parameters for task in tasks)
    family: TaskFamily = replace(run.family, splits={"train": Split(listed=listed)})
    trainer = Trainer(config, family)
    old = run.load().trainer
    trainer.agent.load_tensors(dict(old.agent.named_tensors()))
    trainer.learner.load_optimizer_tensors(old.learner.optimizer_tensors())
    while trainer.env_steps < steps:
        trainer.iterate()
    return trainer


def check_same(cell: Mapping[str, Any], run: mql.Run, options: argparse.Namespace, settings: Sequence[str]) -> None:
    """End the program where a cell that is there already was made in another way than is asked for now."""
    was = {name: cell[name] for name in ("family", "episodes", "settings", "draw")} | {"tasks": len(cell["tasks"])}
    asked = {
        "family": run.family.name,
        "episodes": options.episodes,
        "settings": list(settings),
        "draw": drawn(options),
    }
    for name, value in {**asked, "tasks": options.tasks}.items():
        if was[name] != value:
            what = f"{cell['variant']}, seed {cell['seed']}, is there with {name} {was[name]}, not {value}"
            sys.exit(f"error: {options.out}: {what}; use another folder, --split or --label")


def drawn(options: argparse.Namespace) -> list[str]:
    """Return the ranges that tasks are drawn from, and how; empty: the split's own."""
    return [*options.draw, f"seed {options.draw_seed}"] if options.draw else []


def append(
    cells: Path,
    key: tuple[int, str, str, int],
    run: mql.Run,
    options: argparse.Namespace,
    results: Sequence[TaskResult],
    settings: Sequence[str],
    *,
    seconds: float,
) -> None:
    """Write a cell, and a line of it for people."""
    seed, split, variant, budget = key
    rows = [result.to_json() for result in results]
    kept = (
        "zero_shot_return",
        "adapted_return",
        "zero_shot_success",
        "adapted_success",
        "zero_shot_final",
        "adapted_final",
    )
    told = ("fault", "episodes_charged", "accepted", "distance_moved", "adapt_seconds", "rounds", "reward_r2", "by")
    cell = {
        "family": run.family.name,
        "seed": seed,
        "split": split,
        "variant": variant,
        "budget": budget,
        "env_steps": run.load().trainer.env_steps,
        "episodes": options.episodes,
        "settings": list(settings),
        "commit": commit(),
        "draw": drawn(options),
        "tasks": [{name: row[name] for name in (*kept, *told) if name in row} for row in rows],
        # Of every task, the returns one by one: whether a loss is larger than its own noise.
        "pairs": [[returns_of(result.zero_shot), returns_of(result.adapted or [])] for result in results],
        "seconds": seconds,
    }
    with cells.open("a") as file:
        file.write(json.dumps(cell) + "\n")
    gains = [row["adapted_return"] - row["zero_shot_return"] for row in rows if row.get("adapted_return") is not None]
    outcome = f"{np.mean(gains):+8.2f}, worst {min(gains):+.1f}" if gains else "every adaptation failed"
    text = f"{run.family.name} seed {seed} {split} {variant:20} {budget:3} episodes: {outcome}"
    print(f"{text}, {seconds:.0f} s", file=sys.stderr, flush=True)


def returns_of(episodes: Sequence[Episode]) -> list[float]:
    """Return the episodes' returns."""
    return [episode.episode_return for episode in episodes]


def commit() -> str:
    """Return the commit that the program is, with a plus where something was changed since."""
    facts = describe_environment([])
    return f"{facts['git_commit']}{'+' if facts['git_changes'] else ''}"


def read(cells: Path) -> list[dict[str, Any]]:
    """Return the cells that are there."""
    return [json.loads(line) for line in cells.read_text().splitlines()] if cells.exists() else []


def key_of(cell: Mapping[str, Any]) -> tuple[int, str, str, int]:
    """Return what makes a cell another one."""
    return cell["seed"], cell["split"], cell["variant"], cell["budget"]


def write_report(out: Path) -> None:
    """Write what `mql.report.adaptation` makes of the cells of a folder."""
    from mql.report.adaptation import draw_budgets, tables

    cells = [cell for path in sorted(out.glob("cells*.jsonl")) for cell in read(path)]
    text, rows = tables(cells)
    (out / "table.md").write_text(text)
    (out / "table.json").write_text(json.dumps(rows, indent=1) + "\n")
    for split in dict.fromkeys(cell["split"] for cell in cells):
        draw_budgets(out / f"curves-{split}.png", [row for row in rows if row["split"] == split])
    print(text)


if __name__ == "__main__":
    main()
