"""Pictures and videos of a family's tasks.

Shapes: a picture is [height, width, 3] uint8.
"""

from __future__ import annotations

import io
import math
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mql.errors import UserError, missing_package
from mql.tasks.checks.inspection import choose, name_values, random_actions
from mql.tasks.family import Task, TaskFamily

if TYPE_CHECKING:
    from mql.robots.drawing.shot import Shot
    from mql.tasks.stepping.camera import Camera

Picture = npt.NDArray[np.uint8]

SUFFIXES = (".png", ".mp4")
NO_OPENGL = (
    "no OpenGL library opens a picture here: install EGL (on Debian and Ubuntu libegl1 and libgl1-mesa-dri) "
    "and set MUJOCO_GL=egl"
)

_STEPS = 10  # steps before a task's picture is taken, so that something has moved
_COLUMNS = 3  # of the grid
_CELL_INCHES, _DOTS_PER_INCH = 3.2, 100
_CELL_PIXELS = 480  # of the picture that fills a cell of that size
_CAPTION_WIDTH = 44  # characters of a line under which a cell's caption fits
_CAPTION_LINES = 3
_FRAMES_PER_SECOND = 30.0  # at most; videos of faster families skip frames
_QUALITY = 7  # of ffmpeg's encoder, 0 to 10


def choose_opengl() -> str | None:
    """Return what MUJOCO_GL should be for pictures without a screen; None: leave it as it is."""
    screen = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    return "egl" if sys.platform == "linux" and not screen and not os.environ.get("MUJOCO_GL") else None


def opengl_fault() -> str | None:
    """Try to draw with MuJoCo; say in one line what is wrong, or None. It may end the process: call it in a worker."""
    chosen = os.environ.get("MUJOCO_GL")
    try:
        import mujoco
    except Exception:  # MuJoCo looks for the library that MUJOCO_GL names as soon as it is imported
        return f"MuJoCo can't be imported with MUJOCO_GL={chosen}: unset it, or install that OpenGL library"
    try:
        mujoco.Renderer(mujoco.MjModel.from_xml_string("<mujoco/>"), 8, 8).close()
    except Exception:
        return NO_OPENGL
    return None


def draw_grid(family: TaskFamily, tasks: Sequence[Task], seed: int = 0, shot: Shot | None = None) -> bytes:
    """Return a PNG with one captioned picture for each task, after some steps of the same seed.

    Raises:
        UserError: the family can't draw here.
    """
    from matplotlib.figure import Figure

    columns = min(_COLUMNS, len(tasks))
    rows = math.ceil(len(tasks) / columns)
    width, height = (1.0, 1.0) if shot is None else (shot.width / _CELL_PIXELS, shot.height / _CELL_PIXELS)
    size = (_CELL_INCHES * width * columns, (_CELL_INCHES * height + 0.6) * rows + 0.3)
    figure = Figure(figsize=size, dpi=_DOTS_PER_INCH, layout="constrained")
    figure.suptitle(f"{family.name}, {tasks[0].split} tasks")
    cells = figure.subplots(rows, columns, squeeze=False).flat
    for cell in cells:
        cell.set_axis_off()
    for cell, task in zip(figure.axes, tasks, strict=False):
        steps = min(_STEPS, family.episode_length)
        *_, picture = _frames(family, task, seed, steps, every=steps, shot=shot)
        cell.imshow(picture)
        cell.set_title(_caption(task), fontsize=8)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def draw_film(family: TaskFamily, task: Task, seed: int = 0, shot: Shot | None = None) -> bytes:
    """Return an MP4 (H.264) of one episode, at the speed of the robot's clock.

    Raises:
        UserError: the family can't draw here, or the package that writes videos is missing.
    """
    try:
        import imageio_ffmpeg
    except ModuleNotFoundError as error:
        raise missing_package(error.name or "imageio_ffmpeg", where="videos") from error

    rate, every = frame_rate(family.control_timestep)
    frames = _frames(family, task, seed, family.episode_length, every=every, shot=shot)
    first = next(frames)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "video.mp4"  # ffmpeg must be able to go back in its file
        writer: Any = imageio_ffmpeg.write_frames(
            str(path),
            (first.shape[1], first.shape[0]),
            fps=rate,
            codec="libx264",
            quality=_QUALITY,
            macro_block_size=2,  # H.264 halves the colours' resolution: sides must be even
            ffmpeg_log_level="error",
        )
        writer.send(None)
        try:
            writer.send(np.ascontiguousarray(first))
            for frame in frames:
                writer.send(np.ascontiguousarray(frame))
        finally:
            writer.close()
        return path.read_bytes()


def frame_rate(control_timestep: float) -> tuple[float, int]:
    """Return the frames per second of a video, at most 30, and of how many steps one is shown."""
    every = max(1, math.ceil(1.0 / (control_timestep * _FRAMES_PER_SECOND) - 1e-9))
    return 1.0 / (control_timestep * every), every


def _frames(
    family: TaskFamily, task: Task, seed: int, steps: int, *, every: int, shot: Shot | None
) -> Iterator[Picture]:
    """Play an episode with the family's probe, or random actions; yield the start and each `every`-th step.

    An episode that ends earlier ends with its last picture.
    """
    env: Any = family.make(task, render_mode="rgb_array")
    draw, close = _drawing(family, env, shot)
    try:
        obs, _ = env.reset(seed=seed)
        drawn = random_actions(family, seed, steps)
        yield draw()
        for step in range(steps):
            obs, _, terminated, truncated, _ = env.step(choose(family, env, obs, step, drawn[step]))
            ended = terminated or truncated
            if ended or (step + 1) % every == 0:
                yield draw()
            if ended:
                return
    finally:
        close()
        env.close()


def _drawing(family: TaskFamily, env: Any, shot: Shot | None) -> tuple[Callable[[], Picture], Callable[[], None]]:
    """Return how a picture of the environment is taken, and what is to be called after the last one."""
    if shot is None:  # the family's own pictures
        return env.render, lambda: None
    # With them comes MuJoCo, without which this module must say why it can't be imported.
    from mql.tasks.stepping.camera import Camera
    from mql.tasks.stepping.simulation import simulation_of

    camera: Camera | None = None

    def draw() -> Picture:
        nonlocal camera
        shown = simulation_of(env)
        if shown is None:
            mend = "leave --camera and --size out"
            raise UserError("it is no simulation of MuJoCo's", where=f"family {family.name}", mend=mend)
        camera = camera or Camera(shown.view, shot)
        return camera.picture(shown.model, shown.data)

    return draw, lambda: camera.close() if camera is not None else None


def _caption(task: Task) -> str:
    """Break the parameters into a few lines."""
    lines = [""]
    for word in name_values(task.parameters).split():
        if len(lines[-1]) + len(word) >= _CAPTION_WIDTH:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    kept = lines[:_CAPTION_LINES]
    return "\n".join(kept) + (" ..." if len(lines) > len(kept) else "")


def picture_of(family: TaskFamily, path: str, split: str, n: int, seed: int, shot: Shot | None = None) -> bytes:
    """Return the bytes of a picture or video, by the suffix of `path`.

    Args:
        family: whose tasks are drawn.
        path: the file's name.
        split: which tasks.
        n: how many of them; a video shows the first one.
        seed: of the initial states and the actions.
        shot: through which camera of the model, and how large; None: the family's own pictures.

    Raises:
        UserError: another suffix, an unknown split or camera, or the family can't draw here.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise UserError(f"can't draw into {path!r}", mend="end the name in .png for a picture, .mp4 for a video")
    tasks = family.tasks(split)
    if suffix == ".mp4":
        return draw_film(family, tasks[0], seed, shot)
    return draw_grid(family, tasks[:n], seed, shot)
