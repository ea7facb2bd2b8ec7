"""A figure of a report: vector graphics for the page, in its colours, and PNG and PDF for a paper.

In the page, ink, grid and the palette are CSS variables, so a figure suits a light and a dark page and needs no second
copy. Text is text: it is found by a search and read by a screen reader.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mql.files import user_errors
from mql.report.curves import RESOLUTION, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, HEIGHT = 4.5, 3.1  # in: its text is still legible where a telephone shows it
INK, MUTED, GRID, PAPER = "#1b1c1d", "#5a5b5c", "#e4e5e6", "#fdfdfe"
# Okabe and Ito's, told apart by colour-blind readers, then two of Tol's; groups take them in turn.
BLUE, ORANGE, GREEN, PURPLE, YELLOW, SKY = "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"
WINE, TEAL = "#882255", "#44aa99"
ZERO_SHOT, ADAPTED = BLUE, ORANGE
GROUPS = (BLUE, ORANGE, GREEN, PURPLE, YELLOW, SKY, WINE, TEAL)
MARKERS = "osD^vP*X"
SHADES = "viridis"
# CSS variables of the page's style sheet.
VARIABLES = {
    INK: "ink",
    MUTED: "muted",
    GRID: "grid",
    PAPER: "paper",
    BLUE: "blue",
    ORANGE: "orange",
    GREEN: "green",
    PURPLE: "purple",
    YELLOW: "yellow",
    SKY: "sky",
    WINE: "wine",
    TEAL: "teal",
}
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "mql",  # the same figure gets the same ids
    "text.parse_math": False,  # a name with a dollar sign is a name
    "font.size": 10.0,
    "axes.titlesize": 11.0,
    "legend.fontsize": 9.5,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "axes.unicode_minus": True,
    "lines.linewidth": 1.8,
    "lines.markersize": 5.0,
    "path.simplify": True,
}


@dataclass(frozen=True)
class Picture:
    """A figure of the page: its vector graphics, what it shows in words, and the text below it."""

    name: str
    title: str
    svg: str
    alt: str
    caption: str
    wide: bool = False

    def described(self, alt: str, caption: str) -> Picture:
        """Return it with words that are known once it is drawn."""
        svg = self.svg.replace(_labelled(self.alt), _labelled(alt), 1)
        return replace(self, alt=alt, caption=caption, svg=svg)


@dataclass
class Pictures:
    """Draws the figures of one report, and writes each as PNG and PDF where there is a folder for them."""

    folder: Path | None = None
    files: list[Path] = field(default_factory=list)
    names: list[str] = field(default_factory=list)

    def draw(
        self,
        name: str,
        title: str,
        plot: Callable[[Axes], None],
        *,
        alt: str,
        caption: str = "",
        size: tuple[float, float] = (WIDTH, HEIGHT),
        wide: bool = False,
    ) -> Picture:
        """Draw one figure.

        Args:
            name: of its files; a number is added where it is taken.
            title: above it, on the page.
            plot: draws into the axes.
            alt: what it shows, in words with numbers.
            caption: how to read it.
            size: in inches.
            wide: it takes the page's whole width.
        """
        from matplotlib import rc_context

        name = self._free(name)
        with rc_context(STYLE):
            figure = new_figure(*size)
            axes = figure.add_subplot()
            plot(axes)
            _finish(figure)
            svg = _svg(figure, name, alt)
            self._save(figure, name)
        return Picture(name, title, svg, alt, caption, wide)

    def _free(self, name: str) -> str:
        name = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:60] or "figure"
        taken, number = name, 1
        while taken in self.names:
            number += 1
            taken = f"{name}-{number}"
        self.names.append(taken)
        return taken

    def _save(self, figure: Figure, name: str) -> None:
        if self.folder is None:
            return
        for suffix in (".png", ".pdf"):
            path = self.folder / f"{name}{suffix}"
            with user_errors(path):
                figure.savefig(path, dpi=RESOLUTION, facecolor="white")
            self.files.append(path)


def _finish(figure: Figure) -> None:
    """Give a figure the look of all, and settle its layout once for all its formats."""
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_axisbelow(True)
        if axes.get_label() != "<colorbar>" and not axes.images:
            axes.grid(visible=True, color=GRID, linewidth=0.8)
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)
        figure.set_layout_engine("none")


def _svg(figure: Figure, name: str, alt: str) -> str:
    """Return a figure as vector graphics to stand in a page, in the page's colours."""
    written = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(written, format="svg", transparent=True, dpi=RESOLUTION, metadata=nothing)
    text = written.getvalue()
    text = text[text.index("<svg") :]
    opening, rest = text.split(">", 1)
    box = re.search(r'viewBox="[^"]*"', opening)
    opening = f'<svg {box[0] if box else ""} role="img" {_labelled(alt)}>'
    rest = re.sub(r"<style.*?</style>", "", rest, flags=re.DOTALL)  # it would be one for the whole page
    # Ids stand once in a page: each figure has a name of its own before them.
    rest = re.sub(r'\bid="([^"]*)"', rf'id="{name}.\1"', rest)
    rest = re.sub(r'xlink:href="#([^"]*)"', rf'href="#{name}.\1"', rest)
    rest = re.sub(r"url\(#([^)]*)\)", rf"url(#{name}.\1)", rest)
    for colour, variable in VARIABLES.items():
        rest = rest.replace(f": {colour}", f": var(--{variable})")
    return opening + re.sub(r"font: (\d+(?:\.\d+)?)px [^;\"]*", r"font-size: \1px", rest)


def _labelled(alt: str) -> str:
    return f'aria-label="{escape(alt)}"'


def legend(axes: Axes, *, columns: int = 2) -> None:
    """Put the legend above the axes: inside it could hide a line."""
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        longest = max(map(len, labels))
        columns = 1 if longest > 34 else columns
        axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), frameon=False, ncols=columns, borderaxespad=0.2)


def steps_axis(axes: Axes) -> None:
    """Label the x axis with environment steps."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axes.set_xlabel("environment steps")
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.xaxis.set_major_formatter(FuncFormatter(short_number))


def short_number(value: float, _: object = None) -> str:
    """Return a tick's number, such as 300k."""
    for size, suffix in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{suffix}"
    return f"{value:g}"


def band(
    axes: Axes, x: Sequence[float], low: Sequence[float | None], high: Sequence[float | None], colour: str
) -> None:
    """Draw a band where both ends are known."""
    known = [(a, lo, hi) for a, lo, hi in zip(x, low, high, strict=True) if lo is not None and hi is not None]
    if known:
        at, lower, upper = ([one[place] for one in known] for place in range(3))
        axes.fill_between(at, lower, upper, color=colour, alpha=0.18, linewidth=0)


def shades(axes: Axes, drawn: Any, label: str) -> None:
    """Put a colour bar beside the axes."""
    with suppress(AttributeError):
        bar = axes.figure.colorbar(drawn, ax=axes, label=label, fraction=0.05, pad=0.02)
        bar.outline.set_visible(False)
