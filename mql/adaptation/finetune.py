"""Adaptation by going on with training on the new task's own episodes, in small steps and without a pull.

`old_fraction` of every batch may come from the stored data of the training tasks: uniformly, by the propensity that
a stored transition belongs to the new task, or by the same weights in another order (as many that count, without any
similarity: what selection is to be compared with). Half and half is what Ball et al. (2023, arXiv 2302.02948) do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mql.adaptation.gate import Gate, gate_of
from mql.adaptation.meta_training import MetaTraining
from mql.adaptation.new_data import replay_of
from mql.adaptation.old_data import ScoredData, WeightedRows, named_shares
from mql.adaptation.playing import NewTask, Process
from mql.adaptation.rounds import adapt_in_rounds
from mql.adaptation.tuning import Candidate, Source, Tuner
from mql.adaptation.weighing import scored_for_weights, weigh_rows
from mql.config.schema import AdaptConfig
from mql.learning.replay import Replay
from mql.seeding import generator
from mql.types import JSON, Episode, FloatArray


@dataclass(frozen=True)
class Prepared:
    """The gate, and the scored old data where some of it is used."""

    gate: Gate
    scored: ScoredData | None


def prepare(trained: MetaTraining, config: AdaptConfig) -> Prepared:
    """Make the gate, and score the replay where old data is used."""
    scored = scored_for_weights(trained.agent, trained.replay, config) if config.old_fraction else None
    return Prepared(gate_of(trained, config), scored)


def process(trained: MetaTraining, prepared: Prepared, config: AdaptConfig, new: NewTask) -> Process:
    """Spend the budget in rounds, each of which goes on from the best agent so far with all episodes so far."""
    improver = Finetuning(trained, prepared.scored, config, new.seed)
    return adapt_in_rounds(trained, improver, config, new, prepared.gate)


class Finetuning:
    """The improver: more training on all episodes so far."""

    def __init__(self, trained: MetaTraining, scored: ScoredData | None, config: AdaptConfig, seed: int) -> None:
        self._trained, self._scored, self._config, self._seed = trained, scored, config, seed
        self._tuner = Tuner(config, seed=seed)
        self.report: dict[str, JSON] = {}

    def propose(self, best: Candidate, episodes: Sequence[Episode], turn: int) -> Candidate | None:
        """See `rounds.Improver`; without an episode there is nothing to learn from, unless it is old data alone."""
        fraction = self._config.old_fraction
        sources = []
        if episodes and fraction < 1.0:
            own = replay_of(best.agent, episodes)
            sources.append(Source(own, 1.0 - fraction, own))
        if self._scored is not None:
            weights = self._weights(self._scored, episodes, turn)
            if weights is not None:
                sources.append(Source(WeightedRows(self._scored, weights, by_weight=True), fraction))
        if not sources:
            return None
        return self._tuner.propose(best, sources, turn)

    def _weights(self, scored: ScoredData, episodes: Sequence[Episode], turn: int) -> FloatArray | None:
        """Weigh the old rows; None: no row counts."""
        if self._config.old == "uniform" or not episodes:
            return np.ones(len(scored.rows), np.float32)
        new: Replay = replay_of(self._trained.agent, episodes)
        model, weighed = weigh_rows(self._trained.agent, scored, new, self._config, self._seed)
        weights = weighed.weights
        if self._config.old == "permuted":
            weights = generator(self._seed, "permuted", turn).permutation(weights)
        self.report = {
            "normalized_ess": weighed.normalized_ess,
            "classifier_auc": model.auc if model else None,
            "classifier_accuracy": model.accuracy if model else None,
            "fraction_zero_weight": weighed.fraction_zero,
            "tasks_covered": scored.tasks_covered,
            "calibration": dict(scored.calibration),
            **named_shares(scored.replay, scored.shares(weights)),
        }
        return None if weighed.all_zero else weights
