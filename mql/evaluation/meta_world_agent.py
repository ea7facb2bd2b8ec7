"""Our agents as Meta-World's evaluation wants them: one that acts in several sub-environments and adapts to each.

Shapes: G sub-environments, O observation, A action; what a sub-environment shows is [O + A + 2]: its observation, the
last action, the last reward and whether the episode ended.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mql.adaptation.playing import Process, Request
from mql.adaptation.result import AdaptationResult
from mql.agent.agent import Agent
from mql.collecting.exploration import Exploration, Explorer
from mql.tasks.family import Task
from mql.threads import side_by_side
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
        begin: begins the adaptation to a task, which may ask for as many episodes as the protocol collects; None:
            nothing is adapted.
        finish: called with the tasks and their agents when all is collected.
        explorer_of: makes the explorer of a standard deviation; None: actions are taken as they are.
        rng_of: makes the stream that the exploration of a task draws from.
        threads: adaptations that learn at the same time.
    """

    def __init__(
        self,
        agent: Agent,
        *,
        count: int,
        tasks: Callable[[], list[Task]],
        begin: Callable[[Task], Process] | None,
        finish: Callable[[Sequence[Task], Sequence[Agent]], None],
        explorer_of: Callable[[float], Explorer | None],
        rng_of: Callable[[Task], np.random.Generator],
        threads: int = 1,
    ) -> None:
        self._agent, self._tasks, self._begin, self._finish = agent, tasks, begin, finish
        self._explorer_of, self._rng_of, self._threads = explorer_of, rng_of, threads
        self._goals: list[Task] = []
        self._adapting: list[_Adapting] = []
        self._recorders = [_EpisodeRecorder(agent) for _ in range(count)]
        self.env_steps = 0

    def init(self) -> None:
        """Start with the next goals, and with the meta-trained agent again."""
        self._goals = self._tasks()
        self._rngs = [self._rng_of(goal) for goal in self._goals]
        self._adapting = [_Adapting(self._agent, self._begin(goal) if self._begin else None) for goal in self._goals]
        self._recorders = [_EpisodeRecorder(own.agent) for own in self._adapting]

    def adapt_action(self, observations: npt.NDArray[Any]) -> tuple[FloatArray, Mapping[str, npt.NDArray[Any]]]:
        """Act while data is collected: as each adaptation asks."""
        action = self.eval_action(observations)
        each = zip(self._recorders, self._adapting, action, observations, self._rngs, strict=True)
        explored = [own.explore(act, seen, self._explorer_of(one.noise), rng) for own, one, act, seen, rng in each]
        return np.stack(explored), {}

    def step(self, timestep: Timestep) -> None:
        """Keep a step of the data that is collected, and let adaptations learn whose episodes are there."""
        self.env_steps += len(self._recorders)
        ended = np.logical_or(timestep.terminated, timestep.truncated)
        due = []
        for index, recorder in enumerate(self._recorders):
            recorder.keep(timestep.observation[index], timestep.action[index], float(timestep.reward[index]))
            if ended[index]:
                episode = recorder.end_episode(task=self._goals[index].index)
                if episode is not None and self._adapting[index].takes(episode):
                    due.append(index)
        for index in side_by_side(self._learn, due, threads=self._threads):
            self._recorders[index] = _EpisodeRecorder(self._adapting[index].agent)

    def _learn(self, index: int) -> int:
        self._adapting[index].learn()
        return index

    def adapt(self) -> None:
        """Go on with each sub-environment's adapted agent."""
        agents = [own.adapted() for own in self._adapting]
        self._finish(self._goals, agents)
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


class _Adapting:
    """One goal's adaptation: what it asks for, and what it has got so far."""

    def __init__(self, agent: Agent, process: Process | None) -> None:
        self._meta, self._process = agent, process
        self._request: Request | None = None
        self._result: AdaptationResult | None = None
        self._played: list[Episode] = []
        if process is not None:
            self._advance(lambda: next(process))

    @property
    def agent(self) -> Agent:
        """Who acts now."""
        if self._result is not None:
            return self._result.agent
        return self._request.agent if self._request else self._meta

    @property
    def noise(self) -> float:
        """Standard deviation of the exploration noise now."""
        return self._request.noise if self._request else 0.0

    def takes(self, episode: Episode) -> bool:
        """Take an episode; whether all that was asked for are there now. What nobody asked for is left."""
        if self._request is None:
            return False
        self._played.append(episode)
        return len(self._played) == len(self._request.starts)

    def learn(self) -> None:
        """Hand over the episodes."""
        process, played = self._process, self._played
        assert process is not None
        self._played = []
        self._advance(lambda: process.send(played))

    def adapted(self) -> Agent:
        """Return the adapted agent: the meta-trained one where nothing adapts."""
        if self._request is not None:
            raise RuntimeError(f"the protocol ended, but {len(self._request.starts)} episodes are still asked for")
        return self.agent

    def _advance(self, resume: Callable[[], Request]) -> None:
        try:
            self._request = resume()
        except StopIteration as end:
            self._request, self._result = None, end.value


class _EpisodeRecorder:
    """Acts in one sub-environment, and records its running episode."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
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
        self, action: FloatArray, seen: npt.NDArray[Any], explorer: Explorer | None, rng: np.random.Generator
    ) -> FloatArray:
        """Return what the explorer makes of an action [A] of the running episode, which begins with its first one."""
        if explorer is None:
            return action
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

    def end_episode(self, *, task: int) -> Episode | None:
        """Return the episode up to its last observation that reached the agent, and begin another one.

        None where that leaves no step.
        """
        episode = None
        if len(self._obs) > 1:
            episode = Episode(
                obs=np.stack(self._obs),
                action=np.stack(self._action[:-1]),
                reward=np.asarray(self._reward[:-1], dtype=np.float32),
                terminated=False,
                truncated=True,
                task=task,
                seed=0,
            )
        self.begin_episode()
        return episode
