"""What Adam does with numbers too small to be told apart; its steps are compared in test_td3.py."""

from __future__ import annotations

import copy

import numpy as np
import torch

from mql.agent.parameter_vector import ParameterVector
from mql.learning.optimizer import Adam


def test_what_rests_is_forgotten_before_it_slows_a_step() -> None:
    """Moments below the smallest normal number are 0, and other numbers of this thread are as they were."""
    parameters = ParameterVector([torch.nn.Parameter(torch.ones(4))])
    adam = Adam(parameters)
    adam.tensors()["0.exp_avg"].fill_(1e-38)
    adam.follow(torch.zeros(4), lr=1e-3)
    adam.follow(torch.zeros(4), lr=1e-3)
    assert adam.tensors()["0.exp_avg"].tolist() == [0.0] * 4
    assert float(np.float32(1e-38) * np.float32(0.1)) > 0.0
    torch.set_flush_denormal(True)
    try:
        adam.follow(copy.deepcopy(parameters.data), lr=1e-3)
        assert float(np.float32(1e-38) * np.float32(0.1)) == 0.0
    finally:
        torch.set_flush_denormal(False)
