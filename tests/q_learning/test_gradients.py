"""Gradients by hand beside autograd's, in double precision."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mql.agent.parameter_vector import ParameterVector
from mql.q_learning.gradients import ByAutograd, ByHand
from mql.q_learning.networks import make_network
from mql.q_learning.replay import QBatch
from mql.q_learning.settings import DQN, RAINBOW, QSettings

SMALL = {"hidden_sizes": (12, 9), "filters": 5, "conv_units": 11, "atoms": 7}
METHODS = [method.model_copy(update=SMALL) for method in (DQN, RAINBOW)]
A = 3


def batch(shape: tuple[int, ...], size: int, seed: int) -> QBatch:
    rng = np.random.default_rng(seed)
    planes = len(shape) == 3
    obs, following = (
        torch.from_numpy(rng.random((size, *shape)) < 0.3 if planes else rng.normal(size=(size, *shape)))
        for _ in range(2)
    )
    return QBatch(
        obs=obs,
        next_obs=following,
        action=torch.from_numpy(rng.integers(A, size=size)),
        reward=torch.from_numpy(rng.normal(size=size)),
        discount=torch.from_numpy(rng.choice([0.0, 0.9], size)),
        weights=torch.from_numpy(rng.uniform(0.2, 1.0, size)),
        rows=np.arange(size),
    )


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shape", [(5,), (4, 7, 6)])
def test_gradients_by_hand_are_those_of_autograd(method: QSettings, shape: tuple[int, ...]) -> None:
    online, target = (make_network(shape, A, method, seed=seed).double() for seed in (0, 1))
    parameters = ParameterVector(list(online.parameters()))
    by_hand, by_autograd = ByHand(online, target, parameters), ByAutograd(online, target, parameters)
    for seed, size in enumerate((16, 3, 16)):  # (memory is kept for each size)
        data = batch(shape, size, seed)
        (ours, gradient), (theirs, expected) = by_hand(data), by_autograd(data)
        assert float(expected.abs().max()) > 1e-3
        np.testing.assert_allclose(gradient.numpy(), expected.numpy(), rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(ours.of_each.numpy(), theirs.of_each.numpy(), rtol=1e-9, atol=1e-12)
        assert ours.losses.keys() == theirs.losses.keys()
        for name, value in ours.losses.items():
            assert float(value) == pytest.approx(float(theirs.losses[name]), rel=1e-9), name
        parameters.data.add_(0.1 * gradient)  # both see what the parameters become
