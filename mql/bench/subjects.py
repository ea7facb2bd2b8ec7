"""What is measured: agents with random weights, replays of random numbers, and the loops that training runs on them.

How long an update or a step takes does not depend on what was learned, so nothing here is trained.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mql.agent.agent import Agent
from mql.bench.timing import Call
from mql.config.schema import PROFILES, AgentConfig, TrainConfig
from mql.learning.contexts import context_plan
from mql.learning.replay import Replay
from mql.seeding import generator, torch_generator
from mql.types import Episode, FloatArray

# The half-cheetah, and the context of its packaged experiments.
CHEETAH_OBS, CHEETAH_ACTION = 17, 6
CHEETAH_CONTEXT_DIM, CHEETAH_CONTEXT_LENGTH = 15, 20


def agent_config(profile: str, **changes: object) -> AgentConfig:
    """Return a profile's agent with some fields changed."""
    return AgentConfig.model_validate({**PROFILES[profile].get("agent", {}), **changes})


def batch_size(profile: str) -> int:
    """Return the transitions per update of a profile's meta-training."""
    return TrainConfig.model_validate(PROFILES[profile].get("train", {})).batch_size


def fill_replay(
    *,
    obs_dim: int,
    action_dim: int,
    context_dim: int,
    tasks: int,
    transitions: int,
    episode_length: int,
    folder: str | None = None,
    device: str = "cpu",
) -> Replay:
    """Return a full replay of random episodes, in memory, in a file of `folder`, or on a GPU.

    Every task holds as many whole episodes as fit into its share of `transitions`, and at least one.
    """
    replay = Replay(
        n_tasks=tasks,
        obs_dim=obs_dim,
        action_dim=action_dim,
        capacity=transitions,
        episode_length=episode_length,
        context_dim=context_dim,
        folder=folder,
        device=device,
    )
    rng = generator(0, "bench replay")
    for task in range(tasks):
        for _ in range(max(transitions // (tasks * episode_length), 1)):
            replay.append(_random_episode(rng, obs_dim, action_dim, episode_length, task))
    return replay


def _random_episode(rng: np.random.Generator, obs_dim: int, action_dim: int, length: int, task: int) -> Episode:
    def draw(*shape: int) -> FloatArray:
        return 2.0 * rng.random(shape, dtype=np.float32) - np.float32(1.0)

    return Episode(
        obs=draw(length + 1, obs_dim),
        action=draw(length, action_dim),
        reward=draw(length),
        terminated=False,
        truncated=True,
        task=task,
        seed=0,
    )


def make_update(agent: Agent, replay: Replay, transitions: int) -> Call:
    """Return a call that makes one update as training does: sample `transitions` of them, then learn."""
    learner, plan = agent.learner(lr=agent.config.lr), context_plan(agent.config)
    rng, noise = generator(0, "bench draws"), torch_generator(0, "bench noise", device=str(replay.device))

    def update() -> None:
        learner.update(replay.sample(transitions, plan, rng), generator=noise)

    return update


def act_in_loop(
    agent: Agent,
    reset: Callable[[], FloatArray],
    step: Callable[[FloatArray], tuple[FloatArray, FloatArray]],
    *,
    steps: int,
) -> None:
    """Act for `steps` control steps in N tasks in parallel, with the context of the running episode.

    `reset` returns obs [N, O]; `step` takes actions [N, A] and returns the next obs [N, O] and reward [N].
    """
    obs = reset()
    context = agent.begin(len(obs))
    for _ in range(steps):
        action = agent.act(obs, context)
        next_obs, reward = step(action)
        agent.observe(context, obs, action, reward)
        obs = next_obs
