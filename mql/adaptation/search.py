"""Adaptation by a search for a context: the agent acts as if the task were another one, without any gradient step.

While an agent acts, the context variable z tells it the task. Out of the training range z may say too little, or the
wrong thing. Here a constant offset is added to z while acting, along the directions in which the training tasks' mean
contexts differ (their principal components), and the offset with the highest return wins. Searching behaviours over a
map learned before is what Cully et al. (2015, arXiv 1407.3501) do. The winner goes into the first bias of the actor, so
it acts, is saved and goes on learning like any agent.

Shapes: Z context variable, K axes, W units of the actor's first layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from mql.adaptation.meta_training import MetaTraining
from mql.adaptation.old_data import contexts_of
from mql.adaptation.playing import NewTask, Process, Request
from mql.adaptation.result import AdaptationResult
from mql.adaptation.rounds import pays
from mql.agent.agent import Agent
from mql.config.schema import AdaptConfig
from mql.errors import UserError
from mql.types import JSON, FloatArray

AXES = 3
STEPS = (1.0, -1.0, 2.0, -2.0)  # along an axis, in standard deviations of the training tasks
AGAIN = 4  # of the best offsets are played a second time


@dataclass(frozen=True)
class Axes:
    """Directions [K, Z] along which the training tasks' contexts differ, one standard deviation long, largest first."""

    directions: FloatArray
    return_noise: float


def prepare(trained: MetaTraining, config: AdaptConfig) -> Axes:
    """Find the axes: principal components of the mean context of each training task.

    Raises:
        UserError: the agent has no context, or an actor whose first layer can't be shifted.
    """
    agent, replay = trained.agent, trained.replay
    if not agent.online.actor_encoder.context_dim:
        what = "there is no context to search in: agent.use_context is false"
        raise UserError(what, where="adapt.method", mend="use adapt.method=finetune")
    if agent.online.actor.tanh_layers() is None:
        what = f"{type(agent.online.actor).__name__} has no first layer that an offset could be written into"
        raise UserError(what, where="adapt.method", mend="use adapt.method=finetune")
    rows = replay.all_rows(at_most=config.scored_transitions)
    if agent.state_dim:
        replay = replay.with_states_of(agent.online.actor_encoder, rows)
    contexts = contexts_of(agent, replay, rows).double().cpu().numpy()
    tasks = rows // replay.rows
    means = np.stack([contexts[tasks == task].mean(axis=0) for task in np.unique(tasks)])
    return Axes(_principal(means, AXES), trained.return_noise())


def _principal(means: np.ndarray, count: int) -> FloatArray:
    """Return up to `count` principal components [K, Z] of rows [n, Z], as long as the spread along them."""
    _, spread, components = np.linalg.svd(means - means.mean(axis=0), full_matrices=False)
    kept = min(count, int((spread > 1e-9).sum()))
    lengths = spread[:kept] / np.sqrt(max(len(means) - 1, 1))
    directions: FloatArray = (lengths[:, None] * components[:kept]).astype(np.float32)
    return directions


def process(trained: MetaTraining, prepared: Axes, config: AdaptConfig, new: NewTask) -> Process:
    """Try offsets, the best of them again, and keep the best one if it beats none at all by more than chance."""
    offsets = offsets_of(prepared.directions, new.episodes)
    again = min(AGAIN, new.episodes - len(offsets), len(offsets))
    returns: list[list[float]] = []
    for offset in offsets:
        played = yield Request(shifted(trained.agent, offset), (0,))
        returns.append([played[0].episode_return])
    order = sorted(range(1, len(offsets)), key=lambda place: -returns[place][0])
    # What there is to beat is played again, too: an offset of nothing.
    for place in [0, *order][:again] if again > 0 else []:
        played = yield Request(shifted(trained.agent, offsets[place]), (1,))
        returns[place].append(played[0].episode_return)
    return _result(trained.agent, offsets, returns, prepared.return_noise, config)


def _result(
    agent: Agent, offsets: Sequence[FloatArray], returns: Sequence[Sequence[float]], noise: float, config: AdaptConfig
) -> AdaptationResult:
    chosen = 0
    if len(offsets) > 1:
        most = max(len(own) for own in returns)
        best = max((p for p in range(1, len(offsets)) if len(returns[p]) == most or most == 1), default=0,
                   key=lambda p: float(np.mean(returns[p])))  # fmt: skip
        before, after = np.array(returns[0][:most]), np.array(returns[best])
        if best and pays(before, after, noise, margin=config.gate_margin):
            chosen = best
    report: dict[str, JSON] = {
        "accepted": chosen != 0,
        "offset": [float(value) for value in offsets[chosen]] if offsets else None,
        "tried": len(offsets),
        "rounds": [
            {
                "episodes": sum(map(len, returns)),
                "before": float(np.mean(returns[0])),
                "after": float(np.mean(returns[chosen])),
                "accepted": chosen != 0,
            }
        ]
        if returns
        else [],
    }
    return AdaptationResult(shifted(agent, offsets[chosen]) if offsets else agent.copy(), report)


def offsets_of(directions: FloatArray, budget: int) -> list[FloatArray]:
    """Return the offsets [Z] to try: none at all first, then along the axes, as many as leave room to play some again.

    With all of the axes there are 13, and 17 episodes are played.
    """
    if budget < 2 or not len(directions):
        return []
    every = [step * direction for direction in directions for step in STEPS]
    return [np.zeros_like(directions[0]), *every[: max(budget - 1 - min(budget // 4, AGAIN), 1)]]


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
