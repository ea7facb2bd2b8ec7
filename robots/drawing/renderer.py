"""Opens MuJoCo's renderer, or says how to make that possible."""

from __future__ import annotations

import mujoco

from mql.errors import UserError

SIZE = 480  # pixels, both ways


def open_renderer(model: mujoco.MjModel, width: int = SIZE, height: int = SIZE) -> mujoco.Renderer:
    """Open a renderer of pictures [height, width, 3] for a model and all of the same sizes.

    Raises:
        UserError: OpenGL can't be opened.
    """
    buffer = model.vis.global_  # what the model says of its off-screen pictures only bounds their size
    buffer.offwidth, buffer.offheight = max(buffer.offwidth, width), max(buffer.offheight, height)
    try:
        return mujoco.Renderer(model, height=height, width=width)
    except (mujoco.FatalError, AttributeError, ImportError, RuntimeError) as error:
        mend = "without a screen set MUJOCO_GL=egl (or osmesa) before Python starts, with that library installed"
        raise UserError("can't open OpenGL for pictures", mend=mend) from error
