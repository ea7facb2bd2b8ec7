"""A learner that diverges is stopped before its next checkpoint, whatever its method; those before stay good."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
import torch

from mql.api.run import train
from mql.config.loading import load_config
from mql.config.methods import METHODS
from mql.errors import UserError
from mql.runs.run_dir import RunDir
from mql.tasks import registry
from mql.training.divergence import MOST, Diverged, check, sizes_of
from mql.training.methods import meta_train

SHORT = ["train.env_steps=2000", "train.checkpoint_every=500", "train.evaluate_every=10000", "threads=1"]
OFF_POLICY = [
    "train.random_steps=500",
    "train.batch_size=32",
    "train.env_steps_per_update=10",
    "agent.hidden_sizes=[16,16]",
    "evaluate.final_tasks=1",
]
CONTEXT = ["agent.context_dim=4", "agent.segment_length=8", "agent.burn_in=4"]
Q_LEARNING = ["q_learning.hidden_sizes=[16]", "q_learning.random_steps=600", "train.env_steps=4000"]
# By method: the family, and what makes it small.
SMALL: dict[str, tuple[str, list[str]]] = {
    **dict.fromkeys(("mql", "td3", "td3-context", "oracle", "pearl"), ("point-robot", OFF_POLICY)),
    "rl2": ("point-robot", ["rl2.state_dim=16", "rl2.steps_per_iteration=500", "evaluate.final_tasks=1"]),
    "p3o": ("Pendulum-v1", ["p3o.hidden_sizes=[16]", "evaluate.final_tasks=1"]),
    **dict.fromkeys(("dqn", "rainbow"), ("CartPole-v1", Q_LEARNING)),
}
# Rates of 1, the largest, which these need to diverge before their hidden units are dead and nothing moves any more.
FAST = ["q_learning.random_steps=1500", "q_learning.lr=1", "q_learning.update_every=1", "train.env_steps=3000"]
AWAY = {
    "dqn": [*FAST, "q_learning.target_every=1"],
    "rainbow": [
        *FAST,
        "q_learning.target_every=10",
        "q_learning.adam_eps=1e-12",
        "q_learning.hidden_sizes=[16,16,16]",
    ],
}


def begin(path: Path, method: str, rate: float) -> None:
    name, small = SMALL[method]
    settings = [*SHORT, *small]
    if method in ("mql", "td3-context"):
        settings += CONTEXT
    if method == "mql":
        settings += ["adapt.method=context"]
    config = load_config(name, overrides=settings, method=method)
    section, key = METHODS[method].rate.split(".")
    # Past the bounds that a configuration is held to: what is looked at is the learner.
    beyond = config.model_copy(update={section: getattr(config, section).model_copy(update={key: rate})})
    family = registry.load(name)
    if METHODS[method].sees_task:
        family = family.as_oracle()
    with RunDir.create(path, config=config, tasks={}, command=["mql"]) as run:
        meta_train(beyond, family, run)


def test_every_method_is_tried() -> None:
    assert set(SMALL) == set(METHODS)


# (The settings of dqn and rainbow are held to their bounds once more: for those, see below.)
@pytest.mark.parametrize("method", [method for method in SMALL if method not in AWAY])
def test_too_large_a_rate_is_found_before_a_checkpoint(tmp_path: Path, method: str) -> None:
    with pytest.raises(Diverged) as caught:
        begin(tmp_path / "run", method, 10.0)
    run = RunDir.open_readonly(tmp_path / "run")
    assert "training diverged" in str(caught.value) and f"after {caught.value.env_steps} " in str(caught.value)
    assert caught.value.good == max(run.checkpoints(), default=None)
    for env_steps in run.checkpoints():
        sizes = sizes_of(run.load_checkpoint(env_steps).tensors)
        assert sizes and max(sizes.values()) < 1.0
    assert not run.finished


@pytest.mark.parametrize("method", AWAY)
def test_settings_within_the_bounds_that_are_too_large_together(tmp_path: Path, method: str) -> None:
    settings = [*SHORT, *Q_LEARNING, *AWAY[method]]
    with pytest.raises(UserError) as caught:
        train("CartPole-v1", run_dir=tmp_path / "run", method=method, settings=settings, progress=False)
    run = RunDir.open_readonly(tmp_path / "run")
    line = str(caught.value)
    assert "training diverged" in line and "lower q_learning.lr than 1" in line and "\n" not in line
    [good] = re.findall(r"the last good checkpoint is (\d+)", line)
    assert [int(good)] == run.checkpoints() and not run.finished
    assert max(sizes_of(run.load_checkpoint(None).tensors).values()) < 1.0


@pytest.mark.faults
@pytest.mark.parametrize("method", SMALL)
def test_a_usual_rate_is_none(tmp_path: Path, method: str) -> None:
    begin(tmp_path / "run", method, 1e-3)
    run = RunDir.open_readonly(tmp_path / "run")
    sizes = sizes_of(run.load_checkpoint(None).tensors)
    assert run.finished and sizes and max(sizes.values()) < MOST / 10


def test_a_run_that_diverges_is_one_line_that_names_the_key_and_the_checkpoint(tmp_path: Path) -> None:
    settings = [*SHORT, *OFF_POLICY, "agent.lr=1", "train.random_steps=900", *CONTEXT]
    with pytest.raises(UserError) as caught:
        train("point-robot", run_dir=tmp_path / "run", settings=settings, progress=False)
    line = str(caught.value)
    [good] = re.findall(r"the last good checkpoint is (\d+)", line)
    assert int(good) == max(RunDir.open_readonly(tmp_path / "run").checkpoints())
    assert "lower agent.lr than 1" in line and "\n" not in line
    assert "online." in line and re.search(r"\([\d.]+ after", line)  # what grew, and what it was before


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_finite_is_not_saved(value: float) -> None:
    sound = {"online.critic.weight": torch.ones(2, 2), "adam.critic.0": torch.ones(2), "replay.obs": torch.ones(2)}
    assert check(sound, env_steps=1, good=None, before={}) == {"online.critic": 1.0}
    with pytest.raises(Diverged, match=r"adam.critic.0 is not finite after 20 .* the last good checkpoint is 10"):
        check({**sound, "adam.critic.0": torch.tensor([1.0, value])}, env_steps=20, good=10, before={})


def test_a_few_large_weights_are_what_large_returns_need() -> None:
    weight = torch.full((10, 10), 0.1)
    weight[:4] = 1e6
    assert check({"online.critic.weight": weight}, env_steps=1, good=None, before={})
    with pytest.raises(Diverged, match=r"online.critic have grown to 1e\+06 .* \(0.1 after 5\)"):
        check({"online.critic.weight": 1e7 * weight}, env_steps=9, good=5, before={"online.critic": 0.1})
