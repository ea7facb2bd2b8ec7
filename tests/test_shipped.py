"""The agents that come with the package: they do what they were trained for, and commands take their names."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

import mql
from mql import shipped
from mql.cli.app import run
from mql.errors import UserError

SOLVED = {
    "arm-reach": 1.0,
    "reacher-goal-narrow": 0.6,
}  # share of the first five test tasks


@pytest.mark.parametrize("family", shipped.names())
def test_they_act_far_better_than_random_on_held_out_tasks(family: str) -> None:
    record: Any = mql.Adapted.load(mql.shipped_agent(family)).evaluate(split="test", tasks=5)
    summary = record["summary"]
    assert summary["zero_shot"]["mean"] > summary["random"]["mean"] / 2  # returns are costs in all of them
    if family in SOLVED:
        assert sum(row["zero_shot_success"] for row in record["tasks"]) >= 5 * SOLVED[family]


@pytest.mark.parametrize("family", shipped.names())
def test_they_say_where_they_come_from_and_name_no_folder_of_a_machine(family: str) -> None:
    folder = shipped.shipped_agent(family)
    facts = json.loads((folder / "adaptation.json").read_text(encoding="utf-8"))
    assert re.fullmatch("[0-9a-f]{40}", facts["git_commit"])
    assert facts["run"] == f"{family}, seed {facts['seed']}" and facts["env_steps"] > 0
    assert not [path for path in folder.glob("*.json") if b'"/' in path.read_bytes()]


def test_commands_take_their_names_unless_something_stands_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["evaluate", "point-robot", "--split", "test", "--tasks", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["family"] == "point-robot"
    (tmp_path / "point-robot").mkdir()
    assert run(["evaluate", "point-robot", "--split", "test", "--tasks", "1"]) == 2


@pytest.mark.parametrize("command", ["play", "evaluate", "export"])
def test_a_misspelt_name_is_told_the_nearest(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    out = [] if command == "evaluate" else ["-o", "out.png"]
    assert run([command, "arm-rech", *out]) == 2
    assert "there is no such run directory (arm-rech): did you mean arm-reach?" in capsys.readouterr().err
    assert run([command, "kuka", *out]) == 2
    assert f"agents included in the package: {', '.join(shipped.names())}" in capsys.readouterr().err


def test_another_name_is_refused_with_the_ones_there_are() -> None:
    with pytest.raises(UserError, match="point-robot"):
        mql.shipped_agent("point-robt")


def test_what_needs_a_run_says_how_to_make_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["adapt", "arm-reach", "--task", "payload=2.4"]) == 2
    assert "mql train arm-reach --run-dir DIR makes a run to adapt" in capsys.readouterr().err
