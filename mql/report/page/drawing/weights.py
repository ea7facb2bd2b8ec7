"""Which training tasks the reused data came from: the weights of their stored data, for each held-out task.

Shapes: H held-out tasks, N training tasks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mql.plain_text import counted
from mql.report.page.drawing.canvas import BLUE, INK, MUTED, ORANGE, SHADES, WIDTH, Picture, Pictures, legend, shades
from mql.report.page.drawing.parameters import Column, columns
from mql.report.page.facts import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = npt.NDArray[np.float64]
MOST_PARAMETERS = 4
LEAST_TASKS = 3  # held-out ones, for a correlation
MOST_TICKS = 6


def usable(rows: Sequence[Record], training: Sequence[Mapping[str, Any]]) -> list[Record]:
    """Return the rows that have a weight for every training task, of which some are not zero."""
    found = []
    for row in rows:
        weights = row.get("task_weights")
        if not isinstance(weights, list) or len(weights) != len(training):
            continue
        if all(isinstance(w, int | float) and np.isfinite(w) for w in weights) and sum(weights) > 0:
            found.append(row)
    return found


def maps(
    pictures: Pictures,
    rows: Sequence[Record],
    training: Sequence[Mapping[str, Any]],
    units: Mapping[str, str],
    *,
    name: str,
) -> list[Picture]:
    """Draw where the weight lies: a map of held-out by training tasks, and the mean parameters of what is reused."""
    weights = np.array([row["task_weights"] for row in rows], np.float64)  # [H, N]
    weights /= weights.sum(axis=1, keepdims=True)
    of_training = {column.name: column for column in columns(training, units) if not column.names}
    held_out = _values([row["parameters"] for row in rows], of_training)
    pulls = {key: (held_out[key], weights @ of_training[key].values) for key in held_out}
    order = sorted(pulls, key=lambda key: -_correlation(*pulls[key]))
    main = order[0] if order else None
    found = [_map(pictures, weights, of_training.get(main or ""), held_out.get(main or ""), name=name)]
    for key in order[:MOST_PARAMETERS]:
        found.append(_pull(pictures, of_training[key], *pulls[key], name=f"{name}-{key}"))
    return found


def _values(tasks: Sequence[Mapping[str, Any]], of_training: Mapping[str, Column]) -> dict[str, Array]:
    """Return the numbers of held-out tasks by parameter, of those that vary in training."""
    from mql.report.adaptation import numbers_of

    numbers = [numbers_of(task) for task in tasks]
    return {key: np.array([row[key] for row in numbers]) for key in of_training if all(key in row for row in numbers)}


def _correlation(x: Array, y: Array) -> float:
    if len(x) < LEAST_TASKS or np.ptp(x) == 0.0 or np.ptp(y) == 0.0:
        return 0.0
    return float(np.corrcoef(x, y)[0, 1])


def _map(pictures: Pictures, weights: Array, column: Column | None, held_out: Array | None, *, name: str) -> Picture:
    """Draw the weights [H, N] as shades; rows and columns in the order of one parameter."""
    rows, tasks = weights.shape
    by_row = np.arange(rows) if held_out is None else np.argsort(held_out, kind="stable")
    by_task = np.arange(tasks) if column is None else np.argsort(column.values, kind="stable")
    relative = weights[by_row][:, by_task] * tasks  # 1: as much as with equal weights

    def plot(axes: Axes) -> None:
        drawn = axes.imshow(
            relative, aspect="auto", cmap=SHADES, vmin=0.0, origin="lower", interpolation="nearest", resample=False
        )
        shades(axes, drawn, "weight (1: average)")
        if column is not None and held_out is not None:
            x, y = column.values[by_task], held_out[by_row]
            axes.set_xticks(*_ticks(x))
            axes.set_yticks(*_ticks(y))
            axes.set_xlabel(f"{tasks} training tasks, by {column.label}")
            axes.set_ylabel(f"held-out tasks, by {column.name}")
            if tasks > 1 and rows > 1:  # where a row's own value lies among the training tasks
                place = np.interp(y, x, np.arange(tasks))
                axes.plot(place, np.arange(rows), "o", color=ORANGE, markersize=4, label="the task's own value")
                legend(axes)
        else:
            axes.set_xlabel(f"{tasks} training tasks")
            axes.set_ylabel("held-out tasks")
            axes.set_yticks(range(rows))

    half = float(np.mean([_tasks_of_half(row) for row in weights]))
    alt = (
        f"Map of {counted(rows, 'held-out task')} by {counted(tasks, 'training task')}: half of the weight lies on "
        f"{half:.0f} of {tasks} training tasks, on average."
    )
    caption = "Each row is a held-out task: how much the stored data of each training task counts for it."
    size = (WIDTH, min(3.6, 2.0 + 0.15 * rows))
    return pictures.draw(name, "Where the reused data came from", plot, alt=alt, caption=caption, size=size)


def _tasks_of_half(weights: Array) -> int:
    """Return how few training tasks hold half of the weight."""
    return int(np.searchsorted(np.cumsum(np.sort(weights)[::-1]), 0.5) + 1)


def _ticks(values: Array) -> tuple[list[int], list[str]]:
    places = sorted({round(place) for place in np.linspace(0, len(values) - 1, min(MOST_TICKS, len(values)))})
    return places, [f"{values[place]:.2g}" for place in places]


def _pull(pictures: Pictures, column: Column, own: Array, reused: Array, *, name: str) -> Picture:
    """Draw the mean parameter of what is reused against the held-out task's own."""
    average = float(column.values.mean())

    def plot(axes: Axes) -> None:
        low, high = min(float(own.min()), average), max(float(own.max()), average)
        axes.plot([low, high], [low, high], "--", color=MUTED, linewidth=1.0, label="the task's own")
        axes.axhline(average, color=MUTED, linestyle=":", linewidth=1.2, label="all weighed alike")
        axes.plot(own, reused, "o", color=BLUE, markeredgecolor=INK, markeredgewidth=0.4)
        axes.set_xlabel(f"held-out task: {column.label}")
        axes.set_ylabel("weighted mean of training tasks")
        legend(axes)

    known = len(own) >= LEAST_TASKS
    said = f"correlation {_correlation(own, reused):.2f} over {len(own)} tasks" if known else counted(len(own), "task")
    alt = f"Weighted mean {column.name} of the reused tasks against the held-out task's: {said}."
    caption = "On the dashed line, the reused data are of tasks like the new one; on the dotted line, of any."
    return pictures.draw(name, f"What is reused, by {column.name}", plot, alt=alt, caption=caption, size=(WIDTH, 3.1))
