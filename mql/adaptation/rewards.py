"""Old episodes with the reward of a new task: their labels changed, not their weights (Mendonca et al. 2020).

MIER (arXiv 2006.07178) relabels with a learned model; here a family says its reward as a function
(`TaskFamily.reward`), and what that can't see in an observation cancels: the stored reward is changed by the
difference that the other task makes. Where the new task's parameters are hidden, they are found from its rewards.

Shapes: n transitions, O observation, A action.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mql.errors import UserError
from mql.seeding import generator
from mql.tasks.family import Task, TaskFamily
from mql.types import Episode, FloatArray

GUESSES = 256  # tasks that are compared before the best is refined
REACH = 1.0  # how far outside the range of the training tasks is looked, in multiples of its width
REFINED = 3  # of the best guesses
SEARCH = {"maxfev": 400, "xatol": 1e-4, "fatol": 1e-9}
TOLD_APART = 10  # training tasks whose rewards are compared
MOST_ROWS = 500  # of the new task's transitions are looked at
LEAST_R2 = 0.9  # of the rewards of the new task's episodes, that the found task has to explain


@dataclass(frozen=True)
class FoundTask:
    """Task parameters found from rewards, and the share of these rewards' variance that they explain (R2)."""

    task: Task
    r2: float

    @property
    def explains(self) -> bool:
        """Whether that is enough to take them for the new task's."""
        return self.r2 >= LEAST_R2


class TaskFinder:
    """The task whose reward function is that of a new task's episodes: the known one, or the one that they tell.

    What the first n episodes tell is remembered: methods that share a new task share its finder.

    Args:
        family: it says its reward as a function, which differs between tasks.
        known: the new task itself; None: its parameters are hidden.
    """

    def __init__(self, family: TaskFamily, *, known: Task | None, seed: int) -> None:
        self.family, self.known, self._seed = family, known, seed
        self._found: dict[int, FoundTask | None] = {}

    def find(self, episodes: Sequence[Episode]) -> FoundTask | None:
        """Return the task, having seen all `episodes` so far; None where they tell none."""
        if self.known is not None:
            return FoundTask(self.known, 1.0)
        if not episodes:
            return None
        if len(episodes) not in self._found:
            self._found[len(episodes)] = find_task(self.family, episodes, seed=self._seed)
        return self._found[len(episodes)]


def relabelled(episodes: Sequence[Episode], family: TaskFamily, task: Task) -> list[Episode]:
    """Return `episodes` of training tasks with the rewards that they would have had in `task`.

    Raises:
        UserError: the family can't say its reward as a function.
    """
    known = family.tasks("train")

    def changed(episode: Episode) -> FloatArray:
        new = episode.reward + _reward(family, episode, task) - _reward(family, episode, known[episode.task])
        return np.asarray(new, np.float32)

    return [replace(episode, reward=changed(episode)) for episode in episodes]


def _reward(family: TaskFamily, episode: Episode, task: Task) -> FloatArray:
    reward = family.reward(episode.obs[:-1], episode.obs[1:], episode.action, task)
    if reward is None:
        raise no_function(family)
    return reward


def no_function(family: TaskFamily) -> UserError:
    """Return the error that says that a family can't say its reward as a function."""
    what = f"{family.name} can't say its reward as a function of what is observed"
    return UserError(what, where="adapt.method", mend="use adapt.method=finetune, or give the family a reward function")


def tells_apart(family: TaskFamily, episodes: Sequence[Episode]) -> bool:
    """Tell whether the family says its reward as a function which differs between its training tasks in `episodes`."""
    tasks = family.tasks("train")[:TOLD_APART]
    for episode in episodes:
        rewards = [family.reward(episode.obs[:-1], episode.obs[1:], episode.action, task) for task in tasks]
        known = [reward for reward in rewards if reward is not None]
        if len(known) == len(rewards) > 0 and np.ptp(np.stack(known), axis=0).max() > 1e-9:
            return True
    return False


def find_task(family: TaskFamily, episodes: Sequence[Episode], *, seed: int) -> FoundTask | None:
    """Find the task whose reward function explains the rewards of `episodes` best.

    Random guesses in a box that is wider than the training range by its own width on either side; the best of them are
    refined by Nelder and Mead's search.

    Returns:
        None where no task's reward differs from another's, or the parameters are no numbers.
    """
    from scipy.optimize import minimize  # type: ignore[import-untyped,unused-ignore]

    box = _box(family)
    if box is None:
        return None
    low, high = box
    each = [(episode.obs[:-1], episode.obs[1:], episode.action, episode.reward) for episode in episodes]
    before, after, action, reward = (np.concatenate(parts) for parts in zip(*each, strict=True))
    rng = generator(seed, "find task")
    if len(reward) > MOST_ROWS:
        rows = rng.choice(len(reward), MOST_ROWS, replace=False)
        before, after, action, reward = before[rows], after[rows], action[rows], reward[rows]
    spread = float(np.square(reward - reward.mean()).mean())

    def error(values: np.ndarray) -> float:
        try:
            predicted = family.reward(before, after, action, _task(family, values))
        except UserError:  # physics forbids these values: so they are not the task's
            return float("inf")
        if predicted is None:
            raise no_function(family)
        value = float(np.square(predicted - reward).mean())
        return value if np.isfinite(value) else float("inf")  # no number: no task of this family is there

    guesses = rng.uniform(low, high, (GUESSES, len(low)))
    errors = np.array([error(guess) for guess in guesses])
    known = errors[np.isfinite(errors)]
    if not len(known) or np.ptp(known) <= 1e-9 * max(spread, 1.0):
        return None  # the reward is the same whatever the task
    best, least = guesses[errors.argmin()], float(errors.min())
    for guess in guesses[np.argsort(errors)[:REFINED]]:
        found = minimize(error, guess, method="Nelder-Mead", bounds=list(zip(low, high, strict=True)), options=SEARCH)
        if found.fun < least:
            best, least = found.x, float(found.fun)
    return FoundTask(_task(family, best), 1.0 - least / spread if spread else 0.0)


def _box(family: TaskFamily) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the lowest and highest values that are looked at, of all components of all parameters."""
    if family.names_of:
        return None
    low, high = [], []
    for name, spec in family.parameters.items():
        ends = np.array([spec.distribution.low, spec.distribution.high], float).reshape(2, -1)
        ends = np.broadcast_to(ends, (2, spec.width))
        drawn = np.array([np.ravel(task.parameters[name]) for task in family.tasks("train")], float)
        ends = np.where(np.isfinite(ends), ends, [drawn.min(axis=0), drawn.max(axis=0)])  # a Gaussian has no ends
        reach = REACH * (ends[1] - ends[0])
        low.append(np.maximum(ends[0] - reach, spec.bounds[0]))
        high.append(np.minimum(ends[1] + reach, spec.bounds[1]))
    return np.concatenate(low), np.concatenate(high)


def _task(family: TaskFamily, values: np.ndarray) -> Task:
    given: dict[str, object] = {}
    place = 0
    for name, spec in family.parameters.items():
        own = values[place : place + spec.width]
        if spec.allowed:
            own = np.array([min(spec.allowed, key=lambda choice: abs(choice - value)) for value in own])
        given[name] = [float(v) for v in own] if spec.distribution.size is not None else float(own[0])
        place += spec.width
    return family.task(given)
