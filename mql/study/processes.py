"""The processes that make a study's runs, on this machine: one for each run, or one for several."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Protocol

from mql.errors import UserError
from mql.files import user_errors
from mql.study.cells import Cell
from mql.threads import VARIABLES

Wanted = Mapping[str, Any]  # what a run is to be, as `one_run.open_run` takes it
_BOOT = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); import mql.study.{0} as one; sys.exit(one.main())"


class Process(Protocol):
    """The process of a run, wherever it is."""

    @property
    def returncode(self) -> int | None:
        """Its exit status; None: it has not ended, as far as is known."""
        ...

    @property
    def lost(self) -> str | None:
        """How its machine was lost, with it; None: it was not."""
        ...

    def poll(self) -> int | None:
        """Look whether it has ended, and return its exit status."""
        ...

    def terminate(self) -> None:
        """Ask it to save and end."""
        ...

    def kill(self) -> None:
        """End it at once, and wait until it has."""
        ...

    def close(self) -> None:
        """Close the connection to it, which has ended."""
        ...


class LocalProcess:
    """A run's process on this machine."""

    lost = None

    def __init__(self, cell: Cell, wanted: Wanted, log: Path) -> None:
        self._process = start_process(wanted, log, cell.config.threads)
        self.poll, self.terminate = self._process.poll, self._process.terminate

    @property
    def returncode(self) -> int | None:
        """Its exit status."""
        return self._process.returncode

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """Close its standard input."""
        close_input(self._process)


class SharedProcess:
    """A process on this machine that makes several runs at the same time (`several_runs`).

    On its standard output it says which of them have ended, and how: a line ``NUMBER STATUS`` for each. What it prints
    itself is in the log of the first one.

    Raises:
        UserError: it can't be started, or a log can't be written.
    """

    lost = None

    def __init__(self, wanted: Sequence[Wanted], logs: Sequence[Path]) -> None:
        for log in logs:
            with user_errors(log), log.open("ab"):
                pass  # or a thread could not say what went wrong
        runs = [{**one, "log": str(log)} for one, log in zip(wanted, logs, strict=True)]
        self._process = start_process({"runs": runs}, logs[0], 1, shared=True)
        self.terminate = self._process.terminate
        assert self._process.stdout is not None
        self._said = self._process.stdout.fileno()
        os.set_blocking(self._said, False)
        self._unread = b""
        self._ended: dict[int, int] = {}

    @property
    def returncode(self) -> int | None:
        """Its exit status."""
        return self._process.returncode

    def poll(self) -> int | None:
        """Look whether it has ended; what its runs said before is known then."""
        code = self._process.poll()
        self._listen()
        return code

    def status_of(self, number: int) -> int | None:
        """Return the exit status that a run would have in a process of its own; None: it is at work."""
        return self._ended.get(number, self.returncode)

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """Close the connection to it."""
        close_input(self._process)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _listen(self) -> None:
        """Take in what was said since the last time."""
        with suppress(BlockingIOError):
            while more := os.read(self._said, 4096):
                self._unread += more
        *lines, self._unread = self._unread.split(b"\n")
        for line in lines:
            number, status = map(int, line.split())
            self._ended[number] = status


def start_process(wanted: Wanted, log: Path, threads: int, *, shared: bool = False) -> subprocess.Popen[bytes]:
    """Start a process that makes a run, or several (`shared`), and ends when its standard input is closed.

    Raises:
        UserError: it can't be started, or the log can't be written.
    """
    with user_errors(log), log.open("ab") as written:
        process = _process(written, dict.fromkeys(VARIABLES, str(threads)), shared=shared)
    assert process.stdin is not None
    with suppress(BrokenPipeError):  # it died at once; how is found out by who waits for it
        process.stdin.write(json.dumps(wanted).encode() + b"\n")
        process.stdin.flush()  # and stays open: the process ends when it closes
    return process


def _process(log: IO[bytes], variables: dict[str, str], *, shared: bool) -> subprocess.Popen[bytes]:
    boot = _BOOT.format("several_runs" if shared else "one_run")
    try:
        return subprocess.Popen(
            # -P: nothing is imported from the folder we stand in, before our own path is there.
            [sys.executable, "-P", "-c", boot, json.dumps([part or os.getcwd() for part in sys.path])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE if shared else log,
            stderr=log,
            env={**os.environ, **variables},
            start_new_session=True,  # Ctrl-C is for this process, which tells the others
        )
    except OSError as error:
        what = f"a process could not start ({error.strerror})"
        raise UserError(what, mend="use fewer workers, or close other programs") from None


def close_input(process: subprocess.Popen[bytes]) -> None:
    """Close a process's standard input."""
    if process.stdin is not None:
        with suppress(BrokenPipeError):
            process.stdin.close()
