"""Mean and spread in one pass, beside those of all rows at once."""

from __future__ import annotations

import numpy as np
import torch

from mql.learning.moments import Moments


def test_moments_are_those_of_all_rows_at_once() -> None:
    rows = np.random.default_rng(0).normal([3.0, -500.0, 7.0], [2.0, 30.0, 0.0], (90, 3)).astype(np.float32)
    moments = Moments(3, device=torch.device("cpu"))
    for part in np.split(rows, [10, 11, 60]):
        moments.add(torch.from_numpy(part))
    exact = rows.astype(np.float64)
    np.testing.assert_allclose(moments.mean, exact.mean(axis=0))
    np.testing.assert_allclose(moments.scale(), [*(1.0 / exact[:, :2].std(axis=0)), 1.0])  # what is constant stays
