"""A long training: memory, descriptors and disk stay where they were when it had warmed up."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tiny_runs import TINY as POINT_TINY

from mql.runs.run_dir import RunDir

ENV_STEPS = 2_000_000
SETTINGS = POINT_TINY | {
    "train.env_steps": ENV_STEPS,
    "train.random_steps": 2000,
    "train.episodes_per_iteration": 50,
    "train.env_steps_per_update": 2000,
    "train.replay_capacity": 20_000,
    "train.evaluate_every": 50_000,
    "train.checkpoint_every": 20_000,
    "train.keep_checkpoints": 3,
    "evaluate.tasks": 1,
    "evaluate.final_tasks": 1,
}


@pytest.mark.faults
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_two_million_steps(tmp_path: Path) -> None:
    path = tmp_path / "run"
    settings = [f"{key}={value}" for key, value in SETTINGS.items()]
    command = [sys.executable, "-m", "mql", "train", "point-robot", "--run-dir", str(path), "--set", *settings]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    looks: list[tuple[int, int, int, int]] = []  # env steps, resident kB, descriptors, bytes on disk without the logs
    try:
        while process.poll() is None:
            time.sleep(1.0)
            if not path.exists() or not (known := RunDir.open_readonly(path).checkpoints()):
                continue
            try:
                looks.append(
                    (known[-1], _resident(process.pid), len(os.listdir(f"/proc/{process.pid}/fd")), _disk(path))
                )
            except (FileNotFoundError, ProcessLookupError):
                continue  # it has ended, or pruned
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0
    # (At the end the last evaluation adapts, which loads libraries that training did without.)
    warm = [look for look in looks if ENV_STEPS // 4 <= look[0] < ENV_STEPS]
    first, last = warm[: len(warm) // 4], warm[-len(warm) // 4 :]
    for column, name in ((1, "memory"), (2, "descriptors"), (3, "disk")):
        before, after = (max(look[column] for look in part) for part in (first, last))
        print(f"{name}: {before} -> {after}")
        assert after <= 1.05 * before + (1 if column == 2 else 0), f"{name} grew from {before} to {after}"
    assert RunDir.open_readonly(path).finished


def _resident(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    found = [line.split()[1] for line in lines if line.startswith("VmRSS")]
    if not found:  # it has ended, and waits to be noticed
        raise ProcessLookupError(pid)
    return int(found[0])


def _disk(path: Path) -> int:
    return sum(file.stat().st_size for place in ("checkpoints", "replay") for file in (path / place).rglob("*.*"))
