"""Rewards that are too large or too small for a critic are remarked once, with the key that helps."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from lab_environments import Cart

import mql
from mql import tasks
from mql.config.loading import override
from mql.config.schema import Config
from mql.learning.reward_size import reward_remark
from mql.learning.trainer import Trainer
from mql.tasks import registry
from mql.tasks.distributions import Uniform


@pytest.mark.parametrize(
    ("rewards", "factor", "message"),
    [
        ([3.0, -4.0], 1.0, None),
        ([0.0, 0.0], 1.0, None),
        ([0.0, 0.0, 0.0, 1.0], 1.0, None),
        (
            [30.0, -40.0],
            1.0,
            "rewards are large for the critic, 35 in size (root mean square): set agent.reward_scale=",
        ),
        ([3e8, -4e8], 1.0, "agent.reward_scale=1e-09, or agent.normalize=true"),
        ([3e8, -4e8], 1e-8, None),
        ([3e30, -4e30], 1.0, "3.5e+30 in size"),
        ([3e-6, 4e-6], 1.0, "rewards are small for the critic, 3.5e-06 in size"),
        ([3.0, -4.0], 1e4, "set agent.reward_scale=0.1"),
    ],
)
def test_the_size_is_judged_as_a_loss_sees_it(rewards: list[float], factor: float, message: str | None) -> None:
    remark = reward_remark(torch.tensor(rewards), factor)
    assert remark is None if message is None else remark is not None and message in remark


@pytest.mark.parametrize("normalize", ["false", "true"])
def test_it_is_said_once_when_the_random_steps_are_over(normalize: str) -> None:
    settings = ["agent.hidden_sizes=[8]", "agent.context_dim=4", "train.batch_size=32", "agent.reward_scale=1000"]
    more = ["train.random_steps=150", "train.env_steps=400", "train.episodes_per_iteration=5"]
    config = override(Config(family="point-robot"), [*settings, *more, f"agent.normalize={normalize}"])
    trainer = Trainer(config, registry.load("point-robot"))
    remarks = [trainer.iterate().remark for _ in range(4)]
    assert [remark is None for remark in remarks] == [True, False, True, True]


class Scaled(Cart):
    """A cart whose rewards are of another size."""

    def __init__(self, gain: float = 1.0, scale: float = 1.0, render_mode: str | None = None) -> None:
        super().__init__(gain, render_mode=render_mode)
        self.scale = scale

    def step(self, action: object) -> tuple[object, float, bool, bool, dict[str, object]]:
        obs, reward, *rest = super().step(action)
        return obs, reward * self.scale, *rest  # type: ignore[return-value]


@pytest.mark.slow
def test_a_run_says_it(tmp_path: object, capsys: pytest.CaptureFixture[str]) -> None:
    gain = {"gain": Uniform(0.5, 2.0)}
    family = tasks.from_gymnasium(partial(Scaled, scale=1e8), gain, name="scaled", episode_length=10)
    settings = {"train.env_steps": 200, "train.random_steps": 100, "evaluate.final_tasks": 1, "adapt.step2_updates": 1}
    run = mql.train(family, run_dir=f"{tmp_path}/run", settings={**settings, "agent.hidden_sizes": [8]})
    remarks = [line["remark"] for line in run.metrics() if "remark" in line]
    assert len(remarks) == 1 and "agent.reward_scale=1e-0" in remarks[0]
    assert f"warning: {remarks[0]}" in capsys.readouterr().err
