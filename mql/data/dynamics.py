"""Whether logged steps move as a family's do: axes that are swapped, and signs that are the other way round.

From steps under random actions, a linear model says how each observation changes in a control step: a position by its
velocity, a velocity by an action. Of logged steps with two axes exchanged, it says nonsense, and with the axes changed
back it is right again. Measured on stored episodes of trained agents, of eight families: no exchange improves what is
as it should be by more than 0.9 (the sum over observations of how many times smaller the error is, as a logarithm).

Shapes: n steps, O observation, A action.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from mql.data.findings import Finding
from mql.data.logged import LoggedEpisode
from mql.data.reference import FEW_STEPS, Oversized, Reference
from mql.data.resampling import acted_at, at_control_rate, control_times, observed_at

Array = npt.NDArray[np.float64]

_SURE = 2.5  # of the sum: e^2.5 = 12 times nearer to the family's own steps
_MOST_STEPS = 1000  # that are looked at
_MOST_AXES = 40  # of observations that are exchanged in pairs: those that fit worst
_RIDGE = 1e-6


@dataclass(frozen=True)
class _Linear:
    """Changes of observations, in parts of their usual size, as a linear function of observation and action."""

    mean: Array
    scale: Array
    weights: Array  # [O + A + 1, O]
    error: Array  # of a usual step [O]

    def misfit(self, obs: Array, action: Array, next_obs: Array) -> Array:
        """Return by how much more than usually the model errs in each observation [O], a logarithm; at least 0."""
        residual = (next_obs - obs) / self.scale - _inputs((obs - self.mean) / self.scale, action) @ self.weights
        found: Array = np.log(np.maximum(np.median(np.abs(residual), axis=0) / self.error, 1.0))
        return found


@dataclass(frozen=True)
class Move:
    """Two places of ``obs`` or ``action`` that are exchanged, or one whose sign is the other way round."""

    key: str
    places: tuple[int, ...]

    def undone(self, episode: LoggedEpisode) -> LoggedEpisode:
        """Return an episode with it put right."""
        if self.key == "action":
            return replace(episode, action=self._of(episode.action))
        return episode if episode.obs is None else replace(episode, obs=self._of(episode.obs))

    def finding(self, file: str, family: str) -> Finding:
        """Say what was found."""
        if len(self.places) == 2:
            one, other = self.places
            what = (
                f"{self.key} {one} moves like the family's {self.key} {other}, and {other} like {one}: axes are swapped"
            )
            mend = f"name the columns in the order of {family} in a column map"
        else:
            what = f"{self.key} {self.places[0]} moves like minus the family's: its sign is the other way round"
            mend = "turn it in a column map (scale: -1)"
        return Finding("error", what, mend, file, None, None, f"{self.key}[{self.places[0]}]")

    def applied(self, obs: Array, action: Array, next_obs: Array) -> tuple[Array, Array, Array]:
        """Return steps with it put right."""
        if self.key == "obs":
            return self._of(obs), action, self._of(next_obs)
        return obs, self._of(action), next_obs

    def _of(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        changed = values.copy()
        if len(self.places) == 2:
            changed[:, list(self.places)] = values[:, list(reversed(self.places))]
        else:
            changed[:, self.places[0]] *= -1
        return changed


def move_found(
    logged: Sequence[LoggedEpisode],
    reference: Reference,
    control_timestep: float,
    oversized: Sequence[Oversized] = (),
) -> Move | None:
    """Return what has to be exchanged, or turned round, before logged steps move as the family's do; None: nothing.

    Args:
        logged: the episodes.
        reference: of the family.
        control_timestep: the family's.
        oversized: observations that may be in another unit instead, where that explains the steps better.
    """
    steps = _steps(logged, control_timestep)
    if steps is None or not len(reference.obs):
        return None
    model = _fitted(reference)
    misfit = model.misfit(*steps)
    places = {
        "obs": sorted(np.argsort(-misfit, kind="stable")[:_MOST_AXES].tolist()),
        "action": list(range(steps[1].shape[1])),
    }
    moves = [Move(key, pair) for key, known in places.items() for pair in combinations(known, 2)]
    moves += [Move(key, (place,)) for key, known in places.items() for place in known]
    left = [float(model.misfit(*move.applied(*steps)).sum()) for move in moves]
    best = int(np.argmin(left))
    unchanged = float(misfit.sum())
    if oversized:
        factor = np.ones(steps[0].shape[1])
        factor[[each.place for each in oversized]] = [1 / each.factor for each in oversized]
        if float(model.misfit(steps[0] * factor, steps[1], steps[2] * factor).sum()) <= left[best]:
            return None
    return moves[best] if unchanged - left[best] >= _SURE else None


def _steps(logged: Sequence[LoggedEpisode], control_timestep: float) -> tuple[Array, Array, Array] | None:
    """Return obs, action, next_obs of the first control steps; None where there are too few."""
    before, acted, after, count = [], [], [], 0
    for episode in logged:
        if episode.obs is None:
            continue
        obs, action, time = episode.obs, episode.action, episode.time
        if time is not None and not at_control_rate(time, control_timestep):
            times = control_times(time, control_timestep)
            obs, action = observed_at(times, time, obs), acted_at(times, time, action)
        before.append(obs[:-1])
        acted.append(action)
        after.append(obs[1:])
        count += len(action)
        if count >= _MOST_STEPS:
            break
    if count < FEW_STEPS:
        return None
    some = slice(0, _MOST_STEPS)
    parts = (np.concatenate(part)[some].astype(np.float64) for part in (before, acted, after))
    obs, action, next_obs = parts
    return obs, np.clip(action, -1, 1), next_obs


def _fitted(reference: Reference) -> _Linear:
    obs, action, next_obs = reference.obs, reference.action, reference.next_obs
    spread = obs.std(axis=0)
    scale = np.maximum(spread, 1e-2 * np.median(spread) + 1e-6)
    mean = obs.mean(axis=0)
    inputs, change = _inputs((obs - mean) / scale, action), (next_obs - obs) / scale
    gram = inputs.T @ inputs + _RIDGE * len(inputs) * np.eye(inputs.shape[1])
    weights = np.linalg.solve(gram, inputs.T @ change)
    error = np.maximum(np.median(np.abs(change - inputs @ weights), axis=0), 1e-3)
    return _Linear(mean, scale, weights, error)


def _inputs(obs: Array, action: Array) -> Array:
    return np.concatenate([obs, action, np.ones((len(obs), 1))], axis=1)
