"""Run directories: what they hold, who may write them, and what a kill or a full disk leaves."""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from small_runs import CONFIG, TASKS, create, episodes, work

from mql.config.loading import override
from mql.errors import UserError
from mql.runs.run_dir import RunDir, without_machine_keys


def content(path: Path) -> dict[str, bytes]:
    """Every file and folder of a run, apart from what names the process."""
    return {
        str(file.relative_to(path)): file.read_bytes() if file.is_file() else b""
        for file in sorted(path.rglob("*"))
        if file.name not in ("lock", "environment.json")
    }


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "one"


@pytest.fixture
def run(path: Path) -> Iterator[RunDir]:
    with create(path) as run:
        yield run


def test_a_new_run_holds_what_it_was_started_with(run: RunDir, path: Path) -> None:
    assert run.path == path
    assert run.config == CONFIG
    assert run.tasks == TASKS
    assert (run.checkpoints(), run.read_metrics(), run.read_evaluations(), run.finished) == ([], [], [], False)
    environment = json.loads((path / "environment.json").read_text())
    assert (environment["format"], environment["format_version"]) == ("mql.run", 2)
    assert environment["command"] == ["mql", "train", "point-robot"]
    versions = environment["versions"]
    assert set(versions) == {"python", "mql", "torch", "mujoco", "numpy", "gymnasium", "scikit-learn"}
    assert versions["numpy"] == np.__version__
    assert environment["machine"]["cores"] >= 1 and environment["machine"]["platform"]


def test_the_commit_is_none_outside_a_repository_and_without_git(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.setenv("PATH", str(tmp_path))
    create(tmp_path / "run").close()
    environment = json.loads((tmp_path / "run" / "environment.json").read_text())
    assert environment["git_commit"] is None and environment["git_changes"] is None


def test_an_existing_run_is_refused_and_an_empty_folder_is_not(path: Path) -> None:
    path.mkdir(parents=True)
    create(path).close()
    with pytest.raises(UserError, match=r"the run directory already exists \(.*one\): continue it with --resume"):
        create(path)
    (path.parent / "file").write_text("")
    with pytest.raises(UserError, match="the run directory already exists"):
        create(path.parent / "file")
    with pytest.raises(UserError, match="cannot read or write"):
        create(path.parent / "file" / "below")


def test_replace_removes_an_earlier_run_and_nothing_else(path: Path) -> None:
    with create(path) as run:
        work(run, 10)
        with pytest.raises(UserError, match=f"process {os.getpid()} is writing this run"):
            create(path, replace=True)
    with create(path, replace=True) as run:
        assert run.checkpoints() == []
        run.append_metrics({"a": 1})
    assert [entry.name for entry in path.parent.iterdir()] == ["one"]
    (other := path.parent / "precious").mkdir()
    (other / "thesis.txt").write_text("all of it")
    for text in (None, "{}", "[]", "no json"):
        if text is not None:
            (other / "environment.json").write_text(text)
        with pytest.raises(UserError):
            create(other, replace=True)
    (path.parent / "link").symlink_to(path)
    with pytest.raises(UserError, match="the path is a link"):
        create(path.parent / "link", replace=True)
    assert (other / "thesis.txt").read_text() == "all of it"
    assert RunDir.open_readonly(path).read_metrics() == [{"a": 1}]


def test_lines_are_strict_json_and_come_back(run: RunDir, path: Path) -> None:
    run.append_metrics(
        {"a": np.float32(0.5), "b": math.nan, "c": [np.int64(1), {"d": np.array([True])}], "e_seconds": 3.0}
    )
    run.append_evaluation({"tasks": ()})
    assert run.read_metrics() == [{"a": 0.5, "b": None, "c": [1, {"d": [True]}], "e_seconds": 3.0}]
    assert run.read_evaluations() == [{"tasks": []}]
    assert (path / "metrics.jsonl").read_bytes().count(b"\n") == 1
    assert without_machine_keys({"a": 1, "b_seconds": 2, "c_per_s": 3, "d_memory": 4}) == {"a": 1}


def test_only_a_half_written_last_line_is_passed_over(run: RunDir, path: Path) -> None:
    run.append_metrics({"a": 1})
    file = path / "metrics.jsonl"
    file.write_bytes(file.read_bytes() + b'{"a": 2')
    assert run.read_metrics() == [{"a": 1}]
    file.write_bytes(file.read_bytes() + b'\n{"a": 3}\n')
    with pytest.raises(UserError, match=r"the line is not a JSON object \(.*metrics\.jsonl:2\)"):
        run.read_metrics()


def test_a_checkpoint_is_read_while_another_process_writes(run: RunDir, path: Path) -> None:
    work(run, 20)
    reader = RunDir.open_readonly(path)
    checkpoint = reader.load_checkpoint()
    assert checkpoint.env_steps == 20 and checkpoint.state == {"env_steps": 20}
    assert checkpoint.tensors["weight"].tolist() == [20.0] * 4
    assert [(number, episode.seed) for number, episode in checkpoint.episodes] == [(n, n) for n in range(4)]
    assert reader.load_checkpoint(10).env_steps == 10
    with pytest.raises(RuntimeError, match="not open for writing"):
        reader.append_metrics({})
    with pytest.raises(UserError, match=r"there is no checkpoint 15 .*: choose one of 10, 20"):
        reader.load_checkpoint(15)


def test_old_checkpoints_and_chunks_that_nobody_names_go(run: RunDir, path: Path) -> None:
    work(run, 60)
    assert run.checkpoints() == [50, 60]
    assert run.load_checkpoint(50).first_live_episode == 4
    assert [number for number, _ in run.load_checkpoint(50).episodes] == [4, 5, 6, 7, 8, 9]
    assert [number for number, _ in run.load_checkpoint(60).episodes] == [6, 7, 8, 9, 10, 11]
    assert len(list((path / "replay").iterdir())) == 4


def test_checkpoints_without_episodes_or_with_none_alive(run: RunDir, path: Path) -> None:
    def save(env_steps: int, n: int, first_live: int) -> None:
        new = episodes(run.next_episode, n)
        run.save_checkpoint(env_steps, tensors={}, state={}, episodes=new, first_live_episode=first_live)

    save(0, 0, 0)
    assert list(run.load_checkpoint(0).episodes) == []
    save(1, 3, 2)
    assert [number for number, _ in run.load_checkpoint().episodes] == [0, 1, 2]  # whole chunks
    save(2, 1, 4)
    assert (list(run.load_checkpoint().episodes), run.next_episode) == ([], 4)
    with pytest.raises(ValueError, match="checkpoint 2 does not come after 2"):
        save(2, 0, 4)
    with pytest.raises(ValueError, match="first_live_episode is 6, of 5"):
        save(3, 1, 6)


def test_resuming_cuts_back_to_the_checkpoint(run: RunDir, path: Path) -> None:
    work(run, 30)
    at_30 = content(path)
    run.append_metrics({"later": 1})
    run.mark_finished({"env_steps": 30})
    assert run.finished and run.summary == {"env_steps": 30}
    run.close()
    for leftover in ("checkpoints/40.tmp/agent.safetensors", "config.yaml.tmp", "replay/9-9.safetensors.tmp"):
        (path / leftover).parent.mkdir(exist_ok=True)
        (path / leftover).write_text("half")
    (path / "replay" / "000000006-000000007.safetensors").write_text("a chunk whose checkpoint was never written")
    with RunDir.open_for_resume(path) as again:
        writes: list[Callable[[], object]] = [lambda: again.append_metrics({}), lambda: work(again, 40)]
        for write in writes:
            with pytest.raises(RuntimeError, match="cut_back comes before"):
                write()
        again.cut_back(again.load_checkpoint())
        assert content(path) == at_30
        assert again.next_episode == 6 and not again.finished
        work(again, 50)
    with create(path.with_name("uninterrupted")) as other:
        work(other, 50)
    assert content(path) == content(other.path)


def test_resuming_at_an_earlier_checkpoint_and_at_the_start(path: Path) -> None:
    with create(path) as run:
        start = content(path)
        work(run, 20)
    with RunDir.open_for_resume(path) as run:
        run.cut_back(run.load_checkpoint(10))
        assert run.checkpoints() == [10] and run.read_metrics() == [{"env_steps": 10, "loss": 0.1}]
        work(run, 20)
        assert [number for number, _ in run.load_checkpoint().episodes] == [0, 1, 2, 3]
        run.cut_back(None)
        assert content(path) == start
        with pytest.raises(UserError, match="the run has no checkpoint yet"):
            run.load_checkpoint()


def test_lines_lost_from_before_the_checkpoint_are_not_passed_over(path: Path) -> None:
    with create(path) as run:
        work(run, 10)
    before, lines = content(path), (path / "metrics.jsonl").read_bytes()
    with RunDir.open_for_resume(path) as run:
        for changed in (lines[:-1], lines[1:] + b"{}\n"):
            (path / "metrics.jsonl").write_bytes(changed)
            with pytest.raises(UserError, match=r"lines from before checkpoint 10 (are missing|were changed)"):
                run.cut_back(run.load_checkpoint())
    (path / "metrics.jsonl").write_bytes(lines)
    assert content(path) == before


def test_a_mistaken_path_names_the_runs_that_may_be_meant(path: Path) -> None:
    with create(path):
        pass
    with pytest.raises(UserError, match=f"did you mean {path}"):
        RunDir.open_readonly(path.with_name(path.name + "x"))
    with pytest.raises(UserError, match=f"it contains runs, give one of them: {path}"):
        RunDir.open_readonly(path.parent)


@pytest.mark.parametrize(("text", "words"), [("", "damaged"), ("{}", "not a run directory"), ("[1]", "not a run")])
def test_what_is_not_a_run_directory_is_refused(path: Path, text: str, words: str) -> None:
    for opened in (RunDir.open_for_resume, RunDir.open_readonly):
        with pytest.raises(UserError, match="there is no such run directory"):
            opened(path)
        path.mkdir(parents=True)
        with pytest.raises(UserError, match="the folder is not a run directory"):
            opened(path)
        (path / "environment.json").write_text(text)
        with pytest.raises(UserError, match=words):
            opened(path)
        assert not (path / "lock").exists()
        shutil.rmtree(path)


def test_a_run_of_another_format_is_refused(path: Path) -> None:
    create(path).close()
    environment = json.loads((path / "environment.json").read_text())
    (path / "environment.json").write_text(json.dumps({**environment, "format_version": 3}))
    with pytest.raises(
        UserError, match=r"the run has format 3, but this version reads up to 2 .*: use the version of mql"
    ):
        RunDir.open_for_resume(path)


def test_a_changed_config_must_agree_with_the_run(path: Path) -> None:
    with create(path) as run:
        work(run, 20)
        run.mark_finished({})
    with RunDir.open_for_resume(path) as run:
        longer = override(
            CONFIG, ["train.env_steps=1e6", "threads=2", "collect.workers=3", "tracking=wandb", "evaluate.tasks=3"]
        )
        run.cut_back(run.load_checkpoint(), longer)
        assert run.config == longer and not run.finished
        with pytest.raises(UserError, match=r"agent\.lr is 0\.5, but the run was started with 0\.001 \(agent\.lr\)"):
            run.cut_back(run.load_checkpoint(), override(longer, ["agent.lr=0.5"]))
        with pytest.raises(UserError, match=r"train\.env_steps_per_update is 9\.0"):
            run.cut_back(run.load_checkpoint(), override(longer, ["train.env_steps_per_update=9"]))
        with pytest.raises(UserError, match=r"train\.env_steps is 15, but the run has a checkpoint at 20"):
            run.cut_back(run.load_checkpoint(), override(longer, ["train.env_steps=15"]))
        assert run.config == longer
