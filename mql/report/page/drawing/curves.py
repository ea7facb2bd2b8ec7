"""What was learned when: returns on held-out tasks over environment steps, and what training itself logged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from mql.evaluation.statistics import Statistic, across_runs, iqm
from mql.plain_text import counted
from mql.report.page.drawing.canvas import (
    ADAPTED,
    GROUPS,
    MARKERS,
    MUTED,
    PAPER,
    WIDTH,
    ZERO_SHOT,
    Picture,
    Pictures,
    band,
    legend,
    short_number,
    steps_axis,
)
from mql.report.page.facts import RunFacts, numeric
from mql.report.page.groups import Array, Group, statistic_name, statistic_of
from mql.report.page.words import TIMES, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LOGGED = (
    ("collected_return", "Return of collected episodes", "with exploration noise"),
    ("critic_loss", "Loss of the critic", ""),
    ("q_mean", "Value that the critic gives", "in units of scaled reward"),
)
MOST_POINTS = 300  # of a line of metrics
STYLES = {"zero_shot": ("zero-shot", ZERO_SHOT, "o", "D"), "adapted": ("adapted", ADAPTED, "s", "*")}


def learning_curve(pictures: Pictures, group: Group, *, name: str) -> Picture | None:
    """Draw zero-shot and adapted returns of one group over env steps; None: it was never evaluated."""
    curve, result = group.curve, group.result
    if curve is None:
        return None
    statistic = statistic_of([group])
    last = max([run.env_steps for run in group.runs] + [steps for own in curve.values.values() for steps in own])
    said = []

    def plot(axes: Axes) -> None:
        for place, (column, (label, colour, marker, final_marker)) in enumerate(STYLES.items()):
            own = curve.values.get(column, {})
            ended = result is not None and result.final and column in result.returns
            if len(own) > 1 or (own and not ended):
                _line(axes, own, statistic, colour, marker, f"{label}, {counted(curve.tasks, curve.kind + ' task')}")
                values = list(own.values())
                said.append(f"{label} from {_of(values[0], statistic)} to {_of(values[-1], statistic)}")
            if ended and result is not None:
                estimate = across_runs(result.returns[column], statistic)
                x = last * (1.04 + 0.05 * place)
                text = f"{label}, at the end: {counted(estimate['tasks'], result.split + ' task')}"
                _point(axes, x, estimate["value"], estimate["ci95"], colour, final_marker, text)
                said.append(f"{label} {number(estimate['value'])} on {result.split} tasks at the end")
        if curve.random is not None:
            axes.axhline(
                curve.random, color=MUTED, linestyle=(0, (1, 2)), linewidth=1.4, zorder=1, label="random actions"
            )
        axes.set_xlim(0, 1.14 * max(last, 1))
        axes.set_ylabel("return of an episode")
        steps_axis(axes)
        legend(axes, columns=1)

    what = statistic_name(statistic)
    runs = counted(len(group.runs), "run")
    picture = pictures.draw(name, "Learning curve", plot, alt="", caption="", size=(WIDTH, 3.6))
    alt = f"Return over environment steps up to {short_number(last)}: {'; '.join(said)}."
    over = "tasks" if len(group.runs) == 1 else "runs, drawn anew within each task"
    caption = f"{what.capitalize()} of {runs}; bands and bars: 95 % bootstrap over {over}, of at least 5 values."
    return picture.described(alt, caption)


def compared_curves(
    pictures: Pictures, groups: Sequence[Group], column: str, *, name: str, by_clock: bool = False
) -> Picture | None:
    """Draw one column of several groups over env steps, or over wall clock: IQM with bands."""
    there = [group for group in groups if group.curve and len(group.curve.values.get(column, {})) > 1]
    if by_clock:
        there = [g for g in there if g.curve and g.curve.seconds.keys() >= g.curve.values[column].keys()]
    if not there:
        return None
    said = []

    def plot(axes: Axes) -> None:
        for place, group in enumerate(groups):
            if group not in there or group.curve is None:
                continue
            own = group.curve.values[column]
            colour, marker = GROUPS[place % len(GROUPS)], MARKERS[place % len(MARKERS)]
            x = [group.curve.seconds[steps] / 60.0 for steps in own] if by_clock else [float(steps) for steps in own]
            most, fewest = (kind(len(values) for values in own.values()) for kind in (max, min))
            runs = counted(most, "run") if most == fewest else f"{fewest} to {most} runs"
            text = f"{group.short}, {runs} {TIMES} {counted(group.curve.tasks, 'task')}"
            _line(axes, own, iqm, colour, marker, text, x=x)
            said.append(f"{group.label or group.family} ends at {_of(list(own.values())[-1], iqm)}")
        axes.set_ylabel("return of an episode")
        axes.set_xlim(left=0)
        if by_clock:
            axes.set_xlabel("wall clock of a run (min)")
        else:
            steps_axis(axes)
        legend(axes, columns=1)

    label = STYLES[column][0]
    size = (WIDTH, 3.1 + 0.2 * len(there))
    over = "wall clock" if by_clock else "environment steps"
    title = f"Learning curves, {label}" + (", by wall clock" if by_clock else "")
    picture = pictures.draw(name, title, plot, alt="", size=size)
    kind = there[0].curve.kind if there[0].curve else ""
    caption = (
        f"Interquartile mean on {kind} tasks; bands: 95 % stratified bootstrap, where there are at least 5 values."
    )
    if by_clock:
        caption += " Wall clock: mean of the runs, evaluations included, on their machine and beside its other work."
    return picture.described(f"Return over {over}: {'; '.join(said)}.", caption)


def logged(pictures: Pictures, groups: Sequence[Group], *, name: str) -> list[Picture]:
    """Draw what training logged: a line for each run, in its group's colour."""
    found = []
    for key, title, note in LOGGED:
        lines = [
            (place, run, *line)
            for place, group in enumerate(groups)
            for run in group.runs
            if len((line := _logged(run, key))[0]) > 1
        ]
        if not lines:
            continue

        def plot(axes: Axes, lines: Sequence[tuple[int, RunFacts, list[float], list[float]]] = lines) -> None:
            labelled: set[int] = set()
            for place, _, steps, values in lines:
                label = None if place in labelled or len(groups) == 1 else groups[place].label
                labelled.add(place)
                axes.plot(steps, values, color=GROUPS[place % len(GROUPS)], linewidth=1.1, alpha=0.85, label=label)
            steps_axis(axes)
            axes.set_xlim(left=0)
            legend(axes, columns=1)

        ends = [values[-1] for _, _, _, values in lines]
        alt = (
            f"{title} over environment steps, {counted(len(lines), 'run')}; at the end {number(float(np.mean(ends)))}."
        )
        found.append(pictures.draw(f"{name}-{key}", title, plot, alt=alt, caption=note, size=(WIDTH, 2.8)))
    return found


def _logged(run: RunFacts, key: str) -> tuple[list[float], list[float]]:
    """Return steps and values of a metric, thinned by means of neighbours where there are many."""
    pairs = [(numeric(r.get("env_steps")), numeric(r.get(key))) for r in run.metrics]
    known = [(steps, value) for steps, value in pairs if steps is not None and value is not None]
    size = max(1, -(-len(known) // MOST_POINTS))
    blocks = [known[first : first + size] for first in range(0, len(known), size)]
    return [block[-1][0] for block in blocks], [float(np.mean([value for _, value in block])) for block in blocks]


def _line(
    axes: Axes,
    own: dict[int, Array],
    statistic: Statistic,
    colour: str,
    marker: str,
    label: str,
    *,
    x: Sequence[float] | None = None,
) -> None:
    estimates = [across_runs(values, statistic) for values in own.values()]
    steps = [float(step) for step in own] if x is None else x
    low, high = ([None if e["ci95"] is None else e["ci95"][end] for e in estimates] for end in (0, 1))
    band(axes, steps, low, high, colour)
    axes.plot(steps, [e["value"] for e in estimates], color=colour, marker=marker, label=label)


def _point(
    axes: Axes, x: float, value: float, ci95: Sequence[float] | None, colour: str, marker: str, label: str
) -> None:
    errors = None if ci95 is None else [[value - ci95[0]], [ci95[1] - value]]
    size = 13 if marker == "*" else 8
    axes.errorbar(
        [x], [value], yerr=errors, color=colour, marker=marker, markersize=size, markeredgecolor=PAPER, capsize=3,
        linestyle="none", label=label, zorder=4,
    )  # fmt: skip


def _of(values: Array, statistic: Statistic) -> str:
    return number(float(np.asarray(statistic(values.ravel()))))
