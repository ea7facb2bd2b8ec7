"""Pictures of MuJoCo lanes, taken from where the robot's `view` says."""

from __future__ import annotations

from typing import Any

import mujoco
import numpy as np
import numpy.typing as npt

from mql.errors import UserError
from mql.robots.description import View
from mql.tasks.lanes import Array

SIZE = 480  # pixels, both ways


class Camera:
    """A camera that opens OpenGL with its first picture, and is good for all models of the same sizes."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._renderer: Any = None

    def picture(self, model: mujoco.MjModel, qpos: Array, qvel: Array) -> npt.NDArray[np.uint8]:
        """Return a picture [480, 480, 3] of `model` in the state qpos [Q], qvel [V].

        Raises:
            UserError: OpenGL can't be opened.
        """
        if self._renderer is None:
            self._renderer = _open_renderer(model)
        data = mujoco.MjData(model)
        data.qpos[:] = qpos
        data.qvel[:] = qvel
        mujoco.mj_forward(model, data)
        view = self._view
        camera = mujoco.MjvCamera()
        mujoco.mjv_defaultFreeCamera(model, camera)
        camera.distance, camera.azimuth, camera.elevation = view.distance, view.azimuth, view.elevation
        camera.lookat[:] = data.body(view.body).xpos if view.body else 0.0
        self._renderer.update_scene(data, camera)
        picture: npt.NDArray[np.uint8] = self._renderer.render().copy()
        return picture

    def close(self) -> None:
        """Release the rendering context; closing twice is harmless."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None


def _open_renderer(model: mujoco.MjModel) -> mujoco.Renderer:
    try:
        return mujoco.Renderer(model, height=SIZE, width=SIZE)
    except (mujoco.FatalError, AttributeError, ImportError, RuntimeError) as error:
        mend = "without a screen set MUJOCO_GL=egl (or osmesa) before Python starts, with that library installed"
        raise UserError("can't open OpenGL for pictures", mend=mend) from error
