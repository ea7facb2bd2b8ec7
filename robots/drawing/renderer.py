"""Opens MuJoCo's renderer, or says how to make that possible; and what every picture has in common."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import mujoco
import numpy as np
import numpy.typing as npt

from mql.errors import UserError
from mql.robots.drawing.opengl import NO_OPENGL, quietly

SIZE = 480  # pixels, both ways
_SHADOWS = 2048  # pixels of the map of shadows: more is not seen, and takes a third longer where there is no GPU
_DRAWN = 3  # groups of geoms below this are drawn


def open_renderer(model: mujoco.MjModel, width: int = SIZE, height: int = SIZE) -> mujoco.Renderer:
    """Open a renderer of pictures [height, width, 3] for a model and all of the same sizes.

    Raises:
        UserError: OpenGL can't be opened.
    """
    buffer = model.vis.global_  # what the model says of its off-screen pictures only bounds their size
    buffer.offwidth, buffer.offheight = max(buffer.offwidth, width), max(buffer.offheight, height)
    quality = model.vis.quality
    quality.shadowsize = min(quality.shadowsize, _SHADOWS)
    with quietly():
        try:
            return mujoco.Renderer(model, height=height, width=width)
        except (mujoco.FatalError, AttributeError, ImportError, RuntimeError):
            pass  # with the error, what was half opened goes, while nobody hears it complain
    raise UserError("can't open OpenGL for pictures", mend=NO_OPENGL)


def undrawn(model: mujoco.MjModel) -> npt.NDArray[np.int64]:
    """Return the geoms that pictures leave out although nothing else shows their body: of groups from 3 on.

    Models with shapes to see and others to touch keep the latter in such a group; where there are only the latter, a
    picture would be empty. What is fixed to each other counts as one body.
    """
    groups = np.asarray(model.geom_group)
    bodies = np.asarray(model.geom_bodyid)
    welded = np.asarray(model.body_weldid)[bodies]
    bodies = np.where(welded == 0, bodies, welded)  # the robot's base and the floor are both fixed to the world
    return np.flatnonzero((groups >= _DRAWN) & ~np.isin(bodies, bodies[groups < _DRAWN]))


@contextmanager
def all_bodies_drawn(model: mujoco.MjModel) -> Iterator[None]:
    """Meanwhile, let the geoms of `undrawn` be in a group that is drawn."""
    hidden = undrawn(model)
    groups = model.geom_group[hidden].copy()
    model.geom_group[hidden] = 0
    try:
        yield
    finally:
        model.geom_group[hidden] = groups
