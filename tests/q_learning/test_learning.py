"""All variants learn to walk along a chain, at whose far end a reward is, past a smaller one that is near."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mql.q_learning.acting import epsilon_greedy, values_of
from mql.q_learning.learner import QLearner
from mql.q_learning.replay import QReplay
from mql.q_learning.settings import DQN, RAINBOW, QSettings

CELLS, LIMIT, START = 8, 30, 2
NEAR, FAR = 0.2, 1.0  # at the left and at the right end, where episodes terminate


class Chain:
    """Cells in a row, begun in the third; actions go left and right. A time limit cuts episodes."""

    def __init__(self) -> None:
        self.cell, self.steps = START, 0

    def obs(self) -> np.ndarray:
        return np.eye(CELLS, dtype=np.float32)[self.cell][None]

    def step(self, action: int) -> tuple[float, bool, bool]:
        self.cell += 1 if action else -1
        self.steps += 1
        reward = {0: NEAR, CELLS - 1: FAR}.get(self.cell, 0.0)
        ended = self.cell in (0, CELLS - 1)
        return reward, ended, self.steps == LIMIT and not ended


def learn(method: QSettings, seed: int, steps: int) -> QLearner:
    learner, replay, chain = QLearner((CELLS,), 2, method, seed=seed), QReplay((CELLS,), np.float32, method), Chain()
    for t in range(steps):
        before = chain.obs()
        action = epsilon_greedy(values_of(learner.online), before, epsilon=method.epsilon(t), seed=seed, env_steps=t)
        reward, terminated, truncated = chain.step(int(action[0]))
        replay.add(before, action, [reward], [terminated], [truncated], chain.obs())
        if terminated or truncated:
            chain = Chain()
        while learner.updates < method.updates_after(t + 1):
            learner.learn(replay, env_steps=t + 1)
    return learner


@pytest.mark.parametrize(
    ("method", "pulled"),
    [
        (DQN, False),
        (DQN, True),
        (RAINBOW, False),
        pytest.param(RAINBOW, True, marks=pytest.mark.slow),
    ],
)
def test_the_far_reward_is_found(method: QSettings, pulled: bool) -> None:
    method = method.model_copy(
        update={
            "hidden_sizes": (32,),
            "discount": 0.9,
            "lr": 3e-3,
            "target_every": 100,
            "random_steps": 300,
            "epsilon_steps": 1200,
            "value_min": -1.0,
            "value_max": 1.0,
            "beta_steps": 2500,
        }
    )
    method = method.model_copy(
        update={"c": method.published_c if pulled else 0.0, "reset_optimizer": pulled and not method.prioritised}
    )
    learner = learn(method, 0, 2500)
    values = learner.online(torch.eye(CELLS)).detach().numpy()[1:-1]
    assert (values.argmax(axis=1) == 1).all(), "to the right from everywhere"
    best = FAR * 0.9 ** np.arange(CELLS - 3, -1, -1)
    found = values.max(axis=1)
    if method.n_step == 1:
        np.testing.assert_allclose(found, best, rtol=0, atol=0.1)
    else:  # the random actions within a return count, too, and make it lower
        assert (np.diff(found) > 0).all() and (found < best + 0.1).all() and found[-1] == pytest.approx(FAR, abs=0.1)
