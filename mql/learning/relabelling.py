"""Collected episodes once more, as episodes of another training task: the same steps, worth what they are worth there.

Hindsight task relabelling (HTR: Packer, Abbeel, Gonzalez, arXiv 2112.00901) and hindsight foresight relabelling (HFR:
Wan, Peng, Gangwani, arXiv 2109.09031) do so in meta-training; which task is chosen is simpler here: any, or of some the
one in which the episode is worth most. It needs a family that says its reward as a function, and tasks that look alike.

Tasks may move differently, as long as rewards do not depend on that. A copy then is an episode of a task that moves as
its own and rewards as the other: none of the training tasks, but one that a context has to tell from data as well.

A copy follows from its episode, the episode's number and the run's seed alone. So no checkpoint holds copies: a run
that goes on makes them again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mql.config.schema import Config
from mql.errors import UserError
from mql.seeding import generator
from mql.tasks.family import Task, TaskFamily
from mql.types import Episode, FloatArray

CANDIDATES = 10  # other tasks, of which the best one is taken
_TRIED = 8  # made-up transitions that tasks' rewards are compared in
_KEY, _MEND = "train.relabel_share", "set train.relabel_share to 0"


@dataclass(frozen=True)
class Relabelling:
    """What episodes are copied, and as whose. `relabelling_for` builds one.

    Args:
        family: its ``train`` tasks are `tasks`.
        alike: of each task, the others that its episodes may be copied to, by place.
        share: of the episodes, that are copied.
        best: they go to the best of some tasks, not to any.
        seed: of the run.
    """

    family: TaskFamily
    tasks: Sequence[Task]
    alike: Sequence[Sequence[int]]
    share: float
    best: bool
    seed: int

    def copy_of(self, number: int, episode: Episode) -> Episode | None:
        """Return the episode of another task that the run's episode `number` is copied as; None: it is not.

        Its success is that of the other task where the family can tell it, else None.
        """
        rng, others = generator(self.seed, "relabel", number), self.alike[episode.task]
        if not others or rng.random() >= self.share:
            return None
        places = rng.choice(others, min(CANDIDATES if self.best else 1, len(others)), replace=False)
        worth = {int(place): self._worth(episode, self.tasks[place]) for place in places}
        place = max(worth, key=lambda each: float(worth[each].sum(dtype=np.float64)))
        reward = episode.reward + worth[place] - self._worth(episode, self.tasks[episode.task])
        if not np.isfinite(reward).all():
            return None
        success = self.family.succeeded(episode.obs, episode.action, self.tasks[place])
        return replace(
            episode,
            reward=reward.astype(np.float32),
            task=place,
            success=success,
            final_info={},
            reward_terms={},
        )

    def _worth(self, episode: Episode, task: Task) -> FloatArray:
        reward = self.family.reward(episode.obs[:-1], episode.obs[1:], episode.action, task)
        assert reward is not None  # `relabelling_for` has asked
        return reward


def relabelling_for(config: Config, family: TaskFamily) -> Relabelling | None:
    """Return what ``train.relabel_share`` and ``train.relabel_to`` say; None: nothing is copied.

    Raises:
        UserError: the family can't say its reward as a function, or which task parameters its motion depends on; or no
            two training tasks move alike and differ in their rewards.
    """
    train, tasks = config.train, family.tasks("train")
    if not train.relabel_share:
        return None
    made_up = _made_up(family, tasks)
    if made_up is None:
        what = f"{family.name} can't say its reward as a function of what is observed"
        raise UserError(what, where=_KEY, mend=f"{_MEND}, or give the family a reward function")
    if family.moves_by is None:
        what = f"{family.name} does not say which task parameters its motion depends on"
        raise UserError(what, where=_KEY, mend=_MEND)
    pays_by = family.pays_by
    paying = (name for name in family.moves_by if _pays_by(name, family, tasks))
    names = sorted({*family.visible, *(paying if pays_by is None else set(pays_by) & set(family.moves_by))})
    same = [_values(task, names) for task in tasks]
    # What decides about rewards: where the family does not say it, what some transitions are worth.
    worth = [
        reward.tobytes() if pays_by is None else _values(task, pays_by)
        for task, reward in zip(tasks, made_up, strict=True)
    ]
    alike = [
        [other for other in range(len(tasks)) if same[other] == same[own] and worth[other] != worth[own]]
        for own in range(len(tasks))
    ]
    if not any(alike):
        what = f"all training tasks of {family.name} have the same reward function"
        if len(set(same)) == len(same) > 1:
            what = f"no two training tasks of {family.name} move and look alike: they differ in {', '.join(names)}"
        raise UserError(what, where=_KEY, mend=_MEND)
    return Relabelling(family, tasks, alike, train.relabel_share, train.relabel_to == "best", config.seed)


def _values(task: Task, names: Sequence[str]) -> tuple[object, ...]:
    return tuple(task.parameters[name] for name in names)


def _made_up(family: TaskFamily, tasks: Sequence[Task]) -> list[FloatArray] | None:
    """Return what some made-up transitions are worth in each task; None: the family can't say."""
    rng = generator(0, "made-up transitions")
    before, after = rng.standard_normal((2, _TRIED, family.obs_dim)).astype(np.float32)
    action = rng.uniform(-1.0, 1.0, (_TRIED, family.action_dim)).astype(np.float32)
    found = [family.reward(before, after, action, task) for task in tasks]
    known = [reward for reward in found if reward is not None]
    return known if len(known) == len(found) else None


def _pays_by(name: str, family: TaskFamily, tasks: Sequence[Task]) -> bool:
    """Tell whether a task's rewards change where it takes the parameter `name` of another one."""
    changed = [
        replace(task, parameters={**task.parameters, name: other.parameters[name]})
        for task, other in zip(tasks, [*tasks[1:], *tasks[:1]], strict=True)
    ]
    own, mixed = _made_up(family, tasks), _made_up(family, changed)
    return own is None or mixed is None or any(np.any(a != b) for a, b in zip(own, mixed, strict=True))
