"""Pictures and videos of a family's tasks.

Shapes: a picture is [height, width, 3] uint8.
"""

from __future__ import annotations

import io
import math
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mql.errors import UserError, missing_package
from mql.robots.drawing.shot import Shot
from mql.tasks.checks.inspection import choose, name_values, random_actions
from mql.tasks.family import Task, TaskFamily

Picture = npt.NDArray[np.uint8]

SUFFIXES = (".png", ".mp4")
NO_OPENGL = (
    "no OpenGL library opens a picture here: install EGL (on Debian and Ubuntu libegl1 and libgl1-mesa-dri) "
    "and set MUJOCO_GL=egl"
)

_STEPS = 10  # steps before a task's picture is taken, so that something has moved
_COLUMNS = 3  # of the grid
_CELL_INCHES, _DOTS_PER_INCH = 3.2, 100
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
        UserError: the family can't draw here, or not as `shot` says.
    """
    from matplotlib.figure import Figure

    columns = min(_COLUMNS, len(tasks))
    rows = math.ceil(len(tasks) / columns)
    wide, high = (_CELL_INCHES, _CELL_INCHES) if shot is None else (shot.width / 150.0, shot.height / 150.0)
    figure = Figure(figsize=(wide * columns, (high + 0.6) * rows + 0.3), dpi=_DOTS_PER_INCH, layout="constrained")
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
        UserError: the family can't draw here, or not as `shot` says, or the package that writes videos is missing.
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
    try:
        if shot is not None:
            aim(env, shot)
        obs, _ = env.reset(seed=seed)
        drawn = random_actions(family, seed, steps)
        yield env.render()
        for step in range(steps):
            obs, _, terminated, truncated, _ = env.step(choose(family, env, obs, step, drawn[step]))
            ended = terminated or truncated
            if ended or (step + 1) % every == 0:
                yield env.render()
            if ended:
                return
    finally:
        env.close()


def aim(env: Any, shot: Shot) -> None:
    """Let an environment's pictures be taken in another way.

    Raises:
        UserError: they can't.
    """
    while env is not None:
        if hasattr(env, "aim"):
            env.aim(shot)
            return
        if hasattr(env, "mujoco_renderer"):  # Gymnasium's own, and those built on it
            renderer = env.mujoco_renderer
            renderer.width, renderer.height = shot.width, shot.height
            env.model.vis.global_.offwidth = max(env.model.vis.global_.offwidth, shot.width)
            env.model.vis.global_.offheight = max(env.model.vis.global_.offheight, shot.height)
            if shot.camera is not None:
                from mql.robots.drawing.renderer import fixed_camera

                renderer.camera_id = fixed_camera(env.model, shot.camera).fixedcamid
            return
        env = getattr(env, "inner", None) or getattr(env, "env", None)
    mend = "leave out --camera and --size"
    raise UserError("pictures of this family have one size and one camera", where="--camera, --size", mend=mend)


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

    Raises:
        UserError: another suffix, an unknown split, or the family can't draw here.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise UserError(f"can't draw into {path!r}", mend="end the name in .png for a picture, .mp4 for a video")
    tasks = family.tasks(split)
    return draw_film(family, tasks[0], seed, shot) if suffix == ".mp4" else draw_grid(family, tasks[:n], seed, shot)
