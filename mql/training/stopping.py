"""Being asked to stop by a signal: Ctrl-C, a scheduler's SIGTERM, a terminal that closes, a limit that is reached.

What is under way when the request comes is ended in one of three ways. Saving is never disturbed. An evaluation, which
changes nothing, is left at once. An iteration may come to its end for `PATIENCE` seconds; then it is left, too, and
what counts is how things stood before it.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from mql.stopping import LeftOff, give_up, go_on, interrupt

PATIENCE = 5.0  # seconds for the iteration under way: saving comes after it, and who asked may send SIGKILL in the end
WAITING = 4.0  # seconds for episodes in worker processes, one of which may hang; then waiting for them is given up

# What a scheduler, a terminal or a limit sends. A signal that is ignored, as SIGHUP is under nohup, stays so.
_ASKING = ("SIGINT", "SIGTERM", "SIGHUP", "SIGXCPU", "SIGUSR1", "SIGUSR2")
_ALWAYS = (signal.SIGINT, signal.SIGTERM)  # also where a shell started the process in the background


class StopRequests:
    """Whether somebody asked this process to stop; made by `stop_requests`."""

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
            raise LeftOff
        if self._timer is None:
            self._timer = threading.Timer(PATIENCE, self._say_late)
            self._timer.daemon = True
            self._timer.start()

    def _say_late(self) -> None:
        """Send the main thread another signal: it is noticed also where that thread waits for something."""
        self._late = True
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)


@contextmanager
def stop_requests() -> Iterator[StopRequests]:
    """Within this block a signal asks the loop to save and stop.

    A second Ctrl-C stops at once, as usual. A second SIGTERM does not: what ends jobs may send it to a process and to
    its group, so that it comes twice, and SIGKILL follows anyway where saving takes too long.
    """
    requests = StopRequests()
    if threading.current_thread() is not threading.main_thread():
        yield requests  # signals reach the main thread only
        return
    known = [getattr(signal, name) for name in _ASKING if hasattr(signal, name)]
    previous = {number: signal.getsignal(number) for number in known}

    def ask(signum: int, frame: FrameType | None) -> None:
        if signum == signal.SIGINT:
            signal.signal(signum, previous[signal.SIGINT])
        requests.note()

    taken = [number for number in known if number in _ALWAYS or previous[number] in (signal.SIG_DFL, interrupt)]
    for number in taken:
        signal.signal(number, ask)
    try:
        yield requests
    finally:
        for number in taken:
            signal.signal(number, previous[number])
        go_on()
