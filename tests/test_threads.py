"""Limits of threads hold for the libraries that are there and for those that are loaded later."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest
import torch
from threadpoolctl import threadpool_info

from mql.stopping import given_up
from mql.threads import limit_threads, meanwhile, side_by_side

CODE = """
import json
from threadpoolctl import threadpool_info
from mql.threads import limit_threads, side_by_side

def counts():
    return {pool["filepath"]: pool["num_threads"] for pool in threadpool_info()}

def load(item):
    import sklearn.linear_model  # brings an OpenMP library of its own
    return counts()

limit_threads(1)
early = counts()
import scipy.linalg  # brings a BLAS of its own
late = counts()
limit_threads(2)
blocks = list(side_by_side(load, [1, 2], threads=2))
print(json.dumps([early, late, *blocks, counts()]))
"""


def test_limits_hold_for_libraries_that_load_later() -> None:
    asked = {f"{library}_NUM_THREADS": "5" for library in ("OMP", "OPENBLAS", "MKL")}
    code = [sys.executable, "-c", CODE]
    done = subprocess.run(code, capture_output=True, text=True, check=False, env={**os.environ, **asked})
    assert done.returncode == 0, done.stderr
    early, late, *blocks, after = json.loads(done.stdout.splitlines()[-1])
    assert len(early) < len(late) < len(after), "nothing was loaded late"
    assert set(late.values()) == {1}
    for block in blocks:
        assert len(block) > len(late) and set(block.values()) == {1}
    assert set(after.values()) == {min(2, os.cpu_count() or 1)}


def test_a_block_leaves_the_environment_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    seen = list(side_by_side(lambda _: (os.environ["OMP_NUM_THREADS"], os.environ["MKL_NUM_THREADS"]), [1], threads=1))
    assert seen == [("1", "1")]
    assert os.environ["OMP_NUM_THREADS"] == "3" and "MKL_NUM_THREADS" not in os.environ


def test_ctrl_c_ends_what_works_meanwhile_also_after_the_body() -> None:
    """The body is through and waits for the other side, which waits for somebody else: nothing is left running."""
    through, ended = threading.Event(), []

    def waits() -> None:
        through.wait(60.0)
        time.sleep(0.1)  # by then the main thread waits for this one
        os.kill(os.getpid(), signal.SIGINT)
        last = time.monotonic() + 60.0
        while not given_up() and time.monotonic() < last:
            time.sleep(0.01)
        ended.append(given_up())

    with pytest.raises(KeyboardInterrupt), meanwhile(waits):
        through.set()
    assert ended == [True]
    assert not given_up()


def counts() -> list[int]:
    return [torch.get_num_threads(), *(pool["num_threads"] for pool in threadpool_info())]


@pytest.fixture
def two_threads() -> Iterator[None]:
    variables, before = dict(os.environ), torch.get_num_threads()
    limit_threads(2)
    yield
    limit_threads(before)
    os.environ.clear()
    os.environ.update(variables)


@pytest.mark.usefixtures("two_threads")
def test_blocks_that_overlap_end_with_the_last_one() -> None:
    """In one thread, as generators that are read in turn are: the one that began first ends first."""
    first, second = (side_by_side(lambda item: item, range(3), threads=1) for _ in range(2))
    next(first), next(second)
    assert list(first) == [1, 2]
    assert set(counts()) == {1} and os.environ["OMP_NUM_THREADS"] == "1"
    assert list(second) == [1, 2]
    assert set(counts()) == {2} and os.environ["OMP_NUM_THREADS"] == "2"


def interrupt_when(event: threading.Event) -> None:
    """Send Ctrl-C to the main thread, which waits for others as soon as the event is set."""
    event.wait(60.0)
    time.sleep(0.2)
    os.kill(os.getpid(), signal.SIGINT)


def waits_for_others(ended: list[bool]) -> None:
    last = time.monotonic() + 10.0
    while not given_up() and time.monotonic() < last:
        time.sleep(0.01)
    ended.append(given_up())


def test_ctrl_c_ends_what_works_meanwhile_also_after_an_error_in_the_body() -> None:
    ended: list[bool] = []
    raised = threading.Event()
    threading.Thread(target=interrupt_when, args=[raised]).start()
    with pytest.raises(KeyboardInterrupt), meanwhile(lambda: waits_for_others(ended)):
        raised.set()
        raise ValueError
    assert ended == [True]
    assert not given_up()


def test_a_second_ctrl_c_leaves_what_works_meanwhile_which_gives_up_all_the_same() -> None:
    ended: list[bool] = []
    left, first, second = threading.Event(), threading.Event(), threading.Event()
    threading.Thread(target=interrupt_when, args=[first]).start()
    threading.Thread(target=interrupt_when, args=[second]).start()

    def function() -> None:
        last = time.monotonic() + 10.0
        while not given_up() and time.monotonic() < last:
            time.sleep(0.01)
        second.set()  # by then the main thread waits for this one again
        left.wait(60.0)
        waits_for_others(ended)

    with pytest.raises(KeyboardInterrupt), meanwhile(function) as at_work:
        first.set()
        time.sleep(60.0)
    assert not at_work.done()
    left.set()
    at_work.result(60.0)
    assert ended == [True]
    last = time.monotonic() + 60.0
    while given_up() and time.monotonic() < last:
        time.sleep(0.01)
    assert not given_up()
