"""Finds out whether MuJoCo can draw here, before a command draws or checks."""

from __future__ import annotations

import os

from mql.collecting.workers import Workers
from mql.errors import UserError
from mql.robots.drawing.opengl import NO_OPENGL, opengl_choices, opengl_fault

_OPENGL_SECONDS = 60.0  # importing MuJoCo and opening a tiny picture


def open_opengl() -> bool:
    """Find out whether MuJoCo can draw; where nobody chose an OpenGL library, choose one for all that follows.

    That is the screen's where there is a screen, else EGL, else OSMesa: the first one that draws.

    Raises:
        UserError: the user's MUJOCO_GL keeps MuJoCo from being imported.
    """
    choices = opengl_choices()
    for choice in choices:
        if choice is not None:
            os.environ["MUJOCO_GL"] = choice
        fault = _fault()
        if fault is None:
            return True
        if choice is not None:
            del os.environ["MUJOCO_GL"]  # with a library that is missing, MuJoCo itself could not be imported
    if choices == (None,) and isinstance(fault, str) and fault != NO_OPENGL:
        what, mend = fault.split(": ", 1)
        raise UserError(what, mend=mend)
    return False


def _fault() -> object:
    """Ask a process of its own, which a broken library may end."""
    workers = Workers(1)
    try:
        return workers.bound(opengl_fault, timeout=_OPENGL_SECONDS)()
    finally:
        workers.close()
