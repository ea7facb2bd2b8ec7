"""What a study of adaptation says: gains over zero-shot by method and budget, as tables and a picture.

A cell of a study is one run's evaluation with one variant (a way to adapt) at one budget of episodes, on the same tasks
and from the same resets as all others of its split. Intervals are over runs and tasks, which are resampled together:
neither says anything about the other's spread.

Shapes: S runs (training seeds), N tasks, R bootstrap resamples.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mql.evaluation.statistics import CONFIDENCE, LEAST_FOR_INTERVAL, RESAMPLES
from mql.report.curves import new_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Cell = Mapping[str, Any]
Row = dict[str, Any]
Array = npt.NDArray[np.float64]
HEADROOM = "headroom"
MARKERS = "osD^vP*X<>hd"
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#999999", "#000000", "#882255", "#44AA99")


def tables(cells: Iterable[Cell]) -> tuple[str, list[Row]]:
    """Return a table in Markdown and its rows as plain data: one for each split, variant and budget."""
    rows = [row for row in _rows(list(cells))]
    head = "| split | method | budget | episodes | gain [95 %] | of the headroom | worse | kept | success | n |"
    lines = [head, "|---|---|---:|---:|---|---:|---:|---:|---|---|", *map(_line, rows)]
    return "\n".join(lines) + "\n", rows


def _rows(cells: Sequence[Cell]) -> Iterable[Row]:
    groups: dict[tuple[str, str, int], list[Cell]] = {}
    for cell in cells:
        groups.setdefault((cell["split"], cell["variant"], cell["budget"]), []).append(cell)
    room = {key[0]: own for key, own in groups.items() if key[1] == HEADROOM}
    for (split, variant, budget), own in groups.items():
        gains = _gains(own)
        if not gains.size:
            continue  # no task that every run could play
        mean = float(gains.mean())
        tasks = [task for cell in own for task in cell["tasks"] if "fault" not in task]
        yield {
            "family": own[0]["family"],
            "split": split,
            "variant": variant,
            "budget": budget,
            "charged": _mean(task.get("episodes_charged") for task in tasks),
            "zero_shot": _mean(task["zero_shot_return"] for task in tasks),
            "adapted": _mean(task["adapted_return"] for task in tasks),
            "zero_shot_success": _mean(task["zero_shot_success"] for task in tasks),
            "adapted_success": _mean(task["adapted_success"] for task in tasks),
            "gain": mean,
            "ci95": list(crossed_interval(gains)) if gains.size >= LEAST_FOR_INTERVAL else None,
            "of_headroom": _share(own, room.get(split, [])),
            "worse": worse(pair for cell in own for pair in cell["pairs"] if pair[1]),
            "kept": _mean(task.get("accepted") for task in tasks),
            "seconds": _mean(task.get("adapt_seconds") for task in tasks),
            "runs": len(own),
            "tasks": gains.shape[1],
            "commits": sorted({str(cell["commit"]) for cell in own}),
        }


def _gains(cells: Sequence[Cell]) -> Array:
    """Return adapted minus zero-shot [S, N], of the first tasks that all runs were given and that failed in none."""
    count = min(len(cell["tasks"]) for cell in cells)
    values = np.array(
        [
            [
                np.nan if task.get("adapted_return") is None else task["adapted_return"] - task["zero_shot_return"]
                for task in cell["tasks"][:count]
            ]
            for cell in cells
        ],
        dtype=np.float64,
    )
    return values[:, ~np.isnan(values).any(axis=0)]


def _share(cells: Sequence[Cell], room: Sequence[Cell]) -> float | None:
    """Return which part of the headroom `cells` gain, over runs and tasks that have both; None: there is no room."""
    most = {(cell["seed"], place): task for cell in room for place, task in enumerate(cell["tasks"])}
    pairs = [
        (task["adapted_return"] - task["zero_shot_return"], other["adapted_return"] - other["zero_shot_return"])
        for cell in cells
        for place, task in enumerate(cell["tasks"])
        if (other := most.get((cell["seed"], place))) is not None
        and None not in (task.get("adapted_return"), other.get("adapted_return"))
    ]
    gain, there = np.sum(pairs, axis=0) if pairs else (0.0, 0.0)
    return float(gain / there) if there > 0.0 else None


def crossed_interval(values: Array, *, resamples: int = RESAMPLES) -> tuple[float, float]:
    """Return the percentile bootstrap interval of the mean of values [S, N]: runs and tasks are drawn anew together."""
    rng = np.random.default_rng(0)
    runs = rng.integers(values.shape[0], size=(resamples, values.shape[0], 1))
    tasks = rng.integers(values.shape[1], size=(resamples, 1, values.shape[1]))
    means = values[runs, tasks].mean(axis=(1, 2))
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)


def worse(pairs: Iterable[Sequence[Sequence[float]]]) -> float | None:
    """Return the share of (before, after) pairs whose paired loss is larger than its own standard error.

    Each holds the returns of the same evaluation episodes, at least two. Equal returns are no loss.
    """
    counted = []
    for before, after in pairs:
        difference = np.subtract(after, before)
        error = float(difference.std(ddof=1) / np.sqrt(len(difference))) if len(difference) > 1 else 0.0
        counted.append(bool(difference.mean() < -error and difference.any()))
    return float(np.mean(counted)) if counted else None


def draw_budgets(path: Path, rows: Sequence[Row]) -> Path:
    """Draw the return against the episodes of the new task that a method was allowed: a line for each, with a band.

    Bands are the gains' intervals. A dashed line is what an agent gets that went on training on these very tasks.
    """
    figure = new_figure(9.0, 5.6)
    axes: Axes = figure.add_subplot()
    variants = list(dict.fromkeys(row["variant"] for row in rows if row["variant"] != HEADROOM))
    for place, variant in enumerate(variants):
        own = sorted((row for row in rows if row["variant"] == variant), key=lambda row: float(row["budget"]))
        colour, marker = COLOURS[place % len(COLOURS)], MARKERS[place % len(MARKERS)]
        budgets = [row["budget"] for row in own]
        axes.plot(budgets, [row["adapted"] for row in own], color=colour, marker=marker, label=variant)
        low, high = (
            [row["zero_shot"] + row["ci95"][end] if row["ci95"] else math.nan for row in own] for end in (0, 1)
        )
        axes.fill_between(budgets, low, high, color=colour, alpha=0.12, linewidth=0)
    axes.axhline(_mean(row["zero_shot"] for row in rows) or 0.0, color="#555555", linestyle=":", label="zero-shot")
    for row in rows:
        if row["variant"] == HEADROOM:
            axes.axhline(row["adapted"], color="#555555", linestyle="--", label="trained on these tasks")
    axes.set_xscale("symlog", linthresh=1.0)
    budgets = sorted({row["budget"] for row in rows if row["variant"] != HEADROOM})
    axes.set_xticks(budgets, [str(budget) for budget in budgets])
    axes.set_xlabel("episodes of the new task, those of trying out included")
    axes.set_ylabel("return")
    first = rows[0]
    axes.set_title(f"{first['family']}, {first['split']}: {first['runs']} runs, {first['tasks']} tasks")
    axes.legend(fontsize=8, ncols=2)
    return save_figure(figure, path)


def draw_task_weights(
    path: Path, tasks: Sequence[Mapping[str, Any]], weights: Sequence[float], new: Mapping[str, Any] | None
) -> Path:
    """Draw how much each training task's stored data counts for a new task, by the tasks' first numbers.

    Args:
        path: where the picture goes.
        tasks: the training tasks' parameters.
        weights: the share of each, which sum to 1 (or are all 0).
        new: the new task's parameters, marked by a star; None: nobody knows them.

    Raises:
        ValueError: the tasks have no numbers.
    """
    columns = numbers_of(tasks[0] if new is None else new)
    if not columns:
        raise ValueError("the tasks have no numbers to draw them by")
    x, *more = list(columns)[:2]
    places, here = [numbers_of(task) for task in tasks], columns
    relative = np.asarray(weights) * len(weights)  # 1: as much as with equal weights
    figure = new_figure(7.0, 4.8)
    axes: Axes = figure.add_subplot()
    if more:
        [y] = more
        drawn = axes.scatter(
            [place[x] for place in places], [place[y] for place in places], c=relative, cmap="viridis", s=60
        )
        figure.colorbar(drawn, label="weight (1: average)")
        if new is not None:
            axes.plot(here[x], here[y], "*", color="#D55E00", markersize=16)
        axes.set_ylabel(y)
    else:
        axes.scatter([place[x] for place in places], relative, color="#0072B2", s=30)
        if new is not None:
            axes.axvline(here[x], color="#D55E00", linestyle="--")
        axes.set_ylabel("weight (1: average)")
    axes.set_xlabel(x)
    marked = "" if new is None else "; star or line: the new task"
    axes.set_title(f"Training tasks by the weight of their stored data{marked}")
    return save_figure(figure, path)


def numbers_of(task: Mapping[str, Any]) -> dict[str, float]:
    """Return a task's parameters as numbers by name, a vector's as ``name 0``, ``name 1``; names are left out."""
    found: dict[str, float] = {}
    for name, value in task.items():
        if isinstance(value, list | tuple):
            found |= {f"{name} {place}": float(part) for place, part in enumerate(value)}
        elif isinstance(value, int | float):
            found[name] = float(value)
    return found


def _line(row: Row) -> str:
    interval = " [{:+.1f}, {:+.1f}]".format(*row["ci95"]) if row["ci95"] else ""
    success = [row["zero_shot_success"], row["adapted_success"]]
    parts = (
        row["split"],
        row["variant"],
        str(row["budget"]),
        _text(row["charged"], "{:.1f}"),
        f"{row['gain']:+.1f}{interval}",
        _text(row["of_headroom"], "{:.0%}"),
        _text(row["worse"], "{:.0%}"),
        _text(row["kept"], "{:.0%}"),
        " to ".join(f"{value:.0%}" for value in success) if None not in success else "",
        f"{row['runs']} x {row['tasks']}",
    )
    return "| " + " | ".join(parts) + " |"


def _text(value: float | None, form: str) -> str:
    return "" if value is None else form.format(value)


def _mean(values: Iterable[Any]) -> float | None:
    known = [float(value) for value in values if value is not None]
    return float(np.mean(known)) if known else None
