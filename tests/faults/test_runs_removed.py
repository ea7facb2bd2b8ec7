"""Files, locks and whole folders that vanish while a run is written, and two processes that want one run."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from small_runs import create, work

from mql.errors import UserError
from mql.runs.listing import is_locked
from mql.runs.run_dir import RunDir


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "one"


def test_deleting_the_lock_lets_nobody_in(path: Path) -> None:
    with create(path) as run:
        work(run, 10)
        (path / "lock").unlink()
        assert is_locked(path)
        for _ in range(2):  # the attempt leaves a lock behind, which is not the writer's
            with pytest.raises(UserError, match="is writing this run"):
                RunDir.open_for_resume(path)
        work(run, 30)
    assert [line["env_steps"] for line in run.read_metrics()] == [10, 20, 30]
    (path / "lock").unlink()
    with RunDir.open_for_resume(path) as again:  # a run without its lock goes on
        again.cut_back(again.load_checkpoint())
        work(again, 40)
    assert [line["env_steps"] for line in again.read_metrics()] == [10, 20, 30, 40]


def test_a_folder_that_was_deleted_is_not_written_again(path: Path) -> None:
    with create(path) as run:
        work(run, 10)
        shutil.rmtree(path)
        with pytest.raises(UserError, match=r"was deleted, moved or replaced while it was written"):
            run.append_metrics({"env_steps": 20})
        assert not path.exists()


def test_a_folder_that_was_replaced_is_left_to_its_new_writer(path: Path) -> None:
    with create(path) as old:
        work(old, 10)
        os.rename(path, path.with_name("elsewhere"))
        with create(path) as new:
            work(new, 20)
            for write in (lambda: work(old, 30), lambda: old.mark_finished({}), lambda: old.append_evaluation({})):
                with pytest.raises(UserError, match="was deleted, moved or replaced"):
                    write()
            work(new, 30)
        assert [line["env_steps"] for line in new.read_metrics()] == [10, 20, 30]
        new.load_checkpoint()


@pytest.mark.parametrize("name", ["metrics.jsonl", "evaluations.jsonl"])
def test_a_log_that_is_removed_is_said_and_the_run_goes_on(path: Path, name: str) -> None:
    with create(path) as run:
        work(run, 10)
        assert run.changes_of_others() == []
        (path / name).unlink()
        said = run.changes_of_others()
        assert len(said) == 1 and said[0].startswith(f"{name} was removed or changed while the run was written")
        assert run.changes_of_others() == []  # once
        work(run, 20)
        run.mark_finished({"env_steps": 20})
    with RunDir.open_for_resume(path) as again:
        again.cut_back(again.load_checkpoint())
        work(again, 30)


@pytest.mark.parametrize("name", ["config.yaml", "tasks.json", "environment.json", "SHA256SUMS", "lock"])
def test_a_file_that_is_removed_does_not_end_training(path: Path, name: str) -> None:
    with create(path) as run:
        work(run, 10)
        (path / name).unlink()
        work(run, 40)
        assert run.checkpoints() == [30, 40]
    if name not in ("lock", "environment.json"):
        with pytest.raises(UserError, match=name):
            _ = RunDir.open_readonly(path).config, RunDir.open_readonly(path).tasks
            RunDir.open_readonly(path).load_checkpoint()


def test_a_checkpoint_that_is_pruned_while_it_is_read_is_no_error(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mql.runs.newest import from_newest

    with create(path) as run:
        work(run, 20)
        reader, loads = RunDir.open_readonly(path), []

        def load(env_steps: int | None) -> int:
            loads.append(env_steps)
            if len(loads) < 3:
                work(run, run.checkpoints()[-1] + 20)  # two more: the one that is read is removed
            saved = reader.load_checkpoint(env_steps)
            list(saved.episodes)
            return saved.env_steps

        assert from_newest(reader, load) == 60 and loads == [20, 40, 60]


def test_the_clock_set_back_changes_no_order(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with create(path) as run:
        work(run, 10)
        monkeypatch.setattr("time.time", lambda: 1.0)
        work(run, 30)
    for file in path.rglob("*"):
        os.utime(file, (5.0, 5.0))
    saved = RunDir.open_readonly(path)
    assert saved.checkpoints() == [20, 30] and saved.load_checkpoint().env_steps == 30
