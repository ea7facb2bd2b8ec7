"""Adaptation is a pure function of (theta_meta, old data, new data, seed), in the order and meaning of the paper."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mql.adaptation.meta_training import MetaTraining
from mql.adaptation.old_data import ScoredData
from mql.adaptation.paper import learn, prepare
from mql.agent.agent import Agent
from mql.config.schema import ALGORITHMS, AdaptConfig, AgentConfig
from mql.errors import UserError
from mql.learning.contexts import context_plan
from mql.learning.replay import Replay
from mql.learning.td3 import TD3
from mql.types import Batch, Episode

OBS, ACTION, LENGTH, TASKS = 3, 2, 20, 3


def episode(rng: np.random.Generator, *, task: int = 0, shift: float = 0.0, length: int = LENGTH) -> Episode:
    return Episode(
        obs=(rng.standard_normal((length + 1, OBS)) + shift).astype(np.float32),
        action=rng.uniform(-1, 1, (length, ACTION)).astype(np.float32),
        reward=(rng.standard_normal(length) + shift).astype(np.float32),
        terminated=False,
        truncated=True,
        task=task,
        seed=0,
    )


def agent(mode: str = "carry", encoder: str = "gru", algorithm: str = "td3") -> Agent:
    config = AgentConfig(
        encoder=encoder,  # type: ignore[arg-type]
        algorithm=algorithm,  # type: ignore[arg-type]
        hidden_sizes=(16, 16),
        context_dim=4,
        context_length=5,
        context_mode=mode,  # type: ignore[arg-type]
        segment_length=4,
        burn_in=3,
        shared_encoder=mode == "carry",
    )
    return Agent(OBS, ACTION, config, seed=0)


def old_data(shift: float = 0.0) -> Replay:
    rng = np.random.default_rng(0)
    replay = Replay(n_tasks=TASKS, obs_dim=OBS, action_dim=ACTION, capacity=600, episode_length=LENGTH, context_dim=4)
    for number in range(24):
        replay.append(episode(rng, task=number % TASKS, shift=shift))
    return replay


def config(**changes: object) -> AdaptConfig:
    values = {"step1_updates": 3, "step2_updates": 4, "batch_size": 32, "lr": 1e-3, **changes}
    return AdaptConfig(**values)  # type: ignore[arg-type]


def tensors(of: Agent) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in of.named_tensors()}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


NEW = [episode(np.random.default_rng(7))]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("mode", ["carry", "window"])
@pytest.mark.parametrize("weighting", ["loss", "sample"])
def test_meta_parameters_and_old_data_stay_bit_identical(mode: str, weighting: str, algorithm: str) -> None:
    meta_agent, replay = agent(mode, algorithm=algorithm), old_data()
    meta = prepare(MetaTraining(meta_agent, replay), config())
    before, table = tensors(meta_agent), replay.table.clone()
    adapted = learn(meta_agent, meta, NEW, config(weighting=weighting), seed=1)
    assert same(before, tensors(meta_agent))
    assert torch.equal(table, replay.table)
    assert not any(p.grad is not None for p in meta_agent.online.parameters())
    moved = tensors(adapted.agent)
    assert all(not torch.equal(before[name], moved[name]) for name in before if name.startswith("online."))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize(("mode", "encoder"), [("carry", "gru"), ("window", "gru"), ("window", "transformer")])
def test_equal_arguments_equal_results_in_any_order(mode: str, encoder: str, algorithm: str) -> None:
    meta_agent = agent(mode, encoder, algorithm)
    meta = prepare(MetaTraining(meta_agent, old_data()), config())
    other = [episode(np.random.default_rng(8), shift=0.5)]
    first = learn(meta_agent, meta, NEW, config(), seed=1)
    learn(meta_agent, meta, other, config(), seed=2)  # nothing leaks from one task to the next
    again = learn(meta_agent, meta, NEW, config(), seed=1)
    assert same(tensors(first.agent), tensors(again.agent))
    assert np.array_equal(first.weights, again.weights)
    ignored = {"adapt_seconds": 0.0}
    assert {**first.report, **ignored} == {**again.report, **ignored}


def test_lambda_is_one_minus_ess_and_in_range() -> None:
    meta_agent = agent()
    meta = prepare(MetaTraining(meta_agent, old_data()), config())
    near = learn(meta_agent, meta, NEW, config(), seed=1).report
    far = learn(meta_agent, meta, [episode(np.random.default_rng(7), shift=1.5)], config(), seed=1).report
    for report in (near, far):
        assert report["proximal_coef"] == pytest.approx(1.0 - report["normalized_ess"])
        assert 0.0 <= report["proximal_coef"] <= 1.0
    assert far["normalized_ess"] < near["normalized_ess"]
    assert far["classifier_auc"] is not None and near["classifier_auc"] is not None
    assert far["classifier_auc"] > near["classifier_auc"]


@pytest.mark.parametrize("weighting", ["loss", "sample"])
def test_uniform_weights_mean_lambda_zero_and_plain_training(weighting: str) -> None:
    """The control: step 2 is then nothing but more meta-training on the old data."""
    meta_agent = agent()
    meta = prepare(MetaTraining(meta_agent, old_data()), config())
    control = learn(meta_agent, meta, NEW, config(weights="uniform", weighting=weighting), seed=1)
    assert control.report["proximal_coef"] == 0.0
    assert control.report["normalized_ess"] == 1.0
    assert (control.weights == 1.0).all()
    fixed = learn(meta_agent, meta, NEW, config(weights="uniform", weighting=weighting, proximal_coef=0.0), seed=1)
    assert same(tensors(control.agent), tensors(fixed.agent))


def test_drawing_by_equal_weights_and_weighting_by_them_learn_from_one_distribution() -> None:
    meta_agent = agent()
    meta = prepare(MetaTraining(meta_agent, old_data()), config())
    for weighting in ("loss", "sample"):
        report = learn(meta_agent, meta, NEW, config(weights="uniform", weighting=weighting), seed=1).report
        assert report["fraction_zero_weight"] == 0.0


def test_all_weights_zero_skips_step_two_and_says_so() -> None:
    meta_agent = agent()
    meta = prepare(MetaTraining(meta_agent, old_data()), config())
    # No row looks new enough once only weights above exp(5) count.
    settings = config(min_weight=140.0, max_log_weight=5.0)
    adapted = learn(meta_agent, meta, NEW, settings, seed=1)
    assert adapted.report["step2_skipped"]
    assert adapted.report["normalized_ess"] == 0.0
    assert adapted.report["proximal_coef"] == 1.0
    step1_only = learn(meta_agent, meta, NEW, settings.model_copy(update={"step2_updates": 0}), seed=1)
    assert same(tensors(adapted.agent), tensors(step1_only.agent))


@pytest.mark.parametrize("weighting", ["loss", "sample"])
@pytest.mark.parametrize("mode", ["carry", "window"])
def test_an_episode_that_ends_at_its_first_step(mode: str, weighting: str) -> None:
    """From a single row nothing can be learned about old ones; with two such episodes there is a classifier."""
    meta_agent, rng = agent(mode), np.random.default_rng(7)
    meta = prepare(MetaTraining(meta_agent, old_data()), config())
    one, two = (
        learn(meta_agent, meta, [episode(rng, length=1) for _ in range(n)], config(weighting=weighting), seed=1)
        for n in (1, 2)
    )
    assert one.report["new_transitions"] == 1 and two.report["new_transitions"] == 2
    assert one.report["step2_skipped"] and one.report["proximal_coef"] == 1.0
    assert one.report["classifier_auc"] is None and two.report["classifier_auc"] is not None
    for adapted in (one, two):
        assert all(tensor.isfinite().all() for tensor in tensors(adapted.agent).values())
    assert not same(tensors(one.agent), tensors(meta_agent)), "it was learned from"


def test_no_updates_no_change() -> None:
    meta_agent = agent()
    meta = prepare(MetaTraining(meta_agent, old_data()), config())
    adapted = learn(meta_agent, meta, NEW, config(step1_updates=0, step2_updates=0), seed=1)
    assert same(tensors(meta_agent), tensors(adapted.agent))


def distance(a: Agent, b: Agent) -> float:
    pairs = zip(a.online.parameters(), b.online.parameters(), strict=True)
    return float(sum(((p - q) ** 2).sum().item() for p, q in pairs)) ** 0.5


def test_a_stronger_pull_keeps_the_policy_nearer() -> None:
    meta_agent = agent()
    meta = prepare(MetaTraining(meta_agent, old_data()), config())
    free, held = (
        learn(meta_agent, meta, NEW, config(proximal_coef=coef, step2_updates=150), seed=1).agent for coef in (0.0, 1.0)
    )
    assert distance(held, meta_agent) < distance(free, meta_agent)


def test_step_one_penalty_can_be_switched_off() -> None:
    meta_agent = agent()
    meta = prepare(MetaTraining(meta_agent, old_data()), config())
    results = [
        learn(meta_agent, meta, NEW, config(proximal_coef=1.0, step1_penalty=on, step2_updates=0), seed=1).agent
        for on in (True, False)
    ]
    assert not same(tensors(results[0]), tensors(results[1]))


@pytest.mark.parametrize("mode", ["carry", "window"])
def test_step_one_can_draw_batches_of_the_new_data(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[torch.Tensor] = []
    update = TD3.update

    def watched(learner: TD3, batch: Batch, *, generator: torch.Generator) -> dict[str, torch.Tensor]:
        drawn.append(batch.transition.obs.clone())
        return update(learner, batch, generator=generator)

    monkeypatch.setattr(TD3, "update", watched)
    meta_agent = agent(mode)
    small = config(step1_batch_size=16, step1_updates=5, step2_updates=0)
    meta = prepare(MetaTraining(meta_agent, old_data()), small)
    once, again = (learn(meta_agent, meta, NEW, small, seed=1).agent for _ in range(2))
    new = {tuple(row) for row in NEW[0].obs[:-1].tolist()}
    assert [len(obs) for obs in drawn] == [16] * 10
    assert all(tuple(row) in new for obs in drawn for row in obs.tolist())
    assert not torch.equal(drawn[0], drawn[1]) and torch.equal(drawn[0], drawn[5])
    assert same(tensors(once), tensors(again)) and not same(tensors(once), tensors(meta_agent))


@pytest.mark.parametrize(("mode", "encoder"), [("carry", "gru"), ("window", "gru"), ("window", "transformer")])
def test_features_are_the_states_the_policy_acted_with(mode: str, encoder: str) -> None:
    meta_agent = agent(mode, encoder)
    replay = old_data()
    meta: ScoredData = prepare(MetaTraining(meta_agent, replay), config())
    rows = replay.table[torch.from_numpy(meta.rows)].numpy()
    context = meta_agent.begin(1)
    kept = 2.0**-11 if mode == "carry" else 1e-6  # the replay keeps states in half precision
    for t in range(LENGTH):
        assert np.allclose(meta.features[t], context.state[0], atol=kept)
        row = rows[t : t + 1]
        meta_agent.observe(context, row[:, :OBS], row[:, OBS:-1], row[:, -1])


def test_scored_rows_are_bounded_and_observations_can_be_features() -> None:
    meta_agent, replay = agent(), old_data()
    meta = prepare(MetaTraining(meta_agent, replay), config(scored_transitions=100, features="obs_context"))
    assert meta.features.shape == (100, OBS + 4)
    assert np.array_equal(meta.features[:, :OBS], replay.table[torch.from_numpy(meta.rows)][:, :OBS].numpy())


@pytest.mark.parametrize("mode", ["carry", "window"])
@pytest.mark.parametrize("weighting", ["loss", "sample"])
def test_few_scored_rows_come_from_all_tasks_and_the_report_says_so(mode: str, weighting: str) -> None:
    meta_agent, replay = agent(mode), old_data()
    settings = config(scored_transitions=25, weighting=weighting)
    adapted = learn(meta_agent, prepare(MetaTraining(meta_agent, replay), settings), NEW, settings, seed=1)
    assert adapted.report["tasks_covered"] == TASKS and len(adapted.weights) == 24
    one = config(scored_transitions=1, weights="uniform")
    assert (
        learn(meta_agent, prepare(MetaTraining(meta_agent, replay), one), NEW, one, seed=1).report["tasks_covered"] == 1
    )


def test_preparing_leaves_the_states_of_training_as_they_are() -> None:
    replay = old_data()
    replay.refresh_states(agent().online.critic_encoder)
    kept = replay.states.clone()
    other = Agent(OBS, ACTION, agent().config, seed=1)
    meta = prepare(MetaTraining(other, replay), config())
    assert torch.equal(replay.states, kept)
    assert not torch.equal(meta.replay.states, kept)


def test_without_new_data_there_is_nothing_to_adapt_to() -> None:
    meta_agent = agent()
    with pytest.raises(UserError, match="there is none"):
        learn(meta_agent, prepare(MetaTraining(meta_agent, old_data()), config()), [], config(), seed=1)


def test_new_episodes_of_several_lengths() -> None:
    meta_agent = agent()
    new = [episode(np.random.default_rng(i), length=length) for i, length in enumerate((20, 7, 1))]
    adapted = learn(meta_agent, prepare(MetaTraining(meta_agent, old_data()), config()), new, config(), seed=1)
    assert adapted.report["new_transitions"] == 28


def test_fresh_optimiser_and_own_learning_rate() -> None:
    """The first Adam step of an adaptation has the size of its own learning rate, whatever came before."""
    meta_agent = agent()
    learner = TD3(meta_agent, lr=1e-2)
    replay = old_data()
    rng, noise = np.random.default_rng(0), torch.Generator().manual_seed(0)
    for _ in range(3):
        learner.update(replay.sample(32, context_plan(meta_agent.config), rng), generator=noise)
    meta = prepare(MetaTraining(meta_agent, replay), config())
    adapted = learn(meta_agent, meta, NEW, config(step1_updates=1, step2_updates=0, lr=1e-4), seed=1).agent
    largest = max(
        float((p - q).detach().abs().max())
        for p, q in zip(adapted.online.parameters(), meta_agent.online.parameters(), strict=True)
    )
    assert largest == pytest.approx(1e-4, rel=1e-2)
