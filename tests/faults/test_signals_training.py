"""Signals, closed terminals and pipes: what was learned is saved, and how to go on is said."""

from __future__ import annotations

import os
import pty
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import CONFIG, TASKS
from tiny_runs import TINY as POINT_TINY

from mql.cli import app as cli
from mql.runs.run_dir import RunDir, without_machine_keys
from mql.training import stopping
from mql.training.learning import Iteration
from mql.training.loop import Interrupted, train
from mql.types import JSON

SET = [f"{key}={value}" for key, value in (POINT_TINY | {"evaluate.tasks": 1, "evaluate.final_tasks": 1}).items()]
ENDLESS = ["--set", *SET, "train.env_steps=1000000", "train.evaluate_every=1000000"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
PLAIN = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "  # background jobs ignore it
MQL = [sys.executable, "-c", PLAIN + "from mql.cli.app import main; main()"]


class Counting:
    """A method that only counts, and does what it is told in the middle of an iteration or an evaluation."""

    first_live_episode = 0
    replay_bytes = 0

    def __init__(self, *, iterating: Callable[[int], object] = lambda _: None, evaluating: Any = lambda: None) -> None:
        self.env_steps = self.updates = self.iterations = 0
        self.weight = torch.zeros(1)
        self._iterating, self._evaluating = iterating, evaluating

    def updates_after(self, env_steps: int) -> int:
        return env_steps

    def iterate(self) -> Iteration:
        self.weight += 0.5  # half of what an iteration does
        self._iterating(self.iterations)
        self.weight += 0.5
        self.env_steps, self.updates, self.iterations = self.env_steps + 10, self.updates + 1, self.iterations + 1
        return Iteration({}, [], 0.0, 0.0)

    def evaluate(self, *, final: bool, with_random: bool, on_task: Any = None) -> dict[str, JSON]:
        self._evaluating()
        return {"tasks": []}

    def tensors(self) -> dict[str, torch.Tensor]:
        return {"weight": self.weight}

    def counters(self) -> dict[str, JSON]:
        return {"env_steps": self.env_steps}


def settings(**more: int) -> Any:
    every = {"env_steps": 50, "evaluate_every": 1000, "checkpoint_every": 1000}
    return CONFIG.train.model_copy(update={**every, **more})


def new_run(path: Path) -> RunDir:
    return RunDir.create(path, config=CONFIG, tasks=TASKS, command=["mql"])


def send(number: int) -> None:
    os.kill(os.getpid(), number)
    time.sleep(0.01)  # in which Python calls the handler


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP", "SIGXCPU", "SIGUSR1", "SIGUSR2"])
def test_any_signal_that_asks_to_stop_saves(tmp_path: Path, name: str) -> None:
    number = getattr(signal, name)
    outside = signal.getsignal(number)
    if outside == signal.SIG_IGN:  # as SIGHUP is where the tests run under nohup
        signal.signal(number, signal.SIG_DFL)
    before = signal.getsignal(number)
    learning = Counting(iterating=lambda done: send(number) if done == 2 else None)
    with new_run(tmp_path / "run") as run, pytest.raises(Interrupted, match="stopped after 30 environment steps"):
        train(learning, settings(), run)  # type: ignore[arg-type]
    assert RunDir.open_readonly(tmp_path / "run").load_checkpoint().tensors["weight"].item() == 3.0
    assert signal.getsignal(number) == before
    signal.signal(number, outside)


def test_a_signal_that_is_ignored_stays_so(tmp_path: Path) -> None:
    """As SIGHUP under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with new_run(tmp_path / "run") as run:
            train(Counting(iterating=lambda _: send(signal.SIGHUP)), settings(), run)  # type: ignore[arg-type]
    finally:
        signal.signal(signal.SIGHUP, before)
    assert RunDir.open_readonly(tmp_path / "run").finished


def endless(_: object = None) -> None:
    while True:
        time.sleep(0.05)


def test_an_evaluation_is_left_at_once(tmp_path: Path) -> None:
    def hang() -> None:
        send(signal.SIGTERM)
        endless()

    with new_run(tmp_path / "run") as run, pytest.raises(Interrupted):
        train(Counting(evaluating=hang), settings(evaluate_every=20), run)  # type: ignore[arg-type]
    saved = RunDir.open_readonly(tmp_path / "run")
    assert saved.checkpoints() == [20] and saved.load_checkpoint().tensors["weight"].item() == 2.0
    assert saved.read_evaluations() == []


def test_an_iteration_that_does_not_end_is_left_and_what_was_before_it_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stopping, "PATIENCE", 0.2)
    monkeypatch.setattr("mql.training.loop.SLOW_SECONDS", -1.0)  # every one counts as long

    def hang(done: int) -> None:
        if done == 3:
            send(signal.SIGTERM)
            endless()

    with new_run(tmp_path / "run") as run, pytest.raises(Interrupted, match="after 30 "):
        train(Counting(iterating=hang), settings(), run)  # type: ignore[arg-type]
    saved = RunDir.open_readonly(tmp_path / "run").load_checkpoint()
    assert saved.env_steps == 30 and saved.tensors["weight"].item() == 3.0  # not 3.5
    assert len(RunDir.open_readonly(tmp_path / "run").read_metrics()) == 3


def test_an_iteration_that_ends_in_time_is_kept(tmp_path: Path) -> None:
    learning = Counting(iterating=lambda done: send(signal.SIGINT) if done == 3 else None)
    with new_run(tmp_path / "run") as run, pytest.raises(Interrupted, match="after 40 "):
        train(learning, settings(), run)  # type: ignore[arg-type]


def test_a_second_interrupt_stops_at_once(tmp_path: Path) -> None:
    def twice(done: int) -> None:
        send(signal.SIGINT)
        send(signal.SIGINT)
        endless()

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with new_run(tmp_path / "run") as run, pytest.raises(KeyboardInterrupt):
            train(Counting(iterating=twice), settings(), run)  # type: ignore[arg-type]
    finally:
        signal.signal(signal.SIGINT, before)


def test_the_save_comes_before_what_is_said(tmp_path: Path) -> None:
    class Closed:
        """A watcher whose terminal has gone."""

        def on_start(self, learning: object) -> None: ...
        def on_task(self, done: int, tasks: int) -> None: ...
        def on_evaluation(self, record: object) -> None: ...
        def on_iteration(self, record: Any) -> None:
            if record["env_steps"] >= 50:
                raise BrokenPipeError

    with new_run(tmp_path / "run") as run, pytest.raises(BrokenPipeError):
        train(Counting(), settings(), run, watchers=(Closed(),))  # type: ignore[arg-type]
    assert RunDir.open_readonly(tmp_path / "run").checkpoints() == [50]


def started(path: Path, arguments: Sequence[str] = ENDLESS, **more: Any) -> subprocess.Popen[Any]:
    command = [*MQL, "train", "point-robot", "--run-dir", str(path), *arguments]
    return subprocess.Popen(command, env=ENVIRONMENT, **more)


def wait_for_checkpoint(process: subprocess.Popen[Any], path: Path) -> None:
    while process.poll() is None and not (path.exists() and RunDir.open_readonly(path).checkpoints()):
        time.sleep(0.05)
    assert process.poll() is None, "it ended before its first checkpoint"


def test_a_pipe_that_closes_does_not_end_training(tmp_path: Path) -> None:
    """`mql train ... 2>&1 | head`: nobody reads any more, and training goes on to its end."""
    path = tmp_path / "run"
    reader, writer = os.pipe()
    process = started(path, ["--set", *SET], stderr=writer, stdout=writer)
    os.close(writer)
    os.close(reader)
    assert process.wait(timeout=300) == 141
    assert RunDir.open_readonly(path).finished


@pytest.mark.faults
def test_a_terminal_that_closes_does_not_end_training(tmp_path: Path) -> None:
    """Every write gives EIO then; under nohup there is no SIGHUP, and the run comes to its end."""
    path = tmp_path / "run"
    master, slave = pty.openpty()
    program = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN); from mql.cli.app import main; main()"
    command = [sys.executable, "-c", program, "train", "point-robot", "--run-dir", str(path), "--set", *SET]
    process = subprocess.Popen(
        command, env=ENVIRONMENT, stdin=slave, stdout=slave, stderr=slave, start_new_session=True
    )
    os.close(slave)
    os.read(master, 10)
    os.close(master)
    assert process.wait(timeout=300) in (0, 141)
    assert RunDir.open_readonly(path).finished


@pytest.mark.faults
def test_a_terminal_that_hangs_up_saves_the_run(tmp_path: Path) -> None:
    path = tmp_path / "run"
    master, slave = pty.openpty()
    program = """
import fcntl, signal, sys, termios
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # also where these tests run under nohup
fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # it is our terminal now: its end sends SIGHUP
from mql.cli.app import main
main()
"""
    command = [sys.executable, "-c", program, "train", "point-robot", "--run-dir", str(path), *ENDLESS]
    process = subprocess.Popen(
        command, env=ENVIRONMENT, stdin=slave, stdout=slave, stderr=slave, start_new_session=True
    )
    os.close(slave)
    os.set_blocking(master, False)
    while process.poll() is None and not (path.exists() and RunDir.open_readonly(path).checkpoints()):
        time.sleep(0.05)
        try:
            os.read(master, 65536)
        except BlockingIOError:
            continue
    os.close(master)
    assert process.wait(timeout=60) == 130
    run = RunDir.open_readonly(path)
    assert run.checkpoints()[-1] == run.read_metrics()[-1]["env_steps"]


@pytest.mark.faults
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGXCPU"])
def test_a_run_that_is_told_to_stop_ends_as_if_it_had_not(tmp_path: Path, name: str) -> None:
    whole, path = tmp_path / "whole", tmp_path / "run"
    assert cli.run(["train", "point-robot", "--run-dir", str(whole), "--set", *SET]) == 0
    process = started(path, ["--set", *SET], stderr=subprocess.PIPE, text=True)
    try:
        wait_for_checkpoint(process, path)
        process.send_signal(getattr(signal, name))
        _, err = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode in (130, 0) and "Traceback" not in err
    if process.returncode == 130:
        assert "stopped and saved after" in err and "--resume" in err
    assert cli.run(["train", "point-robot", "--run-dir", str(path), "--resume"]) == 0
    same(path, whole)


def same(left: Path, right: Path) -> None:
    """Whether two finished runs have the same records, parameters and stored episodes, bit for bit."""
    runs = [RunDir.open_readonly(path) for path in (left, right)]
    for read in (RunDir.read_metrics, RunDir.read_evaluations):
        first, second = ([without_machine_keys(line) for line in read(run)] for run in runs)
        assert first == second
    saved = [run.load_checkpoint() for run in runs]
    assert saved[0].tensors.keys() == saved[1].tensors.keys()
    assert all(torch.equal(saved[0].tensors[name], tensor) for name, tensor in saved[1].tensors.items())
    stored = [[(n, e.obs.tobytes(), e.action.tobytes(), e.reward.tobytes()) for n, e in s.episodes] for s in saved]
    assert dict((n, rest) for n, *rest in stored[0]) == dict((n, rest) for n, *rest in stored[1])


@pytest.mark.faults
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_signal_while_modules_are_imported(tmp_path: Path, name: str) -> None:
    """Any time from the beginning of `main` on: one line at most, no traceback, and nothing half done."""
    program = """
import os, signal, sys, threading, time
signal.signal(signal.SIGINT, signal.default_int_handler)
from mql.cli.app import main
threading.Timer(float(sys.argv.pop(1)), os.kill, (os.getpid(), int(sys.argv.pop(1)))).start()
main()
"""
    for moment in range(1, 13):
        path = tmp_path / str(moment)
        arguments = [str(0.3 * moment), str(int(getattr(signal, name))), "train", "point-robot", "--run-dir", str(path)]
        done = subprocess.run(
            [sys.executable, "-c", program, *arguments, *ENDLESS], capture_output=True, text=True, env=ENVIRONMENT
        )
        assert done.returncode == 130, done.stderr
        assert "Traceback" not in done.stderr and "stopped" in done.stderr.splitlines()[-1]
        assert not list(tmp_path.glob("*.tmp")) and not list(tmp_path.glob(".*"))
        shutil.rmtree(path, ignore_errors=True)
