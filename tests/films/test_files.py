"""Frames as files: what a browser plays, at the robot's speed."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image

from mql.errors import UserError
from mql.films import files


def fading(n: int) -> list[np.ndarray]:
    """Frames [40, 60, 3], from black to white."""
    return [np.full((40, 60, 3), round(255 * number / (n - 1)), np.uint8) for number in range(n)]


def read_mp4(path: Path) -> tuple[dict[str, object], list[np.ndarray]]:
    frames = imageio_ffmpeg.read_frames(str(path))
    facts = next(frames)
    width, height = facts["size"]
    return facts, [np.frombuffer(frame, np.uint8).reshape(height, width, 3) for frame in frames]


@pytest.mark.parametrize(
    ("timestep", "rate", "every"),
    [(0.1, 10.0, 1), (0.05, 20.0, 1), (1 / 30, 30.0, 1), (0.02, 25.0, 2), (0.0125, 80 / 3, 3), (0.008, 25.0, 5)],
)
def test_frame_rates_stay_at_or_below_30(timestep: float, rate: float, every: int) -> None:
    assert files.frame_rate(timestep) == (pytest.approx(rate), every)


def test_an_mp4_is_h264_with_every_frame_and_begins_with_its_index(tmp_path: Path) -> None:
    """Browsers play yuv420p only, and start before all is there if the index (moov) stands before the pictures."""
    path = tmp_path / "film.mp4"
    path.write_bytes(files.mp4(iter(fading(12)), 20.0))
    facts, shown = read_mp4(path)
    assert str(facts["codec"]).startswith("h264") and str(facts["pix_fmt"]).startswith("yuv420p")
    assert facts["size"] == (60, 40) and facts["fps"] == pytest.approx(20.0) and len(shown) == 12
    assert [float(frame.mean()) for frame in shown] == pytest.approx([255 * n / 11 for n in range(12)], abs=6)
    data = path.read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat")


def test_a_gif_keeps_the_time_though_its_clock_is_coarse() -> None:
    """At 12 frames per second a frame lasts 8.33 hundredths: 24 of them last 2 s."""
    image = Image.open(io.BytesIO(files.gif(iter(fading(24)), 12.0)))
    durations = []
    for number in range(image.n_frames):
        image.seek(number)
        durations.append(image.info["duration"])
    assert image.n_frames == 24 and sum(durations) == 2000 and set(durations) == {80, 90}
    assert image.info["loop"] == 0


def test_a_png_is_the_frame() -> None:
    frame = fading(3)[1]
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(files.png(frame)))), frame)


def test_names_and_missing_packages_are_refused_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert files.check_name(tmp_path / "a.MP4") == ".mp4"
    with pytest.raises(UserError, match=r"ends in \.mp4 or \.gif"):
        files.check_name(tmp_path / "a.avi")
    with pytest.raises(UserError, match="no such folder"):
        files.check_name(tmp_path / "none" / "a.mp4")
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)  # None makes the import raise
    with pytest.raises(UserError, match=r"package imageio_ffmpeg is missing .*pip install 'mql\[video\]'$"):
        files.check_name(tmp_path / "a.mp4")
    assert files.check_name(tmp_path / "a.gif") == ".gif"
