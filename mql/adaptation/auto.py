"""Adaptation by whatever helps: several ways in turn, each tried out, and the one that was kept goes on.

Where the rewards tell the task (or it is known): the context of the training task that does best in it, if its stored
episodes are worth more there than what the agent itself gets; relabelled old episodes; and always the new episodes
alone. A way that is rolled back gives its turn to the next one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mql.adaptation import finetune, relabel
from mql.adaptation.meta_training import MetaTraining
from mql.adaptation.playing import NewTask, Process
from mql.adaptation.rewards import TaskFinder
from mql.adaptation.rounds import Improver, adapt_in_rounds
from mql.adaptation.training_tasks import TrainingTasks, training_tasks, with_fixed_context
from mql.adaptation.tuning import Candidate
from mql.config.schema import AdaptConfig
from mql.errors import UserError
from mql.types import JSON, Episode


@dataclass(frozen=True)
class Prepared:
    """What the ways need; where every task has the same reward only one is there, and without a context one less."""

    finetune: finetune.Prepared
    relabel: relabel.Prepared | None
    tasks: TrainingTasks | None


def prepare(trained: MetaTraining, config: AdaptConfig) -> Prepared:
    """Prepare what can be had."""
    try:
        relabelling = relabel.prepare_hidden(trained, config)
    except UserError:  # every task has the same reward
        relabelling = None
    actor, encoder = trained.agent.online.actor, trained.agent.online.actor_encoder
    borrows = relabelling is not None and relabelling.exact and encoder.context_dim and actor.tanh_layers() is not None
    tasks = training_tasks(trained, config) if borrows else None
    return Prepared(finetune.prepare(trained, config), relabelling, tasks)


def process(trained: MetaTraining, prepared: Prepared, config: AdaptConfig, new: NewTask) -> Process:
    """Spend the budget in rounds."""
    ways: dict[str, Improver] = {}
    finetuning = finetune.Finetuning(trained, prepared.finetune.scored, config, new.seed)
    if prepared.relabel is None:
        ways["finetune"] = finetuning
    else:
        finder = relabel.finder_of(prepared.relabel, new)
        gate = prepared.finetune.gate
        tries_out = config.gate and gate.starts(new.episodes, familiar=False) > 0  # else it would be kept unseen
        if tries_out and finder is not None and prepared.tasks is not None:
            ways["a training task's context"] = Borrowing(prepared.tasks, finder)
        relabelling = relabel.Relabelling(prepared.relabel, config, new, finder)
        # Rewards that a function says come first; a model of them, only after the new episodes alone.
        pair: list[tuple[str, Improver]] = [("relabel", relabelling), ("finetune", finetuning)]
        ways.update(pair if prepared.relabel.exact else reversed(pair))
    improver = InTurn(ways)
    return adapt_in_rounds(trained, improver, config, new, prepared.finetune.gate)


class InTurn:
    """The improver: the way that was kept last time, or else the next one that has something to propose."""

    def __init__(self, ways: dict[str, Improver]) -> None:
        self._ways = deque(ways.items())
        self._last: Candidate | None = None
        self._by: list[str] = []

    @property
    def report(self) -> dict[str, JSON]:
        """What all ways have to say, and which of them made each proposal."""
        return {**{k: v for _, way in sorted(self._ways) for k, v in way.report.items()}, "by": list(self._by)}

    def propose(self, best: Candidate, episodes: Sequence[Episode], turn: int) -> Candidate | None:
        """See `rounds.Improver`."""
        if self._last is not None and best is not self._last:
            self._ways.rotate(-1)
        for _ in range(len(self._ways)):
            name, way = self._ways[0]
            self._last = way.propose(best, episodes, turn)
            if self._last is not None:
                self._by.append(name)
                return self._last
            self._ways.rotate(-1)
        return None


class Borrowing:
    """The improver: once, the fixed context of the training task whose stored episodes are worth most in the new one.

    Only if they are worth more, with their exploration noise, than the agent's own first episode.
    """

    def __init__(self, tasks: TrainingTasks, finder: TaskFinder) -> None:
        self._tasks, self._finder = tasks, finder
        self._asked = False
        self.report: dict[str, JSON] = {}

    def propose(self, best: Candidate, episodes: Sequence[Episode], turn: int) -> Candidate | None:
        """See `rounds.Improver`."""
        del turn
        if self._asked or not episodes:
            return None
        self._asked = True
        found = self._finder.find(episodes)
        if found is None or not found.explains:
            return None
        returns = self._tasks.returns(self._finder.family, found.task)
        place = int(np.argmax(returns))
        worth, own = float(returns[place]), episodes[0].episode_return
        self.report = {"stored_return": worth, "own_return": own, "context_of": int(self._tasks.numbers[place])}
        if worth <= own:
            return None
        return Candidate(with_fixed_context(best.agent, self._tasks.contexts[place]), best.moments)
