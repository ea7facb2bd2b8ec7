"""The examples work on runs of any family, also on those of a definition of one's own that has moved since."""

from __future__ import annotations

import json
import runpy
import shutil
from pathlib import Path
from typing import Any

import pytest
from lab_definitions import SETTINGS, write_parallel, write_python

from mql.cli import app as cli
from mql.runs.sums import replace_file

EXAMPLES = Path(__file__).parents[1] / "examples"


def example(name: str, *arguments: object) -> None:
    runpy.run_path(str(EXAMPLES / f"{name}.py"))["main"]([str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def lab_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny run of a family that only its own folder knows."""
    folder = tmp_path_factory.mktemp("lab-run")
    definition = write_parallel(folder / "lab")
    assert cli.run(["train", str(definition), "--run-dir", str(folder / "run"), *SETTINGS]) == 0
    shutil.rmtree(folder / "lab")
    return folder / "run"


def test_adaptation_is_studied_and_a_study_goes_on_where_it_stopped(lab_run: Path, tmp_path: Path) -> None:
    few = ("--split", "test", "--tasks", 2, "--episodes", 2, "-o", tmp_path)
    for variants in (["context only"], ["context only", "new data"]):
        chosen = ("--variants", *variants, "--budgets", 1, 3, "--set", "adapt.round_updates=2")
        example("study_adaptation", "play", lab_run, *few, *chosen)
    example("study_adaptation", "headroom", lab_run, *few, "--env-steps", 200)
    derived = ("--split", "validation", "--tasks", 1, "-o", tmp_path / "derived")
    example("study_adaptation", "headroom", lab_run, *derived, "--env-steps", 24)
    cells = [json.loads(line) for line in (tmp_path / "cells.jsonl").read_text().splitlines()]
    names = [(cell["variant"], cell["budget"]) for cell in cells]
    assert names == [("context only", 1), ("context only", 3), ("new data", 1), ("new data", 3), ("headroom", 0)]
    example("study_adaptation", "report", tmp_path)
    rows: Any = json.loads((tmp_path / "table.json").read_text())
    assert [row["gain"] for row in rows[:2]] == [0.0, 0.0] and {row["runs"] for row in rows} == {1}
    assert (tmp_path / "curves-test.png").stat().st_size > 5000


def test_contexts_are_compared(lab_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    example("compare_contexts", lab_run, "--lengths", 4)
    assert [line.partition(":")[0] for line in capsys.readouterr().out.splitlines()] == [
        "carried since the reset",
        "window of   4 steps",
    ]


def test_a_learning_curve_is_drawn_and_drawn_again(lab_run: Path, tmp_path: Path) -> None:
    example("draw_learning_curve", lab_run, "-o", tmp_path / "result")
    kept = {"curve.png", "config.yaml", "environment.json", "evaluations.jsonl"}
    assert {file.name for file in (tmp_path / "result").iterdir()} == kept
    first = (tmp_path / "result" / "curve.png").read_bytes()
    (tmp_path / "result" / "curve.png").unlink()
    example("draw_learning_curve", tmp_path / "result")
    assert (tmp_path / "result" / "curve.png").stat().st_size == pytest.approx(len(first), rel=0.1)


def test_random_actions_of_an_older_run_are_played_in_its_tasks(lab_run: Path, tmp_path: Path) -> None:
    """They get what the run itself would have written."""
    old = shutil.copytree(lab_run, tmp_path / "run")
    lines = [json.loads(line) for line in (old / "evaluations.jsonl").read_text().splitlines()]
    known = [row["random_return"] for row in lines[0]["tasks"]]
    for record in lines:
        for row in record["tasks"]:
            del row["random_return"], row["random_success"]
    replace_file(old, "evaluations.jsonl", "".join(json.dumps(record) + "\n" for record in lines).encode())
    example("draw_learning_curve", old, "-o", tmp_path / "result", "--random")
    rows = json.loads((tmp_path / "result" / "random.json").read_text())["tasks"]
    assert [row["random_return"] for row in rows] == known and None not in known


def test_families_are_measured(lab_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured = runpy.run_path(str(EXAMPLES / "measure_families.py"))
    assert measured["find"](str(lab_run)).name == "lab-cart"
    assert measured["find"](str(write_python(tmp_path / "lab"))).name == "lab-cart"
    assert measured["find"]("point-robot").name == "point-robot"


def test_runs_are_drawn_side_by_side(lab_run: Path, tmp_path: Path) -> None:
    example("compare_runs", f"one={lab_run}", f"other={lab_run}", "-o", tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(SystemExit):
        example("compare_runs", lab_run, "-o", tmp_path / "curves.png")


def test_pictures_of_methods_are_drawn_by_what_training_uses(tmp_path: Path) -> None:
    for picture in ("p3o", "proximal"):
        example("draw_methods", picture, "-o", tmp_path / f"{picture}.png")
        assert (tmp_path / f"{picture}.png").stat().st_size > 5000
    path = runpy.run_path(str(EXAMPLES / "draw_methods.py"))["updates_after_copy"]
    # What docs/proximal.md says of kappa 2.5: 2.72 times as near.
    assert float(path(0.0)[-1].norm() / path(2.5e-4 * 250 / 2.5)[-1].norm()) == pytest.approx(2.72, abs=0.05)
