"""Episodes that begin with another explorer's actions, and that the policy goes on with.

Random actions that are made to touch things (`play.py`) reach states that a policy which has not learned yet keeps away
from. Where these stay in the data, values there stay right; where the policy goes on from them, it learns what to do
next. That is the random-length roll-in of Uchendu et al. 2023 (Jump-Start Reinforcement Learning, arXiv 2204.02372),
whose guide is a trained policy.

Shapes: N episodes in parallel, T steps of a whole episode, O observation, A action.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mql.types import FloatArray, IntArray

if TYPE_CHECKING:
    from mql.collecting.exploration import Exploration, Explorer


@dataclass(frozen=True)
class RollIn:
    """An explorer under which some episodes begin with the actions of another one.

    Attributes:
        guide: acts at first, for 1 to T steps (uniform).
        then: explores from there, and all of the other episodes; None: the policy's actions are taken as they are.
        share: the probability that an episode begins so.
        steps: of an episode, T.
    """

    guide: Explorer
    then: Explorer | None
    share: float
    steps: int

    def begin(self, n: int, rng: np.random.Generator) -> _RollingIn:
        """Draw how long each episode is guided, then begin both explorers' episodes."""
        guided = rng.random(n) < self.share
        length = np.where(guided, rng.integers(1, self.steps + 1, n), 0)
        guide = self.guide.begin(n, rng)
        return _RollingIn(guide, None if self.then is None else self.then.begin(n, rng), length)


@dataclass(frozen=True)
class _RollingIn:
    guide: Exploration
    then: Exploration | None
    length: IntArray  # [N]
    follows_policy = True

    def act(self, actions: FloatArray, obs: FloatArray, t: int) -> FloatArray:
        own = actions if self.then is None else self.then.act(actions, obs, t)
        guided = t < self.length
        if not guided.any():
            return own
        taken: FloatArray = np.where(guided[:, None], self.guide.act(actions, obs, t), own)
        return taken

    def share(self, episodes: IntArray) -> _RollingIn:
        then = None if self.then is None else self.then.share(episodes)
        return _RollingIn(self.guide.share(episodes), then, self.length[episodes])
