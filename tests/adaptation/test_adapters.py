"""Every way to adapt: chosen by name, a pure function, and its report in the rows of an evaluation."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import get_args

import numpy as np
import pytest
import torch

from mql.adaptation.adapters import ADAPTERS, adapt, adapt_all, prepare
from mql.adaptation.paper import MetaData
from mql.agent.agent import Agent
from mql.collecting.exploration import random_actions
from mql.collecting.rollout import collect
from mql.config.schema import AdaptConfig, AgentConfig
from mql.evaluation.held_out import FIGURES, adaptation_data, evaluate, summarize_results
from mql.learning.replay import Replay
from mql.tasks import registry

FAMILY = registry.load("point-robot")
TASKS = FAMILY.tasks("train")[:4]

by_method = pytest.mark.parametrize("method", ADAPTERS)


def agent() -> Agent:
    config = AgentConfig(hidden_sizes=(16,), context_dim=4, segment_length=4, burn_in=4)
    return Agent(FAMILY.obs_dim, FAMILY.action_dim, config, seed=0)


def config(method: str) -> AdaptConfig:
    return AdaptConfig(method=method, step1_updates=1, step2_updates=1, batch_size=16)  # type: ignore[arg-type]


def replay(of: Agent) -> Replay:
    """Two episodes of random actions of each task."""
    kept = Replay(
        n_tasks=len(TASKS),
        obs_dim=of.obs_dim,
        action_dim=of.action_dim,
        capacity=1000,
        episode_length=FAMILY.episode_length,
        context_dim=of.state_dim,
    )
    rng, explorer = np.random.default_rng(0), random_actions(FAMILY)
    for episode in collect(of, FAMILY, [*TASKS, *TASKS], range(8), explorer=explorer, rng=rng):
        kept.append(episode)
    return kept


def tensors(of: Agent) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in of.named_tensors()}


def same(a: Mapping[str, torch.Tensor], b: Mapping[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_every_choice_of_the_configuration_has_its_adapter() -> None:
    assert set(get_args(AdaptConfig.model_fields["method"].annotation)) == set(ADAPTERS)


@by_method
def test_the_meta_trained_agent_is_untouched_and_equal_arguments_give_equal_results(method: str) -> None:
    meta_agent, settings = agent(), config(method)
    before, meta = tensors(meta_agent), prepare(meta_agent, replay(meta_agent), settings)
    [new] = adaptation_data(meta_agent, FAMILY, FAMILY.tasks("test")[:1], settings, seed=1)
    first, again = (adapt(meta_agent, meta, new, settings, seed=2) for _ in range(2))
    assert first.agent is not meta_agent and same(tensors(meta_agent), before)
    assert same(tensors(first.agent), tensors(again.agent))
    assert {**first.report, "adapt_seconds": None} == {**again.report, "adapt_seconds": None}
    assert first.report["new_transitions"] == FAMILY.episode_length
    assert json.loads(json.dumps(first.report)) == first.report
    with pytest.raises(ValueError, match="at least one episode"):
        adapt(meta_agent, meta, [], settings, seed=2)


@by_method
def test_a_row_holds_the_report_and_none_where_the_method_has_no_such_figure(method: str) -> None:
    meta_agent, settings = agent(), config(method)
    results = evaluate(
        meta_agent,
        FAMILY,
        FAMILY.tasks("test")[:2],
        evaluation_episodes=1,
        seed=0,
        meta=prepare(meta_agent, replay(meta_agent), settings),
        config=settings,
    )
    for result in results:
        row = result.to_json()
        assert result.report is not None and row.keys() >= {*FIGURES, *result.report}
        assert {name: row[name] for name in FIGURES} == {name: result.report.get(name) for name in FIGURES}
        if method in ("paper", "context"):
            assert (row["normalized_ess"] is None) == (method == "context")
    gain = summarize_results(results)["gain"]["mean"]
    # The same agent from the same start; products of other sizes round differently.
    assert (abs(gain) < 1e-5) == (method == "context")


def test_by_context_alone_nothing_is_learned() -> None:
    meta_agent, settings = agent(), config("context")
    [new] = adaptation_data(meta_agent, FAMILY, FAMILY.tasks("test")[:1], settings, seed=1)
    adapted = adapt(meta_agent, prepare(meta_agent, replay(meta_agent), settings), new, settings, seed=0)
    assert same(tensors(adapted.agent), tensors(meta_agent))
    assert adapted.report == {"new_transitions": FAMILY.episode_length, "adapt_seconds": 0.0}


@by_method
@pytest.mark.parametrize("threads", [1, 2])
def test_many_tasks_in_one_call_are_adapted_as_one_by_one(method: str, threads: int) -> None:
    meta_agent, settings = agent(), config(method)
    meta = prepare(meta_agent, replay(meta_agent), settings)
    assert (method == "paper") == isinstance(meta, MetaData)
    data = adaptation_data(meta_agent, FAMILY, FAMILY.tasks("test")[:3], settings, seed=1)
    together = list(adapt_all(meta_agent, meta, data, settings, seeds=[4, 5, 6], threads=threads))
    assert len(together) == 3
    for adapted, episodes, seed in zip(together, data, (4, 5, 6), strict=True):
        alone = adapt(meta_agent, meta, episodes, settings, seed=seed)
        assert alone.report.get("normalized_ess") == adapted.report.get("normalized_ess")
        for a, b in zip(tensors(alone.agent).values(), tensors(adapted.agent).values(), strict=True):
            assert torch.allclose(a, b, atol=1e-6)
