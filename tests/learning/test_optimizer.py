"""What Adam does with numbers too small to be told apart; its steps are compared in test_td3.py."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from mql.agent.agent import Agent
from mql.agent.parameter_vector import ParameterVector
from mql.config.schema import AgentConfig
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


@pytest.mark.parametrize("copied", [copy.deepcopy, pickle.dumps])
@pytest.mark.parametrize("algorithm", ["td3", "sac"])
def test_a_learner_is_not_copied_without_a_word(algorithm: str, copied: Callable[[Any], Any]) -> None:
    """Its copy would step numbers that no network reads: it would learn nothing."""
    agent = Agent(2, 1, AgentConfig.model_validate({"hidden_sizes": (8,), "algorithm": algorithm}), seed=0)
    with pytest.raises(TypeError, match="copy the agent"):
        copied(agent.learner(lr=1e-3))
