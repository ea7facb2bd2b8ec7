"""A run in training as a person sees it, on standard error: a header, the progress, and what happens on the way."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import torch

from mql.api.progress import Progress, header
from mql.api.terminal import lasting
from mql.config.schema import Config
from mql.kernels.loading import kernels_for
from mql.kernels.products import bfloat16_in_hardware
from mql.plain_text import plain
from mql.runs.run_dir import RunDir
from mql.training.learning import Learning
from mql.types import JSON

Record = Mapping[str, JSON]


class Display:
    """Shows a run on standard error: a `Watcher`, and a context manager."""

    def __init__(self, run: RunDir, config: Config) -> None:
        self._path, self._config = run.path, config
        self._progress: Progress | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._progress:
            self._progress.close()

    def on_start(self, learning: Learning) -> None:
        """Write the header, and start the progress bar."""
        config = self._config
        line = header(
            family=config.family,
            profile=config.profile,
            seed=config.seed,
            threads=config.threads,
            device=f"{config.device} ({_precision(config)}, {_kernels(config)}compiled kernels)",
            replay_bytes=learning.replay_bytes,
            run_path=shown(self._path),
        )
        say(line.replace("replay up to", f"replay up to {config.train.replay_capacity:,} transitions,"))
        self._progress = Progress(
            config.train.env_steps,
            learning.updates_after(config.train.env_steps),
            env_steps=learning.env_steps,
            updates=learning.updates,
        )
        self._progress.__enter__()
        self._tell_if_done(learning.env_steps)  # where a run goes on that was stopped in its final evaluation

    def on_iteration(self, record: Record) -> None:
        """Move the bar on."""
        assert self._progress
        self._progress.update(record)
        for fault in record.get("faults", ()):
            self._progress.note(f"an episode was dropped: {fault}")
        if record.get("remark"):
            self._progress.note(f"warning: {record['remark']}")
        self._tell_if_done(record["env_steps"])

    def _tell_if_done(self, done: int) -> None:
        """Say that training is done, and the final evaluation comes."""
        assert self._progress
        asked = self._config.train.env_steps
        if done >= asked:
            more = f" after {done:,} env steps, as an iteration is not cut short" if done > asked else ""
            self._progress.note(
                f"training is done{more}; evaluating and adapting on up to {self._config.evaluate.final_tasks} "
                f"{self._config.evaluate.split} tasks"
            )

    def on_task(self, done: int, tasks: int) -> None:
        """Say how far an evaluation is."""
        assert self._progress
        self._progress.evaluating(done, tasks)

    def on_evaluation(self, record: Record) -> None:
        """Show the latest mean returns."""
        assert self._progress
        summary = record.get("summary") or {}  # another method's evaluations need none
        before, adapted, by_chance = (
            values["mean"] if (values := summary.get(name)) else None for name in ("zero_shot", "adapted", "random")
        )
        self._progress.evaluated(zero_shot=before, adapted=adapted, random=by_chance)

    def note(self, text: str) -> None:
        """Write one line that stays."""
        if self._progress:
            self._progress.note(text)
        else:
            say(text)


class Remarks:
    """Says, where nothing is displayed, what would otherwise show only in the results: a `Watcher`."""

    def on_start(self, learning: Learning) -> None:
        """Nothing is said."""

    def on_iteration(self, record: Record) -> None:
        """Say a line's remark."""
        if record.get("remark"):
            say(f"warning: {record['remark']}")

    def on_task(self, done: int, tasks: int) -> None:
        """Nothing is said."""

    def on_evaluation(self, record: Record) -> None:
        """Nothing is said."""


def shown(path: Path) -> str:
    """Name a path as briefly as the working directory allows."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def say(text: str) -> None:
    """Write one line, of characters that show."""
    print(plain(text), file=lasting(sys.stderr), flush=True)


def _kernels(config: Config) -> str:
    """Deny that there are compiled kernels where the networks are trained, or say nothing."""
    return "" if kernels_for(torch.float32, config.device) else "no "


def _precision(config: Config) -> str:
    """What products are made in, on this machine."""
    wanted = config.agent.precision
    if wanted == "bfloat16" and not bfloat16_in_hardware(config.device.partition(":")[0]):
        return "float32, as it has no bfloat16"
    return wanted
