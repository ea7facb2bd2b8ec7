"""Adaptation by old episodes with the new task's reward: the newest ones of training, their contexts computed anew.

Where the task is known (`NewTask.known`), no episode of it is needed. Where its parameters are hidden, they are found
from the rewards of its first episodes (`rewards.TaskFinder`). Where these explain too little, or the family can't say
its reward as a function, a model of it is learned from the same episodes (`reward_model.py`); where that explains too
little as well, or knows too few of the old episodes, nothing is tried.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mql.adaptation.gate import Gate, gate_of
from mql.adaptation.meta_training import MetaTraining
from mql.adaptation.new_data import replay_of
from mql.adaptation.old_data import newest_episodes
from mql.adaptation.playing import NewTask, Process
from mql.adaptation.reward_model import fit_reward
from mql.adaptation.rewards import LEAST_R2, TaskFinder, relabelled, tells_apart
from mql.adaptation.rounds import adapt_in_rounds
from mql.adaptation.tuning import Candidate, Source, Tuner
from mql.config.schema import AdaptConfig
from mql.errors import UserError
from mql.learning.replay import Replay
from mql.tasks.family import TaskFamily
from mql.types import JSON, Episode

EPISODES = 500  # newest ones of training that are relabelled
COMPARED = 10  # episodes in which some training tasks' rewards have to differ
NEW_SHARE = 0.5  # of every batch, once the new task's own episodes are there
LEAST_EPISODES = 10  # old ones that a learned reward has to be good for


@dataclass(frozen=True)
class Prepared:
    """The family if it says its reward as a function, the episodes to relabel, and the gate."""

    family: TaskFamily | None
    episodes: Sequence[Episode]
    gate: Gate

    @property
    def exact(self) -> bool:
        """Whether a function of the family says the rewards, be they known or found."""
        return self.family is not None


def prepare(trained: MetaTraining, config: AdaptConfig) -> Prepared:
    """Take the newest episodes out of the replay.

    Raises:
        UserError: the reward is to be known, but the family is unknown, or can't say it as a function; or it is the
            same function in every task.
    """
    prepared = prepare_hidden(trained, config)
    if config.reward == "known" and prepared.family is None:
        what = "no function says what this family's transitions are worth in the new task"
        raise UserError(what, where="adapt.reward", mend="use adapt.reward=hidden: then a model of it is learned")
    return prepared


def prepare_hidden(trained: MetaTraining, config: AdaptConfig) -> Prepared:
    """Take the newest episodes out of the replay, even if the family can't say its reward as a function.

    Raises:
        UserError: the family says its reward, and it is the same in every task: stored rewards are right as they are.
    """
    episodes, family = newest_episodes(trained.replay, EPISODES), trained.family
    if family is not None:
        first = episodes[0]
        if family.reward(first.obs[:1], first.obs[1:2], first.action[:1], family.tasks("train")[0]) is None:
            family = None
        elif not tells_apart(family, episodes[:COMPARED]):
            one = len(family.tasks("train")) == 1
            why = "has one training task" if one else "has the same reward function in every task"
            what = f"{family.name} {why}: there is nothing to relabel"
            raise UserError(what, where="adapt.method", mend="use adapt.method=finetune")
    return Prepared(family, episodes, gate_of(trained, config))


def process(trained: MetaTraining, prepared: Prepared, config: AdaptConfig, new: NewTask) -> Process:
    """Spend the budget in rounds; with a known reward, what is learned without any episode is tried out first."""
    improver = Relabelling(prepared, config, new, finder_of(prepared, new))
    return adapt_in_rounds(trained, improver, config, new, prepared.gate)


def finder_of(prepared: Prepared, new: NewTask) -> TaskFinder | None:
    """Return what finds the new task; None: the family can't say its reward as a function."""
    return TaskFinder(prepared.family, known=new.known, seed=new.seed) if prepared.family else None


class Relabelling:
    """The improver: more training on relabelled episodes and, where there are any, the new task's own.

    Args:
        finder: None: no function of the family says the reward, so a model of it is learned.
    """

    def __init__(self, prepared: Prepared, config: AdaptConfig, new: NewTask, finder: TaskFinder | None) -> None:
        self._prepared, self._seed, self._finder = prepared, new.seed, finder
        self._tuner = Tuner(config, seed=new.seed)
        self._known = finder is not None and finder.known is not None
        self._old: Replay | None = None
        self.report: dict[str, JSON] = {"reward": "known"} if self._known else {}

    def propose(self, best: Candidate, episodes: Sequence[Episode], turn: int) -> Candidate | None:
        """See `rounds.Improver`; None where the rewards don't tell enough."""
        if self._old is None or not self._known:  # what is found or learned depends on the episodes so far
            changed = self._relabelled(episodes)
            self._old = None if changed is None else replay_of(best.agent, changed)
        old = self._old
        if old is None:
            return None
        sources = [Source(old, 1.0, old)]
        if episodes:
            own = replay_of(best.agent, episodes)
            sources = [Source(old, 1.0 - NEW_SHARE, old), Source(own, NEW_SHARE, own)]
        return self._tuner.propose(best, sources, turn)

    def _relabelled(self, episodes: Sequence[Episode]) -> list[Episode] | None:
        """Return old episodes with the new task's reward: known, else found, else learned from its `episodes`."""
        if self._finder is not None:
            found = self._finder.find(episodes)
            if not self._known:
                self.report = {"reward": "found", "reward_r2": found.r2 if found else None}
            if found is not None and found.explains:
                if not self._known:
                    self.report |= {"found_task": found.task.to_json()}
                return relabelled(self._prepared.episodes, self._finder.family, found.task)
        return self._by_model(episodes) if episodes else None

    def _by_model(self, episodes: Sequence[Episode]) -> list[Episode] | None:
        model = fit_reward(episodes, seed=self._seed)
        self.report = {"reward": "learned", "reward_r2": model.r2 if model else None}
        if model is None or model.r2 < LEAST_R2:
            return None
        old = model.relabelled(self._prepared.episodes)
        self.report |= {"old_episodes": len(old)}
        return old if len(old) >= LEAST_EPISODES else None
