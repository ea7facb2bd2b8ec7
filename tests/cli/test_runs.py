"""`mql runs list` and `mql runs show`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tiny_runs import TINY

import mql
from mql.cli import app as cli


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run and a fork of it, side by side; tests only read them."""
    folder = tmp_path_factory.mktemp("runs")
    first = mql.train("point-robot", run_dir=folder / "a", seed=3, settings=TINY)
    short = {"train.env_steps": 100, "evaluate.final_tasks": 1}
    mql.train(start_from=f"{first.path}@400", run_dir=folder / "b" / "fork", settings=short)
    return folder


def printed(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    capsys.readouterr()
    assert cli.run([*map(str, arguments)]) == 0, capsys.readouterr().err
    return capsys.readouterr().out


def test_the_list_as_json_is_what_the_runs_say(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = json.loads(printed(capsys, "runs", "list", folder, "--json"))
    assert [row["path"] for row in rows] == [str(folder / "a"), str(folder / "b" / "fork")]
    for row in rows:
        run = mql.open_run(row["path"])
        assert (row["state"], row["family"], row["seed"], row["split"]) == ("finished", "point-robot", 3, "test")
        assert row["env_steps"] == row["of_env_steps"] == run.result["env_steps"]
        for name in ("zero_shot", "adapted"):
            assert row[name] == run.summary[name]["mean"]
    assert [row["forked_from"] for row in rows] == [None, f"{folder / 'a'}@400"]


def test_the_list_as_a_table(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(capsys, "runs", "list", folder).splitlines()
    titles = "run family state seed env steps time zero-shot adapted size age on forked from"
    assert " ".join(lines[0].split()) == titles
    assert lines[1].split()[:5] == ["a", "point-robot", "finished", "3", "600"] and lines[1].split()[-1] == "-"
    assert lines[2].split()[0] == "b/fork" and lines[2].split()[-1] == "a@400"


def test_a_damaged_run_is_named_below_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad" / "checkpoints").mkdir(parents=True)
    for name in ("config.yaml", "metrics.jsonl"):
        (tmp_path / "bad" / name).write_text("")
    text = printed(capsys, "runs", "list", tmp_path)
    assert "damaged: bad: the folder is not a run directory" in text
    assert printed(capsys, "runs", "list", tmp_path / "bad" / "checkpoints").startswith("no runs in")


def test_show_says_settings_checkpoints_evaluations_and_versions(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shown: dict[str, Any] = json.loads(printed(capsys, "runs", "show", folder / "a", "--json"))
    default = mql.load_config("point-robot")
    assert shown["settings"]["agent.hidden_sizes"] == [[16], list(default.agent.hidden_sizes)]
    assert set(shown["settings"]) <= set(TINY)
    assert [each["env_steps"] for each in shown["checkpoints"]] == [200, 400, 600]
    assert [(each["env_steps"], each["split"], each["tasks"]) for each in shown["evaluations"]] == [
        (300, "validation", 2),
        (600, "test", 3),
    ]
    assert shown["environment"]["versions"]["mql"] == mql.__version__
    assert shown["faults"] == {} and shown["damaged"] == []
    text = printed(capsys, "runs", "show", folder / "b" / "fork")
    assert f"forked from {folder / 'a'}@400" in text and "train.random_steps" in text


def test_show_tells_what_is_damaged_and_refuses_what_is_no_run(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    for name in ("environment.json", "evaluations.jsonl"):
        (run / name).write_bytes((folder / "a" / name).read_bytes())
    (run / "config.yaml").write_text("family: [1]")
    (run / "metrics.jsonl").write_text('{"env_steps": 5, "faults": ["the arm broke", "the arm broke"]}\nnoise\n')
    text = printed(capsys, "runs", "show", run)
    assert "damaged: family is [1]" in text and "damaged: the line is not a JSON object" in text
    (run / "metrics.jsonl").write_text('{"env_steps": 5, "faults": ["the arm broke", "the arm broke"]}\n')
    assert "2 x the arm broke" in printed(capsys, "runs", "show", run)
    capsys.readouterr()
    assert cli.run(["runs", "show", str(tmp_path)]) == 2
    assert "error: the folder is not a run directory" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["list", "show"])
def test_no_learning_code_is_loaded(folder: Path, command: str) -> None:
    code = (
        "import sys\nfrom mql.cli.app import run\n"
        f"assert run(['runs', {command!r}, {str(folder / 'a')!r}]) == 0\n"
        "assert not {'torch', 'mujoco', 'sklearn', 'scipy', 'matplotlib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
