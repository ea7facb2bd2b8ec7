"""Adaptation by as many more updates as `finetune` would make, on stored data: the control that the others must beat.

It learns from the training tasks' data, drawn uniformly, and plays and looks at no episode of the new task. So what it
gains comes from more training alone, and what another method gains beyond it, from the new task. The updates are those
of `finetune` without a gate on the same budget, with the same rates and batches: bit for bit what
``adapt.method=finetune adapt.gate=false adapt.old_fraction=1`` gives, which plays the budget's episodes for nothing. A
gate would be a look at the new task, so there is none.
"""

from __future__ import annotations

import numpy as np

from mql.adaptation.meta_training import MetaTraining
from mql.adaptation.old_data import ScoredData, WeightedRows, newest_rows
from mql.adaptation.playing import NewTask, Process
from mql.adaptation.result import AdaptationResult
from mql.adaptation.rounds import unseen_rounds
from mql.adaptation.tuning import Candidate, Source, Tuner
from mql.config.schema import AdaptConfig


def prepare(trained: MetaTraining, config: AdaptConfig) -> WeightedRows:
    """Take the newest stored rows, ``adapt.scored_transitions`` of them at most, each as likely as the others."""
    replay, rows = newest_rows(trained.agent, trained.replay, config)
    stored = ScoredData(replay=replay, rows=rows, features=np.zeros((len(rows), 0), np.float32))
    return WeightedRows(stored, np.ones(len(rows), np.float32), by_weight=True)


def process(trained: MetaTraining, prepared: WeightedRows, config: AdaptConfig, new: NewTask) -> Process:
    """Go on with training for the rounds that the budget has, and ask for no episode."""
    yield from ()
    tuner, best = Tuner(config, seed=new.seed), Candidate(trained.agent.copy(), trained.moments)
    rounds = len(unseen_rounds(new.episodes))
    for turn in range(rounds):
        best = tuner.propose(best, [Source(prepared, 1.0)], turn)
    return AdaptationResult(best.agent, {"more_updates": rounds * config.round_updates})
