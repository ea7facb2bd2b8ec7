"""Adaptation by old episodes with the new task's reward: the newest ones of training, their contexts computed anew.

Where the task is known (`NewTask.known`), no episode of it is needed. Where its parameters are hidden, they are found
from the rewards of its first episodes (`rewards.find_task`), and nothing is tried where they explain too little.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mql.adaptation.meta_training import MetaTraining
from mql.adaptation.new_data import replay_of
from mql.adaptation.old_data import newest_episodes
from mql.adaptation.playing import NewTask, Process
from mql.adaptation.rewards import LEAST_R2, find_task, no_function, relabelled, tells_apart
from mql.adaptation.rounds import adapt_in_rounds
from mql.adaptation.tuning import Candidate, Source, tune
from mql.config.schema import AdaptConfig
from mql.errors import UserError
from mql.learning.replay import Replay
from mql.tasks.family import Task, TaskFamily
from mql.types import JSON, Episode

EPISODES = 500  # newest ones of training that are relabelled
COMPARED = 10  # episodes in which some training tasks' rewards have to differ
NEW_SHARE = 0.5  # of every batch, once the new task's own episodes are there


@dataclass(frozen=True)
class Prepared:
    """The episodes to relabel, and by how much returns differ by chance."""

    family: TaskFamily
    episodes: Sequence[Episode]
    return_noise: float


def prepare(trained: MetaTraining, config: AdaptConfig) -> Prepared:
    """Take the newest episodes out of the replay.

    Raises:
        UserError: the family is unknown, or can't say its reward as a function.
    """
    del config
    family = trained.family
    if family is None:
        what = "rewards can't be changed, as nobody knows the family"
        raise UserError(what, where="adapt.method", mend="use adapt.method=finetune")
    episodes = newest_episodes(trained.replay, EPISODES)
    first = episodes[0]
    if family.reward(first.obs[:1], first.obs[1:2], first.action[:1], family.tasks("train")[0]) is None:
        raise no_function(family)
    if not tells_apart(family, episodes[:COMPARED]):
        what = f"the reward of {family.name} is the same function in every task: there is nothing to relabel"
        raise UserError(what, where="adapt.method", mend="use adapt.method=finetune")
    return Prepared(family, episodes, trained.return_noise())


def process(trained: MetaTraining, prepared: Prepared, config: AdaptConfig, new: NewTask) -> Process:
    """Spend the budget in rounds; with a known reward, what is learned without any episode is tried out first."""
    improver = Relabelling(prepared, config, new)
    return adapt_in_rounds(trained, improver, config, new, return_noise=prepared.return_noise)


class Relabelling:
    """The improver: more training on relabelled episodes and, where there are any, the new task's own."""

    def __init__(self, prepared: Prepared, config: AdaptConfig, new: NewTask) -> None:
        self._prepared, self._config, self._new = prepared, config, new
        self._task: Task | None = new.known
        self._old: Replay | None = None
        self.report: dict[str, JSON] = {"reward": "known" if new.known else "found"}

    def propose(self, best: Candidate, episodes: Sequence[Episode], turn: int) -> Candidate | None:
        """See `rounds.Improver`; None where the rewards don't tell the task."""
        if self._new.known is None:
            if not episodes:
                return None
            found = find_task(self._prepared.family, episodes, seed=self._new.seed)
            self.report |= {"reward_r2": found.r2 if found else None}
            if found is None or found.r2 < LEAST_R2:
                return None
            self.report |= {"found_task": found.task.to_json()}
            self._task, self._old = found.task, None
        assert self._task is not None
        if self._old is None:
            self._old = replay_of(best.agent, relabelled(self._prepared.episodes, self._prepared.family, self._task))
        sources = [Source(self._old, 1.0, self._old)]
        if episodes:
            own = replay_of(best.agent, episodes)
            sources = [Source(self._old, 1.0 - NEW_SHARE, self._old), Source(own, NEW_SHARE, own)]
        return tune(best, sources, self._config, seed=self._new.seed, turn=turn)
