"""Which OpenGL library draws here, and what to say where none does."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

NO_OPENGL = (
    "no OpenGL library draws here: install EGL (on Debian and Ubuntu libegl1 and libgl1-mesa-dri) "
    "and set MUJOCO_GL=egl before Python starts, or OSMesa (libosmesa6) and MUJOCO_GL=osmesa"
)

WITHOUT_A_SCREEN = ("egl", "osmesa")  # values of MUJOCO_GL, the faster one first


def opengl_choices() -> tuple[str | None, ...]:
    """Return the values of MUJOCO_GL to try, best first; None: leave it as it is."""
    if os.environ.get("MUJOCO_GL") or sys.platform != "linux":
        return (None,)
    screen = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    return (None, *WITHOUT_A_SCREEN) if screen else WITHOUT_A_SCREEN


def opengl_fault() -> str | None:
    """Try to draw with MuJoCo; say in one line what is wrong, or None. It may end the process: call it in a worker."""
    chosen = os.environ.get("MUJOCO_GL")
    try:
        import mujoco
    except Exception:  # MuJoCo looks for the library that MUJOCO_GL names as soon as it is imported
        return f"MuJoCo can't be imported with MUJOCO_GL={chosen}: unset it, or install that OpenGL library"
    with quietly():
        try:
            mujoco.Renderer(mujoco.MjModel.from_xml_string("<mujoco/>"), 8, 8).close()
        except Exception:
            return NO_OPENGL
    return None


@contextmanager
def quietly() -> Iterator[None]:
    """Meanwhile, let MuJoCo say nothing of a library that is missing: it warns, and trips over what it half opened."""
    before = sys.unraisablehook
    sys.unraisablehook = lambda _: None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        sys.unraisablehook = before
