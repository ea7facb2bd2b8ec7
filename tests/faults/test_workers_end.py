"""Worker processes that die, hang, or speak nonsense are replaced; and nothing that was started outlives who asked."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hostile_environments import FINE, IN_A_STEP, STEPS, child_processes, hostile_family

from mql.agent.agent import Agent
from mql.collecting import rollout
from mql.collecting.rollout import collect_each
from mql.collecting.workers import WorkerLost, Workers
from mql.config.schema import AgentConfig
from mql.stopping import GivenUp, give_up, go_on
from mql.tasks.fault import EpisodeFault
from mql.types import Episode

OF_THE_PROCESS = tuple(IN_A_STEP)[tuple(IN_A_STEP).index("ends the process") :]
QUICK = ("closes its sockets and stays", "writes junk into its sockets", "writes half a message")
HERE = Path(__file__).parent


@pytest.fixture
def others() -> set[int]:
    """The processes that earlier tests have left for later ones: workers are kept until a program ends."""
    return child_processes()


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[Workers]:
    made = Workers(1)
    monkeypatch.setattr(rollout, "worker_processes", lambda count: made)
    yield made
    made.close()


def lose_one(kind: str) -> str:
    """Play an episode that ends or hangs its process, and one after it; return what is said of the first."""
    family = hostile_family(kind, FINE, timeout=3.0)
    agent = Agent(family.obs_dim, family.action_dim, AgentConfig(hidden_sizes=(8,)), seed=0)
    lost, after = collect_each(agent, family, family.tasks("train"), [0, 1])
    assert isinstance(lost, EpisodeFault)
    assert isinstance(after, Episode) and after.length == STEPS
    return str(lost)


@pytest.mark.parametrize("kind", QUICK)
def test_a_process_that_speaks_nonsense_is_replaced(others: set[int], alone: Workers, kind: str) -> None:
    assert "its process" in lose_one(kind)
    alone.close()
    assert child_processes() <= others


@pytest.mark.faults
@pytest.mark.parametrize("kind", [kind for kind in OF_THE_PROCESS if kind not in QUICK])
def test_a_process_that_dies_or_hangs_is_replaced(others: set[int], alone: Workers, kind: str) -> None:
    lose_one(kind)
    alone.close()
    assert child_processes() <= others


def held() -> int:
    """Start a server in a session of its own, which ignores requests to end, and a program below it."""
    code = "import signal, subprocess; signal.signal(15, signal.SIG_IGN); subprocess.run(['sleep', '3600'])"
    return subprocess.Popen([sys.executable, "-c", code], start_new_session=True).pid


def test_what_a_worker_started_ends_with_it(others: set[int], alone: Workers) -> None:
    started = alone.bound(held, timeout=60.0)()
    assert lives(started)
    alone.close()
    assert not lives(started) and child_processes() <= others


def test_what_a_lost_worker_started_ends_with_it(others: set[int], alone: Workers) -> None:
    def held_and_shot() -> None:
        held()
        os.kill(os.getpid(), signal.SIGKILL)

    assert isinstance(lost := alone.bound(held_and_shot, timeout=60.0)(), WorkerLost)
    assert "SIGKILL" in str(lost) and child_processes() <= others


def test_a_server_that_a_worker_ends_by_sigterm_ends(alone: Workers) -> None:
    """The worker takes no notice of SIGTERM; what it starts does."""

    def start_and_end() -> int:
        server = subprocess.Popen(["sleep", "3600"])
        server.terminate()
        return server.wait(30.0)

    assert alone.bound(start_and_end, timeout=60.0)() == -signal.SIGTERM


def test_shared_memory_of_a_lost_worker_is_given_back(alone: Workers) -> None:
    def share_and_die() -> None:
        from multiprocessing.shared_memory import SharedMemory

        SharedMemory("mql_test_of_faults", create=True, size=1000)
        os.kill(os.getpid(), signal.SIGKILL)

    alone.bound(share_and_die, timeout=60.0)()
    assert not Path("/dev/shm/mql_test_of_faults").exists()


def test_calls_are_given_up_when_the_program_is_asked_to_stop(alone: Workers) -> None:
    call = alone.bound(time.sleep, timeout=3600.0)
    give_up()
    try:
        with pytest.raises(GivenUp):
            call(3600.0)
    finally:
        go_on()
    assert alone.bound(abs, timeout=60.0)(-1) == 1


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_program_that_is_ended_leaves_no_process(others: set[int], tmp_path: Path, number: signal.Signals) -> None:
    """Its workers are inside an environment that hangs, and have started servers."""
    (tmp_path / "program.py").write_text(
        "import subprocess, sys, threading, time\n"
        "from mql.collecting.workers import Workers\n"
        "def hang():\n"
        "    import subprocess, time\n"
        "    print(subprocess.Popen(['sleep', '3600'], start_new_session=True).pid, file=sys.stderr, flush=True)\n"
        "    time.sleep(3600)\n"
        "hang.__module__ = '__main__'\n"
        "made = Workers(2)\n"
        "call = made.bound(hang, timeout=3600.0)\n"
        "for _ in range(2):\n"
        "    threading.Thread(target=call, daemon=True).start()\n"
        "time.sleep(3600)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(HERE.parents[1])}
    with subprocess.Popen(
        [sys.executable, str(tmp_path / "program.py")], stderr=subprocess.PIPE, text=True, env=environment
    ) as program:
        assert program.stderr is not None
        servers = [int(program.stderr.readline()) for _ in range(2)]
        below = child_processes() - others
        assert set(servers) <= below and len(below) >= 7  # the program; two keepers, workers and servers
        program.send_signal(number)
        program.wait(30.0)
        assert comes_true(lambda: not any(map(lives, below)), within=30.0)


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def comes_true(condition: Callable[[], bool], *, within: float) -> bool:
    """Wait for a condition, which is expected to come true soon."""
    end = time.monotonic() + within
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True
