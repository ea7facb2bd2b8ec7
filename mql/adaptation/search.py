"""Adaptation by a search for a context: the agent acts as if the task were another one, without any gradient step.

While an agent acts, the context variable z tells it the task. Out of the training range z may say too little, or the
wrong thing. Two kinds of other contexts are tried, and the one with the highest return wins: those of training tasks,
fixed, whatever the agent meets (`training_tasks.py`); and z with a constant offset, along the directions in which the
training tasks' mean contexts differ (their principal components). Searching behaviours over a map learned before is
what Cully et al. (2015, arXiv 1407.3501) do. The winner goes into the first layer of the actor, so it acts, is saved
and goes on learning like any agent.

Shapes: Z context variable, A axes, W units of the actor's first layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from mql.adaptation.gate import Gate, gate_of
from mql.adaptation.meta_training import MetaTraining
from mql.adaptation.new_data import replay_of
from mql.adaptation.old_data import contexts_of
from mql.adaptation.playing import NewTask, Process, Request
from mql.adaptation.result import AdaptationResult
from mql.adaptation.rewards import TaskFinder, tells_apart
from mql.adaptation.training_tasks import TrainingTasks, training_tasks, with_fixed_context
from mql.agent.agent import Agent
from mql.config.schema import AdaptConfig
from mql.errors import UserError
from mql.tasks.family import TaskFamily
from mql.types import JSON, Episode, FloatArray

AXES = 3
STEPS = (1.0, -1.0, 2.0, -2.0)  # along an axis, in standard deviations of the training tasks
AGAIN = 4  # of the best ones are played a second time
BORROWED = 5  # one in so many trials is the context of a training task, the others are offsets
COMPARED = 10  # stored episodes in which some training tasks' rewards have to differ
APART = 20  # parts that the training tasks are divided into, in their order; a trial is the first of one


@dataclass(frozen=True)
class Prepared:
    """The training tasks, and up to `AXES` directions [A, Z] along which their contexts differ.

    Directions are one standard deviation long, the largest first. ``family``: it says its reward as a function that
    differs between tasks; None: it does not.
    """

    family: TaskFamily | None
    tasks: TrainingTasks
    directions: FloatArray
    gate: Gate


@dataclass(frozen=True)
class Trial:
    """An agent to try out, and what it does with the context; None: what it always did."""

    agent: Agent
    told: JSON


def prepare(trained: MetaTraining, config: AdaptConfig) -> Prepared:
    """Find the axes: principal components of the mean context of each training task.

    Raises:
        UserError: the agent has no context, or an actor whose first layer can't be shifted.
    """
    agent = trained.agent
    if not agent.online.actor_encoder.context_dim:
        what = "there is no context to search in: agent.use_context is false"
        raise UserError(what, where="adapt.method", mend="use adapt.method=finetune")
    if agent.online.actor.tanh_layers() is None:
        what = f"{type(agent.online.actor).__name__} has no first layer that an offset could be written into"
        raise UserError(what, where="adapt.method", mend="use adapt.method=finetune")
    tasks = training_tasks(trained, config)
    family = trained.family if trained.family and tells_apart(trained.family, tasks.episodes[:COMPARED]) else None
    return Prepared(family, tasks, _principal(tasks.contexts.astype(np.float64), AXES), gate_of(trained, config))


def _principal(means: np.ndarray, count: int) -> FloatArray:
    """Return up to `count` principal components [K, Z] of rows [n, Z], as long as the spread along them."""
    _, spread, components = np.linalg.svd(means - means.mean(axis=0), full_matrices=False)
    kept = min(count, int((spread > 1e-9).sum()))
    lengths = spread[:kept] / np.sqrt(max(len(means) - 1, 1))
    directions: FloatArray = (lengths[:, None] * components[:kept]).astype(np.float32)
    return directions


def process(trained: MetaTraining, prepared: Prepared, config: AdaptConfig, new: NewTask) -> Process:
    """Try contexts, the best of them again, and keep the best one if it beats the agent's own by more than chance."""
    again = min(new.episodes // 4, AGAIN) if new.episodes >= 8 else 0  # at least the best one and the agent's own
    count = new.episodes - 1 - again if new.episodes >= 2 else 0
    if not count:
        return AdaptationResult(trained.agent.copy(), {"accepted": False, "chosen": None, "tried": 0, "rounds": []})
    own = yield Request(trained.agent, (0,))
    trials = [Trial(trained.agent.copy(), None), *_trials(trained, prepared, new, own, count)]
    returns = [[own[0].episode_return]]
    for trial in trials[1:]:
        played = yield Request(trial.agent, (0,))
        returns.append([played[0].episode_return])
    order = sorted(range(1, len(trials)), key=lambda place: -returns[place][0])
    # What there is to beat is played again, too: the agent's own contexts.
    for place in [0, *order][: min(again, len(trials))]:
        played = yield Request(trials[place].agent, (1,))
        returns[place].append(played[0].episode_return)
    return _result(trials, returns, prepared.gate)


def _trials(trained: MetaTraining, prepared: Prepared, new: NewTask, own: Sequence[Episode], count: int) -> list[Trial]:
    """Return up to `count` trials: contexts of training tasks, and offsets along the axes."""
    tasks, agent, family = prepared.tasks, trained.agent, prepared.family
    found = TaskFinder(family, known=new.known, seed=new.seed).find([*new.given, *own]) if family else None
    if family is not None and found is not None and found.explains:
        order = np.argsort(-tasks.returns(family, found.task), kind="stable")
    else:
        replay = replay_of(agent, own)
        order = tasks.nearest(contexts_of(agent, replay, replay.all_rows()).double().cpu().numpy().mean(axis=0))
    apart = order[:: max(len(order) // APART, 1)][: max(count // BORROWED, 1)]  # neighbours in the order are alike
    trials = [
        Trial(with_fixed_context(agent, tasks.contexts[place]), {"context_of": int(tasks.numbers[place])})
        for place in apart
    ]
    offsets = [step * direction for direction in prepared.directions for step in STEPS]
    trials += [Trial(shifted(agent, offset), {"offset": [float(value) for value in offset]}) for offset in offsets]
    return trials[:count]


def _result(trials: Sequence[Trial], returns: Sequence[Sequence[float]], gate: Gate) -> AdaptationResult:
    most = max(len(own) for own in returns)
    compared = [place for place in range(1, len(trials)) if len(returns[place]) == most]
    chosen = 0
    if compared:
        best = max(compared, key=lambda place: float(np.mean(returns[place])))
        if gate.keeps(np.array(returns[0]), np.array(returns[best]), familiar=gate.is_familiar(returns[0][0])):
            chosen = best
    row: dict[str, JSON] = {
        "episodes": sum(map(len, returns)),
        "before": float(np.mean(returns[0])),
        "after": float(np.mean(returns[chosen])),
        "accepted": chosen != 0,
    }
    report = {"accepted": chosen != 0, "chosen": trials[chosen].told, "tried": len(trials) - 1, "rounds": [row]}
    return AdaptationResult(trials[chosen].agent, report)


def shifted(agent: Agent, offset: FloatArray) -> Agent:
    """Return a copy whose actor takes `offset` [Z] + z wherever it took z; its targets, too."""
    moved = agent.copy()
    if np.any(offset):
        for networks in (moved.online, moved.target):
            first = networks.actor.tanh_layers()[0]
            with torch.no_grad():
                by = torch.from_numpy(offset).to(first.weight)
                first.bias += first.weight[:, -len(offset) :] @ by
    return moved
