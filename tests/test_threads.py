"""Limits of threads hold for the libraries that are there and for those that are loaded later."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from mql.stopping import given_up
from mql.threads import meanwhile, side_by_side

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
