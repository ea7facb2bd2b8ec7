"""Worker processes: they call functions on jobs, and may crash or hang without harm to the process that asks.

A worker is a fresh Python process (no fork: simulators and threads do not survive one) below one that keeps it
(`keeper.py`). It gets functions and values by cloudpickle, keeps the ones that come with every job, and never uses more
than one thread for products. What a worker prints goes to standard error. One that dies, does not answer in time,
answers what can't be read or is left in the middle of a job (Ctrl-C) is replaced, with all that it has started; only
its job is lost. A worker that is no longer needed closes its environments; none outlives the process that asks.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pickle
import queue
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import cloudpickle

from mql.collecting import keeper
from mql.collecting.channel import Channel, Garbled, Late, Over
from mql.collecting.patience import Stopwatch
from mql.errors import UserError, told
from mql.stopping import GivenUp, given_up

_START_SECONDS = 120.0  # a process that has not come up by then never will
_END_SECONDS = 3.0 * keeper.PATIENCE  # a keeper that has not ended by then is ended

_ONE_THREAD = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL")}


# A value that is sent once: the digest that it is known by, and what returns its pickle where a worker lacks it.
Parcel = tuple[bytes, Callable[[], bytes]]


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
        parcels = [parcel(value) for value in (function, *shared)]
        known = [(digest, partial(_same, blob)) for digest, blob in parcels]

        def call(*args: Any, **kwargs: Any) -> Any:
            return self.ask(known, cloudpickle.dumps((args, kwargs)), timeout)

        return call

    def ask(self, parcels: Sequence[Parcel], job: bytes, timeout: float) -> Any:
        """Make a call of `bound` whose parts are pickled: function and shared values, and ``(args, kwargs)``."""
        worker = None
        try:
            worker = self._idle.get()
            return worker.call(parcels, job, timeout)
        finally:
            if worker is not None:
                self._idle.put(worker)

    @property
    def seconds(self) -> float:
        """How long the processes were at work in all calls that have ended; waiting for a processor is none."""
        return sum(worker.seconds for worker in self._all)

    def close(self) -> None:
        """End the processes; idle ones close their environments first."""
        for worker in self._all:
            worker.hang_up()
        for worker in self._all:
            worker.end()


class _Worker:
    """One process and the connection to it. It is either idle or stopped: no call leaves an answer behind."""

    def __init__(self) -> None:
        self._keeper: subprocess.Popen[bytes] | None = None
        self._channel: Channel | None = None
        self._lifeline = -1  # its keeper ends the process when this is closed
        self._pid = 0
        self._sent: set[bytes] = set()
        self.seconds = 0.0  # at work
        self._jobs = 0  # calls made so far: each job's number, which its answer repeats

    def call(self, parcels: Sequence[Parcel], job: bytes, timeout: float) -> Any:
        watch = None
        try:
            channel = self._started()
            self._jobs += 1
            watch = Stopwatch(self._pid)
            over = _over(watch, timeout)
            known = [(digest, None if digest in self._sent else blob()) for digest, blob in parcels]
            channel.send(pickle.dumps((self._jobs, known, job)), over)
            self._sent.update(digest for digest, _ in parcels)
            number, outcome, value, forgotten = _read(channel.receive(over))
            if number != self._jobs:
                raise RuntimeError(f"a worker process answered job {number} when asked for job {self._jobs}")
        except Late:
            self.stop()
            return WorkerLost(f"it did not end within {timeout:g} s, its process was stopped", late=True)
        except Garbled as error:
            self.stop()
            return WorkerLost(f"{error}, its process was stopped")
        except (EOFError, BrokenPipeError, ConnectionResetError):
            return WorkerLost(self._lost())
        except BaseException:
            # Ctrl-C above all. The answer is still to come: the next call would take it for its own.
            self.stop()
            raise
        finally:
            self.seconds += watch.seconds() if watch else 0.0
        self._sent.difference_update(forgotten)
        if outcome == "lost":
            return WorkerLost(value)
        if outcome == "raised":
            raise value
        return value

    def stop(self) -> None:
        """End the process and all that it has started; the next call starts another one."""
        if self._lifeline >= 0:
            with contextlib.suppress(OSError):
                os.write(self._lifeline, keeper.NOW)
        self.end()

    def _lost(self) -> str:
        """Say how a process ended that has closed its connection, and end it where it has not."""
        assert self._keeper is not None
        try:
            self._keeper.wait(2.5 * keeper.LAST)  # it ends what the worker started first
        except subprocess.TimeoutExpired:
            self.stop()
            return "its process closed the connection, and was stopped"
        return f"its process died ({self.end()})"

    def hang_up(self) -> None:
        """Close the connection: an idle process then closes its environments, and ends."""
        if self._channel is not None:
            self._channel.close()
        if self._lifeline >= 0:
            os.close(self._lifeline)
        self._channel, self._lifeline, self._sent = None, -1, set()

    def end(self) -> str:
        """Wait for the process's end, forget it, and say how it ended."""
        self.hang_up()
        process, self._keeper = self._keeper, None
        if process is None:
            return "it had ended"
        try:
            code = process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
            process.kill()
            code = process.wait()
        return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"

    def _started(self) -> Channel:
        if self._channel is not None:
            return self._channel
        ours, theirs = socket.socketpair()
        lifeline, self._lifeline = os.pipe()
        try:
            path = [part or os.getcwd() for part in sys.path]
            self._channel = Channel(ours)
            self._keeper = subprocess.Popen(
                # -P: nothing is imported from the keeper's folder, nor from the one that we stand in.
                [sys.executable, "-P", keeper.__file__, str(theirs.fileno()), str(lifeline), json.dumps(path)],
                pass_fds=(theirs.fileno(), lifeline),
                stdin=subprocess.DEVNULL,
                stdout=2,  # standard output is for results
                env={**os.environ, **_ONE_THREAD},
                start_new_session=True,  # what a terminal sends is for this process
            )
            self._pid = self._keeper.pid
        except OSError as error:
            self.end()
            mend = "close other programs, or raise the limits that the system sets (see ulimit -a)"
            raise UserError(f"a worker process could not start ({told(error)})", mend=mend) from error
        finally:
            theirs.close()
            os.close(lifeline)
        try:
            self._pid = int(self._channel.receive(_over(Stopwatch(self._pid), _START_SECONDS)))
        except (EOFError, ConnectionResetError, Garbled):
            how = self.end()  # it died
        except Late:
            self.stop()
            how = f"it did not come up within {_START_SECONDS:g} s"
        except BaseException:
            self.stop()
            raise
        else:
            return self._channel
        raise UserError(f"a worker process could not start ({how})", mend="its own message stands above")


def _over(watch: Stopwatch, limit: float) -> Over:
    """Return what says that a process has been at work for `limit` seconds.

    It raises `GivenUp` where this program was asked to stop.
    """

    def over() -> bool:
        if given_up():
            raise GivenUp("a worker process was asked for nothing more")
        return watch.seconds() >= limit

    return over


def _read(answer: bytes) -> tuple[int, str, Any, list[bytes]]:
    """Return a worker's answer.

    Raises:
        Garbled: it can't be read.
    """
    try:
        number, outcome, value, forgotten = pickle.loads(answer)
    except Exception as error:  # of a class of somebody else, which may raise anything
        raise Garbled(f"its answer can't be read ({told(error)})") from error
    return number, outcome, value, forgotten


def parcel(value: Any) -> tuple[bytes, bytes]:
    """Return (digest, pickle) of a value.

    Raises:
        UserError: it can't be pickled.
    """
    try:
        blob = cloudpickle.dumps(value)
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        mend = "build it from functions of a module and plain values"
        raise UserError(f"{value!r:.80} can't be sent to a worker process: {error}", mend=mend) from error
    return hashlib.blake2b(blob, digest_size=16).digest(), blob


def _same(blob: bytes) -> bytes:
    return blob
