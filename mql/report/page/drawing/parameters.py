"""Task parameters as axes: numbers, the components of vectors, and names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mql.report.adaptation import numbers_of

LEAST_SPREAD = 1e-9  # of a parameter that varies, relative to its size
MOST_NAMES = 12  # that an axis shows


@dataclass(frozen=True)
class Column:
    """A parameter of N tasks: a number of each, [N]; where it is a name, its place in `names`."""

    name: str
    unit: str
    values: npt.NDArray[np.float64]
    names: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """Its name with its unit."""
        return f"{self.name} ({self.unit})" if self.unit else self.name


def columns(tasks: Sequence[Mapping[str, Any]], units: Mapping[str, str]) -> list[Column]:
    """Return the parameters that vary among `tasks`, in their order; a vector's components each."""
    rows = [{name: float(v) for name, v in numbers_of(task).items()} for task in tasks]
    found = []
    for name in rows[0] if rows else {}:
        values = np.array([row.get(name, np.nan) for row in rows])
        if np.isfinite(values).all() and np.ptp(values) > LEAST_SPREAD * max(1.0, np.abs(values).max()):
            found.append(Column(name, units.get(name, units.get(name.rsplit(" ", 1)[0], "")), values))
    for name in (name for name, value in (tasks[0].items() if tasks else ()) if isinstance(value, str)):
        texts = [str(task.get(name)) for task in tasks]
        names = tuple(dict.fromkeys(texts))
        if len(names) > 1:
            found.append(Column(name, "", np.array([names.index(text) for text in texts], np.float64), names))
    return found


def name_ticks(axes: Any, column: Column) -> None:
    """Label an x axis with a parameter; names stand at its ticks."""
    axes.set_xlabel(column.label)
    if column.names:
        shown = range(0, len(column.names), 1 + (len(column.names) - 1) // MOST_NAMES)
        axes.set_xticks(list(shown), [column.names[place][:18] for place in shown], rotation=40, ha="right")
