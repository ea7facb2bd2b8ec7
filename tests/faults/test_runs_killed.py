"""SIGKILL at any moment of training, of a study or of a report: what comes of it in the end is bit for bit the same."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from tiny_runs import TINY as POINT_TINY

from mql.cli import app as cli
from mql.runs.run_dir import RunDir, without_machine_keys

SET = [f"{key}={value}" for key, value in (POINT_TINY | {"evaluate.tasks": 1, "evaluate.final_tasks": 1}).items()]
SET += ["train.checkpoint_every=100", "train.evaluate_every=200"]  # so that much of the time goes into writing
FAMILIES = {"mql": [], "p3o": ["method=p3o"]}
KILLS = 50


def forked(arguments: list[str], seconds: float | None) -> bool:
    """Run a command line in a fork of this process; kill it after `seconds`. Return whether it came to its end."""
    child = os.fork()
    if child == 0:
        devnull = os.open(os.devnull, os.O_WRONLY)
        for descriptor in (1, 2):
            os.dup2(devnull, descriptor)
        os._exit(cli.run(arguments))
    end = None if seconds is None else time.monotonic() + seconds
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            assert status == 0, f"it ended by itself with {status}"
            return True
        if end is not None and time.monotonic() > end:
            os.kill(child, signal.SIGKILL)
            return os.waitpid(child, 0)[1] == 0
        time.sleep(0.002)


def command(path: Path) -> list[str]:
    begun = path.exists()
    return ["train", "point-robot", "--run-dir", str(path), *(["--resume"] if begun else ["--set", *SET])]


def same(left: Path, right: Path) -> None:
    """Whether two finished runs have the same records, parameters and stored episodes, bit for bit."""
    runs = [RunDir.open_readonly(path) for path in (left, right)]
    for read in (RunDir.read_metrics, RunDir.read_evaluations):
        first, second = ([without_machine_keys(line) for line in read(run)] for run in runs)
        assert first == second
    assert runs[0].checkpoints() == runs[1].checkpoints()
    saved = [run.load_checkpoint() for run in runs]
    assert saved[0].tensors.keys() == saved[1].tensors.keys()
    assert all(torch.equal(saved[0].tensors[name], tensor) for name, tensor in saved[1].tensors.items())
    stored = [[(n, e.obs.tobytes(), e.action.tobytes(), e.reward.tobytes()) for n, e in s.episodes] for s in saved]
    live = max(each.first_live_episode for each in saved)
    assert [entry for entry in stored[0] if entry[0] >= live] == [entry for entry in stored[1] if entry[0] >= live]


def kill_often(folder: Path, kills: int, seed: int) -> int:
    """Make runs that are killed, `kills` times in all, and compare each with the one that was not; return the runs."""
    whole, rng, done, runs = folder / "whole", random.Random(seed), 0, 0
    begun = time.monotonic()
    assert forked(command(whole), None)
    length = time.monotonic() - begun
    while done < kills:
        path, runs = folder / f"killed-{runs}", runs + 1
        while not forked(command(path), rng.uniform(0.0, length) if done < kills else None):
            done += 1
        same(path, whole)
        assert not [each for each in path.rglob("*.tmp")]
        shutil.rmtree(path)
    return runs


def test_a_run_that_is_killed_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    kill_often(tmp_path, 3, seed=7)


@pytest.mark.faults
def test_runs_that_are_killed_fifty_times(tmp_path: Path) -> None:
    print(f"{KILLS} kills in {kill_often(tmp_path, KILLS, seed=11)} runs")


@pytest.mark.faults
def test_a_study_that_is_killed(tmp_path: Path) -> None:
    """Its own process is killed; those of its runs save and end. Afterwards nothing differs."""
    values = dict(line.split("=", 1) for line in SET)  # (of a key that stands there twice, the later one)
    settings = "\n".join(f"  {key}: {value}" for key, value in values.items())
    file = tmp_path / "study.yaml"
    file.write_text(f"schema: mql.study/1\nname: two\nfamilies: [point-robot]\nseeds: [0, 1]\nsettings:\n{settings}\n")
    rng = random.Random(3)
    program = [sys.executable, "-m", "mql", "study", str(file)]
    subprocess.run([*program, "--dir", str(tmp_path / "whole"), "--workers", "1"], check=True, capture_output=True)
    path, resumed = tmp_path / "killed", 0
    while True:
        more = ["--resume"] if path.exists() else []
        process = subprocess.Popen(
            [*program, "--dir", str(path), "--workers", "2", *more],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            if process.wait(timeout=rng.uniform(4.0, 15.0) if resumed < 4 else None) == 0:
                break
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        resumed += 1
    for seed in (0, 1):
        same(*(next(each.glob(f"*/*/*/seed-{seed}")) for each in (path, tmp_path / "whole")))


@pytest.mark.faults
def test_a_report_that_is_killed_leaves_all_of_a_page_or_nothing(tmp_path: Path) -> None:
    run, page = tmp_path / "run", tmp_path / "report.html"
    assert forked(command(run), None)
    begun = time.monotonic()
    assert forked(["report", str(run), "-o", str(page)], None)
    length, whole = time.monotonic() - begun, page.read_text()
    page.unlink()
    rng = random.Random(5)
    for _ in range(10):
        forked(["report", str(run), "-o", str(page)], rng.uniform(0.0, length))
        if page.exists():
            assert len(page.read_text()) == len(whole) and page.read_text().rstrip().endswith("</html>")
            page.unlink()
    with RunDir.open_for_resume(run):  # nothing holds it, and it is as it was
        assert RunDir.open_readonly(run).finished
