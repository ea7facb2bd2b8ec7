"""What the context learned: z at the ends of stored episodes, in two dimensions, coloured by each task parameter.

Shapes: E episodes, Z context, P parameters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mql.plain_text import counted
from mql.report.page.drawing.canvas import GROUPS, INK, SHADES, WIDTH, Picture, Pictures, legend, shades
from mql.report.page.drawing.parameters import Column, columns
from mql.report.page.facts import Contexts
from mql.report.page.words import share

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = npt.NDArray[np.float64]
FOLDS = 5
RIDGE = 1e-2  # of the standardised z, times E
MOST_PARAMETERS = 6
LEAST_EPISODES = 3


def project(z: Array) -> tuple[Array, Array]:
    """Return the first two principal components [E, 2] of z [E, Z], and the shares of the variance they hold [2].

    Signs are chosen so that the largest loading of each is positive: the same z gives the same picture.
    """
    centred = z - z.mean(axis=0)
    _, spread, directions = np.linalg.svd(centred, full_matrices=False)
    directions = directions[:2]
    largest = np.abs(directions).argmax(axis=1)
    directions = directions * np.sign(directions[np.arange(len(directions)), largest])[:, None]
    places = centred @ directions.T
    total = float((spread**2).sum())
    held = spread[:2] ** 2 / total if total else np.zeros(len(spread[:2]))
    if places.shape[1] < 2:
        places, held = np.pad(places, ((0, 0), (0, 1))), np.pad(held, (0, 1))
    return places, held


def readable(z: Array, values: Array, tasks: npt.NDArray[np.int64]) -> float | None:
    """Return the R2 with which a linear map of z [E, Z] tells values [E] in tasks that it was not fitted on.

    Ridge regression in `FOLDS` folds of whole tasks; None where there are fewer tasks. At most 1; below 0, the mean
    would do better.
    """
    known = np.unique(tasks)
    if len(known) < FOLDS or np.ptp(values) == 0.0:
        return None
    fold_of_task = dict(zip(known, np.random.default_rng(0).permutation(len(known)) % FOLDS, strict=True))
    folds = np.array([fold_of_task[task] for task in tasks])
    guessed = np.empty(len(values))
    for fold in range(FOLDS):
        fit = folds != fold
        mean, scale = z[fit].mean(axis=0), z[fit].std(axis=0)
        scale = np.where(scale > 0.0, scale, 1.0)
        x, middle = (z[fit] - mean) / scale, values[fit].mean()
        inner = x.T @ x + RIDGE * len(x) * np.eye(x.shape[1])
        guessed[~fit] = middle + (z[~fit] - mean) / scale @ np.linalg.solve(inner, x.T @ (values[fit] - middle))
    return float(1.0 - ((values - guessed) ** 2).sum() / ((values - values.mean()) ** 2).sum())


def draw_contexts(
    pictures: Pictures,
    contexts: Contexts,
    training: Sequence[Mapping[str, Any]],
    units: Mapping[str, str],
    *,
    name: str,
) -> tuple[list[Picture], dict[str, float | None]]:
    """Draw z in two dimensions, once for each parameter, and return how well each can be read off z (`readable`)."""
    if len(contexts.z) < LEAST_EPISODES or contexts.z.shape[1] == 0:
        return [], {}
    places, held = project(contexts.z)
    r2: dict[str, float | None] = {}
    found: list[Picture] = []
    for column in columns(training, units):
        values = column.values[contexts.tasks]
        r2[column.name] = None if column.names else readable(contexts.z, values, contexts.tasks)
        if len(found) == MOST_PARAMETERS:
            continue
        read = r2[column.name]
        said = "" if read is None else f" A linear map of all of z tells it with R² {read:.2f} in other tasks."
        alt = f"{counted(len(values), 'episode')} by the two main directions of z, coloured by {column.label}.{said}"

        def plot(axes: Axes, column: Column = column, values: Array = values) -> None:
            _plot(axes, places, held, column, values)

        title, file = f"Context, coloured by {column.name}", f"{name}-{column.name}"
        found.append(pictures.draw(file, title, plot, alt=alt, caption=said.strip(), size=(WIDTH, 3.6)))
    return found, r2


def _plot(axes: Axes, places: Array, held: Array, column: Column, values: Array) -> None:
    x, y = places.T
    edge: dict[str, Any] = {"edgecolors": INK, "linewidths": 0.25}
    if column.names and len(column.names) <= len(GROUPS):
        for place, text in enumerate(column.names):
            own = values == place
            axes.scatter(x[own], y[own], s=18, color=GROUPS[place], label=text, **edge)
        legend(axes, columns=2)
    else:
        shades(axes, axes.scatter(x, y, s=18, c=values, cmap=SHADES, **edge), column.label)
    axes.set_xlabel(f"first direction ({share(float(held[0]))} of the variance)")
    axes.set_ylabel(f"second ({share(float(held[1]))})")
    axes.set_xticklabels([])
    axes.set_yticklabels([])
    axes.tick_params(length=0)
