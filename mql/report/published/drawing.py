"""The picture of a family's published runs: seeds thin, their mean thick, methods by colour."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mql.plain_text import counted
from mql.report.curves import RANDOM as RANDOM_COLOR
from mql.report.curves import new_figure, save_figure
from mql.report.learning_curve import LearningCurve, Point, learning_curve
from mql.report.page.groups import task_key
from mql.report.published.folder import CONFIG, EVALUATIONS, RANDOM, Family, Seed

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = npt.NDArray[np.float64]

DRAWN_FROM = "mql:drawn-from"  # a key of the picture's metadata
_VERSION = b"1"  # another one when the picture shows something else
# Okabe and Ito's palette: told apart by colour-blind readers and in print.
_COLORS = {
    "mql": "#0072B2",
    "td3": "#D55E00",
    "td3-context": "#E69F00",
    "rl2": "#009E73",
    "pearl": "#CC79A7",
    "oracle": "#000000",
}
_MORE_COLORS = ("#56B4E9", "#8B5A2B", "#7F7F7F", "#7570B3", "#66A61E", "#A6761D")


def drawn_from(family: Family) -> str:
    """Return a digest of all that the picture of a family depends on; the picture holds it, too."""
    digest = hashlib.sha256(_VERSION)
    for seed in (seed for method in family.methods for seed in method.seeds):
        for name in (CONFIG, EVALUATIONS, RANDOM):
            data = (seed.path / name).read_bytes() if (seed.path / name).exists() else b""
            digest.update(f"{seed.path.parent.name}/{seed.path.name}/{name} {len(data)}\n".encode() + data)
    return digest.hexdigest()


def is_drawn(family: Family, path: Path) -> bool:
    """Tell whether the picture at `path` shows what is published of the family now."""
    if not path.exists():
        return False
    from PIL import Image

    try:
        with Image.open(path) as picture:
            return picture.info.get(DRAWN_FROM) == drawn_from(family)
    except OSError:
        return False


def draw_family(family: Family, path: Path) -> Path:
    """Draw the learning curves of a family's methods: return on the tasks of the evaluations while training.

    A thin line is a seed's mean over tasks, zero-shot; a thick one the mean of a method's seeds, as far as all of them
    have come. Symbols at the right are final evaluations, mostly on other tasks: a diamond zero-shot, a star adapted,
    means over seeds, beside them how many tasks. A dotted line is what random actions get in the curve's tasks. Where
    the family has a success, its rate stands in a second panel.

    Raises:
        ValueError: nothing is published of the family, or evaluations of a run share no task.
    """
    curves = [(method, [_curve(seed) for seed in method.seeds]) for method in family.methods]
    first, colors = curves[0][1][0], _colors([method.name for method in family.methods])
    solved = any(p.success is not None for _, own in curves for c in own for p in c.points.get("zero_shot", ()))
    figure = new_figure(12.5 if solved else 7.5, 5.0)
    panels = figure.subplots(1, 2 if solved else 1, squeeze=False)[0]
    for axes, name, factor in zip(panels, ("mean", "success"), (1.0, 100.0), strict=False):
        for method, own in curves:
            text = f"{method.name}, {counted(len(own), 'seed')}"
            if (own[0].kind, own[0].n_tasks) != (first.kind, first.n_tasks):
                text += f" ({own[0].n_tasks} {own[0].kind} tasks)"
            _draw(axes, own, name, factor, colors[method.name], label=text if name == "mean" else None)
        axes.set_xlabel("environment steps")
        axes.xaxis.set_major_formatter(_steps)
        axes.margins(x=0.06)
        axes.set_xlim(left=0)
    level = next((c.random_return for _, own in curves for c in own if c.random_return is not None), None)
    if level is not None:
        panels[0].axhline(level, color=RANDOM_COLOR, linestyle=(0, (1, 2)), linewidth=1.4, label="random actions")
    panels[0].set_title(family.name, loc="left", fontweight="bold")
    panels[0].set_ylabel(f"return, mean over {first.n_tasks} {first.kind} tasks")
    panels[0].plot([], [], color="#444444", marker="D", linestyle="none", label=_final(first, "zero-shot"))
    panels[0].plot([], [], color="#444444", marker="*", markersize=10, linestyle="none", label="the same, adapted")
    panels[0].legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), frameon=False, ncols=2, fontsize=9)
    if solved:
        panels[1].set_ylabel("tasks solved (%)")
        panels[1].set_ylim(-3, 103)
    return save_figure(figure, path, metadata={DRAWN_FROM: drawn_from(family)})


def _curve(seed: Seed) -> LearningCurve:
    evaluations = list(seed.evaluations)
    if seed.random:
        rows = evaluations[0]["tasks"]
        evaluations[0] = {
            **evaluations[0],
            "tasks": [{**row, **seed.random.get(task_key(row["parameters"]), {})} for row in rows],
        }
    return learning_curve(evaluations, finished=seed.finished)


def _draw(
    axes: Axes, curves: Sequence[LearningCurve], name: str, factor: float, color: str, *, label: str | None
) -> None:
    lines = [_line(curve, name, factor) for curve in curves]
    lines = [(steps, values) for steps, values in lines if len(steps)]
    for steps, values in lines if len(lines) > 1 else ():
        axes.plot(steps, values, color=color, linewidth=0.8, alpha=0.45, marker=None if len(steps) > 1 else ".")
    if lines:
        steps, values = mean_line(lines)
        one = "o" if len(steps) == 1 else None
        axes.plot(steps, values, color=color, linewidth=2.4, marker=one, label=label)
    for column, marker, size in (("adapted", "*", 14), ("zero_shot", "D", 6)):
        found = [curve.final[column] for curve in curves if column in curve.final]
        known = [value for value in (_value(point, name) for point in found) if value is not None]
        if known:
            end = max(point.env_steps for point in found)
            style: dict[str, Any] = {
                "markersize": size,
                "markeredgecolor": "white",
                "linestyle": "none",
                "zorder": 4 + (marker == "D"),
            }
            axes.plot([end], [factor * float(np.mean(known))], color=color, marker=marker, clip_on=False, **style)


def _line(curve: LearningCurve, name: str, factor: float) -> tuple[Array, Array]:
    found = [(point.env_steps, _value(point, name)) for point in curve.points.get("zero_shot", ())]
    known = [(steps, factor * value) for steps, value in found if value is not None]
    return np.array([steps for steps, _ in known], np.float64), np.array([value for _, value in known], np.float64)


def mean_line(lines: Sequence[tuple[Array, Array]]) -> tuple[Array, Array]:
    """Return the mean of lines (steps [n], values [n]) at all their steps, as far as each of them reaches.

    Between its evaluations, a line is taken as straight: episodes of different lengths end at different steps.
    """
    low, high = max(steps[0] for steps, _ in lines), min(steps[-1] for steps, _ in lines)
    grid = np.unique(np.concatenate([steps for steps, _ in lines]))
    grid = grid[(grid >= low) & (grid <= high)]
    if not len(grid):  # seeds of which none reaches the others' steps: where they lie
        return lines[0]
    return grid, np.mean([np.interp(grid, steps, values) for steps, values in lines], axis=0)


def _value(point: Point, name: str) -> float | None:
    value = getattr(point, name)
    return None if value is None else float(value)


def _final(curve: LearningCurve, column: str) -> str:
    if not curve.n_final_tasks:
        return f"final evaluation, {column}"
    return f"final evaluation, {curve.n_final_tasks} {curve.final_kind} tasks: {column}"


def _colors(names: Sequence[str]) -> Mapping[str, str]:
    """Return a colour for each method; variants of a method get those that no method has."""
    others = iter(_MORE_COLORS * (1 + len(names) // len(_MORE_COLORS)))
    return {name: _COLORS[name] if name in _COLORS else next(others) for name in names}


def _steps(value: float, _: object = None) -> str:
    for size, suffix in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{suffix}"
    return f"{value:g}"
