"""Collecting and updating in turn: when things happen for the first time."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mql.config.loading import override
from mql.config.schema import Config
from mql.learning.trainer import Trainer
from mql.tasks import registry

SMALL = ["agent.hidden_sizes=[8]", "agent.context_dim=4", "train.batch_size=32", "train.episodes_per_iteration=5"]


@pytest.mark.parametrize(
    "settings",
    [
        ["train.random_steps=200"],  # two iterations of 100 steps: no update is due after them
        ["train.random_steps=150", "train.env_steps_per_update=70"],
        ["train.random_steps=150"],
    ],
)
def test_normalisation_is_by_the_random_steps_alone(settings: list[str]) -> None:
    """Else the policy would act on numbers that are not scaled, and its steps would count."""
    config = override(Config(family="point-robot"), [*SMALL, "train.env_steps=400", "agent.normalize=true", *settings])
    trainer = Trainer(config, registry.load("point-robot"))
    trainer.iterate()
    assert not trainer.updates and not trainer.agent.scaling.fitted
    trainer.iterate()
    assert trainer.env_steps == 200 and trainer.agent.scaling.fitted
    obs, reward = trainer.replay.observations_and_rewards()
    seen = torch.cat([obs, torch.zeros(200, 2), reward[:, None]], dim=1)
    fitted = trainer.agent.scaling.shift.clone()
    np.testing.assert_allclose(fitted, seen.mean(dim=0), rtol=1e-5, atol=1e-6)
    before = trainer.updates
    trainer.iterate()
    assert trainer.updates > before
    assert torch.equal(trainer.agent.scaling.shift, fitted)
