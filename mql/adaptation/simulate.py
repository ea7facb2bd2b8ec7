"""Adaptation by fresh episodes of the training tasks that look like the new one, for those who own a simulator.

The propensity that tells the new task's transitions from the stored ones gives every training task a mean log odds;
tasks are drawn by its exponential, played with the agent as it is now, and learned from beside the new episodes.

Shapes: K training tasks, M scored rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mql.adaptation.gate import Gate, gate_of
from mql.adaptation.meta_training import MetaTraining
from mql.adaptation.new_data import replay_of
from mql.adaptation.old_data import ScoredData
from mql.adaptation.playing import NewTask, Process
from mql.adaptation.rounds import adapt_in_rounds
from mql.adaptation.tuning import Candidate, Source, Tuner
from mql.adaptation.weighing import scored_for_weights, weigh_rows
from mql.collecting.exploration import explorer_for
from mql.collecting.rollout import collect
from mql.config.schema import AdaptConfig
from mql.errors import UserError
from mql.seeding import generator, spawn_seeds
from mql.tasks.family import TaskFamily
from mql.types import JSON, Episode

EPISODES = 32  # that are simulated in a round
NEW_SHARE = 0.5  # of every batch, from the new task


@dataclass(frozen=True)
class Prepared:
    """The simulator, the scored old data, and the gate."""

    family: TaskFamily
    scored: ScoredData
    gate: Gate


def prepare(trained: MetaTraining, config: AdaptConfig) -> Prepared:
    """Score the replay.

    Raises:
        UserError: the family is unknown, so nothing can be simulated.
    """
    if trained.family is None:
        what = "nothing can be simulated, as nobody knows the family"
        raise UserError(what, where="adapt.method", mend="use adapt.method=finetune")
    return Prepared(trained.family, scored_for_weights(trained.agent, trained.replay, config), gate_of(trained, config))


def process(trained: MetaTraining, prepared: Prepared, config: AdaptConfig, new: NewTask) -> Process:
    """Spend the budget in rounds, each with fresh episodes of training tasks."""
    improver = _Simulating(trained, prepared, config, new)
    return adapt_in_rounds(trained, improver, config, new, prepared.gate)


class _Simulating:
    """The improver: more training on simulated tasks that look like the new one, and on the new one's episodes."""

    def __init__(self, trained: MetaTraining, prepared: Prepared, config: AdaptConfig, new: NewTask) -> None:
        self._trained, self._prepared, self._config, self._new = trained, prepared, config, new
        self._tuner = Tuner(config, seed=new.seed)
        self.report: dict[str, JSON] = {}

    def propose(self, best: Candidate, episodes: Sequence[Episode], turn: int) -> Candidate | None:
        if not episodes:
            return None
        family, seed = self._prepared.family, self._new.seed
        posterior = self._posterior(episodes)
        rng = generator(seed, "simulate", turn)
        listed = family.tasks("train")
        tasks = [listed[place] for place in rng.choice(len(listed), size=EPISODES, p=posterior)]
        explorer = explorer_for(family, best.agent.config.exploration, self._config.exploration_noise)
        seeds = spawn_seeds(EPISODES, seed, "simulate", turn)
        simulated = replay_of(best.agent, collect(best.agent, family, tasks, seeds, explorer=explorer, rng=rng))
        own = replay_of(best.agent, episodes)
        sources = [Source(simulated, 1.0 - NEW_SHARE, simulated), Source(own, NEW_SHARE, own)]
        return self._tuner.propose(best, sources, turn)

    def _posterior(self, episodes: Sequence[Episode]) -> np.ndarray:
        """Return the probability [K] of each training task; equal ones where nothing tells them apart."""
        scored, count = self._prepared.scored, len(self._prepared.family.tasks("train"))
        new = replay_of(self._trained.agent, episodes)
        model, _ = weigh_rows(self._trained.agent, scored, new, self._config, self._new.seed)
        log_odds = np.full(count, -np.inf)
        if model is None:
            known = np.unique(scored.tasks)
            log_odds[known[known < count]] = 0.0
        else:
            rows = model.log_weights(scored.features)
            sums, sizes = (np.bincount(scored.tasks, w, minlength=count)[:count] for w in (rows, np.ones(len(rows))))
            log_odds[sizes > 0] = sums[sizes > 0] / sizes[sizes > 0]
        posterior: np.ndarray = np.exp(log_odds - log_odds.max())
        posterior /= posterior.sum()
        self.report = {
            "calibration": dict(scored.calibration),
            "task_weights": [float(p) for p in posterior],
            "classifier_auc": model.auc if model else None,
            "classifier_accuracy": model.accuracy if model else None,
        }
        return posterior
