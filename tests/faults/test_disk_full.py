"""A disk that is full or read-only, files that may not grow, few descriptors, no home: one line, and nothing lost."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny_runs import TINY as POINT_TINY

from mql.cli import app as cli
from mql.runs.run_dir import RunDir, without_machine_keys

SET = [f"{key}={value}" for key, value in (POINT_TINY | {"evaluate.tasks": 1, "evaluate.final_tasks": 1}).items()]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
ROOT = os.geteuid() == 0


def train(path: Path, *more: str, **how: object) -> subprocess.CompletedProcess[str]:
    resume = ["--resume"] if path.exists() else ["--set", *SET]
    command = [sys.executable, "-m", "mql", "train", "point-robot", "--run-dir", str(path), *resume, *more]
    options = {"env": ENVIRONMENT, **how}
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload,no-any-return]


def one_line(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    return line


def records(path: Path) -> list[dict[str, object]]:
    run = RunDir.open_readonly(path)
    return [without_machine_keys(line) for line in (*run.read_metrics(), *run.read_evaluations())]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 300 kB; only root may mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(place)], capture_output=True)
    if made.returncode != 0:
        pytest.skip("no file system can be mounted here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def within(bytes_a_file: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_a_file, bytes_a_file))


@pytest.mark.faults
def test_files_that_may_not_grow(tmp_path: Path) -> None:
    """As with a quota: what was saved stays good, and the run ends the same once there is room."""
    path, whole = tmp_path / "run", tmp_path / "whole"
    assert cli.run(["train", "point-robot", "--run-dir", str(whole), "--set", *SET]) == 0
    most = max(file.stat().st_size for file in whole.rglob("*") if file.is_file())
    line = one_line(train(path, preexec_fn=lambda: within(most - 100)))
    assert "larger than allowed" in line
    for steps in RunDir.open_readonly(path).checkpoints():
        RunDir.open_readonly(path).load_checkpoint(steps)
    assert train(path).returncode == 0
    assert records(path) == records(whole)


@pytest.mark.faults
def test_a_full_disk(small_disk: Path, tmp_path: Path) -> None:
    path, whole = small_disk / "run", tmp_path / "whole"
    assert cli.run(["train", "point-robot", "--run-dir", str(whole), "--set", *SET]) == 0
    filling = small_disk / "filling"
    filling.write_bytes(b"\0" * 200_000)
    line = one_line(train(path))
    assert "the disk is full" in line
    if path.exists():
        for steps in RunDir.open_readonly(path).checkpoints():
            RunDir.open_readonly(path).load_checkpoint(steps)
    filling.unlink()
    subprocess.run(["mount", "-o", "remount,size=50m", str(small_disk)], check=True)
    assert train(path).returncode == 0
    assert records(path) == records(whole)


@pytest.mark.skipif(not ROOT, reason="only root may mount")
@pytest.mark.faults
def test_a_read_only_file_system(small_disk: Path) -> None:
    path = small_disk / "run"
    subprocess.run(["mount", "-o", "remount,size=50m", str(small_disk)], check=True)
    assert train(path).returncode == 0
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    before = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    assert "read-only" in one_line(train(path, "--set", "train.env_steps=800"))
    assert "read-only" in one_line(train(small_disk / "another"))
    assert cli.run(["evaluate", str(path), "--no-adapt"]) == 0  # reading needs no writing
    assert {file: file.read_bytes() for file in path.rglob("*") if file.is_file()} == before


@pytest.mark.faults
@pytest.mark.parametrize("descriptors", [12, 16, 24, 40, 64])
def test_few_descriptors(tmp_path: Path, descriptors: int) -> None:
    def few() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))

    path = tmp_path / "run"
    done = train(path, preexec_fn=few)
    assert done.returncode in (0, 2), done.stderr[-2000:]
    if done.returncode == 2:
        assert one_line(done)
        shutil.rmtree(path, ignore_errors=True)
        assert list(tmp_path.iterdir()) == []
    else:
        assert RunDir.open_readonly(path).finished


@pytest.mark.faults
def test_no_home(tmp_path: Path) -> None:
    bare = {"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1"}
    assert train(tmp_path / "run", env=bare).returncode == 0
    nowhere = {**bare, "HOME": "/nonexistent/home", "XDG_CACHE_HOME": "/nonexistent/cache"}
    done = train(tmp_path / "other", env=nowhere)
    assert done.returncode == 0 and "Traceback" not in done.stderr
    assert records(tmp_path / "run") == records(tmp_path / "other")


def test_no_kernel_folders_are_left_behind(tmp_path: Path) -> None:
    """Where the cache can't be written, the library is compiled elsewhere, and its folder goes when it is loaded."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    (tmp_path / "cache").write_text("no folder\n")
    variables = {**ENVIRONMENT, "TMPDIR": str(temporary), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    program = "from mql.kernels.loading import status; print(status().reason or 'compiled')"
    done = subprocess.run([sys.executable, "-c", program], env=variables, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "compiled" or "found no C compiler" in done.stdout
    assert list(temporary.iterdir()) == []
