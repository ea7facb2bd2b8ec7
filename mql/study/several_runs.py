"""A process that makes several runs of a study at the same time, each in a thread of its own.

A GPU gives its time to one process after the other, so small networks in several processes get the throughput of one.
Streams of one process work side by side. Each run is what it is in a process of its own (`one_run`): its folder, its
log, its checkpoints, its random numbers.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import IO, Any, cast

import torch

from mql.collecting.workforce import share_among
from mql.study.one_run import BUG, FINISHED, STOPPED, end_with_the_study, first_line, make
from mql.training.stopping import ThreadsStop, stopping_threads


def main() -> int:
    """Make the runs that standard input describes; standard output says when one has ended, and how."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it is for the process that runs the study
    said = os.dup(1)
    os.dup2(2, 1)  # what is printed goes to the log, like that of processes that this one starts
    line = first_line()
    if line is None:
        return STOPPED  # the study ended before it said what is to be done
    runs = json.loads(line)["runs"]
    threading.Thread(target=end_with_the_study, daemon=True).start()
    share_among(len(runs))
    with stopping_threads() as stop, _logs_of_threads() as logs:
        threads = [threading.Thread(target=_make, args=(*each, stop, logs, said)) for each in enumerate(runs)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return STOPPED if stop.asked else FINISHED


def _make(number: int, wanted: Mapping[str, Any], stop: ThreadsStop, logs: _Logs, said: int) -> None:
    """Make a run in this thread, and say how it ended."""
    status = BUG
    try:
        with logs.into(Path(wanted["log"])), _own_stream(wanted["config"]["device"]):
            status = STOPPED if stop.asked else make(wanted)
    finally:
        with suppress(OSError):  # the study may have ended
            os.write(said, f"{number} {status}\n".encode())


def _own_stream(device: str) -> AbstractContextManager[Any]:
    """Within this block this thread's work on a GPU waits for no other thread's."""
    if device == "cuda" and torch.cuda.is_available():  # (that there is none is found out where the run begins)
        return torch.cuda.stream(torch.cuda.Stream())  # type: ignore[no-untyped-call]
    return nullcontext()


class _Logs:
    """Where threads print to: a run's, and those that work for it, to its log; all others to `stream`."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream, self._own = stream, ContextVar("log", default=stream)

    def __getattr__(self, name: str) -> Any:
        log = self._own.get()
        return getattr(self._stream if log.closed else log, name)  # (a thread may be left behind by a run that ended)

    @contextmanager
    def into(self, path: Path) -> Iterator[None]:
        """Within this block this thread prints to the file `path`."""
        with path.open("a", encoding="utf-8", errors="backslashreplace", buffering=1) as log:
            token = self._own.set(log)
            try:
                yield
            finally:
                self._own.reset(token)


@contextmanager
def _logs_of_threads() -> Iterator[_Logs]:
    """Within this block all that Python prints goes where `_Logs` says."""
    before, logs = (sys.stdout, sys.stderr), _Logs(sys.stderr)
    sys.stdout = sys.stderr = cast("Any", logs)
    try:
        yield logs
    finally:
        sys.stdout, sys.stderr = before
