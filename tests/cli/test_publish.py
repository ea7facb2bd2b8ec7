"""`python -m mql.cli.publish`: one line for what is wrong, and documents that follow the results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from published_results import COMMIT, change, contents, repository, run

from mql.bench import run_time
from mql.cli import publish


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return repository(tmp_path / "repository")


def test_runs_are_added_together_and_the_documents_follow(
    tmp_path: Path, results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed in (1, 2):
        run(tmp_path / "study" / f"s{seed}", [-1.0, -2.0], seed=seed)
    bad = run(tmp_path / "bad", [-1.0], seed=3, facts={"git_changes": " M x.py"})
    there = ("--results", str(results))
    assert publish.main(["add", str(tmp_path / "study"), str(bad), *there]) == 2
    said = capsys.readouterr()
    assert said.out.count("added: ") == 2 and said.err.count("error: ") == 1 and said.err.count("\n") == 1
    page = (results.parent / "docs" / "results.md").read_text()
    assert "point-robot" in page and COMMIT[:7] in page
    assert publish.main(["page", "--check", *there]) == 0
    before = contents(results.parent)
    assert publish.main(["add", str(tmp_path / "study"), *there]) == 0
    assert contents(results.parent) == before and capsys.readouterr().out.count("unchanged: ") == 2


def test_what_is_not_up_to_date_is_named(tmp_path: Path, results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    there = ("--results", str(results))
    assert publish.main(["add", str(run(tmp_path / "run", [-1.0])), *there]) == 0
    (results / "point-robot" / "notes.md").write_text("New.\n")
    capsys.readouterr()
    assert publish.main(["page", "--check", *there]) == 2
    said = capsys.readouterr().err
    assert "results.md" in said and "README" not in said and said.endswith("run: make results\n")
    assert publish.main(["page", *there]) == 0 and publish.main(["page", "--check", *there]) == 0
    (results / "point-robot" / "curve.png").unlink()
    assert publish.main(["page", "--check", *there]) == 2 and "curve.png" in capsys.readouterr().err
    assert publish.main(["page", "--results", str(tmp_path / "nothing")]) == 2
    assert "no such folder of results" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["add", "nothing"], "no such run directory"),
        (["add", "."], "no run in the folder"),
        (["add", "a", "b", "--ood", "x.json"], "are of one run"),
        (["add", "a", "--how", "so"], "--again FILE"),
    ],
)
def test_mistakes_are_one_line(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert publish.main(arguments) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1


def test_a_time_is_written_beside_the_figures_or_where_it_is_asked_for(
    tmp_path: Path, results: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: dict[str, Any] = {}

    def measured(path: Path, **options: Any) -> dict[str, Any]:
        asked.update(options)
        machine = {"cpu": "A Processor", "cores": 2}
        facts = {"env_steps": 600, "wall_seconds": 90.0, "env_steps_per_s": 7.0, "date": "2026-01-02"}
        return {**facts, "machine": machine}

    facts: dict[str, Any] = {"git_commit": COMMIT, "git_changes": "M README.md\n M results/x/notes.md\n M mql/types.py"}
    monkeypatch.setattr(run_time, "time_run", measured)
    monkeypatch.setattr(publish, "describe_environment", lambda command: facts)
    one, there = str(run(tmp_path / "run", [-1.0])), ("--results", str(results))
    assert publish.main(["time", one, *there]) == 2 and "add the run first" in capsys.readouterr().err
    publish.main(["add", one, *there])
    assert publish.main(["time", one, *there]) == 2 and not asked
    assert "since the last commit (mql/types.py)" in capsys.readouterr().err
    facts["git_changes"] = facts["git_changes"].rpartition("\n")[0]
    assert publish.main(["time", one, *there, "--set", "threads=2", "collect.workers=2"]) == 0
    assert asked["settings"] == ["threads=2", "collect.workers=2"] and asked["iterations"] == 5
    assert json.loads((results / "point-robot" / "mql" / "time.json").read_text())["wall_seconds"] == 90.0
    assert "A Processor" in (results.parent / "docs" / "results.md").read_text()
    assert publish.main(["time", one, "-o", str(tmp_path / "t.json")]) == 0
    assert (tmp_path / "t.json").exists()


def test_notes_are_to_be_looked_at_when_a_run_goes(
    tmp_path: Path, results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    there = ("--results", str(results))
    publish.main(["add", str(run(tmp_path / "a", [-1.0])), *there])
    (results / "point-robot" / "notes.md").write_text("It gets -1.\n")
    other = run(tmp_path / "b", [-2.0])
    change(other, "environment.json", {"git_commit": COMMIT[::-1]})
    assert publish.main(["add", str(other), *there, "--replace"]) == 0
    assert "notes.md refers to the removed run" in capsys.readouterr().err
