"""What is said, and what is there, where a command is stopped: by Ctrl-C or by SIGTERM."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest
from tiny_runs import TINY

from mql.api.display import Display
from mql.cli import app as cli
from mql.runs.run_dir import RunDir, without_machine_keys

SET = ["--set", *(f"{key}={value}" for key, value in TINY.items())]


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_training_that_is_stopped_in_its_final_evaluation_is_saved_and_evaluated_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    whole, path = tmp_path / "whole", tmp_path / "run"
    assert cli.run(["train", "point-robot", "--run-dir", str(whole), *SET]) == 0
    usual, last = Display.on_task, TINY["train.env_steps"]

    def stopping(self: Display, done: int, tasks: int) -> None:
        usual(self, done, tasks)
        if done == 1 and RunDir.open_readonly(path).read_metrics()[-1]["env_steps"] >= last:
            os.kill(os.getpid(), getattr(signal, name))
            time.sleep(0.01)  # in which Python calls the handler

    capsys.readouterr()
    with monkeypatch.context() as patched:
        patched.setattr(Display, "on_task", stopping)
        assert cli.run(["train", "point-robot", "--run-dir", str(path), *SET]) == 130
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("stopped in the final evaluation; the trained agent is saved")
    assert said.endswith(f"mql train point-robot --run-dir {path} --resume")
    stopped = RunDir.open_readonly(path)
    assert not stopped.finished and max(stopped.checkpoints()) >= last

    assert cli.run(["train", "point-robot", "--run-dir", str(path), "--resume", "--json"]) == 0
    out, err = capsys.readouterr()
    assert "training is done; evaluating and adapting" in err
    evaluations = [
        [without_machine_keys(line) for line in RunDir.open_readonly(each).read_evaluations()] for each in (path, whole)
    ]
    assert evaluations[0] == evaluations[1] and RunDir.open_readonly(path).finished
    assert json.loads(out)["summary"] == evaluations[1][-1]["summary"]
    assert RunDir.open_readonly(path).read_metrics()[-1]["env_steps"] == max(stopped.checkpoints())
