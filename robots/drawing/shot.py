"""How a picture is taken: its size and its camera."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mql.errors import UserError

SIZE = 480  # pixels, both ways, where nobody says
_SMALLEST, _LARGEST = 16, 4096  # pixels


@dataclass(frozen=True)
class Shot:
    """How a picture is taken.

    Args:
        width: pixels.
        height: pixels.
        camera: name of one of the model's cameras; None: from where the robot's spec says, or all of the model.
    """

    width: int = SIZE
    height: int = SIZE
    camera: str | None = None

    @classmethod
    def of(cls, size: str | None, camera: str | None) -> Shot:
        """Read what a command was given; `size` is WIDTHxHEIGHT, None the usual one.

        Raises:
            UserError: the size is none, or none that can be drawn.
        """
        if size is None:
            return cls(camera=camera)
        found = re.fullmatch(r"([0-9]{1,6})x([0-9]{1,6})", size.strip().lower())
        width, height = (0, 0) if found is None else (int(found.group(1)), int(found.group(2)))
        if not (_SMALLEST <= width <= _LARGEST and _SMALLEST <= height <= _LARGEST):
            mend = f"write WIDTHxHEIGHT in pixels, such as 1280x720, each from {_SMALLEST} to {_LARGEST}"
            raise UserError(f"the size is {size!r}", where="--size", mend=mend)
        return cls(width, height, camera)
