"""When, within an episode, a task parameter begins to act: a payload is picked up a second after the start, say."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from mql.tasks.distributions import Value
from mql.tasks.physics.fields import Change

TASK = "task."  # what a time begins with that is the value of a task parameter
_NEUTRAL = {"scale": 1.0, "add": 0.0}
_ROUNDING = 1e-6  # control steps; a time so little after a step's begin is that of the step


@dataclass(frozen=True)
class Schedule:
    """From when on a parameter has its task's value.

    Args:
        at_s: s after the episode's start, or ``task.NAME``: the value of that task parameter. A control step has the
            value of its begin.
        before: the value until then; None: the model's own numbers.
        ramp_s: s that the value takes from there to the task's, in equal steps; 0: it jumps.
    """

    at_s: float | str
    before: Value | None = None
    ramp_s: float = 0.0

    def begin(self, parameters: Mapping[str, Value]) -> float:
        """Return the time at which a task's value begins to act, s."""
        if isinstance(self.at_s, str):
            return float(cast(float, parameters[self.at_s.removeprefix(TASK)]))
        return self.at_s

    def steps(self, parameters: Mapping[str, Value], control_timestep: float) -> range:
        """Return the control steps, from 0, at whose begin the value changes."""
        first = _first_step(self.begin(parameters), control_timestep)
        return range(first, max(first, _first_step(self.begin(parameters) + self.ramp_s, control_timestep)) + 1)

    def value(
        self, own: Value, changes: Sequence[Change], parameters: Mapping[str, Value], step: int, control_timestep: float
    ) -> Value | None:
        """Return the value during control step `step`; None: the model's own numbers hold.

        Args:
            own: the task's value.
            changes: what the parameter changes.
            parameters: those of the task.
            step: from 0.
            control_timestep: s.
        """
        steps = self.steps(parameters, control_timestep)
        if step < steps.start:
            return self.before
        if step >= steps.stop - 1:
            return own
        before = self.before if self.before is not None else neutral(changes)
        assert before is not None
        share = max(0.0, step * control_timestep - self.begin(parameters)) / self.ramp_s
        mixed = np.asarray(before) + share * (np.asarray(own) - np.asarray(before))
        return tuple(float(number) for number in mixed) if mixed.ndim else float(mixed)


def neutral(changes: Sequence[Change]) -> float | None:
    """Return the value with which these changes leave the model as it is; None: there is none."""
    values = {_NEUTRAL.get(change.op) for change in changes}
    return values.pop() if len(values) == 1 else None


def _first_step(time: float, control_timestep: float) -> int:
    return max(0, math.ceil(time / control_timestep - _ROUNDING))
