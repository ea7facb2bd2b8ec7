"""What adaptation did: the return against episodes of the new task, and before and after against its parameters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mql.evaluation.statistics import LEAST_FOR_INTERVAL, across_runs, bootstrap_interval
from mql.plain_text import counted
from mql.report.adaptation import HEADROOM
from mql.report.page.drawing.canvas import (
    ADAPTED,
    GROUPS,
    INK,
    MARKERS,
    MUTED,
    WIDTH,
    ZERO_SHOT,
    Picture,
    Pictures,
    band,
    legend,
)
from mql.report.page.drawing.parameters import columns, name_ticks
from mql.report.page.facts import Record, numeric
from mql.report.page.groups import Group, statistic_name, statistic_of
from mql.report.page.words import TIMES, number, signed, size_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_PARAMETERS = 6
SHORT = 32  # characters
MOST_LINES = 40  # of single tasks, behind a mean

Progress = list[tuple[float, float]]  # episodes played so far, and the return of what is kept then


def by_episodes(pictures: Pictures, groups: Sequence[Group], *, name: str) -> Picture | None:
    """Draw the return of what adaptation keeps after each of its rounds; None: nothing was adapted."""
    found = [(place, lines) for place, group in enumerate(groups) if (lines := list(_progress(group)))]
    if not found:
        return None
    rounds = any(len(line) > 2 for _, lines in found for line in lines)
    said = []

    def plot(axes: Axes) -> None:
        for place, lines in found:
            group, colour = groups[place], ADAPTED if len(groups) == 1 else GROUPS[place % len(GROUPS)]
            if len(groups) == 1 and len(lines) <= MOST_LINES:
                for line in lines:
                    axes.plot(*_steps(line), color=MUTED, alpha=0.35, linewidth=0.8)
            x = sorted({episodes for line in lines for episodes, _ in line})
            values = np.array([[_kept(line, episodes) for episodes in x] for line in lines])
            intervals = [
                bootstrap_interval(column) if len(lines) >= LEAST_FOR_INTERVAL else (None, None) for column in values.T
            ]
            band(axes, x, [low for low, _ in intervals], [high for _, high in intervals], colour)
            means = values.mean(axis=0)
            label = f"{group.label or 'mean'}, {counted(len(lines), 'task')}" + (
                f" of {counted(len(group.runs), 'run')}" if len(group.runs) > 1 else ""
            )
            axes.plot(x, means, color=colour, marker=MARKERS[place % len(MARKERS)], label=label)
            said.append(
                f"{group.label or 'mean'} from {number(means[0])} to {number(means[-1])} after {x[-1]:g} episodes"
            )
        axes.set_xlabel("episodes of the new task")
        axes.set_ylabel("return of what is kept")
        axes.set_xlim(left=0)
        legend(axes, columns=1)

    alt = "Return against episodes of the new task"
    picture = pictures.draw(name, "Return against adaptation episodes", plot, alt=alt)
    source = (
        "as adaptation itself measured it in the episodes it tried; the final evaluation plays other ones"
        if rounds
        else "zero-shot, and after all episodes: this way to adapt measures nothing in between"
    )
    caption = f"Mean over tasks, {source}. Bands: 95 % bootstrap over the tasks, where there are at least 5."
    return picture.described(f"{alt}: {'; '.join(said)}.", caption)


def _progress(group: Group) -> Iterable[Progress]:
    for run in group.runs:
        if run.result is None:
            continue
        for row in run.result["tasks"]:
            if "fault" not in row and row.get("adapted_return") is not None and (line := progress(row, run.config)):
                yield line


def progress(row: Mapping[str, Any], config: Mapping[str, Any]) -> Progress:
    """Return episodes played and the return of what is kept then, from the rounds that a task's row records.

    Without rounds it is zero-shot, and adapted after all episodes.
    """
    line: Progress = []
    for each in row.get("rounds") or []:
        numbers = [
            numeric(each.get(key)) if isinstance(each, Mapping) else None for key in ("episodes", "before", "after")
        ]
        episodes, before, after = numbers
        if episodes is None or before is None:
            continue
        kept = after if after is not None and each.get("accepted") else before
        line = [*(line or [(0.0, before)]), (episodes, kept)]
    if line:
        return line
    charged = numeric(row.get("episodes_charged"))
    budget = charged if charged is not None else numeric(config.get("adapt.adaptation_episodes"))
    before, after = numeric(row["zero_shot_return"]), numeric(row["adapted_return"])
    return [] if not budget or before is None or after is None else [(0.0, before), (budget, after)]


def _kept(line: Progress, episodes: float) -> float:
    return [value for at, value in line if at <= episodes][-1]


def _steps(line: Progress) -> tuple[list[float], list[float]]:
    return [episodes for episodes, _ in line], [value for _, value in line]


def before_and_after(pictures: Pictures, group: Group, units: Mapping[str, str], *, name: str) -> list[Picture]:
    """Draw each held-out task's return before and after adaptation, against each of its parameters."""
    result = group.result
    if result is None:
        return []
    means = {column: values.mean(axis=0) for column, values in result.returns.items()}
    before, after, chance = means["zero_shot"], means.get("adapted"), means.get("random")
    found = []
    for column in columns(result.parameters, units)[:MOST_PARAMETERS]:

        def plot(axes: Axes, x: Any = column.values, column: Any = column) -> None:
            if after is not None:
                axes.vlines(x, before, after, color=MUTED, linewidth=1.2, zorder=1)
            axes.plot(x, before, "o", color=ZERO_SHOT, label="zero-shot")
            if after is not None:
                axes.plot(x, after, "s", color=ADAPTED, markersize=4.5, label="adapted")
            name_ticks(axes, column)
            axes.set_ylabel("return of an episode")
            legend(axes, columns=3)

        alt = f"Return of {counted(len(before), result.split + ' task')} against {column.label}: " + _trend(
            column.values, before, "zero-shot"
        )
        title = f"Before and after, by {column.name}"
        caption = "" if chance is None else f"Random actions get {number(float(chance.mean()))} on average."
        picture = pictures.draw(f"{name}-{column.name}", title, plot, alt=alt, caption=caption, size=(WIDTH, 2.9))
        found.append(picture)
    return found


def gains(pictures: Pictures, groups: Sequence[Group], units: Mapping[str, str], *, name: str) -> list[Picture]:
    """Draw several groups' gain by adaptation in each held-out task, against each of its parameters."""
    there = [g for g in groups if g.result and "adapted" in g.result.returns]
    results = [group.result for group in there if group.result]
    if not results:
        return []
    found = []
    for place_of, column in enumerate(columns(results[0].parameters, units)[:MOST_PARAMETERS]):

        def plot(axes: Axes, place_of: int = place_of, column: Any = column) -> None:
            axes.axhline(0.0, color=MUTED, linewidth=1.0)
            for place, group in enumerate(groups):
                if group.result is None or group not in there:
                    continue
                own = columns(group.result.parameters, units)[place_of]
                gain = (group.result.returns["adapted"] - group.result.returns["zero_shot"]).mean(axis=0)
                colour, marker = GROUPS[place % len(GROUPS)], MARKERS[place % len(MARKERS)]
                axes.plot(own.values, gain, marker, color=colour, label=group.label or group.family)
            name_ticks(axes, column)
            axes.set_ylabel("gain by adaptation")
            legend(axes, columns=1)

        average = [float((r.returns["adapted"] - r.returns["zero_shot"]).mean()) for r in results]
        words = "; ".join(f"{g.label or g.family} {signed(a)}" for g, a in zip(there, average, strict=True))
        alt = f"Adapted minus zero-shot return against {column.label}; on average {words}."
        size = (WIDTH, 2.9 + 0.2 * len(there))
        found.append(pictures.draw(f"{name}-{column.name}", f"Gain, by {column.name}", plot, alt=alt, size=size))
    return found


def _trend(x: Any, y: Any, name: str) -> str:
    """Say in words how y goes with x."""
    low, high = (float(np.mean(y[x <= np.median(x)])), float(np.mean(y[x >= np.median(x)])))
    return f"{name} {number(low)} on average in the lower half, {number(high)} in the upper half."


def compared(pictures: Pictures, groups: Sequence[Group], *, name: str) -> Picture | None:
    """Draw the IQM of each group, random, zero-shot and adapted, with its interval."""
    there = [group for group in groups if group.result]
    if len(there) < 2:
        return None
    kinds = (("zero_shot", "zero-shot", ZERO_SHOT, "o"), ("adapted", "adapted", ADAPTED, "s"))
    said = []
    statistic = statistic_of(there)

    def plot(axes: Axes) -> None:
        for shift, (column, label, colour, marker) in enumerate(kinds):
            shown = False
            for place, group in enumerate(there):
                if group.result is None or column not in group.result.returns:
                    continue
                estimate = across_runs(group.result.returns[column], statistic)
                ci95 = estimate["ci95"]
                y = place + 0.2 * shift
                errors = None if ci95 is None else [[estimate["value"] - ci95[0]], [ci95[1] - estimate["value"]]]
                text = None if shown else label
                axes.errorbar(
                    [estimate["value"]], [y], xerr=errors, color=colour, marker=marker, capsize=2.5, label=text
                )
                shown = True
                said.append(f"{group.label or group.family} {label} {number(estimate['value'])}")
        _rows(axes, [f"{group.short} ({_size(group)})" for group in there])
        axes.set_xlabel("return of an episode")
        legend(axes, columns=3)

    size = (WIDTH, 1.1 + 0.6 * len(there))
    alt = f"{statistic_name(statistic).capitalize()} of returns"
    picture = pictures.draw(name, "Returns by group", plot, alt=alt, size=size)
    caption = f"{alt} over runs and held-out tasks; bars: 95 % bootstrap intervals, where there are at least 5 values."
    return picture.described(f"{alt}: {'; '.join(said)}.", caption)


def _size(group: Group) -> str:
    assert group.result is not None
    runs, tasks = group.result.returns["zero_shot"].shape
    return size_of(runs, tasks)


def improvement(pictures: Pictures, rows: Sequence[Record], *, name: str) -> Picture | None:
    """Draw the probabilities that one group beats another."""
    if not rows:
        return None

    def plot(axes: Axes) -> None:
        axes.vlines(
            [0.5] * len(rows), np.arange(len(rows)) - 0.15, np.arange(len(rows)) + 0.3, color=MUTED, linestyle="--"
        )
        for place, row in enumerate(rows):
            value, ci95 = row["value"], row["ci95"]
            errors = None if ci95 is None else [[value - ci95[0]], [ci95[1] - value]]
            axes.errorbar([value], [place], xerr=errors, color=INK, marker="o", capsize=2.5)
        _rows(
            axes,
            [
                f"{_short(row['better'])} over {_short(row['than'])} ({size_of(row['runs'], row['tasks'])})"
                for row in rows
            ],
        )
        axes.set_xlim(0, 1.02)
        axes.set_xlabel("probability of improvement")

    alt = "Probability of improvement: " + "; ".join(
        f"{row['better']} over {row['than']} {row['value']:.2f}" for row in rows
    )
    caption = "0.5: neither is better. Bars: 95 % stratified bootstrap, where there are at least 5 values and 2 runs."
    size = (WIDTH, 1.2 + 0.5 * len(rows))
    return pictures.draw(name, "Probability of improvement", plot, alt=f"{alt}.", caption=caption, size=size)


def _rows(axes: Axes, labels: Sequence[str]) -> None:
    """Write a label above each row: beside the axes, a long one would leave them no room."""
    for place, label in enumerate(labels):
        text = label if len(label) <= 2 * SHORT else f"{label[: 2 * SHORT - 2]} …"
        axes.text(0.01, place - 0.2, text, transform=axes.get_yaxis_transform(), va="bottom", fontsize=9.5)
    axes.set_yticks([])
    axes.set_ylim(len(labels) - 0.45, -0.65)


def _short(text: str) -> str:
    return text if len(text) <= SHORT else f"{text[: SHORT - 2]} …"


def by_budget(pictures: Pictures, rows: Sequence[Record], *, name: str) -> Picture | None:
    """Draw a study of adaptation (`mql.report.adaptation.tables`): returns against the budget, a line for each way."""
    variants = list(dict.fromkeys(row["variant"] for row in rows if row["variant"] != HEADROOM))
    if not variants:
        return None

    def plot(axes: Axes) -> None:
        for place, variant in enumerate(variants):
            own = sorted((row for row in rows if row["variant"] == variant), key=lambda row: float(row["budget"]))
            x = [float(row["budget"]) for row in own]
            colour = GROUPS[place % len(GROUPS)]
            low, high = (
                [row["zero_shot"] + row["ci95"][end] if row["ci95"] else None for row in own] for end in (0, 1)
            )
            band(axes, x, low, high, colour)
            axes.plot(
                x, [row["adapted"] for row in own], color=colour, marker=MARKERS[place % len(MARKERS)], label=variant
            )
        level = float(np.mean([row["zero_shot"] for row in rows]))
        axes.axhline(level, color=MUTED, linestyle=":", label="zero-shot")
        for row in rows:
            if row["variant"] == HEADROOM:
                axes.axhline(row["adapted"], color=MUTED, linestyle="--", label="trained on these tasks")
        axes.set_xscale("symlog", linthresh=1.0)
        budgets = sorted({float(row["budget"]) for row in rows if row["variant"] != HEADROOM})
        axes.set_xticks(budgets, [f"{budget:g}" for budget in budgets])
        axes.set_xlabel("episodes of the new task, those of trying out included")
        axes.set_ylabel("return of an episode")
        legend(axes, columns=2)

    first = rows[0]
    alt = f"Return against the budget of episodes on {first['split']} tasks, {counted(len(variants), 'way')} to adapt."
    of = f"{counted(first['runs'], 'run')} {TIMES} {counted(first['tasks'], 'task')}"
    caption = f"{first['split']} tasks, {of}. Bands: 95 % bootstrap of the gain, runs and tasks drawn anew."
    size = (WIDTH, 3.4 + 0.1 * len(variants))
    return pictures.draw(name, f"Ways to adapt, {first['split']}", plot, alt=alt, caption=caption, size=size)
