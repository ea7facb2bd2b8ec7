"""Pictures of a run: its learning curve, and what adaptation did to each held-out task.

They are drawn from the run's records alone, so a finished run can be drawn again. Matplotlib is imported at the first
picture and drawn to a file directly: no display, no global state of a caller's own plots touched.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mql.plain_text import counted
from mql.report.learning_curve import LearningCurve, Point, learning_curve

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Record = Mapping[str, Any]

# Okabe and Ito's palette: told apart by colour-blind readers and in print.
ZERO_SHOT, ADAPTED = "#0072B2", "#D55E00"
RANDOM = "#555555"
RESOLUTION = 130  # dots per inch

# Column of an evaluation, its name, colour, and marker in the curve; a diamond or star in the final evaluation.
COLUMNS = (("zero_shot", "zero-shot", ZERO_SHOT, "o", "D"), ("adapted", "adapted", ADAPTED, "s", "*"))


def draw_training(
    path: Path, metrics: Sequence[Record], evaluations: Sequence[Record], *, finished: bool, title: str = ""
) -> Path:
    """Draw the learning curve: return on held-out tasks over env steps, zero-shot and adapted, mean and worst task.

    The curve keeps to the tasks that all evaluations while training share: validation tasks. The final evaluation, on
    all its tasks (mostly test tasks), has a marker of its own. A thin dotted line shows what random actions get in the
    curve's tasks, where the records hold it. Where the family has a success, its rate stands in a second picture.

    Args:
        path: where the picture goes; the suffix (.png, .pdf, .svg) chooses its format.
        metrics: records of metrics.jsonl; the last one tells steps, updates and wall clock.
        evaluations: records of evaluations.jsonl, at least one.
        finished: the run came to its end: the last evaluation is the final one.
        title: what was trained.

    Returns:
        `path`.

    Raises:
        ValueError: there is no evaluation, or the evaluations share no task.
    """
    curve = learning_curve(evaluations, finished=finished)
    successes = any(point.success is not None for points in curve.points.values() for point in points)
    figure = new_figure(13.0 if successes else 8.0, 5.2)
    axes = figure.add_subplot(1, 2 if successes else 1, 1)
    _draw_returns(axes, curve, worst=True)
    if successes:
        beside = figure.add_subplot(1, 2, 2)
        _draw_success(beside, curve)
        _write_title(beside, "Success", "share of tasks solved; symbols as on the left")
    _write_title(axes, title or "Return on held-out tasks", _cost([*metrics, *evaluations]))
    return save_figure(figure, path)


def draw_quickstart(
    path: Path,
    evaluations: Sequence[Record],
    groups: Mapping[str, Mapping[str, Sequence[float]]],
    *,
    metrics: Sequence[Record] = (),
    title: str = "",
) -> Path:
    """Draw a finished run's learning curve beside the distances to targets: of random actions, zero-shot, adapted.

    Args:
        path: where the picture goes.
        evaluations: records of evaluations.jsonl, at least one.
        groups: by the targets' title: final distances in m, one for each target, of ``random``, ``zero_shot`` and
            ``adapted``.
        metrics: records of metrics.jsonl.
        title: what was trained.

    Returns:
        `path`.

    Raises:
        ValueError: there is no evaluation or no target, or the evaluations share no task.
    """
    if not groups or not all(stage for group in groups.values() for stage in group.values()):
        raise ValueError("a quickstart picture needs at least one held-out task")
    figure = new_figure(7.0 + 4.0 * len(groups), 5.2)
    curve, *places = figure.subplots(1, 1 + len(groups), width_ratios=[1.2, *(1.0 for _ in groups)])
    widest = 100 * max(max(stage) for group in groups.values() for stage in group.values())
    _draw_returns(curve, learning_curve(evaluations, finished=True))
    _write_title(curve, "Return on held-out targets", _cost([*metrics, *evaluations]))
    for targets, (name, group) in zip(places, groups.items(), strict=True):
        _draw_distances(targets, name, group, widest=widest)
    if title:
        figure.suptitle(title, fontweight="bold")
    return save_figure(figure, path)


def _draw_returns(axes: Axes, curve: LearningCurve, *, worst: bool = False) -> None:
    tasks = counted(curve.n_tasks, f"{curve.kind} task")
    for place, (key, label, color, marker, final_marker) in enumerate(COLUMNS):
        points, final = curve.points.get(key, []), curve.final.get(key)
        # A single point, as of a column measured at the end only, is no curve where the final marker shows it.
        if len(points) > 1:
            steps, means, low, high, worsts = _lines(curve, key, "mean", "low", "high", "worst")
            axes.fill_between(steps, low, high, color=color, alpha=0.18, linewidth=0)
            text = f"{label}, {tasks}"
            axes.plot(steps, means, color=color, marker=marker, markersize=4, linewidth=1.8, label=text)
            if worst:
                text = f"{label}, worst of them"
                axes.plot(steps, worsts, color=color, linestyle=":", marker=".", markersize=4, label=text)
        elif points and final is None:
            _draw_point(axes, points[0], f"{label}, {tasks}", color, _style(marker, 5))
        if final:
            text = f"{label}, final evaluation: {counted(curve.n_final_tasks, f'{curve.final_kind} task')}"
            _draw_point(axes, final, text, color, _beside_last(axes, final_marker, place))
    _draw_level(axes, curve.random_return, f"random actions, {tasks}")
    _label_steps(axes, curve)
    axes.set_ylabel("return of an episode (mean, 95 % interval over tasks)")
    axes.margins(y=0.08)
    _legend_below(axes, ncols=2)


def _draw_success(axes: Axes, curve: LearningCurve) -> None:
    _draw_level(axes, None if curve.random_success is None else 100 * curve.random_success)
    for place, (key, _, color, marker, final_marker) in enumerate(COLUMNS):
        points, final = curve.points.get(key, []), curve.final.get(key)
        if len(points) > 1 or (points and final is None):
            steps, shares = _lines(curve, key, "success")
            axes.plot(steps, [100 * s for s in shares], color=color, marker=marker, markersize=4, linewidth=1.8)
        if final and final.success is not None:
            style = _beside_last(axes, final_marker, place)
            axes.plot([final.env_steps], [100 * final.success], color=color, linestyle="none", zorder=4, **style)
    _label_steps(axes, curve)
    axes.set_ylabel("tasks solved (%)")
    axes.set_ylim(-3, 103)


def _lines(curve: LearningCurve, key: str, *names: str) -> list[list[float]]:
    """Return the steps of all evaluations, and of each name a column's values: NaN where it was not measured."""
    points = {point.env_steps: point for point in curve.points[key]}

    def value(steps: int, name: str) -> float:
        known = getattr(points[steps], name) if steps in points else None
        return float("nan") if known is None else float(known)

    return [list(curve.env_steps), *([value(steps, name) for steps in curve.env_steps] for name in names)]


def _draw_point(axes: Axes, point: Point, label: str, color: str, style: Mapping[str, Any]) -> None:
    low, high = (point.mean if end is None else end for end in (point.low, point.high))
    errors = None if point.low is None else [[point.mean - low], [high - point.mean]]
    axes.errorbar(
        [point.env_steps],
        [point.mean],
        yerr=errors,
        color=color,
        label=label,
        capsize=4,
        linestyle="none",
        zorder=4,
        **style,
    )
    axes.update_datalim([(point.env_steps, low), (point.env_steps, high)])  # a shifted marker does not
    axes.autoscale_view()


def _style(marker: str, size: float) -> dict[str, Any]:
    return {"marker": marker, "markersize": size, "markeredgecolor": "white", "markeredgewidth": 1.0, "clip_on": False}


def _beside_last(axes: Axes, marker: str, place: int) -> dict[str, Any]:
    """Draw a final marker a little to the right of the last step, or it would hide the curve's end and its peer."""
    from matplotlib.transforms import ScaledTranslation

    shift = ScaledTranslation((14 + 16 * place) / 72, 0, axes.figure.dpi_scale_trans)
    return {**_style(marker, 14 if marker == "*" else 8), "transform": axes.transData + shift}


def _draw_level(axes: Axes, value: float | None, label: str = "") -> None:
    """Draw what random actions get, a thin dotted line right across; nothing where it is not known."""
    if value is not None:
        axes.axhline(value, color=RANDOM, linestyle=(0, (1, 2)), linewidth=1.4, zorder=1, label=label)


def _label_steps(axes: Axes, curve: LearningCurve) -> None:
    axes.set_xlabel("environment steps")
    axes.xaxis.set_major_formatter(_short_number)
    last = max([*curve.env_steps, *(point.env_steps for point in curve.final.values())])
    axes.set_xlim(0, 1.1 * last or 1)


def _legend_below(axes: Axes, *, ncols: int) -> None:
    """Put the legend under the axes: inside it could hide a line."""
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), frameon=False, ncols=ncols, fontsize=9)


def _draw_distances(axes: Axes, name: str, group: Mapping[str, Sequence[float]], *, widest: float) -> None:
    """One line per target, the farthest zero-shot on top: how each stage moved the final distance."""
    order = sorted(range(len(group["zero_shot"])), key=lambda place: group["zero_shot"][place])
    columns = {stage: [100 * float(values[place]) for place in order] for stage, values in group.items()}
    axes.hlines(range(len(order)), columns["adapted"], columns["zero_shot"], color="#dddddd", linewidth=2, zorder=1)
    for key, label, color, marker in (
        ("random", "random actions", RANDOM, "D"),
        ("zero_shot", "zero-shot", ZERO_SHOT, "o"),
        ("adapted", "adapted", ADAPTED, "s"),
    ):
        mean = sum(columns[key]) / len(order)
        text = f"{label}: mean {mean:.1f} cm"
        axes.scatter(columns[key], range(len(order)), color=color, marker=marker, s=26, zorder=2, label=text)
        axes.axvline(mean, color=color, linewidth=1, linestyle=":", zorder=0)
    _write_title(axes, f"{len(order)} {name}", "dotted: the mean of each")
    axes.set_xlabel("distance at the end of the episode (cm)")
    axes.set_yticks([])
    axes.set_xlim(-0.02 * widest, 1.05 * widest)
    _legend_below(axes, ncols=1)


def _cost(records: Sequence[Record]) -> str:
    """Say what the run took, as far as the records tell."""

    def last(key: str) -> float:
        return max((float(record[key]) for record in records if record.get(key) is not None), default=0.0)

    parts = [f"{last('env_steps'):,.0f} environment steps", f"{last('updates'):,.0f} updates"]
    if seconds := last("wall_seconds"):
        parts.append(f"{_duration(seconds)} wall clock")
    return ", ".join(parts)


def _write_title(axes: Axes, title: str, note: str) -> None:
    """Write the title above the axes, and a note in small print between the two."""
    axes.set_title(title, loc="left", pad=22)
    axes.text(0.0, 1.02, note, transform=axes.transAxes, fontsize=9, color="#555555", va="bottom")


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of this size in inches."""
    # Built without pyplot: no backend is chosen for the caller, and nothing stays in memory afterwards.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Figure, path: Path, *, metadata: Mapping[str, str] | None = None) -> Path:
    """Write a figure in the style of all pictures here, and return `path`, whose suffix chooses the format.

    `metadata` is text that the file holds unseen.
    """
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(visible=True, color="#eeeeee")
        axes.set_axisbelow(True)
    figure.savefig(path, dpi=RESOLUTION, facecolor="white", metadata=dict(metadata or {}))
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
