"""A study that is run: what a kill costs, what a run that fails costs, and what is left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from tiny_runs import TINY

import mql
from mql.cli import app as cli
from mql.files import read_json
from mql.runs.listing import is_locked
from mql.runs.run_dir import without_machine_keys
from mql.study.study import Study

STEPS = 6000
PLACES = [f"point-robot/mql/default/seed-{seed}" for seed in (1, 2)]


def study_file(folder: Path, **more: Any) -> Path:
    settings = TINY | {"train.env_steps": STEPS, "train.checkpoint_every": 500, "adapt.method": "context"}
    settings |= {"train.evaluate_every": 2000}
    path = folder / "kill.yaml"
    data = {"schema": "mql.study/1", "families": ["point-robot"], "seeds": 2, "settings": settings, **more}
    path.write_text(yaml.safe_dump(data))
    return path


def figures(study: Path) -> list[Any]:
    """All that is the same when the same runs are made again."""
    found = []
    for place in PLACES:
        lines = (study / place / "evaluations.jsonl").read_text().splitlines()
        found.append([without_machine_keys(json.loads(line)) for line in lines])
        found.append(without_machine_keys(read_json(study / place / "finished.json")))
    return found


def wait_until(true: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + 300.0
    while not true():
        assert time.monotonic() < end, what
        time.sleep(0.02)


def started(file: Path, study: Path, *more: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "mql", "study", str(file), "--dir", str(study), "--workers", "2", *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=file.parent)


def has_checkpoint(study: Path) -> bool:
    return any(any((study / place / "checkpoints").glob("[0-9]*")) for place in PLACES)


def not_finished(study: Path) -> bool:
    return not all((study / place / "finished.json").exists() for place in PLACES)


@pytest.mark.slow
def test_kills_lose_nothing(tmp_path: Path) -> None:
    """Of the study, of a run's process, and Ctrl-C: each time it goes on, and ends with the same figures."""
    file = study_file(tmp_path)
    whole = mql.run_study(file, directory=tmp_path / "whole", workers=2)
    assert [one.state for one in whole.states] == ["finished", "finished"]

    study = tmp_path / "killed"
    process = started(file, study)
    wait_until(lambda: has_checkpoint(study), "it never saved a checkpoint")
    process.kill()
    process.communicate()
    assert not_finished(study)
    wait_until(lambda: not any(is_locked(study / place) for place in PLACES), "a run outlived the study")

    process = started(file, study, "--resume")
    wait_until(lambda: any(is_locked(study / place) for place in PLACES), "it did not go on")
    at_work = next(study / place for place in PLACES if is_locked(study / place))
    wait_until(lambda: (at_work / "lock").read_text().strip().isdigit(), "nobody holds the lock")
    os.kill(int((at_work / "lock").read_text()), signal.SIGKILL)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 2 and b"its process ended with signal SIGKILL" in err, err
    assert b"1 finished, 1 failed" in out or b"1 failed, 1 finished" in out, out

    process = started(file, study, "--resume")
    wait_until(lambda: is_locked(at_work), "it did not go on")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 130 and b"stopped and saved; to continue: mql study" in err, err
    assert not is_locked(at_work)

    process = started(file, study, "--resume", "--json")
    out, _ = process.communicate(timeout=300)
    said = json.loads(out)
    assert process.returncode == 0 and said["states"] == {"finished": 2}
    assert figures(study) == figures(whole.path)
    assert [cell["adapted"] for cell in said["cells"]] == [one.adapted for one in whole.states]
    assert not list(study.rglob("*.tmp"))


@pytest.mark.slow
def test_a_run_that_fails_is_said_and_others_go_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = study_file(tmp_path, settings=TINY | {"adapt.method": "context"}, workers=1)
    in_the_way = tmp_path / "study" / PLACES[0]
    in_the_way.mkdir(parents=True)
    (in_the_way / "mine.txt").write_text("x")
    (tmp_path / "study" / "lock").touch()
    assert cli.run(["study", str(file), "--dir", str(tmp_path / "study"), "--resume"]) == 2
    out, err = capsys.readouterr()
    assert f"failed: {PLACES[0]}: the run directory already exists" in err and "1 failed, 1 finished" in out
    in_the_way.joinpath("mine.txt").unlink()
    study = mql.run_study(file, directory=tmp_path / "study", resume=True)
    assert [one.state for one in study.states] == ["finished", "finished"]
    assert [run.config.seed for run in map(lambda seed: study.run(seed=seed), (1, 2))] == [1, 2]
    environment = read_json(study.path / PLACES[1] / "environment.json")
    assert environment["command"][:2] == ["mql", "study"] or environment["command"][0] == "mql"
    check_report(study, capsys)


def check_report(study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    """The report of a study of two runs that differ by their seed."""
    capsys.readouterr()
    page = study.path.parent / "page.html"
    assert cli.run(["report", str(study.path), "-o", str(page), "--no-compute", "--no-figures", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    [row] = said["results"]
    assert (row["runs"], row["tasks"], row["group"]) == (2, 3, "") and page.is_file()
    assert row["random"]["runs"] == 1, "random actions are the same in both"
