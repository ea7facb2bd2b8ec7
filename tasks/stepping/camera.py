"""Pictures of MuJoCo models, taken from where a robot's `view` says, or through the model's own camera."""

from __future__ import annotations

import copy
from typing import Any

import mujoco
import numpy as np
import numpy.typing as npt

from mql.robots.description import View
from mql.robots.drawing.renderer import all_bodies_drawn, open_renderer
from mql.robots.drawing.shot import Shot, fixed_camera

_NEAR_EDGE = 0.5  # of a floor, in parts of its half size
# What a renderer keeps of the model that it was opened for; all else it reads anew for each picture.
_KEPT = ("mesh_vert", "mesh_face", "hfield_data", "hfield_size", "tex_data", "skin_vert")


class Camera:
    """A camera that opens OpenGL with its first picture, and again for a model of the same sizes but other meshes.

    Without a `view`, it is the model's own first camera, or one that sees all of a model that has none. A `shot` that
    names a camera of the model goes before both.
    """

    def __init__(self, view: View | None, shot: Shot = Shot()) -> None:  # noqa: B008 - it is frozen
        self._view, self._shot = view, shot
        self._renderer: Any = None
        self._opened_for: mujoco.MjModel | None = None

    def picture(self, model: mujoco.MjModel, data: mujoco.MjData) -> npt.NDArray[np.uint8]:
        """Return a picture [height, width, 3] of `model` in the whole state that `data` has; `data` stays as it is.

        Raises:
            UserError: OpenGL can't be opened, or the model has no camera of the shot's name.
        """
        if self._opened_for is None or not _share_meshes(self._opened_for, model):
            self.close()
            self._renderer, self._opened_for = open_renderer(model, self._shot.width, self._shot.height), model
        shown = copy.copy(data)
        mujoco.mj_forward(model, shown)
        everything = mujoco.mjtCatBit.mjCAT_ALL.value
        scene, option = self._renderer.scene, mujoco.MjvOption()
        # The renderer's own method would draw the shapes and colours of the model that it was opened for.
        with all_bodies_drawn(model):
            mujoco.mjv_updateScene(model, shown, option, None, self._aim(model, shown), everything, scene)
        _move_floors(model, scene)
        picture: npt.NDArray[np.uint8] = self._renderer.render().copy()
        return picture

    def _aim(self, model: mujoco.MjModel, data: mujoco.MjData) -> mujoco.MjvCamera:
        if self._shot.camera is not None:
            return fixed_camera(model, self._shot.camera)
        view, camera = self._view, mujoco.MjvCamera()
        if view is None and model.ncam:
            camera.fixedcamid, camera.type = 0, mujoco.mjtCamera.mjCAMERA_FIXED.value
            return camera
        mujoco.mjv_defaultFreeCamera(model, camera)
        if view is not None:
            camera.distance, camera.azimuth, camera.elevation = view.distance, view.azimuth, view.elevation
            camera.lookat[:] = data.body(view.body).xpos if view.body else 0.0
        return camera

    def close(self) -> None:
        """Release the rendering context; closing twice is harmless."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = self._opened_for = None


def _move_floors(model: mujoco.MjModel, scene: mujoco.MjvScene) -> None:
    """Let a floor go along with a camera that comes near its edge, by whole repeats of its texture.

    For the physics a plane has no end; without this, a robot that runs far would run on nothing.
    """
    eye = np.mean([np.asarray(camera.pos, np.float64) for camera in scene.camera], axis=0)
    for geom in scene.geoms[: scene.ngeom]:
        if geom.type != mujoco.mjtGeom.mjGEOM_PLANE or geom.objtype != mujoco.mjtObj.mjOBJ_GEOM:
            continue
        size = np.asarray(geom.size[:2], np.float64)
        axes = np.asarray(geom.mat, np.float64).reshape(3, 3)[:, :2]  # along the plane's own x and y
        away = axes.T @ (eye - geom.pos)
        if (size <= 0.0).any() or (np.abs(away) <= _NEAR_EDGE * size).all():
            continue
        material = int(model.geom_matid[geom.objid])
        repeat = np.asarray(model.mat_texrepeat[material], np.float64) if material >= 0 else np.zeros(2)
        uniform = material >= 0 and bool(model.mat_texuniform[material])
        period = np.where(repeat > 0.0, 2.0 * (1.0 if uniform else size) / np.maximum(repeat, 1e-9), 1.0)
        geom.pos[:] = np.asarray(geom.pos) + axes @ (np.round(away / period) * period)


def _share_meshes(model: mujoco.MjModel, other: mujoco.MjModel) -> bool:
    """Tell whether a renderer that was opened for one model has the meshes and textures of the other."""
    return model is other or all(np.array_equal(getattr(model, name), getattr(other, name)) for name in _KEPT)
