"""Sends what a run records to a tracking service, while it trains."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mql.api.display import Record
from mql.config.schema import WHILE_TRAINING, Config
from mql.errors import UserError
from mql.runs.run_dir import RunDir
from mql.runs.tracking import Say, Tracker, open_tracker
from mql.training.learning import Learning
from mql.types import JSON

FILMS = "films"  # in a run directory: films in it are sent at the end
_SUFFIXES = (".mp4", ".gif", ".webm")
_AGENT = ("agent.safetensors", "checkpoint.json", "checkpoint.sha256")


class Mirror:
    """A `Watcher` that passes on metrics, evaluations and, at the end, pictures, the tasks' gains and films.

    Args:
        run: that is trained.
        config: of the run, as it goes on.
        say: takes warnings and notes, one line each.
    """

    def __init__(self, run: RunDir, config: Config, *, say: Say) -> None:
        self._run, self._config, self._say = run, config, say
        self._tracker: Tracker | None = None
        self._sent: set[int] = set()  # checkpoints

    def close(self) -> None:
        """Hand over what is left."""
        if self._tracker:
            self._send_checkpoint()
            self._tracker.close()

    def on_start(self, learning: Learning) -> None:
        """Open the tracker."""
        config = self._config
        self._sent = set(self._run.checkpoints())
        self._tracker = open_tracker(
            config.tracking,
            run_path=self._run.path,
            config=config.model_dump(mode="json"),
            settings=config.wandb,
            earlier=() if config.tracking == "none" else earlier_records(self._run),
            begun=learning.env_steps,
            warn=self._say,
            note=self._say,
        )

    def on_iteration(self, record: Record) -> None:
        """Send a line of metrics, and the checkpoint that was saved before it, if there is one."""
        assert self._tracker
        self._send_checkpoint()
        self._tracker.log(record)

    def on_task(self, done: int, tasks: int) -> None:
        """Nothing is sent while an evaluation is under way."""

    def on_evaluation(self, record: Record) -> None:
        """Send the summary of an evaluation; after the last one also its tasks, the learning curve and films."""
        assert self._tracker
        self._tracker.log(evaluation_record(record))
        if record["env_steps"] >= self._config.train.env_steps:
            if rows := [task_row(row) for row in record.get("tasks", ()) if "parameters" in row]:
                self._tracker.table(f"{_name(record)}_tasks", record["env_steps"], rows)
            self._tracker.picture("learning_curve", record["env_steps"], self._draw)
            folder = self._run.path / FILMS
            for path in sorted(folder.iterdir()) if folder.is_dir() else ():
                if path.suffix.lower() in _SUFFIXES:
                    self._tracker.film(path)

    def _draw(self, path: Path) -> None:
        from mql.report.curves import draw_training

        evaluations = self._run.read_evaluations()
        draw_training(path, self._run.read_metrics(), evaluations, finished=True, title=self._run.path.name)

    def _send_checkpoint(self) -> None:
        if not self._config.wandb.checkpoints or self._config.tracking != "wandb":
            return
        assert self._tracker
        for env_steps in set(self._run.checkpoints()) - self._sent:
            folder = self._run.path / "checkpoints" / str(env_steps)
            self._tracker.checkpoint(env_steps, [folder / name for name in _AGENT])
            self._sent.add(env_steps)


def earlier_records(run: RunDir) -> list[Mapping[str, Any]]:
    """Return what a run's files hold, in the form and order in which it was sent; nothing where one is damaged."""
    try:
        metrics, evaluations = run.read_metrics(), run.read_evaluations()
        sent = [evaluation_record(record) for record in evaluations]
        return list(heapq.merge(metrics, sent, key=lambda record: int(record["env_steps"])))
    except (UserError, KeyError, TypeError, ValueError):  # training is to go on all the same
        return []


def evaluation_record(record: Record) -> dict[str, JSON]:
    """Return the summary of an evaluation under the name of its split."""
    return {"env_steps": record["env_steps"], _name(record): record.get("summary", record)}


def task_row(row: Record) -> dict[str, JSON]:
    """Return a row of an evaluation's table: the task's parameters, its returns, and what adaptation gained."""
    before, after = row.get("zero_shot_return"), row.get("adapted_return")
    gain = None if before is None or after is None else after - before
    return {**dict(_parameters(row["parameters"])), "zero_shot": before, "adapted": after, "gain": gain}


def _parameters(values: Record) -> Iterator[tuple[str, JSON]]:
    for name, value in values.items():
        if isinstance(value, list | tuple):
            yield from ((f"{name} {place}", part) for place, part in enumerate(value))
        else:
            yield name, value


def _name(record: Record) -> str:
    # What was measured on other tasks is another curve: the last evaluation is mostly on the test tasks.
    split = record.get("split", WHILE_TRAINING)
    return "evaluation" if split == WHILE_TRAINING else f"evaluation_{split}"
