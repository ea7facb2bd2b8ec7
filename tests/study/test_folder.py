"""A study's folder: where its runs stand, what may change in it, and who may run it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from report_runs import rows

from mql.config.loading import to_yaml
from mql.errors import UserError
from mql.runs.run_dir import RunDir
from mql.study.cells import Cell, cells_of
from mql.study.file import read_study
from mql.study.folder import StudyDir, status
from mql.study.progress import Progress
from mql.study.study import look_at, open_study, prepare

TEXT = """schema: mql.study/1
families: [point-robot]
seeds: 2
settings: {train.env_steps: 5000}
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "mine.yaml"
    path.write_text(TEXT)
    return path


def begun(study: Path, cell: Cell, *, env_steps: int, finished: bool) -> Path:
    """A run of a study as training would leave it."""
    path = study / cell.place
    with RunDir.create(path, config=cell.config, tasks={"train": [], "test": []}, command=["mql"]) as run:
        run.append_metrics({"env_steps": env_steps, "wall_seconds": 60.0})
        if finished:
            summary = {"zero_shot": {"mean": -3.0}, "adapted": {"mean": -2.0}, "random": {"mean": -9.0}}
            record = {"env_steps": env_steps, "split": "test", "tasks": rows([-3.0] * 4, [-2.0] * 4)}
            run.append_evaluation({**record, "summary": summary})
            run.mark_finished({**record, "summary": summary})
    return path


def test_states_are_what_the_runs_say(file: Path) -> None:
    with_folder = prepare(file)
    first, second = with_folder.cells
    begun(with_folder.path, first, env_steps=5000, finished=True)
    begun(with_folder.path, second, env_steps=2500, finished=False)
    with_folder.close()
    study = open_study("studies/mine")
    done, stopped = study.states
    assert (done.state, done.zero_shot, done.adapted, done.random, done.tasks) == ("finished", -3.0, -2.0, -9.0, 4)
    assert (done.zero_shot_success, stopped.state, stopped.env_steps, stopped.of_env_steps) == (
        1.0,
        "stopped",
        2500,
        5000,
    )
    summary = study.summary()
    assert summary["states"] == {"finished": 1, "stopped": 1} and summary["env_steps"] == 7500
    assert study.run(seed=1).path == study.path / first.place
    with pytest.raises(UserError, match="2 runs of the study"):
        study.run(method="mql")
    # The time left is that of 2,500 env steps at a minute for each 3,750.
    shown = Progress(StudyDir(study.path), study.cells, study.states, workers=1)
    assert shown.status() == "1/2 runs finished | 7,500/10,000 env steps | about 40 s left"


def test_a_folder_that_is_there_is_continued_only_when_that_is_asked_for(file: Path, tmp_path: Path) -> None:
    study = prepare(file, resume=True)  # there is nothing to continue: it begins
    begun(study.path, study.cells[0], env_steps=2500, finished=False)
    study.close()
    with pytest.raises(UserError, match="continue it with --resume"):
        prepare(file)
    prepare(file, resume=True).close()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("x")
    with pytest.raises(UserError, match="is no study"):
        prepare(file, directory=tmp_path / "other", resume=True)
    with pytest.raises(UserError, match="not that of a study"):
        open_study(tmp_path / "other")


def test_a_study_that_was_refused_begins_when_it_is_mended(file: Path) -> None:
    study = prepare(file)
    with pytest.raises(UserError, match="population is 3, but no more than 2 runs"):
        study.make(workers=2, population=3)
    study.close()
    assert {each.name for each in study.path.iterdir()} <= {"study.yaml", "status.json", "lock"}
    prepare(file).close()
    (study.path / "lock").unlink()  # then that study.yaml may be a person's own
    with pytest.raises(UserError, match="continue it with --resume"):
        prepare(file)


@pytest.mark.parametrize("name", ["workers", "population"])
@pytest.mark.parametrize("value", [0, -1, 2.5, True, "3", float("nan")])
def test_what_is_no_number_of_runs_is_refused(name: str, value: Any, file: Path) -> None:
    study = prepare(file)
    with pytest.raises(UserError, match=rf"{name} is {re.escape(repr(value))} \({name}\): give a whole number"):
        study.make(**{name: value})
    study.close()


def test_one_process_runs_a_study(file: Path) -> None:
    first = prepare(file)
    with pytest.raises(UserError, match=r"process \d+ is writing this study .*choose another --dir"):
        prepare(file, resume=True)
    assert look_at(file).summary()["states"] == {"waiting": 2}  # looking is possible
    first.close()
    prepare(file, resume=True).close()


def test_added_runs_are_made_and_changed_settings_refused(file: Path) -> None:
    study = prepare(file)
    begun(study.path, study.cells[0], env_steps=5000, finished=True)
    study.close()
    file.write_text(TEXT.replace("seeds: 2", "seeds: [1, 2, 3]\nmethods: [mql, td3]"))
    added = prepare(file, resume=True)
    assert [one.state for one in added.states] == ["finished"] + ["waiting"] * 5
    added.close()
    file.write_text(TEXT.replace("5000", "6000"))
    line = r"train.env_steps is 6000, but point-robot/mql/default/seed-1 was started with 5000 \(mine.yaml:4 settings"
    with pytest.raises(UserError, match=line):
        prepare("mine.yaml", resume=True)
    assert len(read_study(study.path / "study.yaml").seeds) == 3, "what was refused changes nothing"
    file.write_text(TEXT + "variants: {default: {collect.workers: 2, tracking: tensorboard}}\n")  # changes no figure
    prepare(file, resume=True).close()


def test_a_damaged_run_is_said(file: Path) -> None:
    study = prepare(file)
    path = begun(study.path, study.cells[0], env_steps=5000, finished=True)
    (path / "evaluations.jsonl").write_text("{\n")
    [damaged, _] = study.states
    assert damaged.state == "failed" and "damaged" in str(damaged.error)
    study.close()


@pytest.mark.parametrize("text", ["[1]", "null", '{"tasks": 3}', '{"tasks": [1]}', '{"tasks": {"a": 1}}', "{}"])
def test_a_damaged_record_of_a_runs_end_is_said(file: Path, text: str) -> None:
    study = prepare(file)
    study.close()
    path = begun(study.path, study.cells[0], env_steps=5000, finished=True)
    (path / "finished.json").write_text(text)
    first, _ = open_study(study.path).states
    assert (first.state, first.error, first.zero_shot) == ("failed", "finished.json is damaged", None)


def test_figures_that_are_no_numbers_are_none(file: Path) -> None:
    study = prepare(file)
    study.close()
    path = begun(study.path, study.cells[0], env_steps=5000, finished=True)
    tasks = [{"zero_shot_success": "yes"}, {"zero_shot_success": 0.5}]
    (path / "finished.json").write_text(json.dumps({"tasks": tasks, "summary": {"zero_shot": {"mean": "low"}}}))
    first, _ = open_study(study.path).states
    assert (first.state, first.zero_shot, first.zero_shot_success, first.tasks) == ("finished", None, 0.5, 2)


def test_the_line_of_a_run_that_failed_is_kept(file: Path) -> None:
    study = prepare(file)
    cell = study.cells[0]
    folder = StudyDir(study.path)
    folder.note(cell, "it broke")
    folder.write_status(study.name, folder.states(study.cells))
    study.close()
    again = open_study(study.path)
    assert (again.states[0].state, again.states[0].error) == ("failed", "it broke")
    assert status("mine", study.path, again.states)["states"] == {"failed": 1, "waiting": 1}


def test_a_run_keeps_the_configuration_that_was_resolved(file: Path) -> None:
    [cell, _] = cells_of(read_study(file))
    assert "method: mql" in to_yaml(cell.config) and "workers: 1" in to_yaml(cell.config)
