"""Environments that go on: each lane plays one episode after the other, whatever the others do.

Methods that learn from steps, not from whole episodes, collect so. The families' contract stays as it is (many episodes
begin together, and none begins anew by itself): a lane is one environment of `family.make`, and resets it here.

What a lane plays follows from the run's seed, its own number and how many episodes it has begun: the task, and the seed
of the reset. So a checkpoint holds no simulation: an episode that runs is played again from its seed and the actions so
far, up to the same step.

Shapes: N lanes, O observation, A action.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt

from mql.seeding import generator
from mql.tasks.family import BoolArray, Task, TaskFamily
from mql.tasks.fault import EpisodeFault, episode_fault
from mql.types import JSON, FloatArray, IntArray, NotFinite

PREFIXES = ("lane.", "lanes.")  # of the arrays' names
MOST_REWARD = float(np.finfo(np.float32).max)
MOST_FAULTS = 10  # episodes of a lane in a row that may fail; then something is wrong with the environment


@dataclass(frozen=True)
class Ended:
    """An episode that came to its end: whose, how long, and what it was worth."""

    lane: int
    task: int
    length: int
    episode_return: float
    success: bool | None


@dataclass(frozen=True)
class LaneStep:
    """What a step of all lanes gave.

    Attributes:
        after: observations [N, O] after the step, also where an episode ended with it.
        reward, terminated, truncated: [N]; truncated: cut by its time limit, or by a fault, and not terminated.
        ended: the episodes that ended.
        faults: those that could not go on, which is why they were cut.
    """

    after: FloatArray
    reward: FloatArray
    terminated: BoolArray
    truncated: BoolArray
    ended: list[Ended]
    faults: list[EpisodeFault]


def figures_of(ended: Sequence[Ended], faults: Sequence[EpisodeFault]) -> dict[str, JSON]:
    """Return what an iteration's metrics say of its episodes; ``collected_return`` is None where none ended."""
    return {
        "collected_return": sum(each.episode_return for each in ended) / len(ended) if ended else None,
        "episodes": len(ended),
        **({"faults": [str(fault) for fault in faults]} if faults else {}),
    }


def task_of(tasks: Sequence[Task], lane: int, episode: int, *, lanes: int) -> Task:
    """Return the task of a lane's episode (both from 0 on): tasks are dealt out in turn."""
    return tasks[(episode * lanes + lane) % len(tasks)]


class Lanes:
    """`n` lanes of a family's ``train`` tasks, dealt out in turn; or those of them that are a share of the work.

    Args:
        family: the family.
        n: lanes, with those that others play.
        seed: of the run.
        share: the places of the lanes that stand here; None: all. Each plays what it would play among all `n`.
        begun: how many episodes each of them has begun before, and does not play; None: none.
    """

    def __init__(
        self,
        family: TaskFamily,
        n: int,
        *,
        seed: int,
        share: range | None = None,
        begun: Sequence[int] | None = None,
    ) -> None:
        self.family, self.tasks, self.seed = family, family.tasks("train"), seed
        self.share = range(n) if share is None else share
        before = [0] * len(self.share) if begun is None else begun
        self._lanes = [_Lane(self, place, n, count) for place, count in zip(self.share, before, strict=True)]
        self.obs = self._observed()

    def step(self, actions: FloatArray) -> LaneStep:
        """Step every lane with actions [N, A] in [-1, 1]; `obs` [N, O] is then what is acted on next.

        Raises:
            EpisodeFault: a lane can't play any episode.
            NotFinite: actions are not finite.
        """
        if not np.isfinite(actions).all():
            raise NotFinite("the policy's actions are not finite")
        n = len(self._lanes)
        taken = np.array(actions, dtype=np.float32)  # (a copy, of which lanes keep rows)
        made = LaneStep(
            np.empty_like(self.obs), np.zeros(n, np.float32), np.zeros(n, np.bool_), np.zeros(n, np.bool_), [], []
        )
        for row, (lane, action) in enumerate(zip(self._lanes, taken, strict=True)):
            lane.step(action, made, row)
        self.obs = self._observed() if made.ended or made.faults else made.after.copy()
        return made

    def _observed(self) -> FloatArray:
        return np.stack([lane.obs for lane in self._lanes])

    @property
    def begun(self) -> list[int]:
        """How many episodes each lane has begun, [N]."""
        return [lane.begun for lane in self._lanes]

    @property
    def task(self) -> IntArray:
        """The place of each lane's task in the list of training tasks, [N]."""
        return np.array([lane.task.index for lane in self._lanes])

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """What `restore` needs: how many episodes each lane has begun [N], and the actions of those that run [T, A]."""
        taken = {f"lane.{place}.actions": lane.taken() for place, lane in zip(self.share, self._lanes, strict=True)}
        return {"lanes.begun": np.array(self.begun)} | taken

    def restore(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Bring every lane to where it was: its episode is begun again and played with the same actions.

        Where that fails, the lane goes on with its next episode.

        Args:
            arrays: of all lanes, with those that others play.

        Raises:
            KeyError: an array is missing.
            EpisodeFault: a lane can't begin any episode.
        """
        for place, lane in zip(self.share, self._lanes, strict=True):
            lane.play_again(int(arrays["lanes.begun"][place]), arrays[f"lane.{place}.actions"])
        self.obs = self._observed()

    def close(self) -> None:
        """Close all environments."""
        for lane in self._lanes:
            lane.close()


class _Lane:
    """One of `Lanes`: the `place`-th of `n`."""

    def __init__(self, lanes: Lanes, place: int, n: int, begun: int) -> None:
        self._lanes, self._place, self._n = lanes, place, n
        self.begun = begun  # episodes
        self._env: gymnasium.Env[FloatArray, FloatArray] | None = None
        self._actions: list[FloatArray] = []
        self._worth = 0.0
        self._failed = 0  # episodes in a row that could not be finished
        self._lost: tuple[EpisodeFault, ...] = ()  # as the lane was brought back; told with the next step
        self.task: Task
        self.obs: FloatArray
        self._begin()

    def step(self, action: FloatArray, made: LaneStep, row: int) -> None:
        """Take a step, write it to a row of `made`, and begin the next episode where this one ends."""
        assert self._env is not None
        made.faults.extend(self._lost)
        self._lost = ()
        self._actions.append(action)
        try:
            after, reward, terminated, truncated, info = self._env.step(action)
            if not (np.isfinite(after).all() and abs(float(reward)) <= MOST_REWARD):
                raise episode_fault(self.task, f"step {len(self._actions)} gave numbers that are not finite")
        except EpisodeFault as fault:
            made.after[row], made.truncated[row] = self.obs, True
            made.faults.append(fault)
            self.close()
            self._failed += 1
            if self._failed == MOST_FAULTS:
                raise
            self._begin()
            return
        self._worth += float(reward)
        self.obs = made.after[row] = after
        made.reward[row] = reward
        if not (terminated or truncated):
            return
        made.terminated[row], made.truncated[row] = terminated, bool(truncated) and not terminated
        self._failed = 0
        success = bool(info["success"]) if self._lanes.family.has_success else None
        made.ended.append(Ended(self._place, self.task.index, len(self._actions), self._worth, success))
        self._begin()

    def taken(self) -> FloatArray:
        """The actions of the running episode, [T, A]."""
        return np.stack(self._actions) if self._actions else np.zeros((0, self._lanes.family.action_dim), np.float32)

    def play_again(self, begun: int, actions: FloatArray) -> None:
        """Come to where `begun` episodes were begun and the last one had taken `actions` [T, A]."""
        self.begun = begun - 1
        self._begin()
        assert self._env is not None
        try:
            for action in actions:
                self._actions.append(action)
                self.obs, reward, *_ = self._env.step(action)
                self._worth += float(reward)
        except EpisodeFault as fault:  # this episode can't go on; the run can
            self._lost = (fault,)
            self.close()
            self._begin()

    def close(self) -> None:
        if self._env is not None:
            self._env.close()
            self._env = None

    def _begin(self) -> None:
        """Begin the next episode that can be begun."""
        for attempt in range(MOST_FAULTS):
            try:
                self._begin_next()
            except EpisodeFault:
                self.close()
                if attempt + 1 == MOST_FAULTS:
                    raise
            else:
                return

    def _begin_next(self) -> None:
        task = task_of(self._lanes.tasks, self._place, self.begun, lanes=self._n)
        seed = int(generator(self._lanes.seed, "lane", self._place, self.begun).integers(2**31))
        self.begun += 1
        if self._env is None or task is not self.task:
            self.close()
            self._env = self._lanes.family.make(task)
        self.task = task
        self.obs, _ = self._env.reset(seed=seed)
        self._actions, self._worth = [], 0.0
