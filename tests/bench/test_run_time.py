"""A run is timed from slices of it, on an idle machine only, and stays as it was."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from published_results import contents
from tiny_runs import TINY

import mql
from mql.bench.idle import MOST_BY_OTHERS, Used, check_idle, used_so_far, wait_and_check
from mql.bench.run_time import Slice, chosen_checkpoints, time_random_steps, time_run, training_seconds
from mql.errors import UserError
from mql.training.learning import Iteration


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """600 env steps, 200 of them random, 100 an iteration, a checkpoint every 200."""
    return mql.train("point-robot", run_dir=tmp_path_factory.mktemp("runs") / "a", seed=1, settings=TINY).path


def machine(*, others: float) -> Callable[[], Used]:
    """A machine on which a second passes between two looks, and others use so many cores."""
    seconds = itertools.count()
    return lambda: Used(at=(now := float(next(seconds))), by_all=now * (1 + others), by_own=now)


def test_a_run_is_timed_and_not_changed(run: Path) -> None:
    before = contents(run)
    said: list[str] = []
    time: Any = time_run(run, iterations=2, slices=2, look_seconds=0.0, read=machine(others=0.02), say=said.append)
    assert contents(run) == before
    assert [(s["env_steps"], s["iterations"], s["collected"], s["updates"]) for s in time["slices"]] == [
        (0, 1, 100, 0),  # the first one of two iterations of random steps counts for nothing
        (200, 2, 200, 4),
        (600, 2, 200, 4),
    ]
    assert said[:2] == ["from 0 env steps", "from 200 env steps"]
    random, *learned = time["slices"]
    speed = [(s["collect_seconds"] + s["update_seconds"]) / 200 for s in learned]
    once = 3 * sum(s["once_seconds"] for s in learned) / 2
    expected = 200 * random["collect_seconds"] / 100 + 400 * sum(speed) / 2 + once
    assert time["training_seconds"] == pytest.approx(expected)
    assert time["evaluations"] == 1 and time["env_steps"] == 600
    rest = time["evaluation_seconds"] + time["final_evaluation_seconds"]
    assert time["wall_seconds"] == pytest.approx(expected + rest)
    assert time["env_steps_per_s"] == pytest.approx(600 / expected)
    assert (time["threads"], time["workers"]) == (1, 1) and time["others_used_cores"] == pytest.approx(0.02)
    assert {"machine", "versions", "git_commit", "git_changes", "date"} <= set(time)


def test_a_busy_machine_is_refused_and_so_are_other_settings(run: Path) -> None:
    with pytest.raises(UserError, match=r"not idle: other processes used 0\.90 cores"):
        time_run(run, look_seconds=0.0, read=machine(others=0.9))
    with pytest.raises(UserError, match=r"agent\.lr is not for timing"):
        time_run(run, settings=["agent.lr=0.1"], look_seconds=0.0, read=machine(others=0.0))
    with pytest.raises(UserError, match="no such run directory"):
        time_run(run / "nothing", look_seconds=0.0, read=machine(others=0.0))


def test_a_machine_that_becomes_busy_while_it_is_timed_is_refused(run: Path) -> None:
    looks = itertools.count()

    def read() -> Used:
        now = float(next(looks))
        return Used(at=now, by_all=now if now < 4 else 2 * now, by_own=now)

    with pytest.raises(UserError, match="not idle"):
        time_run(run, iterations=1, slices=1, look_seconds=0.0, read=read)


def test_seconds_of_a_training_by_hand() -> None:
    def at(env_steps: int, seconds: float) -> Slice:
        return Slice(env_steps, 1, 100, 10, seconds, seconds, 0.0)  # 2 seconds / 100 steps

    timed = [at(0, 0.5), at(400, 1.0), at(800, 3.0)]
    # 100 random steps at 0.01 s; to 400 at 0.02; to 800 from 0.02 to 0.06; to 1,000 at 0.06
    expected = 100 * 0.01 + 300 * 0.02 + 400 * 0.04 + 200 * 0.06
    assert training_seconds(timed, env_steps=1000, random_steps=100) == pytest.approx(expected)
    assert training_seconds(timed[1:], env_steps=600, random_steps=0) == pytest.approx(400 * 0.02 + 200 * 0.03)


class Timed:
    """A method whose iterations collect 100 steps and take what they are told to."""

    def __init__(self, *seconds: tuple[float, float]) -> None:
        self.env_steps, self._seconds = 0, iter(seconds)

    def iterate(self) -> Iteration:
        self.env_steps += 100
        return Iteration({}, [], *next(self._seconds))


def test_random_steps_that_were_played_ahead_are_timed_where_they_were_played() -> None:
    lagging: Any = Timed((2.0, 1.0), (0.5, 1.5), (0.25, 40.0))  # the last one makes updates, which do not count
    timed = time_random_steps(lagging, 5, 300)
    assert (timed.iterations, timed.collected) == (2, 200)
    assert timed.collect_seconds == pytest.approx((1.0 + 0.5) + (1.5 + 0.25))


def test_checkpoints_are_spread_with_the_newest_among_them() -> None:
    assert chosen_checkpoints(list(range(0, 1100, 100)), 4) == [100, 400, 700, 1000]
    assert chosen_checkpoints([300, 400], 4) == [300, 400]
    assert chosen_checkpoints([100, 200, 300], 1) == [300]
    assert chosen_checkpoints([0], 3) == []


def test_what_others_use_is_what_own_processes_did_not() -> None:
    before, after = Used(at=10.0, by_all=50.0, by_own=20.0), Used(at=12.0, by_all=53.0, by_own=22.0)
    assert after.others_since(before) == pytest.approx(0.5)
    with pytest.raises(UserError, match="wait until they have ended"):
        check_idle(before, after)
    quiet = Used(at=12.0, by_all=52.0 + MOST_BY_OTHERS, by_own=22.0)
    assert check_idle(before, quiet) == pytest.approx(MOST_BY_OTHERS / 2)
    assert wait_and_check(0.0, read=machine(others=0.0)) == 0.0


def test_the_kernel_s_figures_are_read(tmp_path: Path) -> None:
    tick = os.sysconf("SC_CLK_TCK")
    (tmp_path / "stat").write_text("cpu  100 20 30 4000 500 6 7 8 0 0\ncpu0 1 2 3\n")
    own = os.times()
    used = used_so_far(tmp_path)
    assert used.by_all == (100 + 20 + 30 + 6 + 7 + 8) / tick
    assert used.by_own == pytest.approx(own.user + own.system + own.children_user + own.children_system, abs=0.2)
    processes = [(7, "a b) (", os.getpid(), 5), (8, "worker", 7, 70), (9, "stranger", 1, 900)]
    for number, name, parent, ticks in processes:
        (tmp_path / str(number)).mkdir()
        before = "0 " * 9
        (tmp_path / str(number) / "stat").write_text(f"{number} ({name}) S {parent} {before}{ticks} 1 2 3 20 0\n")
    assert used_so_far(tmp_path).by_own - used.by_own == pytest.approx((5 + 6 + 70 + 6) / tick, abs=0.2)
    (tmp_path / "stat").write_text("")
    for missing in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(UserError, match="does not say what other processes use"):
            used_so_far(missing)


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="Linux only")
def test_a_living_worker_is_no_stranger() -> None:
    burn = "import time\nwhile time.process_time() < 0.5: pass\nprint('done', flush=True)\ninput()"
    before = used_so_far()
    worker = subprocess.Popen([sys.executable, "-c", burn], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert worker.stdout is not None and worker.stdout.readline() == b"done\n"
    assert used_so_far().by_own - before.by_own >= 0.45
    worker.communicate(b"\n")
