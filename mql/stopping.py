"""Being asked to stop, for all rooms: what signals do to a command, and giving up what is under way elsewhere.

Whoever was asked to stop does not wait for ever for what others do.

What waits for another process looks here, and raises `GivenUp` once its time is over. Nothing that only computes does.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from types import FrameType


class GivenUp(Exception):
    """What another process was doing was given up, because this one was asked to stop.

    ``unchanged``: nothing is lost with it that is to be gone on with, as where it played whole episodes.
    """

    unchanged = True


class LeftOff(BaseException):
    """What is under way in this process is left off, as somebody asked it to stop: a signal raises it anywhere."""


NOT_THEIRS = (KeyboardInterrupt, LeftOff)  # what comes out of other people's code without being a fault of it

_at: list[float] = []  # when waiting ends, by the clock of `time.monotonic`; empty: nobody was asked to stop


def give_up(within: float = 0.0) -> None:
    """Let all waiting end `within` seconds, that which begins later included, until `go_on`; the earliest end holds."""
    _at.append(time.monotonic() + within)


def go_on() -> None:
    """Let waiting take its time again."""
    _at.clear()


def given_up() -> bool:
    """Tell whether it is time to give up."""
    return bool(_at) and time.monotonic() >= min(_at)


def interrupt(signum: int, frame: FrameType | None) -> None:
    """Raise KeyboardInterrupt: what a signal to stop does to a command where there is nothing to be saved.

    While modules are imported, which may not stand it, it ends the process at once.
    """
    at = frame
    while at is not None:
        if at.f_code.co_filename == "<frozen importlib._bootstrap>":
            with suppress(OSError):
                os.write(2, b"stopped\n")
            os._exit(130)
        at = at.f_back
    raise KeyboardInterrupt
