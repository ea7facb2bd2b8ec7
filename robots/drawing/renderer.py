"""Opens MuJoCo's renderer, or says how to make that possible."""

from __future__ import annotations

import mujoco

from mql.errors import UserError

SIZE = 480  # pixels, both ways


def open_renderer(model: mujoco.MjModel) -> mujoco.Renderer:
    """Open a renderer of pictures [480, 480, 3] for a model and all of the same sizes.

    Raises:
        UserError: OpenGL can't be opened.
    """
    try:
        return mujoco.Renderer(model, height=SIZE, width=SIZE)
    except (mujoco.FatalError, AttributeError, ImportError, RuntimeError) as error:
        mend = "without a screen set MUJOCO_GL=egl (or osmesa) before Python starts, with that library installed"
        raise UserError("can't open OpenGL for pictures", mend=mend) from error
