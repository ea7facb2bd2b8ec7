"""Weights of the stored rows for one new task, by how much they look like its data.

Shapes: M scored rows of the meta-training replay, n rows of new data, F features.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from mql.adaptation.new_data import replay_of
from mql.adaptation.old_data import ScoredData, episode_at, episodes_of, features_of, score
from mql.adaptation.propensity import (
    FEWEST_ROWS,
    ImportanceWeights,
    PropensityModel,
    fit_propensity,
    no_weights,
    weigh,
)
from mql.agent.agent import Agent
from mql.config.schema import AdaptConfig
from mql.learning.replay import Replay
from mql.seeding import generator
from mql.types import JSON, IntArray

CALIBRATED = 5  # training tasks that are weighed for
META_ROWS_PER_NEW_ROW = 10  # rows of old data in the classifier's fit: enough that their spread is known well


def weigh_rows(
    agent: Agent, scored: ScoredData, new: Replay, config: AdaptConfig, seed: int
) -> tuple[PropensityModel | None, ImportanceWeights]:
    """Weigh every scored row by how much it looks like the new data; features are those of `agent`.

    Where there is a single new row (the episode ended at its first step), nothing can be said of old ones: none counts.
    """
    features = features_of(agent, new, new.all_rows(), config)
    if min(len(features), len(scored.rows)) < FEWEST_ROWS:
        return None, no_weights(len(scored.rows))
    rng = generator(seed, "propensity")
    count = min(META_ROWS_PER_NEW_ROW * len(features), len(scored.rows))
    sample = rng.choice(len(scored.rows), size=count, replace=False)
    model = fit_propensity(
        features,
        scored.features[sample],
        inverse_regularization=config.inverse_regularization,
        prior=config.prior,
        rng=rng,
        new_groups=episodes_of(new, new.all_rows()),
        meta_groups=scored.episodes[sample],
    )
    groups = {"row": None, "episode": scored.episodes, "task": scored.tasks}[config.weigh_by]
    weighed = weigh(
        averaged(model.log_weights(scored.features), groups),
        max_log_weight=config.max_log_weight,
        min_weight=config.min_weight,
        relative=config.relative_weights,
    )
    return model, weighed


def averaged(values: npt.NDArray[np.float64], groups: IntArray | None) -> npt.NDArray[np.float64]:
    """Return values [M] with each in the place of its group's mean; None: as they are."""
    if groups is None:
        return values
    _, place, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    return np.asarray((np.bincount(place, values) / sizes)[place])


def calibration(agent: Agent, scored: ScoredData, config: AdaptConfig) -> dict[str, JSON]:
    """Weigh the store for its own training tasks, whose data it holds: what a figure of a new task stands beside.

    ``ess`` and ``auc`` are means over `CALIBRATED` tasks, each with its newest stored episode in the place of new data;
    ``own_share`` is the part of the weight that these tasks' own rows get, and ``fair_share`` what equal weights give.
    """
    tasks = np.unique(scored.tasks)
    tasks = tasks[tasks < scored.replay.n_trained]
    chosen = tasks[np.linspace(0, len(tasks) - 1, min(CALIBRATED, len(tasks))).astype(int)]
    figures: list[tuple[float, float, float, float]] = []
    for task in chosen:
        own = scored.rows[scored.tasks == task]
        newest = episode_at(scored.replay, own[0])
        model, weighed = weigh_rows(agent, scored, replay_of(agent, [newest]), config, int(task))
        if model is not None:
            fair = len(own) / len(scored.rows)
            figures.append((weighed.normalized_ess, model.auc, scored.shares(weighed.weights)[task], fair))
    if not figures:
        return {}
    means = np.mean(figures, axis=0)
    return dict(zip(("ess", "auc", "own_share", "fair_share"), map(float, means), strict=True))


def scored_for_weights(agent: Agent, replay: Replay, config: AdaptConfig) -> ScoredData:
    """Score the replay (`old_data.score`), and say what the weights' figures are for training tasks."""
    import sklearn.linear_model  # noqa: F401  (here, so that no adaptation's time has the import in it)

    scored = score(agent, replay, config)
    return replace(scored, calibration=calibration(agent, scored, config))
