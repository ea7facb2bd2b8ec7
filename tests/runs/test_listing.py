"""The rows of a list of runs: right for every state, and no damaged or foreign folder breaks the list."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from small_runs import create, work

from mql.errors import UserError
from mql.runs import folder as run_folder
from mql.runs.listing import RunRow, is_locked, last_line, list_runs, row_of
from mql.runs.run_dir import RunDir


def written(path: Path, until: int = 30) -> Path:
    """A run that stopped; its last line is an evaluation of two policies."""
    with create(path) as run:
        work(run, until)
        run.append_metrics({"env_steps": until + 5, "wall_seconds": 61.5})
        summary = {"zero_shot": {"mean": -1.5}, "adapted": {"mean": 2.25}}
        run.append_evaluation({"env_steps": until + 5, "split": "validation", "summary": summary, "wall_seconds": 62.5})
    return path


def test_steps_are_those_of_the_newest_line_of_either_log(tmp_path: Path) -> None:
    with create(tmp_path / "run") as run:
        summary = {"zero_shot": {"mean": -1.5}}
        run.append_evaluation({"env_steps": 35, "split": "validation", "summary": summary, "wall_seconds": 62.5})
        run.append_metrics({"env_steps": 45, "wall_seconds": 70.0})
    row = row_of(tmp_path / "run")
    assert (row.env_steps, row.wall_seconds) == (45, 70.0)
    assert (row.split, row.zero_shot) == ("validation", -1.5)


def by_name(folder: Path) -> dict[str, RunRow]:
    return {os.path.relpath(row.path, folder): row for row in list_runs(folder)}


def test_a_row_says_what_the_files_say(tmp_path: Path) -> None:
    row = row_of(written(tmp_path / "run"))
    assert (row.state, row.why) == ("stopped", None)
    assert (row.family, row.method, row.seed) == ("point-robot", "mql", 0)
    assert (row.env_steps, row.of_env_steps, row.wall_seconds) == (35, 300_000, 62.5)
    assert (row.split, row.zero_shot, row.adapted) == ("validation", -1.5, 2.25)
    assert row.bytes_on_disk == sum(path.stat().st_size for path in (tmp_path / "run").rglob("*") if path.is_file())
    assert row.age_seconds is not None and row.age_seconds >= 0


def test_states_and_nested_folders(tmp_path: Path) -> None:
    written(tmp_path / "stopped")
    written(tmp_path / "deep" / "er" / "finished")
    with RunDir.open_for_resume(tmp_path / "deep" / "er" / "finished") as run:
        run.cut_back(run.load_checkpoint())
        run.mark_finished({"env_steps": 30})
    create(tmp_path / "new").close()
    running = create(tmp_path / "running")
    (tmp_path / "link").symlink_to(tmp_path / "stopped")
    rows = by_name(tmp_path)
    assert {name: row.state for name, row in rows.items()} == {
        "stopped": "stopped",
        "deep/er/finished": "finished",
        "new": "stopped",
        "running": "running",
    }
    running.close()
    assert row_of(tmp_path / "running").state == "stopped"
    assert rows["new"].env_steps is None and rows["new"].zero_shot is None


def test_a_run_itself_can_be_given_and_another_folder_is_empty(tmp_path: Path) -> None:
    run = written(tmp_path / "run")
    assert [row.path for row in list_runs(run)] == [str(run)]
    (tmp_path / "empty").mkdir()
    assert list_runs(tmp_path / "empty") == []
    with pytest.raises(UserError, match="there is no such folder"):
        list_runs(tmp_path / "none")


def test_the_run_that_was_written_to_last_stands_last(tmp_path: Path) -> None:
    for age, name in ((300, "a"), (900, "b"), (100, "c")):
        written(tmp_path / name)
        for path in (tmp_path / name).iterdir():
            if path.is_file():
                os.utime(path, (path.stat().st_mtime - age,) * 2)
    assert [Path(row.path).name for row in list_runs(tmp_path)] == ["b", "a", "c"]


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "no environment": (lambda run: (run / "environment.json").unlink(), "the folder is not a run directory"),
    "environment cut": (lambda run: cut(run / "environment.json"), "the file is damaged (environment.json)"),
    "environment empty": (lambda run: (run / "environment.json").write_bytes(b""), "the file is damaged"),
    "later format": (lambda run: change(run / "environment.json", format_version=99), "the run has format 99"),
    "no config": (lambda run: (run / "config.yaml").unlink(), "config.yaml is missing"),
    "config is a list": (lambda run: (run / "config.yaml").write_text("[1]"), "config.yaml is damaged"),
    "config is no YAML": (lambda run: (run / "config.yaml").write_text("a: [b"), "config.yaml is damaged"),
    "config is binary": (lambda run: (run / "config.yaml").write_bytes(bytes(range(256))), "config.yaml is damaged"),
    "config nests deeply": (lambda run: (run / "config.yaml").write_text("[" * 20_000), "config.yaml is damaged"),
    "config nests endlessly": (lambda run: (run / "config.yaml").write_text("[" * 500_000), "config.yaml is damaged"),
    "no metrics": (lambda run: (run / "metrics.jsonl").unlink(), "metrics.jsonl is missing"),
    "metrics are a folder": (
        lambda run: into_folder(run / "metrics.jsonl"),
        "a folder stands where a file belongs (metrics",
    ),
    "metrics are noise": (lambda run: (run / "metrics.jsonl").write_bytes(b"\x00\xff\n"), "the last line of metrics"),
    "a line is a list": (lambda run: (run / "evaluations.jsonl").write_text("[1]\n"), "the last line of evaluations"),
    "finished is noise": (lambda run: (run / "finished.json").write_text("{"), "the file is damaged (finished.json)"),
}


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def change(path: Path, **values: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def into_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_run_is_a_row_that_says_why(tmp_path: Path, name: str) -> None:
    damage, why = DAMAGES[name]
    damage(written(tmp_path / "bad"))
    written(tmp_path / "good")
    rows = by_name(tmp_path)
    assert rows["good"].state == "stopped"
    assert rows["bad"].state == "damaged" and str(rows["bad"].why).startswith(why)


def test_odd_values_in_a_line_are_left_out(tmp_path: Path) -> None:
    run = written(tmp_path / "run")
    (run / "evaluations.jsonl").write_text('{"env_steps": "many", "summary": {"zero_shot": {"mean": null}}}\n')
    (run / "metrics.jsonl").write_text('{"env_steps": 7}\n{"env_steps": 9')  # cut off by a kill
    row = row_of(run)
    assert (row.state, row.env_steps, row.zero_shot, row.split) == ("stopped", 7, None, None)


def test_foreign_folders_are_no_runs(tmp_path: Path) -> None:
    written(tmp_path / "run")
    for name, files in {
        "package": {"environment.json": '{"name": "node"}'},
        "other-runs": {"environment.json": '{"format": "theirs.run"}'},
        "experiments": {"config.yaml": "a: 1", "metrics.jsonl": "{}"},
        ".hidden.tmp": {"environment.json": (tmp_path / "run" / "environment.json").read_text()},
    }.items():
        (tmp_path / name).mkdir()
        for file, text in files.items():
            (tmp_path / name / file).write_text(text)
    assert list(by_name(tmp_path)) == ["run"]


def test_a_fork_names_its_parent(tmp_path: Path) -> None:
    run = written(tmp_path / "run")
    change(run / "environment.json", forked_from={"path": "/lab/runs/a", "env_steps": 400})
    (run / "SHA256SUMS").unlink()  # which names the file as it was
    assert row_of(run).forked_from == "/lab/runs/a@400"


@pytest.mark.parametrize("length", [10, 65_535, 65_536, 300_000])
def test_the_last_complete_line_is_found_however_long_it_is(tmp_path: Path, length: int) -> None:
    path = tmp_path / "lines"
    path.write_text('{"n": 1}\n' + json.dumps({"n": 2, "fill": "x" * length}) + '\n{"n": 3')
    record = last_line(path)
    assert record is not None and record["n"] == 2 and len(record["fill"]) == length
    path.write_text("")
    assert last_line(path) is None


def test_to_look_whether_a_run_is_locked_does_not_keep_a_writer_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = written(tmp_path / "run")
    monkeypatch.setattr(run_folder, "LOOKING_SECONDS", 5.0)
    with (run / "lock").open() as looker:
        fcntl.flock(looker, fcntl.LOCK_SH)
        slept = threading.Event()

        def sleep(seconds: float) -> None:
            fcntl.flock(looker, fcntl.LOCK_UN)
            slept.set()

        monkeypatch.setattr(run_folder.time, "sleep", sleep)
        with RunDir.open_for_resume(run):
            assert slept.is_set() and is_locked(run)
    assert not is_locked(run)


def test_what_may_not_be_read_is_damaged(tmp_path: Path) -> None:
    run = written(tmp_path / "run")
    (run / "metrics.jsonl").unlink()
    (run / "metrics.jsonl").symlink_to(run / "metrics.jsonl")  # a loop: no user may read it
    assert row_of(run).state == "damaged"
    shutil.rmtree(run)
    assert row_of(run).state == "damaged"  # it went away meanwhile
