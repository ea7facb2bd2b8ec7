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

import gymnasium
import numpy as np
import torch

from mql.seeding import generator
from mql.tasks.family import BoolArray, Task, TaskFamily
from mql.tasks.fault import EpisodeFault
from mql.types import JSON, FloatArray, IntArray

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
    ended: Sequence[Ended]
    faults: Sequence[EpisodeFault]


def figures_of(ended: Sequence[Ended], faults: Sequence[EpisodeFault]) -> dict[str, JSON]:
    """Return what an iteration's metrics say of its episodes; ``collected_return`` is None where none ended."""
    return {
        "collected_return": sum(each.episode_return for each in ended) / len(ended) if ended else None,
        "episodes": len(ended),
        **({"faults": [str(fault) for fault in faults]} if faults else {}),
    }


class Lanes:
    """`n` lanes of a family's ``train`` tasks, dealt out in turn.

    Args:
        family: the family.
        n: lanes.
        seed: of the run.
    """

    def __init__(self, family: TaskFamily, n: int, *, seed: int) -> None:
        self.family, self.tasks, self.seed = family, family.tasks("train"), seed
        self._lanes = [_Lane(self, place, n) for place in range(n)]
        self.obs = np.stack([lane.obs for lane in self._lanes])

    def step(self, actions: FloatArray) -> LaneStep:
        """Step every lane with actions [N, A] in [-1, 1]; `obs` [N, O] is then what is acted on next.

        Raises:
            EpisodeFault: a lane can't play any episode.
        """
        steps = [lane.step(action) for lane, action in zip(self._lanes, actions, strict=True)]
        self.obs = np.stack([lane.obs for lane in self._lanes])
        return LaneStep(
            after=np.stack([step.after for step in steps]),
            reward=np.array([step.reward for step in steps], dtype=np.float32),
            terminated=np.array([step.terminated for step in steps]),
            truncated=np.array([step.truncated for step in steps]),
            ended=[ended for step in steps for ended in step.ended],
            faults=[fault for step in steps for fault in step.faults],
        )

    @property
    def task(self) -> IntArray:
        """The place of each lane's task in the list of training tasks, [N]."""
        return np.array([lane.task.index for lane in self._lanes])

    def tensors(self) -> dict[str, torch.Tensor]:
        """What `restore` needs: how many episodes each lane has begun [N], and the actions of those that run [T, A]."""
        begun = torch.tensor([lane.begun for lane in self._lanes])
        taken = {f"lane.{place}.actions": lane.taken() for place, lane in enumerate(self._lanes)}
        return {"lanes.begun": begun} | taken

    def restore(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Bring every lane to where it was: its episode is begun again and played with the same actions.

        Raises:
            KeyError: a tensor is missing.
            EpisodeFault: an episode can't be played again.
        """
        for place, lane in enumerate(self._lanes):
            lane.play_again(int(tensors["lanes.begun"][place]), tensors[f"lane.{place}.actions"].numpy())
        self.obs = np.stack([lane.obs for lane in self._lanes])

    def close(self) -> None:
        """Close all environments."""
        for lane in self._lanes:
            lane.close()


@dataclass(frozen=True)
class _Step:
    after: FloatArray
    reward: float
    terminated: bool
    truncated: bool
    ended: tuple[Ended, ...] = ()
    faults: tuple[EpisodeFault, ...] = ()


class _Lane:
    """One of `Lanes`: the `place`-th of `n`."""

    def __init__(self, lanes: Lanes, place: int, n: int) -> None:
        self._lanes, self._place, self._n = lanes, place, n
        self.begun = 0  # episodes
        self._env: gymnasium.Env[FloatArray, FloatArray] | None = None
        self._actions: list[FloatArray] = []
        self._worth = 0.0
        self.task: Task
        self.obs: FloatArray
        self._begin()

    def step(self, action: FloatArray) -> _Step:
        """Take a step, and begin the next episode where this one ends."""
        assert self._env is not None
        self._actions.append(np.array(action, dtype=np.float32))
        try:
            after, reward, terminated, truncated, info = self._env.step(action)
        except EpisodeFault as fault:
            cut = self.obs
            self.close()
            self._begin()
            return _Step(cut, 0.0, terminated=False, truncated=True, faults=(fault,))
        self._worth += float(reward)
        self.obs = after
        if not (terminated or truncated):
            return _Step(after, float(reward), terminated=False, truncated=False)
        success = bool(info["success"]) if self._lanes.family.has_success else None
        ended = Ended(self._place, self.task.index, len(self._actions), self._worth, success)
        self._begin()
        return _Step(after, float(reward), bool(terminated), bool(truncated) and not terminated, ended=(ended,))

    def taken(self) -> torch.Tensor:
        """The actions of the running episode, [T, A]."""
        rows = np.stack(self._actions) if self._actions else np.zeros((0, self._lanes.family.action_dim), np.float32)
        return torch.from_numpy(rows)

    def play_again(self, begun: int, actions: FloatArray) -> None:
        """Come to where `begun` episodes were begun and the last one had taken `actions` [T, A]."""
        self.begun = begun - 1
        self._begin()
        assert self._env is not None
        for action in actions:
            self._actions.append(action)
            self.obs, reward, *_ = self._env.step(action)
            self._worth += float(reward)

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
        tasks = self._lanes.tasks
        task = tasks[(self.begun * self._n + self._place) % len(tasks)]
        seed = int(generator(self._lanes.seed, "lane", self._place, self.begun).integers(2**31))
        self.begun += 1
        if self._env is None or task is not self.task:
            self.close()
            self._env = self._lanes.family.make(task)
        self.task = task
        self.obs, _ = self._env.reset(seed=seed)
        self._actions, self._worth = [], 0.0
