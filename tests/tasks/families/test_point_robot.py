"""point-robot is learned within a minute on one CPU core, and it takes the context to learn it."""

from __future__ import annotations

import pytest

from mql.config.loading import load_config
from mql.evaluation.held_out import evaluate, summarize_results
from mql.learning.trainer import Trainer
from mql.tasks import registry

ENV_STEPS = 28_000
# On these goals and starts, walking straight to the goal gives -4.7, walking to the middle of the square -14.3: about
# the best that can be done without knowing where the goal is.
LEARNED = -12.0
BLIND = -13.0


def mean_return(*settings: str) -> float:
    """Zero-shot mean return on the held-out goals, five episodes each, after a fixed number of steps."""
    config = load_config("point-robot", overrides=["agent.precision=float32", *settings])
    family = registry.load("point-robot")
    trainer = Trainer(config, family)
    while trainer.env_steps < ENV_STEPS:
        trainer.iterate()
    results = evaluate(trainer.agent, family, family.tasks("test"), evaluation_episodes=5, seed=0)
    return float(summarize_results(results)["zero_shot"]["mean"])


@pytest.mark.parametrize(
    ("use_context", "low", "high"),
    [("true", LEARNED, 0.0), pytest.param("false", -30.0, BLIND, marks=pytest.mark.slow)],
)
def test_context_makes_the_difference(use_context: str, low: float, high: float) -> None:
    assert low < mean_return(f"agent.use_context={use_context}") < high
