"""Programs that use no cluster know nothing of Ray; and what is said where one can't be used."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

from mql.config.loading import load_config
from mql.errors import UserError

SHORT: dict[str, object] = {
    "adapt.method": "context",
    "train.env_steps": 200,
    "train.random_steps": 200,
    "evaluate.final_tasks": 1,
    "evaluate.tasks": 1,
}
needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="the extra cluster is not installed")


def command(tmp_path: Path, *settings: str) -> subprocess.CompletedProcess[str]:
    """Run `mql train` in a program of its own."""
    line = [sys.executable, "-m", "mql", "train", "point-robot", "--run-dir", str(tmp_path / "run")]
    line += [part for setting in settings for part in ("--set", setting)]
    return subprocess.run(line, capture_output=True, text=True, timeout=300, check=False)


def test_a_local_training_imports_nothing_of_ray(tmp_path: Path) -> None:
    code = (
        "import sys, mql\n"
        "assert 'ray' not in sys.modules\n"
        f"mql.train('point-robot', run_dir={str(tmp_path / 'run')!r}, settings={SHORT!r})\n"
        "print([name for name in sys.modules if name.partition('.')[0] == 'ray' or 'collecting.cluster' in name])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_where_ray_is_missing_the_extra_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from importlib import util\n"
        "found = util.find_spec\n"
        "util.find_spec = lambda name, *rest: None if name == 'ray' else found(name, *rest)\n"
        "from mql.cli.app import run\n"
        f"there = {str(tmp_path / 'run')!r}\n"
        "sys.exit(run(['train', 'point-robot', '--run-dir', there, '--set', 'collect.engine=ray']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 2
    assert done.stderr == (
        "error: package ray is missing (collect.engine): install it with pip install 'mql[cluster]'\n"
    )
    assert not (tmp_path / "run").exists()


@needs_ray
def test_a_cluster_that_does_not_answer_is_one_line_and_nothing_is_written(tmp_path: Path) -> None:
    done = command(tmp_path, "collect.engine=ray", "collect.address=127.0.0.1:1")
    assert done.returncode == 2 and done.stdout == ""
    assert re.fullmatch(
        r"error: the Ray cluster 127\.0\.0\.1:1 can't be reached \(ConnectionRefusedError.*\) \(collect\.address\): "
        r"start it with 'ray start --head'.*\n",
        done.stderr,
    )
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("overrides", "method", "message"),
    [
        (["collect.address=auto"], None, "collect.address is auto, but collect.engine is local"),
        (["collect.engine=ray"], "dqn", "collect.engine is ray, but method dqn plays one environment"),
        (["collect.engine=slurm"], None, "'local' or 'ray'"),
        (["collect.engine=ray", "collect.address=ray://head:10001"], None, "'auto' or HOST:PORT"),
    ],
)
def test_keys_that_would_do_nothing_are_refused(overrides: list[str], method: str | None, message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        load_config("point-robot", overrides=overrides, method=method)


@needs_ray
@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_cluster_of_its_own_ends_with_the_program(tmp_path: Path, number: int) -> None:
    settings = ("collect.engine=ray", "collect.workers=2", "train.env_steps=1e6", "train.random_steps=1e5")
    line = [sys.executable, "-m", "mql", "train", "point-robot", "--run-dir", str(tmp_path / "run")]
    line += [part for setting in settings for part in ("--set", setting)]
    mark = f"mql-test-{os.getpid()}-{number}"  # what all processes of the program inherit
    program = subprocess.Popen(
        line, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env={**os.environ, "MQL_TEST_MARK": mark}
    )
    metrics = tmp_path / "run" / "metrics.jsonl"
    end = time.monotonic() + 300.0
    while not (metrics.is_file() and metrics.stat().st_size):
        assert program.poll() is None and time.monotonic() < end, program.stderr and program.stderr.read()
        time.sleep(0.2)
    assert len(marked(mark)) > 4, "Ray's processes, relays and workers inherit it"
    program.send_signal(number)
    said = program.communicate(timeout=300)[1].decode()
    assert program.returncode == 130 and "stopped and saved" in said
    assert "ray" not in said.replace("collect.engine=ray", "").lower(), "Ray is quiet"
    end = time.monotonic() + 60.0
    while marked(mark) and time.monotonic() < end:
        time.sleep(0.2)
    assert marked(mark) == []


def marked(mark: str) -> list[int]:
    """The processes that have inherited `mark`."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            inherits = mark.encode() in path.read_bytes()
        except OSError:
            continue
        found += [int(path.parent.name)] if inherits else []
    return found
