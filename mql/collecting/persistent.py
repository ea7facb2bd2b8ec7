"""Random actions that last: an arm that gets a new one at every step trembles where it stands, and touches nothing.

`held_actions` keeps each action for a while, as action repetition with random durations does (temporally extended
epsilon-greedy exploration, Dabney, Ostrovski, Barreto, arXiv 2006.01782). `waypoint_actions` goes straight on towards
random places, and then to the next ones. Where an action says how far to go, as that of an arm's end does, places are
those of the arm, and it comes back from afar; a held action only ever leads it away.

Shapes: T steps of a whole episode, N episodes, A action dimensions.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mql.types import FloatArray

LONGEST_HOLD = 8  # of an action, in mean durations to an episode
REACH = (0.5, 1.5)  # of waypoints, in multiples of what steps drawn anew each time amount to
SLOWEST = 0.5  # of the way to a waypoint, in full actions along its longest direction


def held_actions(shape: tuple[int, int, int], rng: np.random.Generator) -> FloatArray:
    """Draw actions [T, N, A] uniform in [-1, 1], each held for a number of steps.

    Durations are geometric. Their mean is an episode's own: log-uniform from a single step to an eighth of the episode.
    """
    steps, episodes, _ = shape
    mean = _log_uniform(1.0, max(steps / LONGEST_HOLD, 1.0), episodes, rng)
    new = rng.random((steps, episodes)) * mean < 1.0
    new[0] = True
    since = np.maximum.accumulate(np.where(new, np.arange(steps)[:, None], 0), axis=0)
    return np.take_along_axis(rng.uniform(-1.0, 1.0, shape).astype(np.float32), since[..., None], axis=0)


def waypoint_actions(shape: tuple[int, int, int], rng: np.random.Generator) -> FloatArray:
    """Draw actions [T, N, A] that lead to random places one after the other, where a place is the sum of all actions.

    Places are uniform in a box around the start. It reaches half to one and a half times as far (log-uniform, an
    episode's own) as the sum of T actions of size 1 at random signs, sqrt(T). Each is approached in a straight line,
    at half to full speed.
    """
    steps, episodes, size = shape
    reach = np.sqrt(steps) * _log_uniform(*REACH, episodes, rng)[:, None]
    place, goal = np.zeros((episodes, size)), np.zeros((episodes, size))
    speed = np.ones(episodes)
    actions = np.empty(shape)
    for t in range(steps):
        # (Drawn for all episodes, whoever has arrived.)
        next_goal = reach * rng.uniform(-1.0, 1.0, (episodes, size))
        next_speed = rng.uniform(SLOWEST, 1.0, episodes)
        arrived = np.abs(goal - place).max(axis=1) < SLOWEST
        goal, speed = np.where(arrived[:, None], next_goal, goal), np.where(arrived, next_speed, speed)
        way = goal - place
        longest = np.maximum(np.abs(way).max(axis=1), 1e-9)
        actions[t] = way * (np.minimum(speed, longest) / longest)[:, None]
        place = place + actions[t]
    return actions.astype(np.float32)


def _log_uniform(low: float, high: float, n: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    return np.exp(rng.uniform(np.log(low), np.log(high), n))
