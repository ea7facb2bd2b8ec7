"""Draws the frames of a film: pictures side by side, with what is known of each written above and below it.

    +--------------------------------------------+
    | family, task                    episode    |   header: the title, then the task parameters
    | parameter = value unit, ...                |
    +---------------------+----------------------+
    | label       success | label        success |
    |       picture       |        picture       |   a panel for each take
    | return -12.3        | return -4.1          |
    +---------------------+----------------------+
    | time, step                                 |   footer, with a bar that fills
    +--------------------------------------------+

Shapes: a picture or frame is [height, width, 3] uint8. Sides of a frame are even, as H.264 wants them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mql.films.replay import Moment, Picture

PANEL = 480  # pixels that a small picture is enlarged to, in width
_PER_LINE = 24.0  # a panel's width in sizes of its text
_LEAST_TEXT, _MOST_TEXT = 11, 24  # pixels

_GROUND, _PANEL_GROUND = (24, 27, 33), (38, 43, 52)
_TEXT, _FAINT = (240, 242, 245), (168, 176, 190)
_SUCCESS = (64, 196, 122)
_ACCENTS = ((150, 166, 190), (255, 176, 64), (112, 180, 255))  # of the takes' labels, from left to right
_MINUS, _TICK, _DOTS = "\N{MINUS SIGN}", "\N{CHECK MARK}", "\N{HORIZONTAL ELLIPSIS}"


@dataclass(frozen=True)
class Panel:
    """One take in a frame: its label, what it looks like now, and whether it stands still while others go on."""

    label: str
    moment: Moment
    waits: bool = False


@dataclass(frozen=True)
class Layout:
    """Where things stand in the frames of one film.

    Args:
        title: of the header's first line.
        parameters: the task's, as ``name = value unit``; they fill the header's next lines.
        columns: pictures side by side.
        picture: width and height of one, as it is drawn.
        lines: of parameters, at most.
        clock: whether there is a footer.
    """

    title: str
    parameters: Sequence[str]
    columns: int
    picture: tuple[int, int]
    lines: int = 2
    clock: bool = True

    @classmethod
    def around(
        cls,
        title: str,
        parameters: Sequence[str],
        columns: int,
        picture: Picture,
        *,
        width: int = PANEL,
        clock: bool = True,
    ) -> Layout:
        """Return the layout for pictures like this one, enlarged or made smaller to `width` pixels each."""
        height, own = picture.shape[:2]
        return cls(title, parameters, columns, (width, max(2, round(height * width / own))), clock=clock)

    @cached_property
    def size(self) -> tuple[int, int]:
        """Width and height of a frame."""
        width, height = self._width, self._header + self._panel + self._footer
        return width + width % 2, height + height % 2

    @cached_property
    def _text(self) -> int:
        return int(min(max(self.picture[0] / _PER_LINE, _LEAST_TEXT), _MOST_TEXT))

    @cached_property
    def _small(self) -> int:
        return max(_LEAST_TEXT - 1, round(self._text * 0.8))

    @cached_property
    def _margin(self) -> int:
        return max(6, self._text // 2)

    @cached_property
    def _row(self) -> int:
        return round(self._text * 1.7)

    @cached_property
    def _width(self) -> int:
        return self.columns * self.picture[0] + (self.columns + 1) * self._margin

    @cached_property
    def _words(self) -> list[str]:
        return wrapped(self.parameters, font(self._small), self._width - 2 * self._margin, self.lines)

    @cached_property
    def _header(self) -> int:
        return self._row + round(self._small * 1.5) * len(self._words) + self._margin // 2

    @cached_property
    def _panel(self) -> int:
        return 2 * self._row + self.picture[1]

    @cached_property
    def _footer(self) -> int:
        return self._row + self._margin if self.clock else self._margin

    def frame(self, panels: Sequence[Panel], *, note: str = "", clock: str = "", filled: float = 0.0) -> Picture:
        """Draw a frame.

        Args:
            panels: as many as there are columns.
            note: at the header's right.
            clock: what the footer says.
            filled: how much of the footer's bar is filled, 0 to 1.
        """
        image = Image.new("RGB", self.size, _GROUND)
        draw = ImageDraw.Draw(image)
        self._draw_header(draw, note)
        for column, panel in enumerate(panels):
            self._draw_panel(image, draw, column, panel)
        if self.clock:
            self._draw_footer(draw, clock, filled)
        return np.asarray(image)

    def _draw_header(self, draw: ImageDraw.ImageDraw, note: str) -> None:
        left, right, middle = self._margin, self._width - self._margin, self._row / 2
        small = font(self._small)
        draw.text((right, middle), note, _FAINT, small, anchor="rm")
        room = right - left - (small.getlength(note) + self._margin if note else 0)
        bold = font(self._text, bold=True)
        draw.text((left, middle), shortened(self.title, bold, room), _TEXT, bold, anchor="lm")
        for number, line in enumerate(self._words):
            top = self._row + number * round(self._small * 1.5) + self._small * 0.5
            draw.text((left, top), line, _FAINT, small, anchor="lm")

    def _draw_panel(self, image: Image.Image, draw: ImageDraw.ImageDraw, column: int, panel: Panel) -> None:
        moment, (width, height) = panel.moment, self.picture
        left = self._margin + column * (width + self._margin)
        top, right, inset = self._header, left + width, max(5, self._margin // 2)
        draw.rectangle((left, top, right - 1, top + self._panel - 1), _PANEL_GROUND)
        text, bold = font(self._text), font(self._text, bold=True)
        room: float = width - 2 * inset
        middle = top + self._row / 2
        if moment.success:
            told = f"{_TICK} success"
            draw.text((right - inset, middle), told, _SUCCESS, bold, anchor="rm")
            room -= bold.getlength(told) + inset
        accent = _ACCENTS[column % len(_ACCENTS)] if self.columns > 1 and self.clock else _TEXT
        draw.text((left + inset, middle), shortened(panel.label, bold, room), accent, bold, anchor="lm")
        image.paste(fitted(moment.picture, self.picture), (left, top + self._row))
        middle = top + self._row + height + self._row / 2
        if panel.waits:
            draw.text((right - inset, middle), f"ended at step {moment.step}", _FAINT, font(self._small), anchor="rm")
        draw.text((left + inset, middle), f"return {number_text(moment.episode_return)}", _TEXT, text, anchor="lm")
        if moment.success:
            edge = max(2, self._text // 7)
            draw.rectangle((left, top, right - 1, top + self._panel - 1), outline=_SUCCESS, width=edge)

    def _draw_footer(self, draw: ImageDraw.ImageDraw, clock: str, filled: float) -> None:
        left, right, top = self._margin, self._width - self._margin, self._header + self._panel
        draw.text((left, top + self._row / 2 + 1), clock, _FAINT, font(self._small), anchor="lm")
        top += self._row
        bottom = top + max(2, self._margin // 3)
        draw.rectangle((left, top, right - 1, bottom), _PANEL_GROUND)
        if filled > 0:
            draw.rectangle((left, top, left + max(1, round((right - left) * min(filled, 1.0))) - 1, bottom), _FAINT)


@cache
def font(size: int, *, bold: bool = False) -> ImageFont.FreeTypeFont:
    """Return DejaVu Sans, which comes with matplotlib and has signs of many languages, `size` pixels high."""
    import matplotlib

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts", "ttf", name), size)


def number_text(value: float) -> str:
    """Write a number with some four digits, and a minus sign that is as wide as a plus."""
    digits = 1 if abs(value) >= 100 else 2
    return f"{value:.{digits}f}".replace("-", _MINUS)


def shortened(text: str, style: ImageFont.FreeTypeFont, room: float) -> str:
    """Cut a text so that it fits into `room` pixels."""
    if style.getlength(text) <= room:
        return text
    while text and style.getlength(text + _DOTS) > room:
        text = text[:-1]
    return text.rstrip() + _DOTS


def wrapped(parts: Sequence[str], style: ImageFont.FreeTypeFont, room: float, lines: int) -> list[str]:
    """Put parts one after the other, with commas between them, in at most so many lines of `room` pixels."""
    result: list[str] = []
    for number, part in enumerate(parts):
        text = part + ("," if number + 1 < len(parts) else "")
        if result and style.getlength(f"{result[-1]} {text}") <= room:
            result[-1] += f" {text}"
        else:
            result.append(text)
    kept = result[:lines]
    if len(result) > lines:
        kept[-1] += " " + _DOTS
    return [shortened(line, style, room) for line in kept]


def fitted(picture: Picture, size: tuple[int, int]) -> Image.Image:
    """Return a picture in a size of its own proportions."""
    image = Image.fromarray(picture)
    return image if image.size == size else image.resize(size, Image.Resampling.LANCZOS)
