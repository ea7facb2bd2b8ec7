"""Finds out whether MuJoCo can draw here, before a command draws or checks."""

from __future__ import annotations

import os

from mql.collecting.workers import Workers
from mql.errors import UserError
from mql.tasks.checks.picture import NO_OPENGL, choose_opengl, opengl_fault

_OPENGL_SECONDS = 60.0  # importing MuJoCo and opening a tiny picture


def open_opengl() -> bool:
    """Find out whether MuJoCo can draw; without a screen, choose the library that needs none for all that follows.

    Raises:
        UserError: the user's MUJOCO_GL keeps MuJoCo from being imported.
    """
    choice = choose_opengl()
    if choice is not None:
        os.environ["MUJOCO_GL"] = choice
    workers = Workers(1)
    try:
        fault = workers.bound(opengl_fault, timeout=_OPENGL_SECONDS)()
    finally:
        workers.close()
    if fault is None:
        return True
    if choice is not None:
        del os.environ["MUJOCO_GL"]  # with a library that is missing, MuJoCo itself could not be imported
    elif isinstance(fault, str) and fault != NO_OPENGL:
        what, mend = fault.split(": ", 1)
        raise UserError(what, mend=mend)
    return False
