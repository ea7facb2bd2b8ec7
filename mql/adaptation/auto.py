"""Adaptation by what the rewards allow: relabelled old episodes where they tell the task, else the new task's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mql.adaptation import finetune, relabel
from mql.adaptation.meta_training import MetaTraining
from mql.adaptation.playing import NewTask, Process
from mql.adaptation.rounds import adapt_in_rounds
from mql.adaptation.tuning import Candidate
from mql.config.schema import AdaptConfig
from mql.types import JSON, Episode


LEARNS_REWARD = True  # whether a learned model of the reward may relabel, where no function of the family explains it


@dataclass(frozen=True)
class Prepared:
    """What both ways need."""

    finetune: finetune.Prepared
    relabel: relabel.Prepared


def prepare(trained: MetaTraining, config: AdaptConfig) -> Prepared:
    """Prepare both ways."""
    return Prepared(finetune.prepare(trained, config), relabel.prepare_hidden(trained))


def process(trained: MetaTraining, prepared: Prepared, config: AdaptConfig, new: NewTask) -> Process:
    """Spend the budget in rounds."""
    improver = _Either(trained, prepared, config, new)
    return adapt_in_rounds(trained, improver, config, new, return_noise=prepared.finetune.return_noise)


class _Either:
    """The improver: relabels where it can, else goes on with training on the new episodes."""

    def __init__(self, trained: MetaTraining, prepared: Prepared, config: AdaptConfig, new: NewTask) -> None:
        self._finetuning = finetune.Finetuning(trained, prepared.finetune.scored, config, new.seed)
        self._relabelling = relabel.Relabelling(prepared.relabel, config, new, learns=LEARNS_REWARD)
        self.report: dict[str, JSON] = {}

    def propose(self, best: Candidate, episodes: Sequence[Episode], turn: int) -> Candidate | None:
        candidate = self._relabelling.propose(best, episodes, turn)
        self.report = {"by": "relabel", **self._relabelling.report}
        if candidate is not None:
            return candidate
        self.report = {**self.report, "by": "finetune", **self._finetuning.report}
        return self._finetuning.propose(best, episodes, turn)
