"""A worker's side: it answers jobs, one after the other, until the program that asks closes the connection."""

from __future__ import annotations

import os
import pickle
import signal
import socket
import traceback
from collections import OrderedDict
from typing import Any

import cloudpickle

from mql.collecting.channel import Channel
from mql.errors import told

KEPT = 8  # shared values that a worker keeps, the latest used ones
_LONGEST_NOTE = 20_000  # characters of a traceback


def serve(descriptor: int) -> None:
    """Answer jobs that come over the socket `descriptor` until the other end closes."""
    # What asks to stop may reach all of a job's processes, but is for the program that asks: it ends its iteration and
    # saves, so this one must answer until the connection closes. (Not ignored: programs that an environment starts, and
    # ends by SIGTERM, would inherit that.)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    channel = Channel(socket.socket(fileno=descriptor))
    channel.send(str(os.getpid()).encode())
    kept: OrderedDict[bytes, Any] = OrderedDict()
    while True:
        try:
            number, known, job = pickle.loads(channel.receive())
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
            error.add_note(f"in a worker process:\n{traceback.format_exc()[-_LONGEST_NOTE:]}")
            outcome, value = "raised", error
        except BaseException as error:
            # Here nobody presses Ctrl-C, and ends the program by it: whatever this is, the job's code raised it.
            outcome, value = "lost", f"it raised {told(error)}"
        forgotten = [kept.popitem(last=False)[0] for _ in range(len(kept) - KEPT)]
        answer = _packed(number, outcome, value, forgotten)
        try:
            channel.send(answer)
        except (BrokenPipeError, ConnectionResetError):
            return


def _packed(number: int, outcome: str, value: Any, forgotten: list[bytes]) -> bytes:
    try:
        return bytes(cloudpickle.dumps((number, outcome, value, forgotten)))
    except Exception as error:
        failure = RuntimeError(f"a worker's {outcome} value can't be sent back: {told(error)}")
        failure.add_note(told(value) if isinstance(value, BaseException) else f"it is of type {type(value).__name__}")
        return bytes(cloudpickle.dumps((number, "raised", failure, forgotten)))
