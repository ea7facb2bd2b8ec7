"""The terms of a definition's reward: what a run keeps of each, and what the commands show."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from lab_definitions import SETTINGS, write_parallel

from mql.api.progress import Progress
from mql.cli import app as cli


def test_each_term_is_logged_and_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The terms of a definition add up to its return."""
    run = tmp_path / "run"
    ends = "success: {expr: 'info.joint_rail > 9', hold: 2}\nterminate: {expr: 'info.joint_rail > 0.05'}\n"
    path = write_parallel(tmp_path / "lab", success=ends)
    assert cli.run(["train", str(path), "--run-dir", str(run), *SETTINGS]) == 0
    shown = capsys.readouterr()
    assert "| collected terms near -" in shown.err and "reward term" in shown.out
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        terms = line["collected_reward_near"], line["collected_reward_calm"]
        assert max(terms) < 0 and sum(terms) == pytest.approx(line["collected_return"], rel=1e-4)
    assert cli.run(["evaluate", str(run), "--tasks", "2", "--json"]) == 0
    for row in json.loads(capsys.readouterr().out)["tasks"]:
        for policy in ("zero_shot", "adapted"):
            assert row[f"{policy}_terms"].keys() == {"near", "calm"}
            assert sum(row[f"{policy}_terms"].values()) == pytest.approx(row[f"{policy}_return"], rel=1e-4)
    assert cli.run(["evaluate", str(run), "--tasks", "2", "--no-adapt"]) == 0
    out = capsys.readouterr().out
    assert "near" in out and "calm" in out and "reward term, sum of an episode" in out


def test_the_rule_of_success_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cases = {
        "arm-reach": "at the goal for 10 control steps in a row, the last ones of the episode",
        str(write_parallel(tmp_path)): "at the goal for 2 control steps in a row, at any time of the episode",
    }
    for name, said in cases.items():
        assert cli.run(["tasks", "show", name]) == 0
        assert f"success: {said}" in capsys.readouterr().out
    assert cli.run(["tasks", "show", "cheetah-vel"]) == 0
    assert "success" not in capsys.readouterr().out


def test_a_line_of_progress_shows_some_terms_only() -> None:
    progress = Progress(100, 10)
    record = {"env_steps": 10, "updates": 0, "collect_seconds": 1.0, "update_seconds": 0.0}
    progress.update(record | {f"collected_reward_t{n}": float(n) for n in range(6)})
    assert "| collected terms t0 0.0, t1 1.0, t2 2.0, t3 3.0, ... |" in progress.status()
