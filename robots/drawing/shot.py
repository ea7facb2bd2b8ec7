"""What a picture is to show: through which camera of the model, and how large."""

from __future__ import annotations

import re
from dataclasses import dataclass

import mujoco

from mql.errors import UserError, nearest
from mql.robots.drawing.renderer import SIZE

_LEAST, _MOST = 16, 4096  # pixels


@dataclass(frozen=True)
class Shot:
    """One way to draw a model.

    Args:
        camera: name of one of the model's cameras; None: from where the robot or the family says.
        width: pixels.
        height: pixels.
    """

    camera: str | None = None
    width: int = SIZE
    height: int = SIZE


def shot_of(camera: str | None, size: str | None) -> Shot:
    """Return the shot that the options ``--camera NAME`` and ``--size WIDTHxHEIGHT`` ask for.

    Raises:
        UserError: the size is none, or too small or too large.
    """
    if size is None:
        return Shot(camera)
    read = re.fullmatch(r"\s*(\d{1,6})\s*[xX*]\s*(\d{1,6})\s*", size)
    if read is None:
        raise UserError(f"{size!r} is no size of a picture", where="--size", mend="write WIDTHxHEIGHT, such as 640x480")
    width, height = int(read[1]), int(read[2])
    if not (min(width, height) >= _LEAST and max(width, height) <= _MOST):
        mend = f"give {_LEAST} to {_MOST} pixels each way"
        raise UserError(f"a picture of {width} x {height} pixels", where="--size", mend=mend)
    return Shot(camera, width, height)


def fixed_camera(model: mujoco.MjModel, name: str) -> mujoco.MjvCamera:
    """Return the model's camera of a name, in the form that scenes take.

    Raises:
        UserError: there is none; the message names the nearest.
    """
    place = int(mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_CAMERA, name))
    if place < 0:
        named = [each for n in range(model.ncam) if (each := model.camera(n).name)]
        mend = nearest(name, named) if named else "it has no camera with a name: leave --camera out"
        raise UserError(f"the model has no camera {name!r}", where="--camera", mend=mend)
    camera = mujoco.MjvCamera()
    camera.fixedcamid, camera.type = place, mujoco.mjtCamera.mjCAMERA_FIXED.value
    return camera
