"""Runs as `mql report` meets them, written without training."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from small_runs import create

TRAINING = [{"speed": 0.1 * place, "mass": 1.0 + (place * 7) % 10} for place in range(10)]


def rows(
    before: Sequence[float], after: Sequence[float] | None = None, *, weights: bool = False, name: str = "speed"
) -> list[dict[str, Any]]:
    """Rows of an evaluation: task k has the speed k / 10, and weights that fall off around it."""
    found = []
    for place, value in enumerate(before):
        near = [1.0 / (1 + abs(place - other)) for other in range(len(TRAINING))]
        row: dict[str, Any] = {
            "parameters": {name: 0.1 * place, "mass": 1.0 + (place * 3) % 4},
            "zero_shot_return": value,
            "adapted_return": None if after is None else after[place],
            "zero_shot_success": 1.0,
            "adapted_success": None if after is None else 1.0,
            "zero_shot_final": {"distance": 0.1},
            "adapted_final": None if after is None else {"distance": 0.05},
            "random_return": -100.0,
            "random_success": 0.0,
            "normalized_ess": 0.4,
            "classifier_auc": 0.9,
            "task_weights": [share / sum(near) for share in near] if weights else None,
        }
        if after is not None:
            row["rounds"] = [
                {"episodes": 2, "before": value, "after": value - 5.0, "accepted": False},
                {"episodes": 5, "before": value, "after": after[place], "accepted": True},
            ]
        found.append(row)
    return found


def write(
    path: Path,
    evaluations: Sequence[tuple[int, str, Sequence[Mapping[str, Any]]]],
    *,
    family: str = "point-robot",
    seed: int = 1,
    finished: bool = True,
    settings: Mapping[str, Any] | None = None,
    metrics: int = 5,
) -> Path:
    """Write a run with these evaluations (env steps, split, rows) and `metrics` lines of metrics.jsonl."""
    with create(path) as run:
        for step in range(1, metrics + 1):
            run.append_metrics(
                {
                    "env_steps": 100 * step,
                    "collected_return": -100.0 / step,
                    "critic_loss": 1.0 / step,
                    "wall_seconds": 10.0 * step,
                    "collect_seconds": 1.0,
                    "update_seconds": 2.0,
                    "env_steps_per_s": 50.0,
                }
            )
        for env_steps, split, tasks in evaluations:
            record = {"family": family, "split": split, "seed": seed, "env_steps": env_steps, "tasks": tasks}
            run.append_evaluation({**record, "wall_seconds": env_steps / 10, "adapt_seconds": [1.5] * len(tasks)})
        if finished:
            run.mark_finished({"env_steps": evaluations[-1][0] if evaluations else 0})
    config = yaml.safe_load((path / "config.yaml").read_text(encoding="utf-8"))
    config |= {"family": family, "seed": seed}
    for key, value in (settings or {}).items():
        section, name = key.split(".")
        config[section][name] = value
    (path / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    (path / "SHA256SUMS").unlink()  # as of an earlier version: what follows changes files that it names
    (path / "tasks.json").write_text(json.dumps({"train": TRAINING, "test": []}), encoding="utf-8")
    return path


def usual(path: Path, *, shift: float = 0.0, seed: int = 1, weights: bool = True, **more: Any) -> Path:
    """Write a finished run: two evaluations on 6 validation tasks, the last one on 8 test tasks."""
    early, late = [-50.0 - k for k in range(6)], [-20.0 - k + shift for k in range(6)]
    before = [-10.0 - k + shift + seed / 10 for k in range(8)]
    final = rows(before, [value + 2.0 for value in before], weights=weights)
    return write(
        path,
        [(100, "validation", rows(early)), (300, "validation", rows(late)), (500, "test", final)],
        seed=seed,
        **more,
    )
