"""What becomes of MuJoCo's warnings: by itself it prints them to standard output and leaves a MUJOCO_LOG.TXT behind."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress


def warn_on_stderr() -> None:
    """From now on, let this process tell MuJoCo's warnings on standard error, and nowhere else.

    Where somebody handles them already, or MuJoCo isn't in use, nothing changes.
    """
    mujoco = sys.modules.get("mujoco")
    if mujoco is not None and mujoco.get_mju_user_warning() is None:
        mujoco.set_mju_user_warning(_tell)


@contextmanager
def unheard_warnings() -> Iterator[None]:
    """Say nothing of warnings for a while: whoever does this reads MuJoCo's counts of them."""
    import mujoco

    with _lock:
        handled = _handled_before[0] if _handled_before else mujoco.get_mju_user_warning()
        _handled_before.append(handled)
        mujoco.set_mju_user_warning(lambda text: None)
    try:
        yield
    finally:
        with _lock:
            _handled_before.pop()
            if not _handled_before:
                mujoco.set_mju_user_warning(handled)


# What handles warnings outside: an entry for each thread that hears none now. MuJoCo has one handler for all of them.
_handled_before: list[Callable[[str], None] | None] = []
_lock = threading.Lock()


def _tell(text: str) -> None:
    with suppress(OSError, ValueError):  # standard error is closed; an exception would go through MuJoCo's C code
        print(f"MuJoCo warns: {' '.join(text.split())}", file=sys.stderr)
