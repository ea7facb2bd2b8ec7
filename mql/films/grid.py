"""A picture of a family's tasks: a grid, one captioned cell for each."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence

from mql.films.replay import Take, moments
from mql.robots.drawing.shot import Shot
from mql.tasks.checks.inspection import name_values
from mql.tasks.family import Task, TaskFamily

_STEPS = 10  # steps before a task's picture is taken, so that something has moved
_COLUMNS = 3
_CELL_INCHES, _DOTS_PER_INCH = 3.2, 100
_CELL_PIXELS = 480  # of the picture that fills a cell of that size
_CAPTION_WIDTH = 44  # characters of a line under which a cell's caption fits
_CAPTION_LINES = 3


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
        *_, last = moments(family, task, Take("", seed), wanted=(steps,), steps=steps, shot=shot)
        cell.imshow(last.picture)
        cell.set_title(_caption(task), fontsize=8)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _caption(task: Task) -> str:
    """Break the parameters into a few lines."""
    lines = [""]
    for word in name_values(task.parameters).split():
        if len(lines[-1]) + len(word) >= _CAPTION_WIDTH:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    kept = lines[:_CAPTION_LINES]
    return "\n".join(kept) + (" ..." if len(lines) > len(kept) else "")
