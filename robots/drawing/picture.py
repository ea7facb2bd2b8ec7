"""A picture of a robot at home, from where its spec's `view` says.

Shapes: a picture is [height, width, 3] uint8.
"""

from __future__ import annotations

import mujoco
import numpy as np
import numpy.typing as npt

from mql.robots.drawing.renderer import SIZE, open_renderer
from mql.robots.inspection import Inspection
from mql.robots.mjcf.lookup import body_id
from mql.robots.spec import RobotSpec

_FAR = 2.5  # distance of the camera where none is stated, in radii of the model
_AMBIENT = 0.4  # of the lamp at the camera, 0 to 1, where a model has no lights
_AZIMUTH, _ELEVATION = 135.0, -20.0  # degrees, where none are stated


def take_picture(spec: RobotSpec, model: mujoco.MjModel) -> npt.NDArray[np.uint8]:
    """Return a picture [480, 480, 3] of the robot at home.

    Raises:
        UserError: OpenGL can't be opened.
    """
    inspection = Inspection(lambda: spec)
    inspection.model = model
    data = inspection.home()
    camera = mujoco.MjvCamera()
    mujoco.mjv_defaultFreeCamera(model, camera)
    if spec.view is not None:
        camera.distance, camera.azimuth, camera.elevation = spec.view.distance, spec.view.azimuth, spec.view.elevation
        body = body_id(model, spec.view.body) if spec.view.body is not None else 0
        camera.lookat[:] = data.xpos[body or 0]
    else:
        rows = sorted(inspection.bodies)
        centre = data.xipos[rows].mean(axis=0)
        radius = float(np.linalg.norm(data.xipos[rows] - centre, axis=1).max()) + 0.1
        camera.lookat[:] = centre
        camera.distance, camera.azimuth, camera.elevation = _FAR * radius, _AZIMUTH, _ELEVATION
    if not model.nlight:
        model.vis.headlight.ambient[:] = _AMBIENT
    model.vis.global_.offwidth = max(model.vis.global_.offwidth, SIZE)
    model.vis.global_.offheight = max(model.vis.global_.offheight, SIZE)
    renderer = open_renderer(model)
    try:
        renderer.update_scene(data, camera)
        picture: npt.NDArray[np.uint8] = renderer.render().copy()
        return picture
    finally:
        renderer.close()
