"""Stands between this program and a worker, and leaves nothing behind. A program of its own that imports nothing else.

``python -P keeper.py SOCKET LIFELINE PATH``: it forks the worker, and waits until that has ended, or until the lifeline
(a pipe from the program that asks) is closed, which it is even if that program was killed. Then it ends whatever the
worker has started: processes that its environments keep, the processes of those, and those that outlived it. It ends as
the worker did.

On Linux no descendant escapes: one whose parent has ended becomes a child of the keeper. Elsewhere only those of the
worker's process group are found.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import json
import os
import resource
import select
import signal
import sys
import time
from collections.abc import Sequence

NOW = b"k"  # comes over the lifeline: end the worker at once
PATIENCE = 5.0  # s that a worker has to close its environments, when the program that asks has gone
FAREWELL, LAST = 0.5, 2.0  # s after the worker's end at which what it started is asked to end, and is ended

_SET_DEATH_SIGNAL, _SET_SUBREAPER = 1, 36  # of prctl (linux/prctl.h)


def keep(channel: int, lifeline: int, path: Sequence[str]) -> int:
    """Fork the worker and return its wait status, when nothing of it is left."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, _nothing)
    _control(_SET_SUBREAPER, 1)
    woken, wake = os.pipe()
    for end in (woken, wake):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    own = os.getpid()
    worker = os.fork()
    if worker == 0:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for end in (woken, wake, lifeline):
            os.close(end)
        os.setpgid(0, 0)
        _control(_SET_DEATH_SIGNAL, signal.SIGKILL)
        if os.getppid() != own:
            os._exit(1)
        _work(channel, path)
    os.close(channel)
    status = _wait(worker, lifeline, woken)
    if status is None:
        os.kill(worker, signal.SIGKILL)
        status = os.waitpid(worker, 0)[1]
    _end_the_rest(worker)
    return status


def _work(channel: int, path: Sequence[str]) -> None:
    sys.path[:] = path
    from mql.collecting.serving import serve

    serve(channel)
    # What was registered for the end (environments are closed by it), but without waiting for threads that were left.
    atexit._run_exitfuncs()
    os._exit(0)


def _wait(worker: int, lifeline: int, woken: int) -> int | None:
    """Return the worker's wait status when it has ended by itself; None: it is to be ended."""
    parent, asked = os.getppid(), 0.0
    poll = select.poll()
    poll.register(lifeline, select.POLLIN)
    poll.register(woken, select.POLLIN)
    while True:
        ready = {descriptor for descriptor, _ in poll.poll(1000)}
        if woken in ready:
            os.read(woken, 4096)
        if lifeline in ready:
            if os.read(lifeline, 1) == NOW:
                return None
            poll.unregister(lifeline)  # the worker sees its socket closed
            asked = asked or time.monotonic()
        if os.getppid() != parent:  # a copy of the pipe may be open elsewhere
            asked = asked or time.monotonic()
        pid = -1
        while pid:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return None
            if pid == worker:
                return status
        if asked and time.monotonic() - asked > PATIENCE:
            return None


def _end_the_rest(group: int) -> None:
    """End all that the worker started, with a moment for those that end by themselves (and tidy up as they do)."""
    begun, asked = time.monotonic(), False
    while True:
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            _signal(-group, signal.SIGKILL)  # where nobody adopts orphans there may be some
            return
        passed = time.monotonic() - begun
        left = children(os.getpid())
        if passed > LAST:
            for pid in left:
                _signal(pid, signal.SIGKILL)
        elif passed > FAREWELL and not asked:
            asked = True
            for pid in left:
                _signal(pid, signal.SIGTERM)
                _signal(pid, signal.SIGCONT)
        if passed > 2.0 * LAST:
            return
        time.sleep(0.005)


def children(of: int) -> list[int]:
    """Return the processes whose parent is `of`; none where the system has no list of them (only Linux has)."""
    found = []
    for name in os.listdir("/proc") if os.path.isdir("/proc/self") else ():
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    parent = int(file.read().rpartition(b")")[2].split()[1])
            except (OSError, ValueError, IndexError):
                continue
            if parent == of:
                found.append(int(name))
    return found


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def _control(option: int, value: int) -> None:
    """Call Linux's prctl; elsewhere do nothing."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def _nothing(number: int, frame: object) -> None:
    """Take note of a signal: programs that are started later don't inherit this, as they would an ignored one."""


def _main() -> None:
    channel, lifeline = int(sys.argv[1]), int(sys.argv[2])
    status = keep(channel, lifeline, json.loads(sys.argv[3]))
    if not os.WIFSIGNALED(status):
        os._exit(os.WEXITSTATUS(status))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # the worker has left one
    number = os.WTERMSIG(status)
    if number not in (signal.SIGKILL, signal.SIGSTOP):
        signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    os._exit(1)


if __name__ == "__main__":
    _main()
