"""Episodes that begin with random actions and go on with the policy (`mql.collecting.roll_in`)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from mql.collecting.exploration import Exploration
from mql.collecting.roll_in import RollIn
from mql.config.schema import Config
from mql.learning.trainer import Trainer
from mql.tasks import registry
from mql.types import FloatArray, IntArray

STEPS, EPISODES = 10, 4000


@dataclass(frozen=True)
class Always:
    """Takes one and the same action, whatever the policy says."""

    value: float
    follows_policy = False

    def begin(self, n: int, rng: np.random.Generator) -> Exploration:
        return self

    def act(self, actions: FloatArray, obs: FloatArray, t: int) -> FloatArray:
        return np.full_like(actions, self.value)

    def share(self, episodes: IntArray) -> Exploration:
        return self


def lengths(share: float) -> IntArray:
    """How many steps of each episode were guided."""
    running = RollIn(Always(0.5), None, share, STEPS).begin(EPISODES, np.random.default_rng(0))
    own, obs = np.full((EPISODES, 1), -0.25, np.float32), np.zeros((EPISODES, 1), np.float32)
    guided = np.stack([running.act(own, obs, t)[:, 0] for t in range(STEPS)]) == 0.5
    assert (np.diff(guided.astype(int), axis=0) <= 0).all(), "the guide acts at first, and never again"
    return np.asarray(guided.sum(axis=0))


def test_a_share_of_episodes_is_guided_for_any_number_of_steps() -> None:
    found = lengths(0.25)
    guided = found[found > 0]
    assert stats.binomtest(len(guided), EPISODES, 0.25).pvalue > 0.001
    assert stats.chisquare(np.bincount(guided, minlength=STEPS + 1)[1:]).pvalue > 0.001


def test_all_or_none() -> None:
    assert lengths(1.0).min() == 1 and lengths(1.0).max() == STEPS
    assert lengths(0.0).max() == 0


def test_what_follows_explores_as_it_would_alone() -> None:
    running = RollIn(Always(0.5), Always(-1.0), 0.5, STEPS).begin(100, np.random.default_rng(0))
    zeros = np.zeros((100, 1), np.float32)
    acted = np.stack([running.act(zeros, zeros, t) for t in range(STEPS)])
    assert set(np.unique(acted)) == {-1.0, 0.5}


def test_training_rolls_in_after_the_random_steps() -> None:
    """Nearly without noise, the policy's own actions change little from step to step; uniform ones do."""
    family = registry.load("point-robot")
    agent = {"exploration_noise": 0.01, "context_dim": 4, "hidden_sizes": [8]}
    played = []
    for share in (1.0, 0.0):
        train = {"env_steps": 1600, "random_steps": 320, "random_share": share, "episodes_per_iteration": 16}
        config = Config.model_validate({"family": "point-robot", "train": train, "agent": agent})
        trainer = Trainer(config, family)
        played.append([[episode.action for episode in trainer.iterate().episodes] for _ in range(3)])
    (random, _, rolled_in), (the_same, _, plain) = played
    assert np.array_equal(random, the_same)
    changes = [np.abs(np.diff(actions, axis=1)).mean() for actions in (rolled_in, plain)]
    assert changes[0] > 5 * changes[1]
