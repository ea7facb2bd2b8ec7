"""Adaptation from bad data: every method gives a defined result, and says what it was."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from small_runs import meta_trained

from mql.adaptation.adapters import ADAPTERS, prepare
from mql.adaptation.meta_training import MetaTraining
from mql.adaptation.playing import NewTask, Request, carry_out, nobody, simulated
from mql.adaptation.result import AdaptationResult
from mql.agent.agent import Agent
from mql.cli.adaptation_text import in_words
from mql.collecting.exploration import random_actions
from mql.collecting.rollout import collect
from mql.config.loading import override
from mql.config.schema import AdaptConfig, AgentConfig, Config
from mql.errors import UserError
from mql.evaluation.held_out import evaluate, summarize_results
from mql.runs.changes import check_change
from mql.tasks import registry
from mql.types import Episode

FAMILY = registry.load("point-robot")
TASKS = FAMILY.tasks("train")[:4]


def agent() -> Agent:
    config = AgentConfig(hidden_sizes=(16,), context_dim=4, segment_length=4, burn_in=4)
    return Agent(FAMILY.obs_dim, FAMILY.action_dim, config, seed=0)


def trained() -> MetaTraining:
    of, rng, explorer = agent(), np.random.default_rng(0), random_actions(FAMILY)
    episodes = collect(of, FAMILY, [*TASKS, *TASKS], range(8), explorer=explorer, rng=rng)
    return meta_trained(of, FAMILY, episodes, n_tasks=len(TASKS))


def config(method: str, **settings: Any) -> AdaptConfig:
    small = {"step1_updates": 2, "step2_updates": 2, "batch_size": 16, "round_updates": 2, "round_batch_size": 16}
    return AdaptConfig(**{"method": method, "adaptation_episodes": 5, **small, **settings})


def episode(length: int, *, obs: float = 0.0, spread: float = 1.0, reward: float = -1.0, vary: float = 1.0) -> Episode:
    rng = np.random.default_rng(length)
    return Episode(
        obs=(obs + spread * rng.standard_normal((length + 1, FAMILY.obs_dim))).astype(np.float32),
        action=rng.uniform(-1.0, 1.0, (length, FAMILY.action_dim)).astype(np.float32),
        reward=(reward + vary * rng.standard_normal(length)).astype(np.float32),
        terminated=length == 1,
        truncated=length > 1,
        task=0,
        seed=0,
    )


BAD: dict[str, Callable[[], Episode]] = {
    "one transition": lambda: episode(1),
    "two transitions": lambda: episode(2),
    "constant observations": lambda: episode(20, spread=0.0),
    "constant everything": lambda: episode(20, spread=0.0, reward=0.0, vary=0.0),
    "equal rewards": lambda: episode(20, vary=0.0),
    "separable classes": lambda: episode(20, obs=1e4),
    "huge observations": lambda: episode(20, obs=1e30),
    "largest observations": lambda: episode(20, obs=3e38, spread=0.0),
    "huge rewards": lambda: episode(20, reward=1e30),
    "largest rewards": lambda: episode(20, reward=3e38, vary=0.0),
    "tiny numbers": lambda: episode(20, spread=1e-42, reward=0.0, vary=1e-42),
}
SETTINGS: dict[str, dict[str, Any]] = {
    "as it is": {},
    "kept unseen": {"gate": False, "accept_unseen": True},
    "a rate that overflows": {"lr": 1e30, "round_lr": 1e30, "gate": False},
    "a rate that overflows, tried out": {"lr": 1e30, "round_lr": 1e30},
    "no weight is left": {"min_weight": 1e12, "old_fraction": 0.5, "old": "propensity"},
    "weights as large as may be": {"max_log_weight": 80.0, "old_fraction": 0.5, "old": "propensity"},
}


def tensors(of: Agent) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in of.named_tensors()}


def check(result: AdaptationResult, before: MetaTraining) -> None:
    """What holds for any result: finite numbers, plain data, words for it, and nothing moved where it failed."""
    assert all(bool(torch.isfinite(tensor).all()) for _, tensor in result.agent.named_tensors())
    text = json.dumps(dict(result.report))
    assert "Infinity" not in text and "NaN" not in text, text
    told = in_words(result.report)
    own, meta = tensors(result.agent), tensors(before.agent)
    moved = any(not torch.equal(own[name], meta[name]) for name in meta)
    if result.report.get("failed"):
        assert "failed" in told and not moved and result.report["distance_moved"] == 0.0
    policy = result.agent.policy()
    context = policy.begin(1)
    assert math.isfinite(float(policy.act(np.zeros((1, FAMILY.obs_dim), np.float32), context).sum()))


@pytest.mark.parametrize("data", BAD)
@pytest.mark.parametrize("method", ADAPTERS)
def test_given_episodes_of_any_kind_give_a_defined_result(method: str, data: str) -> None:
    before = trained()
    for count, settings in ((1, "as it is"), (3, "kept unseen")):
        prepared = prepare(before, config(method, **SETTINGS[settings]))
        new = NewTask(0, 2, [BAD[data]() for _ in range(count)])
        check(carry_out(prepared.begin(new), nobody), before)


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("method", ADAPTERS)
def test_played_episodes_with_any_settings_give_a_defined_result(method: str, settings: str) -> None:
    before = trained()
    prepared = prepare(before, config(method, **SETTINGS[settings]))
    play = simulated(FAMILY, FAMILY.tasks("test")[0], seed=1)
    check(carry_out(prepared.begin(NewTask(5, 2)), play), before)

    def one_step(request: Request) -> Sequence[Episode]:
        return [episode(1) for _ in request.starts]

    check(carry_out(prepared.begin(NewTask(5, 2)), one_step), before)


@pytest.mark.parametrize("method", ["paper", "finetune"])
def test_a_failed_adaptation_is_a_row_in_which_zero_shot_stands(method: str) -> None:
    before = trained()
    failing = prepare(before, config(method, lr=1e30, round_lr=1e30, gate=False))
    results = evaluate(
        before.agent, FAMILY, FAMILY.tasks("test")[:2], evaluation_episodes=2, seed=0, adaptation=failing
    )
    summary = summarize_results(results)
    for row in (result.to_json() for result in results):
        assert "not finite" in row["failed"] and "fault" not in row
        assert row["adapted_return"] == row["zero_shot_return"]
        json.dumps(row, allow_nan=False)
    assert summary["gain"]["mean"] == 0.0 and summary["failed"] == 2


def test_what_adapts_may_change_when_a_run_goes_on() -> None:
    """A run whose evaluations fail by such a setting can be gone on with by another one; training keeps its own."""
    before = override(Config(family="point-robot"), ["adapt.method=paper", "adapt.lr=1e30"])
    check_change(before, override(before, ["adapt.lr=3e-4"]), checkpoint=100, checkpoints=[100])
    with pytest.raises(UserError, match="was started with"):
        check_change(before, override(before, ["agent.lr=1e-5"]), checkpoint=100, checkpoints=[100])
