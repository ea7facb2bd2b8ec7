"""Few-shot adaptation to a new task (Meta-Q-Learning, arXiv 1910.00125, section 3.2), as published.

Order: propensity, weights, effective sample size and lambda first, all from the frozen meta-trained encoder; then
step 1 (eq. 18: TD3 on the new data), then step 2 (eq. 19: TD3 on weighted meta-training data), both with the penalty
(lambda / 2) ||theta - theta_meta||^2.

Adam divides a gradient by its size, so how much of the way that penalty leaves depends on the unit of the reward.
`adapt.pull: step` is ours and free of units: the same updates are made twice, first without any pull, which measures
how far they go; then no step leaves a ball around theta_meta whose radius is a multiple of that distance. Each part of
the agent (what one loss trains) has a ball of its own: critics, which go farther, use up none of the actor's.

Shapes: M scored rows of the meta-training replay.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

import torch

from mql.adaptation.meta_training import MetaTraining
from mql.adaptation.new_data import batches_of, replay_of
from mql.adaptation.old_data import ScoredData, WeightedRows, named_shares
from mql.adaptation.playing import NewTask, Process, Request
from mql.adaptation.propensity import ImportanceWeights, uniform_weights
from mql.adaptation.result import AdaptationResult, distance_moved
from mql.adaptation.weighing import scored_for_weights, weigh_rows
from mql.agent.agent import Agent
from mql.agent.protocols import Learner
from mql.config.schema import AdaptConfig
from mql.learning.contexts import context_plan
from mql.learning.replay import Replay
from mql.seeding import generator, torch_generator
from mql.types import JSON, Episode, FloatArray


@dataclass(frozen=True)
class Weighed(AdaptationResult):
    """Beside what every method gives, the weights over ``ScoredData.rows``."""

    weights: FloatArray


def prepare(trained: MetaTraining, config: AdaptConfig) -> ScoredData:
    """Score the replay once."""
    return scored_for_weights(trained.agent, trained.replay, config)


def process(trained: MetaTraining, prepared: ScoredData, config: AdaptConfig, new: NewTask) -> Process:
    """Play all episodes, then learn; nothing is compared, and nothing taken back."""
    episodes = list(new.given)
    if new.episodes:
        episodes += yield Request(trained.agent, range(new.episodes), config.exploration_noise)
    return learn(trained.agent, prepared, episodes, config, seed=new.seed)


def learn(agent: Agent, scored: ScoredData, episodes: Sequence[Episode], config: AdaptConfig, *, seed: int) -> Weighed:
    """Adapt `agent` to the task that `episodes` come from.

    A pure function of its arguments: `agent` and `scored` are not changed, equal arguments give equal results, and
    several tasks may be adapted in any order.

    Args:
        agent: the meta-trained agent (theta_meta).
        scored: from `prepare` with the same agent.
        episodes: the new task's data, collected with `agent`.
        seed: of the classifier's held-out split and of the updates' random draws.

    Raises:
        ValueError: there is no new data.
    """
    new = replay_of(agent, episodes)
    if config.weights == "uniform":
        model, weighed = None, uniform_weights(len(scored.rows))
    else:
        model, weighed = weigh_rows(agent, scored, new, config, seed)
    coef = weighed.proximal_coef if config.proximal_coef == "auto" else config.proximal_coef

    updated = partial(_updated, agent, scored, weighed, new, config, seed)
    pulled: dict[str, JSON] = {"proximal_coef": coef}
    if config.pull == "step":
        everywhere = dict.fromkeys(agent.parts, torch.tensor(torch.inf, device=agent.device))
        free, learner = updated(coef=0.0, radii=everywhere)
        radii = {part: config.pull_radius * farthest for part, farthest in learner.farthest.items()}
        adapted, _ = updated(coef=0.0, radii=radii)
        pulled = {"proximal_coef": None, "distance_free": distance_moved(free, agent)}
    else:
        adapted, _ = updated(coef=coef)

    report = {
        "normalized_ess": weighed.normalized_ess,
        # None with weights that no classifier gave.
        "classifier_auc": model.auc if model else None,
        "classifier_accuracy": model.accuracy if model else None,
        "fraction_zero_weight": weighed.fraction_zero,
        "step2_skipped": weighed.all_zero,
        "tasks_covered": scored.tasks_covered,
        "calibration": dict(scored.calibration),
        **named_shares(scored.replay, scored.shares(weighed.weights)),
        "new_transitions": new.transitions,
        **pulled,
    }
    return Weighed(agent=adapted, report=report, weights=weighed.weights)


def _updated(
    agent: Agent,
    scored: ScoredData,
    weighed: ImportanceWeights,
    new: Replay,
    config: AdaptConfig,
    seed: int,
    *,
    coef: float,
    radii: Mapping[str, torch.Tensor] = MappingProxyType({}),
) -> tuple[Agent, Learner]:
    """Return a copy after the updates of both steps, and its learner; the draws are the same for any pull."""
    adapted = agent.copy()
    learner = adapted.learner(lr=config.lr, anchor=agent)
    learner.radii = radii
    learner.proximal_coef = coef if config.step1_penalty else 0.0
    noise = torch_generator(seed, "adapt", device=str(agent.device))
    plan = context_plan(agent.config)
    for batch in batches_of(agent, new, config, seed):
        learner.update(batch, generator=noise)

    if not weighed.all_zero:
        learner.proximal_coef = coef
        old = WeightedRows(scored, weighed.weights, by_weight=config.weighting == "sample")
        rng = generator(seed, "adapt")
        for _ in range(config.step2_updates):
            learner.update(old.sample(config.batch_size, plan, rng), generator=noise)
    return adapted, learner
