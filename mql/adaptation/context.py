"""Adaptation by nothing but the context: the agent stays as it is, and what it sees tells it the task.

What any other method is to be compared with. With `adapt.carry_episodes` the context is not empty when an episode
begins: it goes on over the budget's episodes, as an agent of RL^2 (Duan et al. 2016, arXiv 1611.02779) goes on over the
episodes of a trial, and the evaluation episodes begin with what has come of it.
"""

from __future__ import annotations

from mql.adaptation.meta_training import MetaTraining
from mql.adaptation.playing import NewTask, Process, Request
from mql.adaptation.result import AdaptationResult
from mql.config.schema import AdaptConfig


def prepare(trained: MetaTraining, config: AdaptConfig) -> None:
    """Look at nothing."""
    del trained, config


def process(trained: MetaTraining, prepared: None, config: AdaptConfig, new: NewTask) -> Process:
    """Return a copy of the agent: after all episodes, given ones first, where it carries its context through them.

    Otherwise no episode is played, and none that was given is looked at.
    """
    del prepared
    agent = trained.agent.copy()
    if not config.carry_episodes:
        return AdaptationResult(agent, {})
    for episode in new.given:
        agent = agent.after(episode)
    for start in range(new.episodes):
        [episode] = yield Request(agent, (start,))  # without noise: it acts as it will act
        agent = agent.after(episode)
    return AdaptationResult(agent, {"carry_episodes": True})
