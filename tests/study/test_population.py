"""Runs that share a process: the same as in a process each, whoever fails, stops or is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from safetensors.numpy import load_file
from tiny_runs import TINY

import mql
from mql.cli import app as cli
from mql.config.schema import Config
from mql.errors import UserError
from mql.files import read_json
from mql.runs.listing import is_locked
from mql.runs.run_dir import without_machine_keys
from mql.runs.tracking import BackgroundTracker
from mql.study import processes, several_runs
from mql.study.cells import Cell, cells_of
from mql.study.file import read_study
from mql.study.population import check_population, next_group
from mql.study.running import cores, workers_for
from mql.threads import meanwhile, side_by_side

SETTINGS = {name: value for name, value in TINY.items() if name != "adapt.method"}  # the method td3 has its own
SETTINGS |= {"train.env_steps": 1500, "train.evaluate_every": 500}
MQL: dict[str, Any] = {"adapt.method": "paper", "for": {"methods": ["mql"]}}
VARIANTS: dict[str, Any] = {
    "usual": MQL,
    "window": MQL | {"agent.context_mode": "window"},
    "blind": {"for": {"methods": ["td3"]}},
}
PLACES = ["point-robot/mql/usual/seed-1", "point-robot/mql/window/seed-1", "point-robot/td3/blind/seed-1"]


def study_file(folder: Path, **more: Any) -> Path:
    data = {"schema": "mql.study/1", "families": ["point-robot"], "methods": ["mql", "td3"], "seeds": 1}
    data |= {"settings": SETTINGS, "variants": VARIANTS, "workers": 3, "population": 3, **more}
    path = folder / "together.yaml"
    path.write_text(yaml.safe_dump(data))
    return path


def figures(study: Path, place: str) -> tuple[list[Any], dict[str, Any]]:
    """All that is the same when a run is made again: its lines, and the tensors of its checkpoints."""
    lines = []
    for name in ("metrics.jsonl", "evaluations.jsonl"):
        written = (study / place / name).read_text(encoding="utf-8").splitlines()
        lines += [without_machine_keys(json.loads(line)) for line in written]
    files = sorted((study / place).glob("*/*.safetensors")) + sorted((study / place).glob("*/*/*.safetensors"))
    assert files
    return lines, {
        f"{file.relative_to(study)} {name}": (array.dtype, array.shape, array.tobytes())
        for file in files
        for name, array in load_file(file).items()
    }


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study's runs, each in a process of its own."""
    folder = tmp_path_factory.mktemp("alone")
    study = mql.run_study(study_file(folder), directory=folder / "study", workers=1, population=1)
    assert [state.state for state in study.states] == ["finished"] * 3
    return study.path


def started(file: Path, study: Path, *more: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "mql", "study", str(file), "--dir", str(study), *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=file.parent)


def wait_until(true: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + 300.0
    while not true():
        assert time.monotonic() < end, what
        time.sleep(0.02)


def has_checkpoint(run: Path) -> bool:
    return any((run / "checkpoints").glob("[0-9]*"))


def process_of(run: Path) -> int | None:
    """The process that writes a run."""
    if not is_locked(run):
        return None
    text = (run / "lock").read_text().strip()
    return int(text) if text.isdigit() else None


def one_process(study: Path) -> int:
    """Wait until all runs have a checkpoint, and return the one process that makes them."""
    wait_until(lambda: all(has_checkpoint(study / place) for place in PLACES), "they never saved a checkpoint")
    found = {process_of(study / place) for place in PLACES}
    [number] = found
    assert number is not None
    return number


@pytest.mark.slow
def test_runs_of_one_process_are_the_same_as_in_a_process_each(alone: Path, tmp_path: Path) -> None:
    said: list[str] = []
    from mql.study.study import prepare

    study = prepare(study_file(tmp_path), directory=tmp_path / "study")
    try:
        study.make(progress=True, say=said.append)
    finally:
        study.close()
    assert [state.state for state in study.states] == ["finished"] * 3
    assert "3 runs, 3 to make, 3 at a time, 1 thread each, up to 3 in a process" in said[0]
    assert read_json(study.path / "status.json")["states"] == {"finished": 3}
    pids = {(study.path / place / "lock").read_text() for place in PLACES}
    assert len(pids) == 1, "one process made them all"
    for place in PLACES:
        lines, tensors = figures(study.path, place)
        expected_lines, expected_tensors = figures(alone, place)
        assert lines == expected_lines
        assert tensors == expected_tensors, place


LONG = {"settings": SETTINGS | {"train.env_steps": 6000, "train.evaluate_every": 2000, "train.checkpoint_every": 500}}


@pytest.mark.slow
def test_a_stop_saves_all_runs_and_they_go_on_as_if_there_was_none(tmp_path: Path) -> None:
    file = study_file(tmp_path, **LONG)
    whole = mql.run_study(file, directory=tmp_path / "whole", population=1, workers=1)
    study = tmp_path / "stopped"
    process = started(file, study)
    one_process(study)
    assert read_json(study / "status.json")["states"] == {"running": 3}
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 130 and b"stopped and saved; to continue: mql study" in err, err
    for place in PLACES:
        assert not is_locked(study / place)
        assert "stopped and saved after " in (study / f"{place}.log").read_text()
        assert not (study / place / "finished.json").exists()
        saved = max(int(path.name) for path in (study / place / "checkpoints").glob("[0-9]*"))
        lines = (study / place / "metrics.jsonl").read_text().splitlines()
        assert json.loads(lines[-1])["env_steps"] == saved, "the last iteration is saved"
    process = started(file, study, "--resume", "--json")
    out, _ = process.communicate(timeout=300)
    assert process.returncode == 0 and json.loads(out)["states"] == {"finished": 3}
    for place in PLACES:
        assert figures(study, place) == figures(whole.path, place)


@pytest.mark.slow
def test_one_that_fails_is_said_and_the_others_of_its_process_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = study_file(tmp_path, methods=["mql"], variants={"usual": MQL, "late": MQL, "window": VARIANTS["window"]})
    in_the_way = tmp_path / "study" / "point-robot/mql/late/seed-1"
    in_the_way.mkdir(parents=True)
    (in_the_way / "mine.txt").write_text("x")
    (tmp_path / "study" / "lock").touch()
    assert cli.run(["study", str(file), "--dir", str(tmp_path / "study"), "--resume", "--json"]) == 2
    out, err = capsys.readouterr()
    said = json.loads(out)
    assert said["states"] == {"finished": 2, "failed": 1}
    errors = {cell["variant"]: cell["error"] for cell in said["cells"]}
    assert errors["usual"] is errors["window"] is None and errors["late"].startswith("the run directory already exists")
    assert "failed: point-robot/mql/late/seed-1: the run directory already exists" in err
    assert "already exists" not in (tmp_path / "study/point-robot/mql/usual/seed-1.log").read_text(), "not its log"


@pytest.mark.slow
def test_a_process_that_is_killed_leaves_what_ended_and_what_was_saved(tmp_path: Path) -> None:
    short = {**VARIANTS, "window": MQL | {"train.env_steps": 600}}
    long = SETTINGS | {"train.env_steps": 30_000, "train.evaluate_every": 30_000}
    file = study_file(tmp_path, variants=short, settings=long)
    study = tmp_path / "study"
    process = started(file, study, "--json")

    def states() -> dict[str, int]:
        found: dict[str, int] = read_json(study / "status.json")["states"] if (study / "status.json").exists() else {}
        return found

    wait_until(lambda: states() == {"finished": 1, "running": 2}, "the short one never ended before the others")
    wait_until(lambda: has_checkpoint(study / PLACES[0]), "it never saved a checkpoint")
    pid = process_of(study / PLACES[0])
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    out, _ = process.communicate(timeout=300)
    said = json.loads(out)
    assert process.returncode == 2 and said["states"] == {"failed": 2, "finished": 1}
    assert [(cell["error"] or "").startswith("its process ended with signal SIGKILL") for cell in said["cells"]] == [
        True,
        False,
        True,
    ]
    assert has_checkpoint(study / PLACES[0])


def cells(folder: Path, **more: Any) -> list[Cell]:
    return cells_of(read_study(study_file(folder, **more)))


def on_gpu(cell: Cell, **changes: Any) -> Cell:
    config = cell.config.model_copy(update={"device": "cuda", **changes})
    return Cell(cell.family, cell.method, cell.variant, cell.seed, config, cell.definition, cell.given)


def groups(waiting: list[Cell], population: int, room: int) -> list[list[str]]:
    found = []
    while waiting:
        group = next_group(waiting, population, room=room)
        found.append([cell.label for cell in group])
        waiting = [cell for cell in waiting if cell not in group]
    return found


def test_two_families_never_share_a_process(tmp_path: Path) -> None:
    families = ["point-robot", "reacher-goal"]
    all_cells = cells(tmp_path, families=families, methods=["mql"], variants={"usual": MQL}, seeds=3)
    found = groups(all_cells, 2, room=4)
    assert [len(group) for group in found] == [2, 2, 1, 1]
    assert all(len({label.split("/")[0] for label in group}) == 1 for group in found)
    assert sorted(label for group in found for label in group) == sorted(cell.label for cell in all_cells)
    assert [len(group) for group in groups(all_cells, 3, room=2)] == [2, 2, 1, 1], "no more than there is room for"


def test_nothing_shares_a_process_unless_asked(tmp_path: Path) -> None:
    all_cells = cells(tmp_path, methods=["mql"], variants={"usual": MQL}, seeds=3, population=1)
    assert {len(group) for group in groups(all_cells, 1, room=100)} == {1}
    assert workers_for(all_cells) == min(3, cores())
    assert workers_for(all_cells, 3) == 3, "a process has room for its runs, whatever the cores are"
    mixed = [all_cells[0], on_gpu(all_cells[1]), all_cells[2]]
    assert [len(group) for group in groups(mixed, 3, room=100)] == [2, 1], "nor a device with another"


@pytest.mark.parametrize(
    ("more", "workers", "cluster", "where", "what"),
    [
        ({"settings": SETTINGS | {"tracking": "wandb"}}, None, False, "together.yaml", "wandb"),
        ({"settings": SETTINGS | {"threads": 2}}, None, False, "together.yaml", "threads"),
        ({}, 2, False, "workers", "no more than 2 runs"),
        ({}, None, True, "--cluster", "a process each"),
    ],
)
def test_what_can_t_share_a_process_is_refused(
    more: dict[str, Any], workers: int | None, cluster: bool, where: str, what: str, tmp_path: Path
) -> None:
    all_cells = cells(tmp_path, **more)
    check_population(all_cells, 1, workers=workers, cluster=cluster)
    with pytest.raises(UserError) as caught:
        check_population(all_cells, 3, workers=workers, cluster=cluster)
    assert where in str(caught.value) and what in str(caught.value) and caught.value.mend


def test_a_study_that_asks_for_what_it_can_t_have_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["study", str(study_file(tmp_path)), "--dir", str(tmp_path / "study"), "--workers", "2"]
    assert cli.run(command) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: population is 3, but no more than 2 runs are made at the same time (workers)")
    assert Config.model_fields["threads"].default == 1, "runs share a process unless somebody asks for more threads"


def test_a_log_that_can_t_be_written_is_one_line_before_anything_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "second.log").mkdir()
    begun: list[Any] = []
    monkeypatch.setattr(processes, "start_process", lambda *_, **__: begun.append(1))
    with pytest.raises(UserError, match=r"cannot read or write \(Is a directory\) \(.*second\.log\)"):
        processes.SharedProcess([{}, {}], [tmp_path / "first.log", tmp_path / "second.log"])
    assert not begun


def test_threads_that_work_for_a_run_print_to_its_log_in_whole_lines(tmp_path: Path) -> None:
    runs, lines = ("first", "second", "third"), 200

    def say(name: str, number: int) -> None:
        print(f"{name} says {number}", file=sys.stderr)

    def work(name: str) -> None:
        with logs.into(tmp_path / name):
            with meanwhile(partial(say, name, 0)):
                say(name, 1)
            for _ in side_by_side(partial(say, name), range(2, lines), threads=2):
                pass

    with several_runs._logs_of_threads() as logs:
        threads = [threading.Thread(target=work, args=(name,)) for name in runs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for name in runs:
        written = (tmp_path / name).read_text().splitlines()
        assert sorted(written) == sorted(f"{name} says {number}" for number in range(lines)), name


class Pictures:
    """A tracking service that takes what it is given."""

    def picture(self, name: str, env_steps: int, path: Path) -> None:
        assert path.read_text() == name

    def __getattr__(self, name: str) -> Any:
        return lambda *_: None


def test_runs_of_one_process_draw_one_picture_after_the_other() -> None:
    """What draws has one style and one set of fonts for a whole process."""
    drawing, at_once, warnings = threading.Semaphore(1), list[str](), list[str]()
    begin = threading.Barrier(2)

    def start() -> Any:
        begin.wait()
        return Pictures()

    def draw(name: str, path: Path) -> None:
        if not drawing.acquire(blocking=False):
            at_once.append(name)
        time.sleep(0.1)
        path.write_text(name)
        drawing.release()

    trackers = [BackgroundTracker(name, start, warn=warnings.append) for name in ("first", "second")]
    for tracker, name in zip(trackers, ("first", "second"), strict=True):
        tracker.picture(name, 1, partial(draw, name))
    for tracker in trackers:
        tracker.close()
    assert not at_once and not warnings


def test_what_is_left_of_a_run_prints_to_the_log_of_the_process(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with several_runs._logs_of_threads() as logs:
        with logs.into(tmp_path / "log"):
            print("mine", file=sys.stderr)
            left = copy_context()
        left.run(lambda: print("late", file=sys.stderr))
    assert (tmp_path / "log").read_text() == "mine\n" and capsys.readouterr().err == "late\n"
