"""Worker processes: they call functions on jobs, and may crash or hang without harm to the process that asks.

A worker is a fresh Python process (no fork: simulators and threads do not survive one). It gets functions and values by
cloudpickle, keeps the ones that come with every job, and never uses more than one thread for products. What a worker
prints goes to standard error. One that dies, does not answer in time or is left in the middle of a job (Ctrl-C) is
replaced; only its job is lost.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import pickle
import queue
import signal
import socket
import subprocess
import sys
import traceback
from collections import OrderedDict
from collections.abc import Callable
from functools import cache
from multiprocessing.connection import Connection
from typing import Any

import cloudpickle

from mql.collecting.patience import Stopwatch, wait_for
from mql.errors import UserError

_START_SECONDS = 120.0  # a process that has not come up by then never will
_KEPT = 8  # shared values that a worker keeps, the latest used ones

_BOOT = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[2]); "
    "import mql.collecting.workers as w; w.serve(int(sys.argv[1]))"
)
_ONE_THREAD = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL")}


class WorkerLost(RuntimeError):
    """The process of a job died or, where `late`, did not answer in time; the message says which."""

    def __init__(self, message: str, *, late: bool = False) -> None:
        super().__init__(message)
        self.late = late


class Workers:
    """A fixed number of worker processes, started when they are first needed.

    Args:
        count: jobs at work at the same time.
    """

    def __init__(self, count: int) -> None:
        self._idle: queue.LifoQueue[_Worker] = queue.LifoQueue()
        self._all = [_Worker() for _ in range(count)]
        for worker in self._all:
            self._idle.put(worker)

    def bound(self, function: Callable[..., Any], *shared: Any, timeout: float) -> Callable[..., Any]:
        """Return a call of ``function(*shared, ...)`` that an idle worker makes.

        It returns what the function returns, or a `WorkerLost` where the process was lost; it raises what the function
        raises, with the worker's traceback in the exception's notes. Several threads may call at the same time.

        Args:
            function: of a module, so that a worker finds it.
            shared: values that are sent to a worker once, and kept there.
            timeout: seconds for one call, without those in which the process waits for a processor.

        Raises:
            UserError: a value can't be sent; and from the call, a process can't be started.
        """
        parcels = [_parcel(value) for value in (function, *shared)]

        def call(*args: Any, **kwargs: Any) -> Any:
            worker = None
            try:
                worker = self._idle.get()
                return worker.call(parcels, (args, kwargs), timeout)
            finally:
                if worker is not None:
                    self._idle.put(worker)

        return call

    @property
    def seconds(self) -> float:
        """How long the processes were at work in all calls that have ended; waiting for a processor is none."""
        return sum(worker.seconds for worker in self._all)

    def close(self) -> None:
        """End the processes."""
        for worker in self._all:
            worker.stop()


@cache
def workers(count: int) -> Workers:
    """Return this program's `count` worker processes; they live until it ends."""
    made = Workers(count)
    atexit.register(made.close)
    return made


class _Worker:
    """One process and the connection to it. It is either idle or stopped: no call leaves an answer behind."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection[Any, Any] | None = None
        self._sent: set[bytes] = set()
        self.seconds = 0.0  # at work
        self._jobs = 0  # calls made so far: each job's number, which its answer repeats

    def call(
        self, parcels: list[tuple[bytes, bytes]], job: tuple[tuple[Any, ...], dict[str, Any]], timeout: float
    ) -> Any:
        packed = cloudpickle.dumps(job)
        watch = None
        try:
            connection = self._started()
            self._jobs += 1
            watch = Stopwatch(self._pid)
            known = [(digest, None if digest in self._sent else blob) for digest, blob in parcels]
            connection.send_bytes(pickle.dumps((self._jobs, known, packed)))
            self._sent.update(digest for digest, _ in parcels)
            if not wait_for(connection, watch, timeout):
                self.stop()
                return WorkerLost(f"it did not end within {timeout:g} s, its process was stopped", late=True)
            number, outcome, value, forgotten = pickle.loads(connection.recv_bytes())
            if number != self._jobs:
                raise RuntimeError(f"a worker process answered job {number} when asked for job {self._jobs}")
        except (EOFError, BrokenPipeError, ConnectionResetError):
            return WorkerLost(f"its process died ({self._end()})")
        except BaseException:
            # Ctrl-C above all. The answer is still to come: the next call would take it for its own.
            self.stop()
            raise
        finally:
            self.seconds += watch.seconds() if watch else 0.0
        self._sent.difference_update(forgotten)
        if outcome == "raised":
            raise value
        return value

    @property
    def _pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def stop(self) -> None:
        """End the process; the next call starts another one."""
        if self._process is not None:
            self._process.kill()
            self._end()

    def _end(self) -> str:
        """Wait for the process's end, forget it, and say how it ended."""
        process, connection = self._process, self._connection
        self._process, self._connection, self._sent = None, None, set()
        assert process is not None
        if connection is not None:
            connection.close()
        code = process.wait()
        return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"

    def _started(self) -> Connection[Any, Any]:
        if self._connection is not None:
            return self._connection
        ours, theirs = socket.socketpair()
        with ours, theirs:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-P",  # not from the folder we stand in, before our own path is there
                    "-c",
                    _BOOT,
                    str(theirs.fileno()),
                    json.dumps([part or os.getcwd() for part in sys.path]),
                ],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=2,  # standard output is for results
                env={**os.environ, **_ONE_THREAD},
            )
            self._connection = Connection(ours.detach())
        try:
            if wait_for(self._connection, Stopwatch(self._pid), _START_SECONDS):
                self._connection.recv_bytes()
                return self._connection
            self._process.kill()
        except (EOFError, ConnectionResetError):
            pass  # it died; how is said below
        raise UserError(f"a worker process could not start ({self._end()})", mend="its own message stands above")


def _parcel(value: Any) -> tuple[bytes, bytes]:
    """Return (digest, pickle) of a value."""
    try:
        blob = cloudpickle.dumps(value)
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        mend = "build it from functions of a module and plain values"
        raise UserError(f"{value!r:.80} can't be sent to a worker process: {error}", mend=mend) from error
    return hashlib.blake2b(blob, digest_size=16).digest(), blob


def serve(descriptor: int) -> None:
    """Be a worker: answer jobs that come over the socket `descriptor` until the other end closes."""
    # Ctrl-C and SIGTERM may reach the whole process group, but are for the process that asks: it ends its iteration and
    # saves, so this one must answer until the connection closes.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    connection: Connection[Any, Any] = Connection(descriptor)
    connection.send_bytes(b"ready")
    kept: OrderedDict[bytes, Any] = OrderedDict()
    while True:
        try:
            number, known, job = pickle.loads(connection.recv_bytes())
        except (EOFError, ConnectionResetError):
            return
        try:
            for digest, blob in known:
                if digest not in kept:
                    kept[digest] = pickle.loads(blob)
                kept.move_to_end(digest)
            function, *shared = (kept[digest] for digest, _ in known)
            args, kwargs = pickle.loads(job)
            outcome, value = "returned", function(*shared, *args, **kwargs)
        except Exception as error:
            error.add_note(f"in a worker process:\n{traceback.format_exc()}")
            outcome, value = "raised", error
        forgotten = [kept.popitem(last=False)[0] for _ in range(len(kept) - _KEPT)]
        connection.send_bytes(_packed(number, outcome, value, forgotten))


def _packed(number: int, outcome: str, value: Any, forgotten: list[bytes]) -> bytes:
    try:
        return bytes(cloudpickle.dumps((number, outcome, value, forgotten)))
    except Exception as error:
        failure = RuntimeError(f"a worker's {outcome} value can't be sent back: {error}")
        failure.add_note(repr(value))
        return bytes(cloudpickle.dumps((number, "raised", failure, forgotten)))
