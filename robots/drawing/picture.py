"""A picture of a robot at home, from where its spec's `view` says.

Shapes: a picture is [height, width, 3] uint8.
"""

from __future__ import annotations

import mujoco
import numpy as np
import numpy.typing as npt

from mql.robots.drawing.renderer import all_bodies_drawn, open_renderer
from mql.robots.drawing.shot import Shot, fixed_camera
from mql.robots.inspection import Inspection
from mql.robots.mjcf.lookup import body_id
from mql.robots.spec import RobotSpec

_FAR = 2.5  # distance of the camera where none is stated, in radii of the model
_AMBIENT = 0.4  # of the lamp at the camera, 0 to 1, where a model has no lights
_AZIMUTH, _ELEVATION = 135.0, -20.0  # degrees, where none are stated


def take_picture(spec: RobotSpec, model: mujoco.MjModel, shot: Shot | None = None) -> npt.NDArray[np.uint8]:
    """Return a picture [480, 480, 3] of the robot at home, or as `shot` says.

    Raises:
        UserError: OpenGL can't be opened, or the model has no such camera.
    """
    shot = shot or Shot()
    inspection = Inspection(lambda: spec)
    inspection.model = model
    data = inspection.home()
    camera = _free_camera(inspection, data) if shot.camera is None else fixed_camera(model, shot.camera)
    if not model.nlight:
        model.vis.headlight.ambient[:] = _AMBIENT
    renderer = open_renderer(model, shot.width, shot.height)
    try:
        with all_bodies_drawn(model):
            renderer.update_scene(data, camera)
        picture: npt.NDArray[np.uint8] = renderer.render().copy()
        return picture
    finally:
        renderer.close()


def _free_camera(inspection: Inspection, data: mujoco.MjData) -> mujoco.MjvCamera:
    """Return a camera at the spec's `view`, or one that sees all of the robot."""
    model, view = inspection.model, inspection.spec.view
    camera = mujoco.MjvCamera()
    mujoco.mjv_defaultFreeCamera(model, camera)
    if view is not None:
        camera.distance, camera.azimuth, camera.elevation = view.distance, view.azimuth, view.elevation
        body = body_id(model, view.body) if view.body is not None else 0
        camera.lookat[:] = data.xpos[body or 0]
        return camera
    rows = sorted(inspection.bodies)
    centre = data.xipos[rows].mean(axis=0)
    radius = float(np.linalg.norm(data.xipos[rows] - centre, axis=1).max()) + 0.1
    camera.lookat[:] = centre
    camera.distance, camera.azimuth, camera.elevation = _FAR * radius, _AZIMUTH, _ELEVATION
    return camera
