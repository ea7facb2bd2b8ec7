"""One episode as somebody's robot, simulator or data set recorded it.

Shapes: T control steps, O observation, A action, n values of a signal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy.typing as npt

from mql.types import JSON

Column = npt.NDArray[Any]  # of whole numbers, floating-point numbers or truth values


@dataclass(frozen=True, eq=False)
class LoggedEpisode:
    """What a file says of one episode, in SI units; nothing of it is compared with a task family yet.

    Args:
        action: [T, A].
        obs: [T+1, O], the last row after the last action; None where the file has no observations.
        reward: [T]; None where it was not logged.
        time: [T+1] in seconds; None where it was not logged.
        terminated: the episode ended by its own rules after the last step.
        truncated: it was cut off there, or the recording stopped.
        success: whether it reached its goal; None where the file doesn't say.
        task: values of task parameters by name, as far as they are known; None where nothing is said.
        signals: other columns by name, [T+1, n] each, such as ``positions`` and ``velocities`` of joints.
        file: where it comes from, for messages.
        name: of the episode in that file.
        notes: what was done to it while it was read, a line each.
    """

    action: Column
    obs: Column | None = None
    reward: Column | None = None
    time: Column | None = None
    terminated: bool = False
    truncated: bool = True
    success: bool | None = None
    task: Mapping[str, JSON] | None = None
    signals: Mapping[str, Column] = field(default_factory=dict)
    file: str = ""
    name: str = "0"
    notes: tuple[str, ...] = ()

    @property
    def length(self) -> int:
        """Number of control steps."""
        return len(self.action)

    def where(self, step: int | None = None, key: str = "") -> str:
        """Say where something is: the file, the episode, the step (from 0) and the key, as far as they are given."""
        at = "" if step is None else f" step {step}"
        return f"{self.file} episode {self.name}{at}{f' {key}' if key else ''}"
