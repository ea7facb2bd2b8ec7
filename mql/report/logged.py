"""A picture of one logged episode: its observations, actions, rewards and signals over time."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mql.data.logged import Column, LoggedEpisode
from mql.report.curves import ADAPTED, ZERO_SHOT, new_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ROWS = 8  # curves in one panel
_MOST_PANELS = 24


def draw_logged(path: Path, episode: LoggedEpisode, *, title: str = "", step: float | None = None) -> Path:
    """Draw an episode: a panel for each group of columns, NaN and infinity as red marks.

    Args:
        path: where the picture goes; the suffix (.png, .pdf, .svg) chooses its format.
        episode: the episode.
        title: what it is.
        step: seconds of a control step, where no times were logged; None: the axis counts steps.

    Returns:
        `path`.
    """
    panels = _panels(episode)
    figure = new_figure(9.0, 1.2 + 1.7 * len(panels))
    time, label = _time(episode, step)
    for axes, (name, values, first) in zip(figure.subplots(len(panels), 1, squeeze=False)[:, 0], panels, strict=True):
        _draw(axes, time, values, name, first, held=name in ("action", "reward"), steps=episode.length)
        axes.set_xlim(time[0], time[-1])
    figure.axes[-1].set_xlabel(label)
    if title:
        figure.suptitle(title, fontweight="bold")
    return save_figure(figure, path)


def _panels(episode: LoggedEpisode) -> list[tuple[str, Column, int]]:
    """Return (name, values [n, D], number of the first column) of each panel."""
    groups: list[tuple[str, Column]] = []
    if episode.obs is not None:
        groups.append(("obs", episode.obs))
    groups += [(name, values) for name, values in episode.signals.items()]
    groups.append(("action", episode.action))
    if episode.reward is not None:
        groups.append(("reward", episode.reward[:, None]))
    panels = [
        (name, values[:, first : first + _ROWS], first)
        for name, values in groups
        for first in range(0, values.shape[1], _ROWS)
    ]
    left = len(panels) - _MOST_PANELS
    return panels if left <= 0 else [*panels[: _MOST_PANELS - 2], *panels[-2:]]


def _time(episode: LoggedEpisode, step: float | None) -> tuple[Any, str]:
    if episode.time is not None and np.isfinite(episode.time).all():
        return np.asarray(episode.time, np.float64) - float(episode.time[0]), "time (s)"
    if step is not None:
        return step * np.arange(episode.length + 1), "time (s), a control step for each row"
    return np.arange(episode.length + 1), "step"


def _draw(axes: Axes, time: Any, values: Column, name: str, first: int, *, held: bool, steps: int) -> None:
    if held and len(values) == steps:  # the last one holds until the episode's end
        values = np.concatenate([values, values[-1:]])
    time = time[: len(values)]
    for place in range(values.shape[1]):
        column = values[:, place].astype(np.float64)
        fine = np.isfinite(column)
        text = name if name == "reward" else f"{first + place}"
        style: dict[str, Any] = {"drawstyle": "steps-post"} if held else {}
        color: dict[str, Any] = (
            {"color": ADAPTED} if name == "reward" else {"color": ZERO_SHOT} if values.shape[1] == 1 else {}
        )
        axes.plot(time, np.where(fine, column, np.nan), linewidth=1.2, label=text, **style, **color)
        if not fine.all():
            level = float(np.nanmedian(np.where(fine, column, np.nan))) if fine.any() else 0.0
            axes.plot(time[~fine], np.full((~fine).sum(), level), "x", color="#cc0000", markersize=7)
    axes.set_ylabel(name)
    if values.shape[1] > 1:
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=8)
