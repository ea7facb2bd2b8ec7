"""The new task's episodes as data to learn from: what ways to adapt that make gradient steps share."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from itertools import repeat

from mql.agent.agent import Agent
from mql.config.schema import AdaptConfig
from mql.errors import UserError
from mql.learning.contexts import context_plan
from mql.learning.replay import Replay
from mql.seeding import generator
from mql.types import Batch, Episode


def replay_of(agent: Agent, episodes: Sequence[Episode]) -> Replay:
    """Return a replay of these episodes alone, with the states of `agent` where it carries any.

    Raises:
        UserError: there are no episodes.
    """
    if not episodes:
        what = "this way to adapt learns from the new task's episodes, and there is none"
        raise UserError(what, where="adapt.adaptation_episodes", mend="allow at least 1")
    longest = max(episode.length for episode in episodes)
    replay = Replay(
        n_tasks=1,
        obs_dim=agent.obs_dim,
        action_dim=agent.action_dim,
        capacity=longest * len(episodes),
        episode_length=longest,
        context_dim=agent.state_dim,
        device=str(agent.device),
        scaling=agent.scaling,
    )
    for episode in episodes:
        replay.append(dataclasses.replace(episode, task=0))
    if agent.state_dim:
        replay.refresh_states(agent.online.actor_encoder)
    return replay


def batches_of(agent: Agent, new: Replay, config: AdaptConfig, seed: int) -> Iterator[Batch]:
    """Yield ``config.step1_updates`` batches of `new` (from `replay_of`), each of ``config.step1_batch_size``."""
    plan = context_plan(agent.config)
    if not config.step1_batch_size:
        everything = new.whole_episodes(new.episode_starts(new.all_rows()), plan)
        yield from repeat(everything, config.step1_updates)
        return
    rng = generator(seed, "adapt", "new")
    for _ in range(config.step1_updates):
        yield new.sample(config.step1_batch_size, plan, rng)
