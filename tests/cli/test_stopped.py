"""What commands say of their progress where there is no terminal, and where Ctrl-C or SIGTERM stops them."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tiny_runs import TINY

from mql.api.display import Display
from mql.cli import app as cli
from mql.cli import evaluate, play, task_bar
from mql.runs.run_dir import RunDir, without_machine_keys

GOAL = ["--task", "goal=0.5,0.25"]
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


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("stopped") / "run"
    assert cli.run(["train", "point-robot", "--run-dir", str(path), *SET]) == 0
    return path


def test_a_line_at_times_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    with task_bar.task_bar("evaluating", clock=lambda: now[0]) as on_task:
        for done, now[0] in enumerate((4.0, 9.0, 12.0, 13.0, 21.0, 22.5), start=1):
            on_task(done, 20)
    assert capsys.readouterr().err.splitlines() == [
        "evaluating: 3 of 20 tasks after 12 s",
        "evaluating: 6 of 20 tasks after 22 s",
    ]


def test_evaluations_and_adaptations_say_how_far_they_are(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(task_bar, "LINE_INTERVAL", 0.0)
    assert cli.run(["evaluate", str(run_dir), "--tasks", "3", "--json"]) == 0
    out, err = capsys.readouterr()
    assert [line.split(" after ")[0] for line in err.splitlines()] == [f"evaluating: {n} of 3 tasks" for n in (1, 2, 3)]
    assert len(json.loads(out)["tasks"]) == 3
    budget = ["--adaptation-episodes", "4", "--set", "adapt.method=finetune", "adapt.round_updates=1"]
    assert cli.run(["adapt", str(run_dir), *GOAL, *budget, "--json"]) == 0
    out, err = capsys.readouterr()
    played = [line.split(" after ")[0] for line in err.splitlines() if line.startswith("adapting: ")]
    assert played[-1] == f"adapting: {json.loads(out)['episodes_charged']} of 4 episodes" and len(played) > 1


@pytest.mark.parametrize(
    ("arguments", "module", "said"),
    [
        (["evaluate", "RUN", "--tasks", "3"], evaluate, "stopped after 2 tasks: above are their results"),
        (["evaluate", "RUN", "--tasks", "3", "--json"], evaluate, "stopped after 2 tasks: what is finished is printed"),
        (["adapt", "RUN", *GOAL, "--out", "out"], evaluate, "stopped before the end: nothing was written to out"),
        (["play", "RUN", *GOAL, "-o", "a.png"], play, "stopped before the end: no film was written"),
    ],
)
def test_what_is_stopped_says_what_is_there(
    run_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    module: Any,
    said: str,
) -> None:
    @contextmanager
    def stopping(what: str, **more: Any) -> Iterator[Callable[[int, int], None]]:
        def stop(done: int, total: int) -> None:
            if done == 2 or what == "adapting":
                raise KeyboardInterrupt

        if what == "playing":
            raise KeyboardInterrupt
        yield stop

    monkeypatch.chdir(tmp_path)
    before = {file: file.read_bytes() for file in run_dir.rglob("*") if file.is_file()}
    monkeypatch.setattr(module, "task_bar", stopping)
    assert cli.run([str(run_dir) if word == "RUN" else word for word in arguments]) == 130
    out, err = capsys.readouterr()
    if arguments[0] != "evaluate":
        assert out == ""
    elif "--json" in arguments:
        assert json.loads(out)["stopped"] and len(json.loads(out)["tasks"]) == 2
    else:
        assert len(out.split("\n\n")[0].splitlines()) == 3 and "zero-shot" in out  # a heading and two tasks
    assert err.splitlines()[-1].startswith(said) and "the run is unchanged" in err
    assert list(tmp_path.iterdir()) == []
    assert before == {file: file.read_bytes() for file in run_dir.rglob("*") if file.is_file()}
