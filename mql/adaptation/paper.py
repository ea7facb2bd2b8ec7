"""Few-shot adaptation to a new task (Meta-Q-Learning, arXiv 1910.00125, section 3.2): a pure function.

Order: propensity, weights, effective sample size and lambda first, all from the frozen meta-trained encoder; then
step 1 (eq. 18: TD3 on the new data), then step 2 (eq. 19: TD3 on weighted meta-training data), both with the penalty
(lambda / 2) ||theta - theta_meta||^2.

Shapes: M scored rows of the meta-training replay, n rows of new data, F features (Z, or O + Z).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from mql.adaptation.new_data import batches_of, replay_of
from mql.adaptation.propensity import (
    FEWEST_ROWS,
    ImportanceWeights,
    PropensityModel,
    fit_propensity,
    no_weights,
    uniform_weights,
    weigh,
)
from mql.adaptation.result import AdaptationResult, Figure
from mql.agent.agent import Agent
from mql.config.schema import AdaptConfig
from mql.learning.contexts import ContextPlan, context_plan, reads
from mql.learning.replay import Replay
from mql.seeding import generator, torch_generator
from mql.types import Batch, Episode, FloatArray, IntArray

META_ROWS_PER_NEW_ROW = 10  # rows of old data in the classifier's fit: enough that their spread is known well
ROWS_AT_ONCE = 4096  # windows encoded together when the replay is scored


@dataclass(frozen=True)
class MetaData:
    """What adaptation needs of the meta-training data, computed once for any number of new tasks.

    ``rows`` [M] are the scored table rows of ``replay`` (with the states of the agent), ``features`` [M, F] what the
    propensity sees of them. It is good until the replay gets another episode.
    """

    replay: Replay
    rows: IntArray
    features: FloatArray

    @property
    def tasks_covered(self) -> int:
        """Training tasks that have scored rows."""
        return len(np.unique(self.rows // self.replay.rows))


@dataclass(frozen=True)
class Weighed(AdaptationResult):
    """Beside what every method gives, the weights over ``MetaData.rows``."""

    weights: FloatArray


def prepare(agent: Agent, replay: Replay, config: AdaptConfig) -> MetaData:
    """Score the replay once: features of its newest data, at most ``config.scored_transitions`` of all tasks together.

    With a carried context, the states come from `agent`; those that `replay` keeps stay as they are.
    """
    import sklearn.linear_model  # noqa: F401  (here, so that no adaptation's time has the import in it)

    rows = replay.all_rows(at_most=config.scored_transitions)
    if agent.state_dim:
        replay = replay.with_states_of(agent.online.actor_encoder, rows)
    return MetaData(replay=replay, rows=rows, features=_features(agent, replay, rows, config))


def adapt(agent: Agent, meta: MetaData, episodes: Sequence[Episode], config: AdaptConfig, *, seed: int) -> Weighed:
    """Adapt `agent` to the task that `episodes` come from.

    A pure function of its arguments: `agent` and `meta` are not changed, equal arguments give equal results, and
    several tasks may be adapted in any order.

    Args:
        agent: the meta-trained agent (theta_meta).
        meta: from `prepare` with the same agent.
        episodes: the new task's data, collected with `agent`.
        seed: of the classifier's held-out split and of the updates' random draws.

    Raises:
        ValueError: there is no new data.
    """
    begun = time.perf_counter()
    new = replay_of(agent, episodes)
    model, scored = _weigh(agent, meta, new, config, seed)
    coef = scored.proximal_coef if config.proximal_coef == "auto" else config.proximal_coef

    adapted = agent.copy()
    learner = adapted.learner(lr=config.lr, anchor=agent)
    learner.proximal_coef = coef if config.step1_penalty else 0.0
    noise = torch_generator(seed, "adapt", device=str(agent.device))
    plan = context_plan(agent.config)
    for batch in batches_of(agent, new, config, seed):
        learner.update(batch, generator=noise)

    if not scored.all_zero:
        learner.proximal_coef = coef
        old = _OldData(meta, scored.weights, by_weight=config.weighting == "sample")
        rng = generator(seed, "adapt")
        for _ in range(config.step2_updates):
            learner.update(old.draw(config.batch_size, plan, rng), generator=noise)

    report: dict[str, Figure] = {
        "normalized_ess": scored.normalized_ess,
        "proximal_coef": coef,
        # None with weights that no classifier gave.
        "classifier_auc": model.auc if model else None,
        "classifier_accuracy": model.accuracy if model else None,
        "fraction_zero_weight": scored.fraction_zero,
        "step2_skipped": scored.all_zero,
        "tasks_covered": meta.tasks_covered,
        "new_transitions": new.transitions,
        "adapt_seconds": time.perf_counter() - begun,
    }
    return Weighed(agent=adapted, report=report, weights=scored.weights)


def _weigh(
    agent: Agent, meta: MetaData, new: Replay, config: AdaptConfig, seed: int
) -> tuple[PropensityModel | None, ImportanceWeights]:
    """Weigh every scored row by how much it looks like the new data.

    Where there is a single new row (the episode ended at its first step), nothing can be said of old ones: none counts.
    """
    if config.weights == "uniform":
        return None, uniform_weights(len(meta.rows))
    features = _features(agent, new, new.all_rows(), config)
    if min(len(features), len(meta.rows)) < FEWEST_ROWS:
        return None, no_weights(len(meta.rows))
    rng = generator(seed, "propensity")
    count = min(META_ROWS_PER_NEW_ROW * len(features), len(meta.rows))
    sample = rng.choice(len(meta.rows), size=count, replace=False)
    model = fit_propensity(
        features,
        meta.features[sample],
        inverse_regularization=config.inverse_regularization,
        prior=config.prior,
        rng=rng,
    )
    return model, weigh(model, meta.features, max_log_weight=config.max_log_weight, min_weight=config.min_weight)


class _OldData:
    """Scored rows to learn from: drawn by their weight, or drawn uniformly with their losses weighted."""

    def __init__(self, meta: MetaData, weights: FloatArray, *, by_weight: bool) -> None:
        self._meta, self._by_weight = meta, by_weight
        self._cumulative = np.cumsum(weights, dtype=np.float64)
        self._of_table_row = np.zeros(len(meta.replay.table), dtype=np.float32)
        self._of_table_row[meta.rows] = weights
        self._scored = np.zeros(len(meta.replay.table), dtype=np.bool_)
        self._scored[meta.rows] = True

    def draw(self, batch_size: int, plan: ContextPlan, rng: np.random.Generator) -> Batch:
        """Draw a batch of about `batch_size` transitions (a multiple of what one context serves)."""
        rows, n = self._meta.rows, max(batch_size // reads(plan), 1)
        if not self._by_weight:
            drawn = rng.integers(len(rows), size=n)
            density, importance = self._scored, self._of_table_row
            return self._meta.replay.gather(rows[drawn], plan, rng=rng, density=density, importance=importance)
        drawn = np.searchsorted(self._cumulative, rng.random(n) * self._cumulative[-1], side="right")
        drawn = np.minimum(drawn, len(rows) - 1)
        return self._meta.replay.gather(rows[drawn], plan, rng=rng, density=self._of_table_row)


@torch.no_grad()
def _features(agent: Agent, replay: Replay, rows: IntArray, config: AdaptConfig) -> FloatArray:
    """What the propensity sees of table rows: [len(rows), F], from the frozen encoder of the actor.

    The states that the policy acted with (where it carries them, `replay` has them). A context-blind agent has none;
    then observations are all there is.
    """
    encoder, index = agent.online.actor_encoder, torch.from_numpy(rows).to(agent.device)
    if agent.state_dim:
        features = replay.states[index].float()
    else:
        parts = [rows[first : first + ROWS_AT_ONCE] for first in range(0, len(rows), ROWS_AT_ONCE)]
        plan = context_plan(agent.config)
        features = torch.cat([encoder(replay.gather(part, plan).context) for part in parts])
    if config.features == "obs_context" or not encoder.context_dim:
        features = torch.cat([agent.scaling.obs(replay.table[index, : agent.obs_dim]), features], dim=-1)
    result: FloatArray = features.cpu().numpy()
    return result
