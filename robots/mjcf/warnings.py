"""What becomes of MuJoCo's warnings: by itself it prints them to standard output and leaves a MUJOCO_LOG.TXT behind."""

from __future__ import annotations

import sys
from collections.abc import Iterator
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

    before = mujoco.get_mju_user_warning()
    mujoco.set_mju_user_warning(lambda text: None)
    try:
        yield
    finally:
        mujoco.set_mju_user_warning(before)


def _tell(text: str) -> None:
    with suppress(OSError, ValueError):  # standard error is closed; an exception would go through MuJoCo's C code
        print(f"MuJoCo warns: {' '.join(text.split())}", file=sys.stderr)
