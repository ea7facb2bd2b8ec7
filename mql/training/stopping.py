"""Being asked to stop by a signal: Ctrl-C, a scheduler's SIGTERM, a terminal that closes, a limit that is reached.

What is under way when the request comes is ended in one of three ways. Saving is never disturbed. An evaluation, which
changes nothing, is left at once. An iteration may come to its end for `PATIENCE` seconds; then it is left, too, and
what counts is how things stood before it.

Signals reach the main thread only. Loops in other threads are told of them by a main thread that waits for these in
`stopping_threads`.
"""

from __future__ import annotations

import ctypes
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType

from mql.stopping import LeftOff, give_up, go_on, interrupt

PATIENCE = 5.0  # seconds for the iteration under way: saving comes after it, and who asked may send SIGKILL in the end
WAITING = 4.0  # seconds for episodes in worker processes, one of which may hang; then waiting for them is given up

# What a scheduler, a terminal or a limit sends. A signal that is ignored, as SIGHUP is under nohup, stays so.
_ASKING = ("SIGINT", "SIGTERM", "SIGHUP", "SIGXCPU", "SIGUSR1", "SIGUSR2")
_ALWAYS = (signal.SIGINT, signal.SIGTERM)  # also where a shell started the process in the background


class StopRequests:
    """Whether somebody asked this process to stop, for a loop in the main thread; made by `stop_requests`."""

    def __init__(self) -> None:
        self.asked = False
        self._at_once = False
        self._may_leave = False
        self._late = False
        self._timer: threading.Timer | None = None

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Within this block a request raises `LeftOff` at once."""
        with self._leaving(at_once=True):
            yield

    @contextmanager
    def iterating(self) -> Iterator[None]:
        """Within this block a request raises `LeftOff` where the block has not ended `PATIENCE` seconds later."""
        with self._leaving(at_once=False):
            yield

    @contextmanager
    def _leaving(self, *, at_once: bool) -> Iterator[None]:
        self._at_once, self._may_leave = at_once, True
        try:
            if self.asked and at_once:
                raise LeftOff
            yield
        finally:
            self._may_leave = False
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

    def note(self) -> None:
        """Note a request; called in the main thread, by a signal."""
        self.asked = True
        give_up(within=WAITING)
        if not self._may_leave:
            return
        if self._at_once or self._late:
            self._may_leave = False
            self._leave()
        elif self._timer is None:
            self._timer = threading.Timer(PATIENCE, self._say_late)
            self._timer.daemon = True
            self._timer.start()

    def _leave(self) -> None:
        raise LeftOff

    def _say_late(self) -> None:
        """Send the main thread another signal: it is noticed also where that thread waits for something."""
        self._late = True
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)


class _OfThread(StopRequests):
    """The same for a loop in another thread: what raises `LeftOff` there is told to Python from outside."""

    def __init__(self) -> None:
        super().__init__()
        self._thread = threading.get_ident()
        self._lock = threading.RLock()
        self._left = False

    @contextmanager
    def _leaving(self, *, at_once: bool) -> Iterator[None]:
        try:
            with super()._leaving(at_once=at_once):
                if self.asked:  # before the loop began
                    self.note()
                yield
        finally:
            with self._lock:
                self._may_leave = False
                if self._left:  # what did not reach the block must reach nothing after it
                    _raise_in(self._thread, None)

    def note(self) -> None:
        """Note a request; called in any thread."""
        with self._lock:
            super().note()

    def _leave(self) -> None:
        self._left = True
        _raise_in(self._thread, LeftOff)

    def _say_late(self) -> None:
        self._late = True
        self.note()


def _raise_in(thread: int, error: type[BaseException] | None) -> None:
    """Let a thread raise `error` as soon as it is back in Python; None: what it has not raised yet, it will not."""
    wanted = None if error is None else ctypes.py_object(error)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), wanted)


class ThreadsStop:
    """Whether somebody asked this process to stop, for all loops in its other threads; made by `stopping_threads`."""

    def __init__(self) -> None:
        self.asked = False
        self._loops: list[StopRequests] = []
        self._lock = threading.RLock()

    def note(self) -> None:
        """Tell all loops of a request."""
        with self._lock:
            self.asked = True
            for requests in tuple(self._loops):
                requests.note()

    @contextmanager
    def telling(self, requests: StopRequests) -> Iterator[None]:
        """Tell a loop of requests that came, and of those that come within this block."""
        with self._lock:
            self._loops.append(requests)
            requests.asked = self.asked
        try:
            yield
        finally:
            with self._lock:
                self._loops.remove(requests)


_for_threads: list[ThreadsStop] = []  # what the main thread is in


@contextmanager
def stopping_threads() -> Iterator[ThreadsStop]:
    """Within this block of the main thread a signal asks the loops of all other threads to save and stop."""
    stop = ThreadsStop()
    _for_threads.append(stop)
    try:
        with _handled(stop.note):
            yield stop
    finally:
        _for_threads.remove(stop)


@contextmanager
def stop_requests() -> Iterator[StopRequests]:
    """Within this block a signal asks the loop to save and stop.

    A second Ctrl-C stops at once, as usual. A second SIGTERM does not: what ends jobs may send it to a process and to
    its group, so that it comes twice, and SIGKILL follows anyway where saving takes too long.
    """
    if threading.current_thread() is not threading.main_thread():
        of_thread = _OfThread()
        with ExitStack() as told:
            for stop in _for_threads:
                told.enter_context(stop.telling(of_thread))
            yield of_thread
        return
    requests = StopRequests()
    with _handled(requests.note):
        yield requests


@contextmanager
def _handled(note: Callable[[], None]) -> Iterator[None]:
    """Within this block a signal calls `note`."""
    known = [getattr(signal, name) for name in _ASKING if hasattr(signal, name)]
    previous = {number: signal.getsignal(number) for number in known}

    def ask(signum: int, frame: FrameType | None) -> None:
        if signum == signal.SIGINT:
            signal.signal(signum, previous[signal.SIGINT])
        note()

    taken = [number for number in known if number in _ALWAYS or previous[number] in (signal.SIG_DFL, interrupt)]
    for number in taken:
        signal.signal(number, ask)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, previous[number])
        go_on()
