"""The `mql` command when a run, the disk or the user gets in the way: one line, exit 2, and nothing saved is lost."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tiny_runs import TINY as POINT_TINY

import mql.runs.checkpoint
from mql.cli import app as cli
from mql.errors import UserError
from mql.runs.run_dir import RunDir, without_machine_keys

TINY = POINT_TINY | {"adapt.step2_updates": 1, "evaluate.tasks": 1, "evaluate.final_tasks": 1}


def train(path: Path, *settings: str, resume: bool = False) -> list[str]:
    sets = [f"{key}={value}" for key, value in TINY.items()] if not resume else []
    more = ["--resume"] if resume else []
    chosen = [*sets, *settings]
    return ["train", "point-robot", "--run-dir", str(path), *more, *(["--set", *chosen] if chosen else [])]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("faults") / "finished"
    assert cli.run(train(path)) == 0
    return path


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


def records(path: Path) -> list[list[dict[str, Any]]]:
    run = RunDir.open_readonly(path)
    return [[without_machine_keys(line) for line in part] for part in (run.read_metrics(), run.read_evaluations())]


def saved(path: Path) -> dict[str, bytes]:
    """Everything of a run except the lock's text."""
    return {
        str(file.relative_to(path)): file.read_bytes()
        for file in path.rglob("*")
        if file.is_file() and file.name != "lock"
    }


def error(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> str:
    """Run a command line that must fail with status 2; return its message, the last line of standard error."""
    capsys.readouterr()
    assert cli.run(arguments) == 2
    out, err = capsys.readouterr()
    assert out == "" and "Traceback" not in err
    messages = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(messages) == 1 and err.splitlines()[-1] == messages[0]
    return messages[0]


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_a_run_that_exists(capsys: pytest.CaptureFixture[str], run: Path) -> None:
    before = saved(run)
    assert "the run directory already exists" in error(capsys, train(run))
    assert saved(run) == before


def test_a_locked_run(capsys: pytest.CaptureFixture[str], run: Path) -> None:
    before = saved(run)
    with RunDir.open_for_resume(run):
        message = error(capsys, train(run, "train.env_steps=800", resume=True))
        assert f"process {os.getpid()} is writing this run" in message
        assert cli.run(["evaluate", str(run), "--no-adapt"]) == 0  # reading is allowed
    assert saved(run) == before


@pytest.mark.parametrize("command", ["evaluate", "adapt", "train"])
def test_a_run_of_another_version(capsys: pytest.CaptureFixture[str], run: Path, command: str) -> None:
    environment = json.loads((run / "environment.json").read_text())
    (run / "environment.json").write_text(json.dumps({**environment, "format_version": 99}))
    before = saved(run)
    more = {"evaluate": [], "adapt": ["--task", "goal=0,0"], "train": []}[command]
    arguments = train(run, resume=True) if command == "train" else [command, str(run), *more]
    assert "the run has format 99" in error(capsys, arguments)
    assert saved(run) == before


def test_a_half_written_run(capsys: pytest.CaptureFixture[str], run: Path) -> None:
    text = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(text[: text.index("hidden_sizes") + len("hidden_sizes: [")])
    assert str(run / "config.yaml") in error(capsys, ["evaluate", str(run)])
    (run / "environment.json").unlink()
    assert "the folder is not a run directory" in error(capsys, ["evaluate", str(run)])


def test_a_run_whose_tasks_have_changed(capsys: pytest.CaptureFixture[str], run: Path) -> None:
    tasks = json.loads((run / "tasks.json").read_text())
    tasks["train"][0]["goal"][0] += 0.1
    (run / "tasks.json").write_text(json.dumps(tasks))
    (run / "SHA256SUMS").unlink()  # it was written so, by another version
    assert "the training tasks of point-robot are no longer those of the run" in error(capsys, ["evaluate", str(run)])


@pytest.mark.parametrize("pattern", ["checkpoints/600/agent.safetensors", "checkpoints/600/*.json", "replay/*"])
def test_a_flipped_byte(capsys: pytest.CaptureFixture[str], run: Path, pattern: str) -> None:
    file = sorted(run.glob(pattern))[-1]
    flip(file)
    before = saved(run)
    for arguments in (
        ["evaluate", str(run)],
        ["adapt", str(run), "--task", "goal=0,0"],
        train(run, "train.env_steps=800", resume=True),
    ):
        assert file.name in error(capsys, arguments)
    assert saved(run) == before  # not even the mark of the end is gone
    assert cli.run(["evaluate", str(run), "--checkpoint", "400", "--no-adapt"]) == 0


@pytest.mark.parametrize(
    ("number", "message"),
    [(errno.ENOSPC, "the disk is full"), (errno.EACCES, "no permission"), (errno.EROFS, "read-only")],
)
def test_a_disk_that_refuses(
    capsys: pytest.CaptureFixture[str],
    finished: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    message: str,
) -> None:
    """The second checkpoint can't be written; when the disk is well again the run ends as if it had always been."""
    path, write = tmp_path / "run", mql.runs.checkpoint.write_file

    def refuse(file: Path, data: bytes) -> None:
        if file.parent.name.startswith("400"):
            raise OSError(number, os.strerror(number), str(file))
        write(file, data)

    monkeypatch.setattr(mql.runs.checkpoint, "write_file", refuse)
    assert message in error(capsys, train(path))
    assert RunDir.open_readonly(path).checkpoints() == [200]
    monkeypatch.undo()
    assert cli.run(train(path, resume=True)) == 0
    assert records(path) == records(finished)


def test_no_permission_to_begin(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: str, *_: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr("mql.runs.folder.os.mkdir", refuse)
    assert "no permission" in error(capsys, train(tmp_path / "run"))
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_of_an_adapted_agent(
    capsys: pytest.CaptureFixture[str], finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(file: Path, data: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(file))

    monkeypatch.setattr("mql.files.write_file", refuse)
    arguments = ["adapt", str(finished), "--task", "goal=0,0", "--out", str(tmp_path / "out")]
    assert "the disk is full" in error(capsys, arguments)
    assert list(tmp_path.iterdir()) == []


def test_no_permission_is_said_before_adapting(
    capsys: pytest.CaptureFixture[str], finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mql.files.os.access", lambda path, mode: Path(path) != tmp_path)
    monkeypatch.setattr("mql.api.run.carry_out", lambda *arguments, **more: pytest.fail("it adapts"))
    arguments = ["adapt", str(finished), "--task", "goal=0,0", "--out", str(tmp_path / "new" / "out")]
    assert f"no permission to write ({tmp_path}): choose another --out" in error(capsys, arguments)


def test_divergence_is_told_in_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    message = error(capsys, train(tmp_path / "run", "agent.reward_scale=1e30"))
    assert "training diverged" in message and "lower agent.lr" in message
    assert RunDir.open_readonly(tmp_path / "run").checkpoints() == [200]


def test_a_simulation_that_fails_names_its_task(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mql.tasks.families.small.point_robot.STEP_LENGTH", float("nan"))
    message = error(capsys, train(tmp_path / "run"))
    assert "no episode could be finished, family point-robot: step 1 gave numbers that are not finite (task" in message


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("agent.lr=0.5", "agent.lr is 0.5, but the run was started with"),
        ("seed=5", "seed is 5, but the run was started with 0"),
        ("train.env_steps=300", "train.env_steps is 300, but the run has a checkpoint at 600"),
    ],
)
def test_a_finished_run_refuses_what_an_unfinished_one_refuses(
    capsys: pytest.CaptureFixture[str], run: Path, setting: str, message: str
) -> None:
    before = saved(run)
    assert message in error(capsys, train(run, setting, resume=True))
    assert saved(run) == before
    assert cli.run(train(run, "threads=2", "evaluate.final_tasks=2", resume=True)) == 0  # may differ, but not any more
    assert "is finished and stays as it is" in capsys.readouterr().err and saved(run) == before


def test_going_on_from_an_earlier_checkpoint(
    capsys: pytest.CaptureFixture[str], finished: Path, run: Path, tmp_path: Path
) -> None:
    assert "there is no checkpoint 500" in error(capsys, [*train(run, resume=True), "--checkpoint", "500"])
    assert "add --resume" in error(capsys, [*train(tmp_path / "new"), "--checkpoint", "400"])
    assert "agent.lr is 0.5" in error(capsys, [*train(run, "agent.lr=0.5", resume=True), "--checkpoint", "400"])
    assert saved(run) == saved(finished)
    flip(run / "checkpoints" / "600" / "agent.safetensors")  # as good as any reason to go back
    assert cli.run([*train(run, resume=True), "--checkpoint", "400"]) == 0
    assert records(run) == records(finished)
    assert RunDir.open_readonly(run).load_checkpoint().env_steps == 600


def test_what_cannot_go_on_is_not_changed(
    capsys: pytest.CaptureFixture[str], run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(name: str) -> None:
        raise UserError(f"unknown family {name!r}", mend="see 'mql tasks list'")

    before = saved(run)
    monkeypatch.setattr("mql.tasks.registry.load", unknown)
    arguments = [*train(run, "train.env_steps=800", resume=True), "--checkpoint", "400"]
    assert "unknown family 'point-robot'" in error(capsys, arguments)
    assert saved(run) == before


@pytest.mark.parametrize("name", ["agent.safetensors", "checkpoint.json", "checkpoint.sha256"])
def test_a_missing_file_of_a_checkpoint(capsys: pytest.CaptureFixture[str], run: Path, name: str) -> None:
    (run / "checkpoints" / "600" / name).unlink()
    message = error(capsys, ["evaluate", str(run)])
    assert f"a file of the checkpoint is missing ({run}/checkpoints/600/{name})" in message
    assert "add --checkpoint 400" in message


@pytest.mark.parametrize("name", ["tasks.json", "finished.json"])
@pytest.mark.parametrize("text", ["[]", "{}"])
def test_json_without_what_belongs_in_it(capsys: pytest.CaptureFixture[str], run: Path, name: str, text: str) -> None:
    (run / name).write_text(text)
    assert f"({run}/{name})" in error(capsys, train(run, resume=True))


def test_a_misfit_leaves_later_checkpoints(
    capsys: pytest.CaptureFixture[str], run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What this version can't go on from, another one can."""

    def refuse(*arguments: object) -> None:
        raise KeyError("a tensor of another version")

    before = saved(run)
    monkeypatch.setattr("mql.learning.trainer.Trainer.restore", refuse)
    arguments = [*train(run, "train.env_steps=800", resume=True), "--checkpoint", "400"]
    assert "the checkpoint does not fit" in error(capsys, arguments)
    assert saved(run) == before


def test_a_folder_that_is_called_like_an_unfinished_one_stays(run: Path, tmp_path: Path) -> None:
    mine = tmp_path / "out.tmp"
    mine.mkdir()
    (mine / "notes").write_text("mine")
    out = tmp_path / "out"
    assert cli.run(["adapt", str(run), "--task", "goal=0,0", "--out", str(out)]) == 0
    assert (mine / "notes").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "out.tmp", "run"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_stop_an_evaluation(run: Path, number: signal.Signals) -> None:
    code = f"""
import os, signal, sys, threading
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
from mql.cli.app import main
from mql.training import records

def evaluate(*arguments, **more):
    threading.Timer(0.2, os.kill, (os.getpid(), {int(number)})).start()
    threading.Event().wait(60)

records.evaluate = evaluate
sys.argv = ["mql", "evaluate", {str(run)!r}, "--no-adapt"]
main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr.startswith("stopped after 0 tasks: ") and len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_stop(tmp_path: Path, number: signal.Signals) -> None:
    """A real one, to a real process: it saves, says how to go on and exits with 130."""
    path = tmp_path / "run"
    command = [sys.executable, "-m", "mql", *train(path, "train.env_steps=1000000", "train.evaluate_every=1000000")]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    try:
        while process.poll() is None and not (path.exists() and RunDir.open_readonly(path).checkpoints()):
            time.sleep(0.05)
        process.send_signal(number)
        out, err = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 130 and out == "" and "Traceback" not in err
    stopped = RunDir.open_readonly(path).read_metrics()[-1]["env_steps"]
    assert max(RunDir.open_readonly(path).checkpoints()) == stopped
    assert f"stopped and saved after {stopped:,} env steps" in err
    assert f"mql train point-robot --run-dir {path} --resume" in err


def test_a_reader_that_leaves() -> None:
    """Before anything is written, for certain: `head -1` may have left before the last line or not."""
    done = subprocess.run(
        f"{sys.executable} -m mql tasks list | true", shell=True, capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("", "")
