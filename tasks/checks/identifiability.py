"""Can two tasks be told apart by their transitions? That is what propensities and the context encoder live on.

A classifier sees (o, a, r, o' - o) of one task and of another, learns on some episodes and is asked about others.

Shapes: M transitions, F = O + A + 1 + O features.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mql.robots.checks.verdict import Verdict, passed, warned
from mql.tasks.checks.inspection import Episode, Inspection
from mql.tasks.checks.tasks import distant_pairs
from mql.tasks.family import Task

_ENOUGH = 0.55  # area under the curve; guessing gives 0.5
_HELD_OUT = 0.5  # held-out episodes for each one that is learned from
_FEWEST = 4  # episodes to learn from: with fewer, a classifier learns where they happened to start
_TREES = 40  # a small ensemble: the signal that counts is not a subtle one
_LARGEST = 1e6  # what a feature is clipped to, so that one wild number spoils nothing
_FIRST_SEED = 41

Array = npt.NDArray[np.float64]


def check_identifiability(inspection: Inspection) -> Verdict:
    """A classifier tells distant training tasks apart."""
    pairs = distant_pairs(inspection.family, inspection.amount.pairs)
    if not pairs:
        return warned("all training tasks are the same: nothing is there to be told apart")
    areas = np.array([_areas(inspection, one, other) for one, other in pairs])  # [pairs, classifiers]
    area = float(areas.mean(axis=0).max())
    what = f"AUC {area:.2f} over {len(pairs)} pair{'s' if len(pairs) > 1 else ''} of distant tasks"
    if area < _ENOUGH:
        return warned(
            f"{what}: propensity has little to live on; widen the parameters' ranges, reward more densely, "
            "or give the family a probe whose actions let them show"
        )
    return passed(what)


def _areas(inspection: Inspection, one: Task, other: Task) -> tuple[float, float]:
    """Return the held-out area under the curve of a linear and of a tree classifier."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits

    steps = min(inspection.amount.steps, inspection.family.episode_length)
    learned = max(_FEWEST, math.ceil(inspection.amount.transitions / steps))
    asked = math.ceil(_HELD_OUT * learned)
    seeds = range(_FIRST_SEED, _FIRST_SEED + learned + asked)
    # Both tasks of a pair get the same seeds, so that only the task tells the two apart.
    played = {task: inspection.telling_episodes([task] * len(seeds), seeds, steps) for task in (one, other)}
    train, train_is_other = _features([played[task][:learned] for task in (one, other)])
    test, test_is_other = _features([played[task][learned:] for task in (one, other)])
    classifiers: tuple[Any, ...] = (
        make_pipeline(StandardScaler(), LogisticRegression(max_iter=200)),
        HistGradientBoostingClassifier(max_iter=_TREES, random_state=0),
    )
    areas = []
    with threadpool_limits(1):
        for classifier in classifiers:
            classifier.fit(train, train_is_other)
            areas.append(float(roc_auc_score(test_is_other, classifier.predict_proba(test)[:, 1])))
    return areas[0], areas[1]


def _features(groups: Sequence[Sequence[Episode]]) -> tuple[Array, Array]:
    """Return (o, a, r, o' - o) of both tasks' transitions [M, F], and which task each is of [M]."""
    rows = [np.concatenate([_transitions(episode) for episode in episodes]) for episodes in groups]
    labels = np.concatenate([np.full(len(part), float(label)) for label, part in enumerate(rows)])
    return np.concatenate(rows), labels


def _transitions(episode: Episode) -> Array:
    obs = episode.obs.astype(np.float64)
    parts = (obs[:-1], episode.actions, episode.rewards[:, None], np.diff(obs, axis=0))
    rows: Array = np.clip(np.nan_to_num(np.concatenate(parts, axis=1)), -_LARGEST, _LARGEST)
    return rows
