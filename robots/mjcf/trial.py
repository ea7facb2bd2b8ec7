"""Tries a model out in a process of its own, under a limit of memory: MuJoCo may crash on it, or fill the machine.

A model that did no harm is not tried again, on this machine and with this version of MuJoCo: a file named by its digest
says so, in ``$XDG_CACHE_HOME/mql/tried`` (``~/.cache/mql/tried``). Models that came with this program are not tried.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import mujoco

from mql.errors import UserError
from mql.robots.mjcf import trial_process
from mql.robots.mjcf.sealed import Sealed

MOST_MEMORY = 2_000_000_000  # bytes, of compiling a model and of one simulation of it
_RESERVED = 4_000_000_000  # bytes more where a model only reserves memory
_SECONDS = 120  # for that
_OWN = Path(__file__).resolve().parents[2]  # what lies below came with this program


def try_out(sealed: Sealed) -> str:
    """Make sure that compiling a model does no harm.

    Return what MuJoCo has against it, or, if that is nothing, how many numbers of each kind a
    keyframe of it has; an empty text where it was not tried.

    Raises:
        UserError: it needs too much memory or time, or crashes MuJoCo; one line.
    """
    if sealed.path.resolve().is_relative_to(_OWN):
        return ""
    mark = _folder() / f"{sealed.digest}-{mujoco.__version__}"
    with suppress(OSError, UnicodeDecodeError):
        return mark.read_text(encoding="utf-8")
    with _lock:
        outcome, said = _ask(sealed)
    where = str(sealed.path)
    if outcome == "memory":
        mend = "look for a huge count, size or mesh in the MJCF"
        raise UserError(f"the model takes more than {MOST_MEMORY / 1e9:g} GB of memory", where=where, mend=mend)
    if outcome == "died" and said == signal.SIGALRM.name:
        raise UserError(f"compiling the model takes more than {_SECONDS} s", where=where, mend="make it smaller")
    if outcome == "died":
        mend = "delete parts of the model until you find the one that does it"
        raise UserError(f"MuJoCo crashes on the model ({said})", where=where, mend=mend)
    with suppress(OSError):  # then it is tried again next time
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.write_text(said, encoding="utf-8")
    return said


def _folder() -> Path:
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "mql" / "tried"


_lock = threading.Lock()
_process: subprocess.Popen[bytes] | None = None


def _ask(sealed: Sealed) -> tuple[str, str]:
    process = _started()
    assert process.stdin is not None and process.stdout is not None
    try:
        with sealed.laid_out() as (text, includes, assets):
            memory = MOST_MEMORY + (_RESERVED if _reserves(sealed) else 0)
            trial_process.send(process.stdin.fileno(), (text, {**includes, **assets}, memory, _SECONDS))
            answer: tuple[str, str] | None = trial_process.receive(process.stdout.fileno())
    except OSError:
        answer = None
    except BaseException:  # Ctrl-C: what it would answer to this model must not be taken for that to the next one
        _stop()
        raise
    if answer is None:
        _stop()
        return "died", "its process ended"
    return answer


def _reserves(sealed: Sealed) -> bool:
    """Tell whether a model asks for memory in the old way, by numbers of constraints: far more than is ever used."""
    return any(key in element.attributes for element in sealed.elements for key in ("njmax", "nconmax", "nstack"))


def _started() -> subprocess.Popen[bytes]:
    global _process
    if _process is None or _process.poll() is not None:
        _process = subprocess.Popen(
            [sys.executable, trial_process.__file__, json.dumps(sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the program that asks; this process ends when its pipe does
            # Each thread's pool of memory would count against the limit as a whole.
            env={**os.environ, "MALLOC_ARENA_MAX": "1", "OMP_NUM_THREADS": "1"},
        )
        atexit.register(_stop)
    return _process


def _stop() -> None:
    global _process
    process, _process = _process, None
    if process is not None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # with its copy that is at work
        process.wait()
