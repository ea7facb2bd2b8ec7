"""A run's folder is read as far as it goes, and what it lacks is said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from report_runs import rows, usual, write

from mql.errors import UserError
from mql.report.page.facts import find_runs, read_facts


def test_a_folder_of_runs_is_looked_through_and_a_run_stands_for_itself(tmp_path: Path) -> None:
    one, two = usual(tmp_path / "a"), usual(tmp_path / "deep" / "b", seed=2)
    (tmp_path / "notes.txt").write_text("no run")
    (tmp_path / ".hidden").mkdir()
    usual(tmp_path / ".hidden" / "c")
    assert find_runs(tmp_path)[0] == [one, two]
    assert find_runs(one)[0] == [one]


def test_cells_of_a_study_are_found(tmp_path: Path) -> None:
    usual(tmp_path / "a")
    (tmp_path / "cells.jsonl").write_text('{"family": "point-robot", "tasks": []}\n{"no": 1}\n')
    assert find_runs(tmp_path)[1] == [{"family": "point-robot", "tasks": []}]


@pytest.mark.parametrize("name", ["missing", "empty", "file"])
def test_what_is_no_run_and_holds_none_is_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="run directory") as caught:
        find_runs(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_damaged_lines_are_left_out_and_said(tmp_path: Path) -> None:
    path = usual(tmp_path / "a")
    with open(path / "evaluations.jsonl", "a") as file:
        file.write('{"broken\n[1, 2]\n{"env_steps": 600, "tasks": [{"zero_shot_return": "much"}], "split": "test"}\n')
    facts = read_facts(path, name="a")
    assert [record["env_steps"] for record in facts.evaluations] == [100, 300, 500, 600]
    assert "fault" in facts.evaluations[-1]["tasks"][0]
    assert len(facts.notes) == 1 and "evaluations.jsonl:4" in facts.notes[0]


def test_a_config_of_another_version_is_shown_as_it_is(tmp_path: Path) -> None:
    path = usual(tmp_path / "a")
    text = (path / "config.yaml").read_text() + "oracle: {strength: 3}\n"
    (path / "config.yaml").write_text(text)
    facts = read_facts(path, name="a")
    assert facts.config["oracle.strength"] == 3 and facts.family == "point-robot" and facts.yaml == text
    assert len(facts.notes) == 1


def test_without_config_and_metrics_the_evaluations_are_left(tmp_path: Path) -> None:
    path = usual(tmp_path / "a")
    for name in ("config.yaml", "metrics.jsonl", "tasks.json"):
        (path / name).unlink()
    facts = read_facts(path, name="a")
    assert (facts.family, facts.seed, facts.env_steps) == ("point-robot", 1, 500)
    assert len(facts.evaluations) == 3 and len(facts.notes) == 2


def test_a_lost_file_of_evaluations_is_made_up_for_by_the_end(tmp_path: Path) -> None:
    path = write(tmp_path / "a", [])
    final = {"env_steps": 500, "split": "test", "family": "point-robot", "tasks": rows([-1.0])}
    (path / "finished.json").write_text(json.dumps(final))
    facts = read_facts(path, name="a")
    assert facts.result is not None and facts.result["env_steps"] == 500


def test_evaluations_of_another_method_are_kept_apart(tmp_path: Path) -> None:
    path = write(tmp_path / "a", [])
    (path / "evaluations.jsonl").write_text('{"env_steps": 100, "elo": 1200.0}\n')
    facts = read_facts(path, name="a")
    assert facts.evaluations == [] and facts.other == [{"env_steps": 100, "elo": 1200.0}]


def test_published_results_count_as_finished(tmp_path: Path) -> None:
    """They come without finished.json and metrics: what tells is the final evaluation."""
    path = usual(tmp_path / "a", finished=False, settings={"train.env_steps": 500})
    assert read_facts(path, name="a").finished
    assert not read_facts(usual(tmp_path / "b", finished=False), name="b").finished
    early = write(
        tmp_path / "c", [(500, "validation", rows([-1.0]))], finished=False, settings={"train.env_steps": 500}
    )
    assert not read_facts(early, name="c").finished
