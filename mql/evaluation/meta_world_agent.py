"""Our agents as Meta-World's evaluation wants them: one that acts in several sub-environments and adapts to each.

Shapes: G sub-environments, O observation, A action; what a sub-environment shows is [O + A + 2]: its observation, the
last action, the last reward and whether the episode ended.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mql.agent.agent import Agent
from mql.collecting.exploration import Exploration, Explorer
from mql.tasks.family import Task
from mql.types import Episode, FloatArray

if TYPE_CHECKING:
    from metaworld.evaluation import Timestep

    from mql.agent.acting import ActingContext


class ProtocolAgent:
    """The package's `MetaLearningAgent`: one agent for each sub-environment, each with the context of its episode.

    The last action and reward are read from the observation (see `mql.tasks.families.meta_world.vector`), because the
    package tells an agent no rewards while it evaluates.

    Args:
        agent: the meta-trained one; every goal starts with it.
        count: number of sub-environments, G.
        tasks: says which task each sub-environment has now.
        finish: adapts to these tasks: called with them and the episodes collected for each, returns the agents.
        explorer: changes actions while data is collected; None: they are taken as they are.
        rng_of: makes the stream that the exploration of a task draws from.
    """

    def __init__(
        self,
        agent: Agent,
        *,
        count: int,
        tasks: Callable[[], list[Task]],
        finish: Callable[[Sequence[Task], Sequence[Sequence[Episode]]], list[Agent]],
        explorer: Explorer | None,
        rng_of: Callable[[Task], np.random.Generator],
    ) -> None:
        self._agent, self._tasks, self._finish = agent, tasks, finish
        self._explorer, self._rng_of = explorer, rng_of
        self._recorders = [_EpisodeRecorder(agent) for _ in range(count)]
        self.env_steps = 0

    def init(self) -> None:
        """Start with the next goals, and with the meta-trained agent again."""
        self._goals = self._tasks()
        self._rngs = [self._rng_of(goal) for goal in self._goals]
        self._recorders = [_EpisodeRecorder(self._agent) for _ in self._recorders]

    def adapt_action(self, observations: npt.NDArray[Any]) -> tuple[FloatArray, Mapping[str, npt.NDArray[Any]]]:
        """Act while data is collected: as the explorer does."""
        action = self.eval_action(observations)
        if self._explorer is not None:
            each = zip(self._recorders, action, observations, self._rngs, strict=True)
            action = np.stack([own.explore(act, seen, self._explorer, rng) for own, act, seen, rng in each])
        return action, {}

    def step(self, timestep: Timestep) -> None:
        """Keep a step of the data that is collected."""
        self.env_steps += len(self._recorders)
        ended = np.logical_or(timestep.terminated, timestep.truncated)
        for index, recorder in enumerate(self._recorders):
            recorder.keep(timestep.observation[index], timestep.action[index], float(timestep.reward[index]))
            if ended[index]:
                recorder.end_episode(task=self._goals[index].index)

    def adapt(self) -> None:
        """Adapt each sub-environment's agent to what was collected there."""
        agents = self._finish(self._goals, [recorder.episodes for recorder in self._recorders])
        self._recorders = [_EpisodeRecorder(agent) for agent in agents]

    def eval_action(self, observations: npt.NDArray[Any]) -> FloatArray:
        """Act [G, A] without noise."""
        actions = [recorder.act(seen) for recorder, seen in zip(self._recorders, observations, strict=True)]
        return np.stack(actions)

    def reset(self, env_mask: npt.NDArray[np.bool_]) -> None:
        """Forget the episode of the sub-environments that begin another one."""
        for recorder, begins in zip(self._recorders, env_mask, strict=True):
            if begins:
                recorder.begin_episode()


class _EpisodeRecorder:
    """Acts in one sub-environment, and records its running episode and the finished ones."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self.episodes: list[Episode] = []
        self.begin_episode()

    def begin_episode(self) -> None:
        """Forget the running episode."""
        self._context: ActingContext = self._agent.begin(1)
        self._exploration: Exploration | None = None
        self._last: FloatArray | None = None  # observation before the last action
        self._obs: list[FloatArray] = []
        self._action: list[FloatArray] = []
        self._reward: list[float] = []

    def act(self, seen: npt.NDArray[Any]) -> FloatArray:
        """Take up the last step from what is seen [O + A + 2] into the context, and return the next action [A]."""
        obs_dim, action_dim = self._agent.obs_dim, self._agent.action_dim
        row = np.asarray(seen, dtype=np.float32)[None]
        obs = np.ascontiguousarray(row[:, :obs_dim])
        if self._last is not None:
            action, reward = row[:, obs_dim : obs_dim + action_dim], row[:, obs_dim + action_dim]
            self._agent.observe(self._context, self._last, action, reward)
        self._last = obs
        chosen: FloatArray = self._agent.act(obs, self._context)[0]
        return chosen

    def explore(
        self, action: FloatArray, seen: npt.NDArray[Any], explorer: Explorer, rng: np.random.Generator
    ) -> FloatArray:
        """Return what the explorer makes of an action [A] of the running episode, which begins with its first one."""
        if self._exploration is None:
            self._exploration = explorer.begin(1, rng)
        obs = np.asarray(seen[: self._agent.obs_dim], dtype=np.float32)
        explored: FloatArray = self._exploration.act(action[None], obs[None], len(self._reward))[0]
        return explored

    def keep(self, seen: npt.NDArray[Any], action: npt.NDArray[Any], reward: float) -> None:
        """Keep one step of the running episode: what was seen before it, the action and its reward."""
        self._obs.append(np.asarray(seen[: self._agent.obs_dim], dtype=np.float32))
        self._action.append(np.asarray(action, dtype=np.float32))
        self._reward.append(reward)

    def end_episode(self, *, task: int) -> None:
        """Store the episode up to its last observation that reached the agent, and begin another one."""
        if len(self._obs) > 1:
            self.episodes.append(
                Episode(
                    obs=np.stack(self._obs),
                    action=np.stack(self._action[:-1]),
                    reward=np.asarray(self._reward[:-1], dtype=np.float32),
                    terminated=False,
                    truncated=True,
                    task=task,
                    seed=0,
                )
            )
        self.begin_episode()
