"""What a benchmark must show before its numbers mean anything (minutes each: left out of `make test`)."""

from __future__ import annotations

import numpy as np
import pytest

from mql.config.loading import load_config
from mql.config.schema import ALGORITHMS
from mql.evaluation.held_out import evaluate
from mql.learning.trainer import Trainer
from mql.tasks import registry

ENV_STEPS = 96_000


def returns_by_direction(*, use_context: bool) -> list[float]:
    """Train on cheetah-dir and give the mean zero-shot return of each direction."""
    config = load_config("cheetah-dir", overrides=[f"agent.use_context={str(use_context).lower()}"])
    family = registry.load("cheetah-dir")
    trainer = Trainer(config, family)
    while trainer.env_steps < ENV_STEPS:
        trainer.iterate()
    results = evaluate(trainer.agent, family, family.tasks("test"), evaluation_episodes=5, seed=0)
    return [float(np.mean([episode.episode_return for episode in result.zero_shot])) for result in results]


@pytest.mark.slow
def test_a_context_blind_agent_cannot_run_both_ways() -> None:
    """It does in one direction what it loses in the other: about 0 on average, clearly negative at the least."""
    blind = returns_by_direction(use_context=False)
    assert abs(np.mean(blind)) < 60
    assert min(blind) < 0


@pytest.mark.slow
def test_with_context_both_directions_are_run() -> None:
    assert min(returns_by_direction(use_context=True)) > 60


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_algorithm_learns_to_find_a_hidden_goal(algorithm: str) -> None:
    """By its default experiment of under a minute, and without adaptation."""
    config = load_config("point-robot", overrides=[f"agent.algorithm={algorithm}"])
    family = registry.load("point-robot")
    trainer = Trainer(config, family)
    while trainer.env_steps < config.train.env_steps:
        trainer.iterate()
    results = evaluate(trainer.agent, family, family.tasks("test")[:20], evaluation_episodes=1, seed=0)
    assert np.mean([result.zero_shot[0].episode_return for result in results]) > -13  # random actions: about -21
