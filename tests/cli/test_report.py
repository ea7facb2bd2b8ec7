"""`mql report` on a tiny run: what it computes, writes, prints, and refuses in one line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from report_runs import usual
from tiny_runs import TINY

import mql
from mql.api.looking import look
from mql.cli import app as cli
from mql.report.page.facts import read_facts


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run that adapts by `auto`, which records no weights; tests only read it."""
    settings = TINY | {"adapt.method": "auto"}
    return mql.train("point-robot", run_dir=tmp_path_factory.mktemp("r") / "tiny", seed=1, settings=settings).path


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def command(capsys: pytest.CaptureFixture[str], *arguments: object, status: int = 0) -> str:
    capsys.readouterr()
    assert cli.run(["report", *map(str, arguments)]) == status, capsys.readouterr().err
    out, err = capsys.readouterr()
    return out if status == 0 else err


def as_json(capsys: pytest.CaptureFixture[str], *arguments: object) -> Any:
    return json.loads(command(capsys, *arguments, "--json"), parse_constant=pytest.fail)


def test_one_run_gives_one_file(run: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    out = command(capsys, run)
    assert "zero-shot" in out and "written: report.html" in out
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    html = (tmp_path / "report.html").read_text()
    for part in (
        "What the context learned",
        "Which stored data speaks",
        "computed for this report",
        "Context, coloured",
    ):
        assert part in html, part
    assert len(html) < 2_000_000
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before, "the run is only read"


def test_json_says_what_the_page_says(run: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    said = as_json(capsys, run, "-o", "deep/page.html", "--figures", "figures")
    assert said["report"] == "deep/page.html" and (tmp_path / "deep" / "page.html").is_file()
    assert all((tmp_path / file).is_file() for file in said["files"]) and "figures/results.csv" in said["files"]
    [row] = said["results"]
    summary = mql.open_run(run).summary
    assert summary is not None
    assert row["zero_shot"]["value"] == pytest.approx(summary["zero_shot"]["mean"])
    assert row["gain"]["value"] == pytest.approx(summary["gain"]["mean"])
    assert (row["runs"], row["tasks"], row["zero_shot"]["ci95"]) == (1, 3, None)  # three tasks: no interval
    assert said["runs"][0]["finished"] and said["improvements"] == []


def test_what_is_looked_at_is_what_the_agent_does(run: Path) -> None:
    """z of the report is what the policy carries when it plays the stored episodes again."""
    looked = look(read_facts(run, name="tiny"), trust=False)
    assert looked.contexts is not None and looked.notes == []
    loaded = mql.open_run(run).load()
    from mql.adaptation.old_data import newest_of_each_task

    agent = loaded.trainer.agent
    newest = {episode.task: episode for episode in newest_of_each_task(loaded.trainer.replay, 1)}
    for place, task in enumerate(looked.contexts.tasks[:5]):  # the newest of each task come first
        episode = newest[int(task)]
        context = agent.begin(1)
        for t in range(episode.length - 1):
            agent.observe(context, episode.obs[t : t + 1], episode.action[t : t + 1], episode.reward[t : t + 1])
        assert looked.contexts.z[place] == pytest.approx(
            np.asarray(context.state[0]), abs=2e-3
        )  # kept in half precision
    for row in looked.weights:
        assert sum(row["task_weights"]) == pytest.approx(1.0) or row["normalized_ess"] == 0.0
        assert len(row["task_weights"]) == len(loaded.family.tasks("train")) and 0 <= row["normalized_ess"] <= 1
        assert set(row["calibration"]) == {"ess", "auc", "own_share", "fair_share"}


def test_without_computing_nothing_is_loaded(run: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    shutil.copytree(run, "copy")
    shutil.rmtree("copy/checkpoints")
    said = as_json(capsys, "copy", "--no-compute")
    assert any("left out by --no-compute" in note for note in said["notes"])
    html = (tmp_path / "report.html").read_text()
    assert "What the context learned" not in html and "Learning curve" in html


def test_a_damaged_checkpoint_is_a_note(run: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    shutil.copytree(run, "copy")
    for file in Path("copy/checkpoints").rglob("agent.safetensors"):
        file.write_bytes(b"x")
    said = as_json(capsys, "copy")
    assert any("agent.safetensors" in note for note in said["notes"])
    assert "What this report lacks" in (tmp_path / "report.html").read_text()


def test_a_folder_of_runs_with_damaged_ones(run: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    study = tmp_path / "study"
    shutil.copytree(run, study / "whole")
    usual(study / "other", settings={"agent.lr": 0.01})
    broken = usual(study / "broken")
    (broken / "environment.json").write_text("{")
    said = as_json(capsys, study, "--no-figures", "--no-compute")
    assert [row["name"] for row in said["runs"]] == ["other", "whole"] and said["files"] == []
    assert any(note.startswith("broken is left out: ") for note in said["notes"])
    assert "broken" in command(capsys, broken, status=2)


@pytest.mark.slow
def test_several_runs_have_figures_and_tables_beside_the_page(
    run: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    usual(tmp_path / "other")
    said = as_json(capsys, run, tmp_path / "other", "-o", "study.html")
    assert {"study_files/results.csv", "study_files/results.tex"} <= set(said["files"])
    assert all((tmp_path / file).stat().st_size for file in said["files"])


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["nowhere"], "there is no such run directory (nowhere)"),
        (["."], "the folder is not a run directory"),
        (["RUN", "--films", "nowhere"], "there is no such folder (nowhere)"),
        (["RUN", "-o", "mine.html"], "the file exists and is no report (mine.html)"),
        (["RUN", "--figures", "mine.html"], "mine.html"),
        ([], "Missing argument"),
    ],
)
def test_mistakes_are_one_line(
    run: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: list[str], line: str
) -> None:
    (tmp_path / "mine.html").write_text("mine")
    given = [str(run) if argument == "RUN" else argument for argument in arguments]
    err = command(capsys, *given, *(["--no-compute"] if arguments else []), status=2)
    assert err.startswith("error: ") and line in err and len(err.splitlines()) == 1
    assert (tmp_path / "mine.html").read_text() == "mine"


def test_a_saved_agent_is_named(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mql.open_run(run).adapt(task="test:0").save("adapted")
    assert "saved agent" in command(capsys, "adapted", status=2)


def test_without_jinja_it_says_what_to_install(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "jinja2", None)
    assert "pip install 'mql[report]'" in command(capsys, run, "--no-compute", status=2)
