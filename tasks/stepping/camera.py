"""Pictures of MuJoCo models, taken from where a robot's `view` says, or through the model's own camera."""

from __future__ import annotations

from typing import Any

import mujoco
import numpy as np
import numpy.typing as npt

from mql.robots.description import View
from mql.robots.drawing.renderer import open_renderer
from mql.tasks.family import Array


class Camera:
    """A camera that opens OpenGL with its first picture, and is good for all models of the same sizes.

    Without a `view`, it is the model's own first camera, or one that sees all of a model that has none.
    """

    def __init__(self, view: View | None) -> None:
        self._view = view
        self._renderer: Any = None

    def picture(self, model: mujoco.MjModel, qpos: Array, qvel: Array) -> npt.NDArray[np.uint8]:
        """Return a picture [480, 480, 3] of `model` in the state qpos [Q], qvel [V].

        Raises:
            UserError: OpenGL can't be opened.
        """
        if self._renderer is None:
            self._renderer = open_renderer(model)
        data = mujoco.MjData(model)
        data.qpos[:] = qpos
        data.qvel[:] = qvel
        mujoco.mj_forward(model, data)
        self._renderer.update_scene(data, self._aim(model, data))
        picture: npt.NDArray[np.uint8] = self._renderer.render().copy()
        return picture

    def _aim(self, model: mujoco.MjModel, data: mujoco.MjData) -> Any:
        """Return the camera that the renderer takes: a number of the model's, or a free one."""
        view = self._view
        if view is None and model.ncam:
            return 0
        camera = mujoco.MjvCamera()
        mujoco.mjv_defaultFreeCamera(model, camera)
        if view is not None:
            camera.distance, camera.azimuth, camera.elevation = view.distance, view.azimuth, view.elevation
            camera.lookat[:] = data.body(view.body).xpos if view.body else 0.0
        return camera

    def close(self) -> None:
        """Release the rendering context; closing twice is harmless."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None
