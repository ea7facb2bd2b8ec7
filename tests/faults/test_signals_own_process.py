"""An environment that hangs in the training process itself: a signal gets through its code, and the run is saved."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from mql.config.loading import load_config
from mql.runs.run_dir import RunDir
from mql.tasks.family import Split
from mql.tasks.wrapped.any_environment import from_gymnasium
from mql.training import stopping
from mql.training.loop import Interrupted
from mql.training.methods import meta_train

SMALL = ["train.checkpoint_every=32", "train.evaluate_every=100000", "collect.workers=1", "threads=1"]
P3O = ["train.env_steps=320", "p3o.lanes=1", "p3o.steps=16", "p3o.hidden_sizes=[4]", "p3o.replay_ratio=0"]
HANGS_AFTER = 70  # steps of one environment


def sleep() -> None:
    while True:
        time.sleep(0.05)


def compute() -> None:
    while True:
        pass


def go_on_after_errors() -> None:
    """A driver that tries again, whatever it meets."""
    while True:
        try:
            time.sleep(0.05)
        except Exception:
            continue


class Hanging(gymnasium.Env[Any, Any]):
    """Asks its own process to stop, and never answers."""

    def __init__(self, hang: Callable[[], None]) -> None:
        self.observation_space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)
        self.hang, self.steps = hang, 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        return np.zeros(2, np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        if self.steps == HANGS_AFTER:
            os.kill(os.getpid(), signal.SIGTERM)
            self.hang()
        return np.zeros(2, np.float32), 0.0, False, False, {}


@pytest.mark.parametrize("hang", [sleep, compute, go_on_after_errors])
def test_a_signal_ends_a_hanging_lane_and_the_run_is_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hang: Callable[[], None]
) -> None:
    monkeypatch.setattr(stopping, "PATIENCE", 0.2)
    family = from_gymnasium(
        partial(Hanging, hang),
        name="hanging",
        parameters={},
        splits={"train": Split(1, seed=0), "test": Split(1, seed=1)},
        episode_length=10,
        shared_splits=True,
    )
    config = load_config("hanging", method="p3o", overrides=[*SMALL, *P3O])
    with RunDir.create(tmp_path / "run", config=config, tasks={}, command=["mql"]) as run:
        with pytest.raises(Interrupted, match="after 64 environment steps"):
            meta_train(config, family, run)
        assert run.checkpoints()[-1] == 64
        assert not any("faults" in line for line in run.read_metrics())  # the signal is nobody's fault
