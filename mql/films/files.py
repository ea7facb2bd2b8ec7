"""Frames as a file: H.264 in an MP4 that browsers play, a GIF, or a PNG.

Shapes: a frame is [height, width, 3] uint8.
"""

from __future__ import annotations

import io
import math
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mql.errors import UserError, missing_package
from mql.films.replay import Picture

SUFFIXES = {".mp4": "a film", ".gif": "a film", ".png": "a strip of pictures"}
MOST_FRAMES_PER_SECOND = {".mp4": 30.0, ".gif": 12.5}  # films of faster robots skip steps

_QUALITY = 7  # of ffmpeg's encoder, 0 to 10
_COLOURS = 128  # of a GIF's frame
_HUNDREDTHS = 100.0  # a GIF's clock


def check_name(out: Path) -> str:
    """Return the suffix of a file that can be written.

    Raises:
        UserError: it is another one, its folder is missing, or so is the package that writes it.
    """
    suffix = out.suffix.lower()
    if suffix not in SUFFIXES:
        mend = "give a name that ends in .mp4 or .gif (film), or .png (strip of pictures)"
        raise UserError(f"can't write a film to {str(out)!r}", where="--out", mend=mend)
    if not out.parent.is_dir():
        raise UserError("there is no such folder", where=str(out.parent), mend="create it, or choose another --out")
    if suffix == ".mp4":
        ffmpeg()
    return suffix


def ffmpeg() -> Any:
    """Import what runs ffmpeg.

    Raises:
        UserError: the package is missing.
    """
    try:
        import imageio_ffmpeg
    except ModuleNotFoundError as error:
        raise missing_package(error.name or "imageio_ffmpeg", where="videos") from error
    return imageio_ffmpeg


def frame_rate(control_timestep: float, most: float = MOST_FRAMES_PER_SECOND[".mp4"]) -> tuple[float, int]:
    """Return the frames per second of a film at the robot's speed, at most `most`, and the steps between two."""
    every = max(1, math.ceil(1.0 / (control_timestep * most) - 1e-9))
    return 1.0 / (control_timestep * every), every


def mp4(frames: Iterable[Picture], rate: float) -> bytes:
    """Return an MP4 (H.264, yuv420p) of frames with even sides; it plays while it is still being loaded.

    Raises:
        UserError: the package that writes it is missing.
    """
    package, frames = ffmpeg(), iter(frames)
    first = next(frames)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "film.mp4"  # ffmpeg must be able to go back in its file
        writer = package.write_frames(
            str(path),
            (first.shape[1], first.shape[0]),
            fps=rate,
            codec="libx264",
            pix_fmt_out="yuv420p",
            quality=_QUALITY,
            macro_block_size=2,  # H.264 halves the colours' resolution: sides must be even
            ffmpeg_log_level="error",
            output_params=["-movflags", "+faststart"],
        )
        writer.send(None)
        try:
            for frame in _with(first, frames):
                writer.send(np.ascontiguousarray(frame))
        finally:
            writer.close()
        return path.read_bytes()


def gif(frames: Iterable[Picture], rate: float) -> bytes:
    """Return a GIF that repeats for ever; its clock counts hundredths of a second."""
    images = [Image.fromarray(frame).quantize(_COLOURS, dither=Image.Dither.NONE) for frame in frames]
    ends = [round((number + 1) * _HUNDREDTHS / rate) for number in range(len(images))]
    durations = [10 * (end - start) for start, end in zip([0, *ends], ends, strict=False)]
    buffer = io.BytesIO()
    images[0].save(buffer, "GIF", save_all=True, append_images=images[1:], duration=durations, loop=0, optimize=False)
    return buffer.getvalue()


def png(frame: Picture) -> bytes:
    """Return a PNG."""
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _with(first: Picture, rest: Iterator[Picture]) -> Iterator[Picture]:
    yield first
    yield from rest
