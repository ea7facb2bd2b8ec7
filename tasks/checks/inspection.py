"""What the checks of a family work with: the family, how much effort to spend, and episodes that they share.

The actions of an episode come from its seed alone (or from the family's probe), so that a task can be played in many
ways, alone or in a batch, and must give the same numbers each time.

Shapes: T steps of an episode, N tasks, O observation, A action.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from mql.tasks.checks.effort import FULL, Amount, Effort
from mql.tasks.distributions import Value
from mql.tasks.family import FloatArray, Task, TaskFamily

_ACTION_STREAM = 7  # keeps the actions' random numbers apart from those that an environment draws from the same seed
_TERM = "reward_"  # what the names of a reward's terms begin with in info
_TASKS_NAMED = 3  # tasks that a message names before it says how many more there are


@dataclass(frozen=True)
class Episode:
    """One task's episode: obs [T + 1, O], actions [T, A], rewards [T], and whether it ended early and succeeded.

    ``terms`` holds the mean of each named term of the reward over the steps.
    """

    task: Task
    obs: FloatArray
    actions: FloatArray
    rewards: FloatArray
    terminated: bool
    success: bool
    terms: Mapping[str, float] = field(default_factory=dict)

    def first_difference(self, other: Episode) -> int | None:
        """Return the first step at which two episodes differ (0: the first observation), or None."""
        if not _same(self.obs[0], other.obs[0]):
            return 0
        length = min(len(self.rewards), len(other.rewards))
        for step in range(length):
            same = _same(self.obs[step + 1], other.obs[step + 1]) and _same(self.rewards[step], other.rewards[step])
            if not same:
                return step + 1
        return None if len(self.rewards) == len(other.rewards) else length + 1


@dataclass
class Inspection:
    """One family under inspection; it keeps the family and its random episodes from check to check.

    Args:
        build: builds the family, a fresh one each time.
        effort: how much to play.
        opengl: whether MuJoCo can draw on this machine.
        diary: a file that always names the task being played, for those who find the process dead.
    """

    build: Callable[[], TaskFamily]
    effort: Effort = FULL
    opengl: bool = True
    diary: Path | None = None
    at_hand: str = field(default="", init=False)
    _episodes: dict[Any, Episode] = field(default_factory=dict, init=False)

    @cached_property
    def family(self) -> TaskFamily:
        """The family."""
        return self.build()

    @property
    def amount(self) -> Amount:
        """How much to play of this family."""
        return self.effort.native if self.family.native else self.effort.other

    def random_episodes(self, tasks: Sequence[Task], seeds: Sequence[int], steps: int | None = None) -> list[Episode]:
        """Return an episode of random actions for each task, cut after `steps`; episodes are kept and shared."""
        keys = [(task.split, *task.parameters.values(), seed, steps) for task, seed in zip(tasks, seeds, strict=True)]
        lacking = {key: row for row, key in enumerate(keys) if key not in self._episodes}
        if lacking:
            rows = list(lacking.values())
            played = self.play([tasks[row] for row in rows], [seeds[row] for row in rows], steps)
            self._episodes.update(zip(lacking, played, strict=True))
        return [self._episodes[key] for key in keys]

    def telling_episodes(self, tasks: Sequence[Task], seeds: Sequence[int], steps: int | None = None) -> list[Episode]:
        """Return an episode for each task, of the family's probe where it has one, else of random actions."""
        if self.family.probe is None:
            return self.random_episodes(tasks, seeds, steps)
        return [self.play_alone(task, seed, steps, probing=True) for task, seed in zip(tasks, seeds, strict=True)]

    def play(self, tasks: Sequence[Task], seeds: Sequence[int], steps: int | None = None) -> list[Episode]:
        """Play random episodes, in parallel where the family is parallel."""
        if not self.family.native:
            return [self.play_alone(task, seed, steps) for task, seed in zip(tasks, seeds, strict=True)]
        with self.playing(*tasks):
            batch = self.family.make_batch(tasks)
            try:
                return play_batch(self.family, batch, tasks, seeds, steps)
            finally:
                batch.close()

    def play_alone(
        self,
        task: Task,
        seed: int,
        steps: int | None = None,
        *,
        probing: bool = False,
        family: TaskFamily | None = None,
    ) -> Episode:
        """Play one episode in an environment of its own, of another copy of the family where one is given."""
        family = family or self.family
        with self.playing(task):
            env = family.make(task)
            try:
                return play_environment(family, env, task, seed, steps, probing=probing)
            finally:
                env.close()

    def playing(self, *tasks: Task) -> _Playing:
        """Note which tasks are played while a block runs, for the message in case that fails or hangs."""
        return _Playing(self, tasks)

    def forget(self) -> None:
        """Let go of the family and all episodes."""
        self.__dict__.pop("family", None)
        self._episodes.clear()


class _Playing:
    """Names the tasks at hand; after an error the name stays, so that the message can give it."""

    def __init__(self, inspection: Inspection, tasks: Sequence[Task]) -> None:
        self._inspection, self._tasks = inspection, tasks

    def __enter__(self) -> None:
        self._write(name_tasks(self._tasks))

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._write("")

    def _write(self, text: str) -> None:
        self._inspection.at_hand = text
        if self._inspection.diary is not None:
            self._inspection.diary.write_text(text, encoding="utf-8")


def random_actions(family: TaskFamily, seed: int, steps: int) -> FloatArray:
    """Return actions [T, A], uniform in [-1, 1], that belong to `seed`."""
    rng = np.random.default_rng([seed, _ACTION_STREAM])
    return rng.uniform(-1.0, 1.0, (steps, family.action_dim)).astype(np.float32)


def play_environment(
    family: TaskFamily,
    env: gymnasium.Env[Any, Any],
    task: Task,
    seed: int,
    steps: int | None = None,
    *,
    probing: bool = False,
) -> Episode:
    """Play one episode in `env`, with random actions or the family's probe."""
    length = min(steps or family.episode_length, family.episode_length)
    drawn = random_actions(family, seed, length)
    obs, _ = env.reset(seed=seed)
    seen, actions, rewards, success, terminated = [np.array(obs)], [], [], False, False
    terms: list[Mapping[str, Any]] = []
    for step in range(length):
        action = choose(family, env, obs, step, drawn[step]) if probing else drawn[step]
        obs, reward, terminated, truncated, info = env.step(action)
        terms.append(_terms(info))
        seen.append(np.array(obs))
        actions.append(action)
        rewards.append(reward)
        success = success or bool(info.get("success", False))
        if terminated or truncated:
            break
    means = {name: float(np.mean([each.get(name, 0.0) for each in terms])) for name in terms[-1]}
    return Episode(task, _stack(seen), _stack(actions), np.array(rewards, np.float32), bool(terminated), success, means)


def choose(
    family: TaskFamily, env: gymnasium.Env[Any, Any], obs: FloatArray, step: int, drawn: FloatArray
) -> FloatArray:
    """Return the probe's action, or the drawn one where the family has no probe."""
    if family.probe is None:
        return drawn
    return np.clip(np.asarray(family.probe(env, obs, step), np.float32), -1.0, 1.0)


def play_batch(
    family: TaskFamily, batch: Any, tasks: Sequence[Task], seeds: Sequence[int], steps: int | None = None
) -> list[Episode]:
    """Play a random episode of every task of `batch`."""
    length = min(steps or family.episode_length, family.episode_length)
    actions = np.stack([random_actions(family, seed, length) for seed in seeds], axis=1)
    rows = len(tasks)
    seen, rewards = [np.array(batch.reset(list(seeds)))], []
    terms: list[Mapping[str, Any]] = []
    lengths, success = np.full(rows, length), np.zeros(rows, np.bool_)
    terminated, ended = np.zeros(rows, np.bool_), np.zeros(rows, np.bool_)
    for step in range(length):
        result = batch.step(actions[step])
        seen.append(np.array(result.obs))
        rewards.append(np.array(result.reward))
        terms.append({name: np.array(values) for name, values in _terms(result.info).items()})
        success |= np.asarray(result.info.get("success", False), np.bool_) & ~ended
        terminated = np.array(result.terminated)
        now = terminated | result.truncated
        lengths[now & ~ended] = step + 1
        ended = now
        if ended.all():
            break
    obs, reward = _stack(seen), _stack(rewards)
    return [
        Episode(
            task,
            obs[: lengths[row] + 1, row],
            actions[: lengths[row], row],
            reward[: lengths[row], row],
            bool(terminated[row]),
            bool(success[row]),
            {name: float(np.mean([each[name][row] for each in terms[: lengths[row]]])) for name in terms[-1]},
        )
        for row, task in enumerate(tasks)
    ]


def _terms(info: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the terms of a step's reward by their names, where the family reports some."""
    return {name.removeprefix(_TERM): value for name, value in info.items() if name.startswith(_TERM)}


def name_tasks(tasks: Sequence[Task]) -> str:
    """Name tasks by their parameters, the first few of them."""
    shown = [name_values(task.parameters) for task in tasks[:_TASKS_NAMED]]
    more = len(tasks) - len(shown)
    return "; ".join(shown) + (f"; and {more} more" if more > 0 else "")


def name_values(parameters: Mapping[str, Value]) -> str:
    """Write task parameters as name=value, long vectors cut short."""
    return " ".join(f"{name}={value_text(value)}" for name, value in parameters.items())


def value_text(value: Value) -> str:
    """Write a number, or a vector, cut short where it is long."""
    if not isinstance(value, tuple):
        return f"{value:.4g}"
    return "(" + ", ".join([f"{part:.4g}" for part in value[:4]] + (["..."] if len(value) > 4 else [])) + ")"


def _stack(parts: Sequence[Any]) -> FloatArray:
    """Stack observations as they are: their type is for a check to judge."""
    stacked: FloatArray = np.stack(parts)
    return stacked


def _same(one: Any, other: Any) -> bool:
    return np.array_equal(one, other, equal_nan=True)


def pairs_of(items: Sequence[Any]) -> Iterator[tuple[Any, Any]]:
    """Yield every pair of two different places."""
    for place, one in enumerate(items):
        for other in items[place + 1 :]:
            yield one, other
