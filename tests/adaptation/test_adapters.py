"""Every way to adapt: chosen by name, a pure function, and its report in the rows of an evaluation."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, get_args

import numpy as np
import pytest
import torch
from small_runs import meta_trained

from mql.adaptation.adapters import ADAPTERS, Adaptation, prepare
from mql.adaptation.meta_training import MetaTraining
from mql.adaptation.playing import NewTask, Request, carry_out, nobody, simulated
from mql.adaptation.result import AdaptationResult
from mql.agent.agent import Agent
from mql.collecting.exploration import random_actions
from mql.collecting.rollout import collect
from mql.config.schema import AdaptConfig, AgentConfig
from mql.errors import UserError
from mql.evaluation.held_out import FIGURES, evaluate, summarize_results
from mql.tasks import registry
from mql.types import Episode

FAMILY = registry.load("point-robot")
TASKS = FAMILY.tasks("train")[:4]

by_method = pytest.mark.parametrize("method", ADAPTERS)


def agent() -> Agent:
    config = AgentConfig(hidden_sizes=(16,), context_dim=4, segment_length=4, burn_in=4)
    return Agent(FAMILY.obs_dim, FAMILY.action_dim, config, seed=0)


def config(method: str, **settings: Any) -> AdaptConfig:
    small = {"step1_updates": 1, "step2_updates": 1, "batch_size": 16, "round_updates": 2, "round_batch_size": 16}
    return AdaptConfig(**{"method": method, "adaptation_episodes": 5, **small, **settings})


def trained(of: Agent) -> MetaTraining:
    """Two episodes of random actions of each task."""
    rng, explorer = np.random.default_rng(0), random_actions(FAMILY)
    episodes = collect(of, FAMILY, [*TASKS, *TASKS], range(8), explorer=explorer, rng=rng)
    return meta_trained(of, FAMILY, episodes, n_tasks=len(TASKS))


def adapted(adaptation: Adaptation, place: int = 0, seed: int = 2) -> AdaptationResult:
    new = NewTask(adaptation.config.adaptation_episodes, seed)
    return carry_out(adaptation.begin(new), simulated(FAMILY, FAMILY.tasks("test")[place], seed=1, place=place))


def tensors(of: Agent) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in of.named_tensors()}


def same(a: Mapping[str, torch.Tensor], b: Mapping[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_every_choice_of_the_configuration_has_its_adapter() -> None:
    assert set(get_args(AdaptConfig.model_fields["method"].annotation)) == set(ADAPTERS)


@by_method
@pytest.mark.parametrize("episodes", [0, 1, 2, 5, 17, 40])
def test_no_method_asks_for_more_than_its_budget_and_every_episode_is_charged(method: str, episodes: int) -> None:
    adaptation = prepare(trained(agent()), config(method, adaptation_episodes=episodes))
    if method == "paper" and not episodes:
        with pytest.raises(UserError, match="there is none"):
            adapted(adaptation)
        return
    played = 0

    def play(request: Request) -> Sequence[Episode]:
        nonlocal played
        played += len(request.starts)
        return simulated(FAMILY, FAMILY.tasks("test")[0], seed=1)(request)

    report = carry_out(adaptation.begin(NewTask(episodes, 0)), play).report
    assert report["episodes_charged"] == played <= episodes
    assert report["new_transitions"] == played * FAMILY.episode_length
    if method == "paper":
        assert played == episodes
    if method in ("finetune", "simulate") and episodes > 1:
        assert played >= episodes - 1  # a single episode may be too few for another round


@by_method
def test_the_meta_trained_agent_is_untouched_and_equal_arguments_give_equal_results(method: str) -> None:
    meta_agent = agent()
    source = trained(meta_agent)
    moments = {name: tensor.clone() for name, tensor in source.moments.items()}
    before, adaptation = tensors(meta_agent), prepare(source, config(method))
    first, again = (adapted(adaptation) for _ in range(2))
    assert first.agent is not meta_agent and same(tensors(meta_agent), before) and same(dict(source.moments), moments)
    assert same(tensors(first.agent), tensors(again.agent))
    assert {**first.report, "adapt_seconds": None} == {**again.report, "adapt_seconds": None}
    assert json.loads(json.dumps(first.report)) == first.report


@by_method
def test_a_row_holds_the_report_and_none_where_the_method_has_no_such_figure(method: str) -> None:
    meta_agent = agent()
    results = evaluate(
        meta_agent,
        FAMILY,
        FAMILY.tasks("test")[:2],
        evaluation_episodes=1,
        seed=0,
        adaptation=prepare(trained(meta_agent), config(method)),
    )
    for result in results:
        row = result.to_json()
        assert result.report is not None and row.keys() >= {*FIGURES, *result.report}
        assert {name: row[name] for name in FIGURES} == {name: result.report.get(name) for name in FIGURES}
        assert (row["normalized_ess"] is None) == (method != "paper")
    gain = summarize_results(results)["gain"]["mean"]
    if method == "context":  # the same agent from the same start; products of other sizes round differently
        assert abs(gain) < 1e-5


def test_by_context_alone_nothing_is_learned_and_nothing_played() -> None:
    meta_agent = agent()
    result = carry_out(prepare(trained(meta_agent), config("context")).begin(NewTask(5, 0)), nobody)
    assert same(tensors(result.agent), tensors(meta_agent))
    report = {key: value for key, value in result.report.items() if key != "adapt_seconds"}
    assert report == {"method": "context", "episodes_charged": 0, "new_transitions": 0, "distance_moved": 0.0}


@by_method
def test_what_diverges_is_not_kept_and_its_report_names_the_rate(method: str) -> None:
    if method in ("context", "search"):
        return
    settings = config(method, lr=1e30, round_lr=1e30, step1_updates=9, round_updates=9, gate=False)
    meta_agent = agent()
    adaptation = prepare(trained(meta_agent), settings.model_copy(update={"adaptation_episodes": 3}))
    if method == "relabel":
        return
    result = adapted(adaptation)
    key = "lr" if method == "paper" else "round_lr"
    assert f"lower adapt.{key} than 1e+30" in str(result.report["failed"]) and result.report["accepted"] is False
    assert same(tensors(result.agent), tensors(meta_agent))


def test_continue_makes_the_updates_of_finetune_on_old_data_alone_and_plays_nothing() -> None:
    """Bit for bit, for any task: only the seed names what is drawn."""
    of = agent()
    for episodes, rounds in ((0, 1), (1, 1), (5, 3), (17, 5)):
        control = adapted(prepare(trained(of), config("continue", adaptation_episodes=episodes)))
        old = {"old_fraction": 1.0, "gate": False, "adaptation_episodes": episodes}
        tuned = adapted(prepare(trained(of), config("finetune", **old)))
        assert same(tensors(control.agent), tensors(tuned.agent)) and not same(tensors(control.agent), tensors(of))
        assert control.report["more_updates"] == rounds * 2 and control.report["episodes_charged"] == 0
        if episodes:
            assert tuned.report["episodes_charged"] == episodes
    elsewhere = adapted(prepare(trained(of), config("continue", adaptation_episodes=17)), place=3)
    assert same(tensors(elsewhere.agent), tensors(control.agent))
