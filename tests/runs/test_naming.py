"""Default names of runs: they show family, settings and seed, and no two runs have the same."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import pytest

from mql.config.loading import load_config
from mql.errors import UserError
from mql.runs.naming import default_run_path
from mql.runs.run_dir import RunDir

TIME = datetime(2024, 5, 6, 7, 8, 9)
CONFIG = load_config("point-robot", seed=3)


@pytest.mark.parametrize(
    ("settings", "shown"),
    [
        ([], ""),
        (["agent.lr=3e-4", "train.env_steps=2000"], "agent.lr=3e-4-env_steps=2000-"),
        (
            ["agent.lr=0.1", "seed=7", "agent.lr=0.2"],
            "agent.lr=0.2-",
        ),  # the last one counts; the seed has its own place
        (["train.batch_size=64", "adapt.batch_size=32"], "train.batch_size=64-adapt.batch_size=32-"),
        (["agent.hidden_sizes=[64, 64]", "tracking=wandb"], "hidden_sizes=64,64-tracking=wandb-"),
        (["tracking=../a b'c;$(d)"], "tracking=abcd-"),
        (["tracking=" + "x" * 100], "tracking=" + "x" * 16 + "-"),
        (
            [
                "agent.hidden_sizes=[16]",
                "agent.context_dim=4",
                "agent.segment_length=8",
                "agent.burn_in=4",
                "threads=2",
            ],
            "hidden_sizes=16-context_dim=4-segment_length=8-burn_in=4-and1more-",
        ),
    ],
)
def test_the_name_shows_what_was_chosen(settings: list[str], shown: str) -> None:
    path = default_run_path(CONFIG, TIME, settings=settings)
    assert path == Path(f"runs/point-robot-{shown}seed3-20240506-070809")


def test_the_name_of_an_experiment_s_file_stands_in_it() -> None:
    assert default_run_path(CONFIG, TIME, experiment="long run").name == "point-robot-longrun-seed3-20240506-070809"
    assert default_run_path(CONFIG, TIME, experiment="point-robot").name == "point-robot-seed3-20240506-070809"


def create(path: Path) -> RunDir:
    return RunDir.create(path, config=CONFIG, tasks={}, command=["mql"], numbered=True)


@pytest.mark.slow
def test_runs_that_start_at_the_same_moment_get_folders_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here as threads; on two machines with one disk even the process id can be the same."""
    together, rename = threading.Barrier(4, timeout=60), os.rename
    first = threading.local()

    def rename_together(source: Path, target: Path) -> None:
        if not getattr(first, "done", False):
            first.done = True
            together.wait()  # all of them have found the name free
        rename(source, target)

    monkeypatch.setattr("mql.runs.folder.os.rename", rename_together)
    with ThreadPoolExecutor(4) as pool:
        runs = list(pool.map(lambda _: create(tmp_path / "run"), range(4)))
    assert {run.path.name for run in runs} == {"run", "run-2", "run-3", "run-4"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run", "run-2", "run-3", "run-4"]
    for run in runs:
        run.append_metrics({"env_steps": 1})  # each holds the lock of its own
        with pytest.raises(UserError, match="is writing this run"):
            RunDir.open_for_resume(run.path)
        run.close()


def test_a_name_that_was_chosen_is_not_changed(tmp_path: Path) -> None:
    create(tmp_path / "run").close()
    with pytest.raises(UserError, match="the run directory already exists"):
        RunDir.create(tmp_path / "run", config=CONFIG, tasks={}, command=["mql"])
    assert create(tmp_path / "run").path.name == "run-2"
