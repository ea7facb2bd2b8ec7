"""Adaptation by nothing but the context: the agent stays as it is, and what it sees tells it the task.

What any other method is to be compared with, under the same budget of episodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mql.adaptation.result import AdaptationResult
from mql.agent.agent import Agent
from mql.config.schema import AdaptConfig
from mql.learning.replay import Replay
from mql.types import Episode


@dataclass(frozen=True)
class NothingPrepared:
    """No old data is looked at."""


def prepare(agent: Agent, replay: Replay, config: AdaptConfig) -> NothingPrepared:
    """Look at nothing."""
    del agent, replay, config
    return NothingPrepared()


def adapt(
    agent: Agent, meta: NothingPrepared, episodes: Sequence[Episode], config: AdaptConfig, *, seed: int
) -> AdaptationResult:
    """Return a copy of `agent`; the episodes count as collected."""
    del meta, config, seed
    return AdaptationResult(
        agent.copy(), {"new_transitions": sum(episode.length for episode in episodes), "adapt_seconds": 0.0}
    )
