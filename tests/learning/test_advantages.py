"""Generalised advantage estimates, by hand and beside the sum that defines them."""

from __future__ import annotations

import numpy as np
import torch

from mql.learning.advantages import advantages


def test_an_episode_that_ends_passes_nothing_back() -> None:
    reward, value = torch.tensor([[1.0], [0.0], [2.0]]), torch.tensor([[0.5], [1.0], [-1.0]])
    following = torch.tensor([[1.0], [0.0], [4.0]])  # over after the second step, 4 after the third
    found = advantages(reward, value, following, torch.tensor([[True], [False], [False]]), discount=0.9, decay=0.5)
    torch.testing.assert_close(found, torch.tensor([[0.95], [-1.0], [6.6]]))


def test_advantages_are_the_discounted_sums_of_the_errors() -> None:
    rng = np.random.default_rng(0)
    reward, value, following = rng.normal(size=(3, 9, 4))
    goes_on = rng.random((9, 4)) < 0.7
    found = advantages(*map(torch.tensor, (reward, value, following, goes_on)), discount=0.8, decay=0.6)
    error = reward + 0.8 * following - value
    for t in range(9):
        for lane in range(4):
            total = sum(0.48 ** (k - t) * error[k, lane] for k in range(t, 9) if bool(goes_on[t:k, lane].all()))
            np.testing.assert_allclose(found[t, lane], total)
