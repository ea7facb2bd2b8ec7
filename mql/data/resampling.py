"""From the times at which somebody's log was written to the control steps of a family.

Shapes: T logged steps at T+1 times, K control steps.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from mql.data.logged import Column

Array = npt.NDArray[np.float64]
Rewards = Literal["mean", "sum"]
SAME_RATE = 0.02  # by which the mean step may differ from the control step
JITTER = 0.25  # and a single one
GAP = 1.5  # a step of so many usual ones is a gap
COARSEST, FINEST = 20.0, 1 / 2000  # logged steps, in control steps, that can still be resampled


def at_control_rate(time: Column, control_timestep: float) -> bool:
    """Tell whether steps at these times are control steps, up to jitter."""
    steps = np.diff(np.asarray(time, np.float64)) / control_timestep
    return bool(abs(steps.mean() - 1) <= SAME_RATE and (abs(steps - 1) <= JITTER).all())


def control_times(time: Column, control_timestep: float) -> Array:
    """Return the times [K+1] of control steps within the log, from its first time on."""
    begin, end = float(time[0]), float(time[-1])
    count = int(np.floor((end - begin) / control_timestep + 1e-6))
    times: Array = np.minimum(begin + control_timestep * np.arange(count + 1), end)
    return times


def observed_at(times: Array, time: Column, values: Column) -> Array:
    """Interpolate values [T+1, n] linearly: [K+1, n]."""
    known = np.asarray(time, np.float64)
    columns = [np.interp(times, known, values[:, place]) for place in range(values.shape[1])]
    return np.stack(columns, axis=1) if columns else np.zeros((len(times), 0))


def acted_at(times: Array, time: Column, action: Column) -> Column:
    """Return the action [K, A] that was in force when each control step began: the last one before it."""
    # A control step that begins a hair before a logged one, by rounding, has that one's action.
    place = np.searchsorted(np.asarray(time, np.float64), times[:-1] + 1e-6 * np.diff(times), side="right") - 1
    return action[np.clip(place, 0, len(action) - 1)]


def earned_in(times: Array, time: Column, reward: Column, how: Rewards) -> Array:
    """Return the reward [K] of each control step.

    Args:
        times: of the control steps, [K+1].
        time: of the log, [T+1].
        reward: logged, [T].
        how: ``mean``: what the steps within were worth on average, weighted by time (a reward that says how good a
            state is); ``sum``: what they were worth together (a reward for what happened, such as a distance covered).
    """
    known = np.asarray(time, np.float64)
    steps = np.diff(known)
    rates = np.asarray(reward, np.float64) * (steps if how == "mean" else 1.0)
    total = np.concatenate([[0.0], np.cumsum(rates)])
    shares = np.diff(np.interp(times, known, total))
    earned: Array = shares / np.diff(times) if how == "mean" else shares
    return earned
