"""Adaptation by nothing but the context: the agent stays as it is, and what it sees tells it the task.

What any other method is to be compared with.
"""

from __future__ import annotations

from mql.adaptation.meta_training import MetaTraining
from mql.adaptation.playing import NewTask, Process
from mql.adaptation.result import AdaptationResult
from mql.config.schema import AdaptConfig


def prepare(trained: MetaTraining, config: AdaptConfig) -> None:
    """Look at nothing."""
    del trained, config


def process(trained: MetaTraining, prepared: None, config: AdaptConfig, new: NewTask) -> Process:
    """Return a copy of the agent; no episode is played, and none that was given is looked at."""
    del prepared, config, new
    yield from ()
    return AdaptationResult(trained.agent.copy(), {})
