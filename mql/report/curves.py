"""Pictures of a run: its learning curve, and what adaptation did to each held-out task.

They are drawn from the run's records alone, so a finished run can be drawn again. Matplotlib is imported at the first
picture and drawn to a file directly: no display, no global state of a caller's own plots touched.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Record = Mapping[str, Any]

# Okabe and Ito's palette: told apart by colour-blind readers and in print.
UNTRAINED, ZERO_SHOT, ADAPTED = "#999999", "#0072B2", "#D55E00"
RANDOM = "#555555"
RESOLUTION = 130  # dots per inch


def draw_training(path: Path, metrics: Sequence[Record], evaluations: Sequence[Record], *, title: str = "") -> Path:
    """Draw the learning curve: return on held-out tasks over env steps, zero-shot and adapted, mean and worst task.

    Where the family has a success, its rate stands in a second picture beside it. A thin dotted line shows what random
    actions get, where the run holds it.

    Args:
        path: where the picture goes; the suffix (.png, .pdf, .svg) chooses its format.
        metrics: records of metrics.jsonl; the last one tells steps, updates and wall clock.
        evaluations: records of evaluations.jsonl, at least one.
        title: what was trained.

    Returns:
        `path`.

    Raises:
        ValueError: there is no evaluation.
    """
    rates = _success_rates(evaluations)
    figure = _figure(13.0 if rates else 8.0, 4.8)
    axes = figure.add_subplot(1, 2 if rates else 1, 1)
    _draw_curve(axes, evaluations, worst=True)
    if rates:
        _draw_success(figure.add_subplot(1, 2, 2), rates, _random_success(evaluations))
    axes.set_title(title or "Return on held-out tasks", loc="left")
    _write_cost(axes, [*metrics, *evaluations])
    return _save(figure, path)


def draw_quickstart(
    path: Path,
    evaluations: Sequence[Record],
    rows: Sequence[Record],
    *,
    metrics: Sequence[Record] = (),
    title: str = "",
) -> Path:
    """Draw the learning curve beside each held-out target's final distance: untrained, zero-shot, adapted.

    Args:
        path: where the picture goes.
        evaluations: records of evaluations.jsonl, at least one.
        rows: one per held-out task, with ``untrained_distance``, ``zero_shot_distance`` and ``adapted_distance`` in m.
        metrics: records of metrics.jsonl.
        title: what was trained.

    Returns:
        `path`.

    Raises:
        ValueError: there is no evaluation or no row.
    """
    if not rows:
        raise ValueError("a quickstart picture needs at least one held-out task")
    figure = _figure(11.0, 4.8)
    curve, targets = figure.subplots(1, 2, width_ratios=[1.15, 1.0])
    _draw_curve(curve, evaluations)
    curve.set_title("Return on held-out tasks", loc="left")
    _write_cost(curve, [*metrics, *evaluations])
    _draw_distances(targets, rows)
    if title:
        figure.suptitle(title, fontweight="bold")
    return _save(figure, path)


def _success_rates(evaluations: Sequence[Record]) -> dict[str, list[tuple[int, float]]]:
    """Return the success rate over tasks of each evaluation, (env steps, rate), by column; empty without a success."""
    rates: dict[str, list[tuple[int, float]]] = {}
    for record in evaluations:
        for key in ("zero_shot", "adapted"):
            values = [row[f"{key}_success"] for row in record.get("tasks", ()) if row.get(f"{key}_success") is not None]
            if values:
                rates.setdefault(key, []).append((record["env_steps"], sum(values) / len(values)))
    return rates


def _random_success(evaluations: Sequence[Record]) -> float | None:
    """Return the share of tasks that random actions solve, from the last evaluation that says it."""
    for record in reversed(evaluations):
        rates = [row["random_success"] for row in record.get("tasks", ()) if row.get("random_success") is not None]
        if rates:
            return float(sum(rates)) / len(rates)
    return None


def _random_return(evaluations: Sequence[Record]) -> float | None:
    """Return the mean return of random actions, from the last evaluation that says it: it is on most tasks."""
    means = [record["summary"]["random"]["mean"] for record in evaluations if record["summary"].get("random")]
    return means[-1] if means else None


def _draw_level(axes: Axes, value: float | None, label: str = "") -> None:
    """Draw what random actions get, a thin dotted line right across; nothing where it is not known."""
    if value is not None:
        axes.axhline(value, color=RANDOM, linestyle=":", linewidth=1.0, zorder=1, label=label)


def _draw_success(axes: Axes, rates: Mapping[str, Sequence[tuple[int, float]]], by_chance: float | None) -> None:
    _draw_level(axes, None if by_chance is None else 100 * by_chance)
    for key, color, marker in (("zero_shot", ZERO_SHOT, "o"), ("adapted", ADAPTED, "s")):
        if key in rates:
            steps, values = zip(*rates[key], strict=True)
            axes.plot(steps, [100 * value for value in values], color=color, marker=marker, markersize=4, linewidth=1.8)
    axes.set_xlabel("env steps")
    axes.set_ylabel("success over tasks (%)")
    axes.xaxis.set_major_formatter(_short_number)
    axes.set_xlim(left=0)
    axes.set_ylim(-3, 103)


def _draw_curve(axes: Axes, evaluations: Sequence[Record], *, worst: bool = False) -> None:
    if not evaluations:
        raise ValueError("a learning curve needs at least one evaluation")
    for key, label, color, marker in (
        ("zero_shot", "zero-shot (context only)", ZERO_SHOT, "o"),
        ("adapted", "adapted", ADAPTED, "s"),
    ):
        _draw_series(axes, evaluations, key, label, color, marker)
        points = [(r["env_steps"], r["summary"][key]["min"]) for r in evaluations if r["summary"].get(key)]
        if worst and points:
            axes.plot(
                *zip(*points, strict=True), color=color, linestyle=":", label=f"{label.split(' (')[0]}, worst task"
            )
    _draw_level(axes, _random_return(evaluations), "random actions")
    axes.set_xlabel("env steps")
    axes.set_ylabel("mean return (band: 95 % interval over tasks)")
    axes.xaxis.set_major_formatter(_short_number)
    axes.set_xlim(left=0)
    axes.margins(y=0.08)
    axes.legend(frameon=False, loc="best")


def _draw_series(axes: Axes, evaluations: Sequence[Record], key: str, label: str, color: str, marker: str) -> None:
    """Draw one column of the evaluations; those without it (nothing adapted yet) are left out."""
    points = [(record["env_steps"], record["summary"][key]) for record in evaluations if record["summary"].get(key)]
    if not points:
        return
    steps = [step for step, _ in points]
    means = [summary["mean"] for _, summary in points]
    low, high = zip(*(summary["ci95"] for _, summary in points), strict=True)
    if len(points) == 1:  # a band has no width there
        axes.errorbar(
            steps,
            means,
            yerr=[[means[0] - low[0]], [high[0] - means[0]]],
            color=color,
            marker=marker,
            capsize=4,
            label=label,
        )
        return
    axes.fill_between(steps, low, high, color=color, alpha=0.18, linewidth=0)
    axes.plot(steps, means, color=color, marker=marker, markersize=4, linewidth=1.8, label=label)


def _draw_distances(axes: Axes, rows: Sequence[Record]) -> None:
    """One line per target, the farthest untrained on top: how each stage moved the final distance."""
    ordered = sorted(rows, key=lambda row: float(row["untrained_distance"]))
    heights = range(len(ordered))
    columns = {
        key: [100 * float(row[f"{key}_distance"]) for row in ordered] for key in ("untrained", "zero_shot", "adapted")
    }
    axes.hlines(heights, columns["adapted"], columns["untrained"], color="#dddddd", linewidth=2, zorder=1)
    for key, label, color, marker in (
        ("untrained", "untrained", UNTRAINED, "D"),
        ("zero_shot", "zero-shot", ZERO_SHOT, "o"),
        ("adapted", "adapted", ADAPTED, "s"),
    ):
        mean = sum(columns[key]) / len(ordered)
        text = f"{label}: mean {mean:.1f} cm"
        axes.scatter(columns[key], heights, color=color, marker=marker, s=26, zorder=2, label=text, clip_on=False)
        axes.axvline(mean, color=color, linewidth=1, linestyle=":", zorder=0)
    axes.set_title("Final distance to each held-out target", loc="left")
    axes.set_xlabel("distance at the end of the episode (cm)")
    axes.set_ylabel("held-out targets")
    axes.set_yticks([])
    axes.set_xlim(left=0)
    legend = axes.legend(loc="upper center", frameon=False, ncols=3, fontsize=8.5, handletextpad=0.1, columnspacing=0.9)
    legend.set_bbox_to_anchor((0.46, -0.14), transform=axes.transAxes)  # inside the axes it could hide a target


def _write_cost(axes: Axes, records: Sequence[Record]) -> None:
    """Write below the axes what the run took, as far as the records tell."""

    def last(key: str) -> float:
        return max((float(record[key]) for record in records if record.get(key) is not None), default=0.0)

    parts = [f"{last('env_steps'):,.0f} env steps", f"{last('updates'):,.0f} updates"]
    if seconds := last("wall_seconds"):
        parts.append(f"{_duration(seconds)} wall clock")
    axes.text(0.0, -0.17, ", ".join(parts), transform=axes.transAxes, fontsize=9, color="#555555", va="top")


def _figure(width: float, height: float) -> Figure:
    # Built without pyplot: no backend is chosen for the caller, and nothing stays in memory afterwards.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _save(figure: Figure, path: Path) -> Path:
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(visible=True, color="#eeeeee")
        axes.set_axisbelow(True)
    figure.savefig(path, dpi=RESOLUTION, facecolor="white")
    return path


def _short_number(value: float, _: object = None) -> str:
    for size, suffix in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{suffix}"
    return f"{value:g}"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
