"""Going on with training on chosen data, in small steps: what `finetune`, `relabel` and `simulate` share.

Unlike the steps of the paper (`paper.py`), Adam goes on with the moments it has, and the states that segments start
from are computed afresh as the encoder moves.

Shapes: B transitions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from mql.agent.agent import Agent
from mql.config.schema import AdaptConfig
from mql.learning.contexts import ContextPlan, context_plan
from mql.learning.replay import Replay
from mql.seeding import generator, torch_generator
from mql.types import Batch, Context, Transition

REFRESH_EVERY = 50  # updates after which the states of small stores are computed afresh


@dataclass(frozen=True)
class Candidate:
    """An agent on its way to a new task, and the optimisers' moments to go on with (empty: from nothing)."""

    agent: Agent
    moments: Mapping[str, torch.Tensor]


class Data(Protocol):
    """What batches are drawn from: a `Replay`, or rows with weights (`old_data.WeightedRows`)."""

    def sample(self, batch_size: int, plan: ContextPlan, rng: np.random.Generator) -> Batch:
        """Draw a batch of about `batch_size` transitions."""
        ...


@dataclass(frozen=True)
class Source:
    """Data, and the share of every batch that comes from it; ``own``: a store whose states may be computed afresh."""

    data: Data
    share: float
    own: Replay | None = None


class Tuner:
    """Makes one candidate after another; after one that was rolled back the steps are half as large."""

    def __init__(self, config: AdaptConfig, *, seed: int) -> None:
        self._config, self._seed = config, seed
        self._rate, self._last = config.round_lr, None  # type: float, Candidate | None

    def propose(self, best: Candidate, sources: Sequence[Source], turn: int) -> Candidate:
        """Go on with training from `best`, which is this one's last candidate only if that was kept; see `tune`."""
        if self._last is not None and best is not self._last:
            self._rate /= 2.0
        self._last = tune(best, sources, self._config, lr=self._rate, seed=self._seed, turn=turn)
        return self._last


def tune(
    start: Candidate, sources: Sequence[Source], config: AdaptConfig, *, lr: float, seed: int, turn: int
) -> Candidate:
    """Make ``config.round_updates`` updates of a copy of `start`, each on a batch of all `sources`.

    Args:
        lr: the learning rate, which falls to 0.
        seed, turn: name the random numbers; another turn draws others.
    """
    agent = start.agent.copy()
    learner = agent.learner(lr=lr)
    if start.moments:
        learner.load_optimizer_tensors(start.moments)
    rng = generator(seed, "tune", turn)
    noise = torch_generator(seed, "tune", turn, device=str(agent.device))
    plan = context_plan(agent.config)
    for update in range(config.round_updates):
        learner.lr = lr * (1.0 - update / config.round_updates)  # what is tried out should have settled
        if agent.state_dim and update % REFRESH_EVERY == 0:
            for source in sources:
                if source.own is not None:
                    source.own.forget_states()
                    source.own.refresh_states(agent.online.critic_encoder)
        sizes = [(each.data, max(round(each.share * config.round_batch_size), 1)) for each in sources if each.share]
        batches = [data.sample(size, plan, rng) for data, size in sizes]
        learner.update(joined(batches), generator=noise)
    moments = {name: tensor.clone() for name, tensor in learner.optimizer_tensors().items()}
    return Candidate(agent, moments)


def joined(batches: Sequence[Batch]) -> Batch:
    """Return one batch of the transitions of several, which have contexts of one length."""
    if len(batches) == 1:
        return batches[0]
    transitions = [batch.transition for batch in batches]
    return Batch(
        transition=Transition(
            obs=torch.cat([each.obs for each in transitions]),
            action=torch.cat([each.action for each in transitions]),
            reward=torch.cat([each.reward for each in transitions]),
            next_obs=torch.cat([each.next_obs for each in transitions]),
            terminated=torch.cat([each.terminated for each in transitions]),
            discount=_all_of("discount", transitions),
        ),
        context=_joined([batch.context for batch in batches]),
        next_context=_joined([batch.next_context for batch in batches]),
        weights=torch.cat([batch.weights for batch in batches]),
    )


def _joined(contexts: Sequence[Context]) -> Context:
    elements = torch.cat([context.elements for context in contexts], dim=1)
    read, start, initial = (_all_of(name, contexts) for name in ("read", "start", "initial"))
    return Context(elements, read=read, start=start, initial=initial)


def _all_of(name: str, parts: Sequence[object]) -> torch.Tensor | None:
    values = [getattr(part, name) for part in parts]
    return None if values[0] is None else torch.cat(values)
