"""What the tests of the tracking services hand over."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image

from mql.runs.tracking import Tracker


def hand_over_all(tracker: Tracker, files: list[Path]) -> None:
    tracker.picture("curve", 8, lambda path: path.write_bytes(png(3, 2)))
    tracker.table("gains", 8, [{"mass": 1.0, "gain": 0.5}, {"mass": 2.0, "gain": None}])
    tracker.film(Path("one.mp4"))
    tracker.checkpoint(8, files)


def png(width: int, height: int) -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (width, height)).save(data, "PNG")
    return data.getvalue()
