"""The quickstart at a tiny size: what it writes, and that it replaces its own run and nothing else."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from mql.cli import quickstart as script
from mql.cli.quickstart import quickstart
from mql.config.loading import load_config
from mql.errors import UserError
from mql.runs.run_dir import RunDir

TINY = {
    "train.env_steps": 600,
    "train.random_steps": 200,
    "train.episodes_per_iteration": 4,
    "train.batch_size": 32,
    "train.env_steps_per_update": 100,
    "train.evaluate_every": 400,
    "train.checkpoint_every": 400,
    "agent.hidden_sizes": [16],
    "agent.context_dim": 4,
    "agent.segment_length": 8,
    "agent.burn_in": 4,
    "adapt.method": "paper",
    "adapt.step1_updates": 1,
    "adapt.step2_updates": 1,
    "adapt.batch_size": 32,
    "evaluate.tasks": 1,
}


def settings(targets: int, seed: int = 0) -> list[str]:
    return [*(f"{key}={value}" for key, value in TINY.items()), f"evaluate.final_tasks={targets}", f"seed={seed}"]


@pytest.mark.parametrize("targets", [1, 3])
def test_what_it_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str], targets: int) -> None:
    path = tmp_path / "runs" / "quickstart"
    result = quickstart(path, overrides=settings(targets))
    summary = json.loads((path / "summary.json").read_text())
    assert summary == result and summary.keys() == {"seconds", "episodes", "inside", "outside"}
    assert summary["seconds"] > 0
    for group in ("inside", "outside"):
        assert summary[group]["tasks"] == targets
        for stage in ("random", "zero_shot", "adapted"):
            figures = summary[group][stage]
            assert figures.keys() == {"return", "final_distance", "tasks_solved"}
            assert math.isfinite(figures["return"]) and 0 < figures["final_distance"] < 0.5
            assert 0 <= figures["tasks_solved"] <= targets
    assert (path / "report.png").read_bytes().startswith(b"\x89PNG")
    run = RunDir.open_readonly(path)
    assert run.finished and run.summary["summary"]["adapted"]["mean"] == pytest.approx(
        summary["inside"]["adapted"]["return"]
    )
    table = capsys.readouterr().out
    assert all(
        word in table for word in ("random", "zero-shot", "adapted", "final distance", "targets reached", "outside")
    )


def test_it_replaces_its_own_run_only(tmp_path: Path) -> None:
    path = tmp_path / "quickstart"
    quickstart(path, overrides=settings(1))
    quickstart(path, overrides=settings(1, seed=1))
    assert RunDir.open_readonly(path).config.seed == 1
    assert [child.name for child in tmp_path.iterdir()] == ["quickstart"]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    with pytest.raises(UserError, match="not a run directory"):
        quickstart(tmp_path / "mine", overrides=settings(1))
    assert (tmp_path / "mine" / "notes.txt").read_text() == "keep"


def test_its_experiment_is_the_family_s_own() -> None:
    """`make quickstart` evaluates the family's 20 held-out targets."""
    config = load_config(script.FAMILY)
    assert config.evaluate.split == "test" and config.evaluate.final_tasks >= 20
    assert Path("runs/quickstart") == script.RUN


def test_its_mistakes_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").write_text("a file, where a folder must be made")
    with pytest.raises(SystemExit) as end:
        script.main()
    assert end.value.code == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("error: ") and err.count("\n") == 1
