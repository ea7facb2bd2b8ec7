"""A model of the new task's reward, learned from its episodes: for what no function of the family says.

A small network with smooth units maps (o, a, o' - o) to the reward. It is judged on episodes that it has not seen, and
knows only transitions like those that it was fitted on: elsewhere it is wrong without a sign of it, its copies that
were fitted on other folds included. So an old episode is relabelled only if nearly all of its transitions have a
neighbour in the new data, as near as held-out transitions of the new task have.

Shapes: n transitions, O observation, A action, F = 2 O + A inputs.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from mql.seeding import generator
from mql.types import Episode

FOLDS = 5
LEAST_ROWS = 20  # with fewer transitions nothing can be fitted and judged
MOST_ROWS = 1500  # transitions of the new task that are fitted
HIDDEN = (32, 32)
WEIGHT_DECAY = 1.0  # of scikit-learn's `alpha`: a smooth function is wanted, the rewards have hardly any noise
ITERATIONS = 100
NEAR = 0.95  # of the held-out transitions count as near
LEAST_NEAR = 0.9  # of the transitions of an old episode have to be near
LOOKED_AT = 50  # transitions of an old episode whose neighbours are looked for, evenly spread
SMALLEST_SPREAD = 1e-6  # of an input: one that never changed in the new task must not differ in an old episode

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class RewardModel:
    """What (o, a, o') is worth in the new task.

    Attributes:
        r2: share of the variance of held-out rewards that models fitted without them explain. Whole episodes are held
            out; of a single episode, stretches of it.
    """

    r2: float
    _network: Any
    _mean: Array
    _scale: Array
    _inputs: Array  # [n, F] of the transitions that it was fitted on, standardised
    _radius: float
    _seen: tuple[float, float]

    def near(self, episode: Episode) -> bool:
        """Tell whether nearly all transitions of an episode are like those that the model was fitted on."""
        rows = np.unique(np.linspace(0, episode.length - 1, LOOKED_AT).astype(int))
        inputs = (_inputs(episode)[rows] - self._mean) / self._scale
        return bool((_distances(self._inputs, inputs) <= self._radius).mean() >= LEAST_NEAR)

    def relabelled(self, episodes: Sequence[Episode]) -> list[Episode]:
        """Return those of `episodes` that are near, with the model's rewards: none beyond the range that was seen."""
        return [self._with_reward(episode) for episode in episodes if self.near(episode)]

    def _with_reward(self, episode: Episode) -> Episode:
        reward = self._network.predict((_inputs(episode) - self._mean) / self._scale)
        return replace(episode, reward=np.clip(reward, *self._seen).astype(np.float32))


def fit_reward(episodes: Sequence[Episode], *, seed: int) -> RewardModel | None:
    """Fit a model of the reward of `episodes`, all of the new task.

    Returns:
        None where there are too few transitions, or all are worth the same.
    """
    lengths = np.array([episode.length for episode in episodes])
    rows = int(lengths.sum())
    if rows < LEAST_ROWS:
        return None
    inputs = np.concatenate([_inputs(episode) for episode in episodes])
    reward = np.concatenate([episode.reward for episode in episodes]).astype(np.float64)
    if reward.std() <= SMALLEST_SPREAD * max(float(np.abs(reward).max()), 1.0):
        return None
    if len(episodes) > 1:
        fold = np.repeat(np.arange(len(episodes)) % min(FOLDS, len(episodes)), lengths)
    else:  # neighbours in time are alike, so that rows drawn at random would not be unseen
        fold = np.arange(rows) * FOLDS // rows
    if rows > MOST_ROWS:
        drawn = np.sort(generator(seed, "reward model").choice(rows, MOST_ROWS, replace=False))
        inputs, reward, fold = inputs[drawn], reward[drawn], fold[drawn]
    mean = inputs.mean(axis=0)
    scale = np.maximum(inputs.std(axis=0), SMALLEST_SPREAD * np.maximum(np.abs(mean), 1.0))
    inputs = (inputs - mean) / scale
    predicted, distance = np.zeros(len(reward)), np.zeros(len(reward))
    for held_out in np.unique(fold):
        unseen, fitted = fold == held_out, fold != held_out
        predicted[unseen] = _fit(inputs[fitted], reward[fitted]).predict(inputs[unseen])
        distance[unseen] = _distances(inputs[fitted], inputs[unseen])
    return RewardModel(
        r2=1.0 - float(np.square(predicted - reward).mean() / reward.var()),
        _network=_fit(inputs, reward),
        _mean=mean,
        _scale=scale,
        _inputs=inputs,
        _radius=float(np.quantile(distance, NEAR)),
        _seen=(float(reward.min()), float(reward.max())),
    )


def _inputs(episode: Episode) -> Array:
    """Return [n, F]. The change stands for o': it says how fast things move, which o' hides behind o."""
    change = episode.obs[1:] - episode.obs[:-1]
    return np.concatenate([episode.obs[:-1], episode.action, change], axis=1).astype(np.float64)


def _fit(inputs: Array, reward: Array) -> Any:
    from sklearn.compose import TransformedTargetRegressor  # type: ignore[import-untyped,unused-ignore]
    from sklearn.exceptions import ConvergenceWarning  # type: ignore[import-untyped,unused-ignore]
    from sklearn.neural_network import MLPRegressor  # type: ignore[import-untyped,unused-ignore]
    from sklearn.preprocessing import StandardScaler  # type: ignore[import-untyped,unused-ignore]

    network = MLPRegressor(
        hidden_layer_sizes=HIDDEN,
        activation="tanh",
        solver="lbfgs",
        alpha=WEIGHT_DECAY,
        max_iter=ITERATIONS,
        random_state=0,
    )
    # It ends early on purpose, and R2 says whether that was enough. Threads adapt, so `catch_warnings` would not do.
    warnings.filterwarnings("ignore", category=ConvergenceWarning, module=r"sklearn\.neural_network")
    return TransformedTargetRegressor(network, transformer=StandardScaler()).fit(inputs, reward)


def _distances(known: Array, inputs: Array) -> Array:
    """Return the distance of each of `inputs` to its nearest neighbour in `known`."""
    from sklearn.metrics import pairwise_distances_argmin_min  # type: ignore[import-untyped,unused-ignore]

    nearest: Array = pairwise_distances_argmin_min(inputs, known)[1]
    return nearest
