"""The pull that is free of units: a ball around theta_meta, as large as a part of the way that goes without a pull."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from mql.adaptation.meta_training import MetaTraining
from mql.adaptation.paper import Weighed, learn, prepare
from mql.agent.agent import Agent
from mql.agent.parameter_vector import ParameterVector
from mql.config.schema import ALGORITHMS, AdaptConfig, AgentConfig
from mql.learning.optimizer import Adam, AdamLearner
from mql.learning.replay import Replay
from mql.types import Episode

OBS, ACTION, LENGTH = 3, 2, 16


def episode(rng: np.random.Generator, task: int = 0) -> Episode:
    return Episode(
        obs=rng.standard_normal((LENGTH + 1, OBS)).astype(np.float32),
        action=rng.uniform(-1, 1, (LENGTH, ACTION)).astype(np.float32),
        reward=rng.standard_normal(LENGTH).astype(np.float32),
        terminated=False,
        truncated=True,
        task=task,
        seed=0,
    )


def agent(algorithm: str = "td3") -> Agent:
    config = AgentConfig(algorithm=algorithm, hidden_sizes=(16,), context_dim=4, segment_length=4, burn_in=4)  # type: ignore[arg-type]
    return Agent(OBS, ACTION, config, seed=0)


META, NEW = agent(), [episode(np.random.default_rng(7))]


def adapted(*, of: Agent = META, reward_unit: float = 1.0, **settings: Any) -> Weighed:
    rng = np.random.default_rng(0)
    replay = Replay(n_tasks=2, obs_dim=OBS, action_dim=ACTION, capacity=400, episode_length=LENGTH, context_dim=4)
    for number in range(8):
        one = episode(rng, task=number % 2)
        replay.append(dataclasses.replace(one, reward=one.reward * np.float32(reward_unit)))
    new = [dataclasses.replace(one, reward=one.reward * np.float32(reward_unit)) for one in NEW]
    values = {"step1_updates": 6, "step2_updates": 20, "batch_size": 32, "lr": 1e-3, "weights": "uniform", **settings}
    config = AdaptConfig(**values)
    return learn(of, prepare(MetaTraining(of, replay), config), new, config, seed=1)


def same(a: Agent, b: Agent) -> bool:
    return all(torch.equal(x, y) for (_, x), (_, y) in zip(a.named_tensors(), b.named_tensors(), strict=True))


def way(of: Agent, meta: Agent, part: str) -> float:
    """The distance of one part, in double precision."""
    [own, before] = [
        np.concatenate([p.detach().numpy().ravel() for p in one.online.parts()[part]]).astype(np.float64)
        for one in (of, meta)
    ]
    return float(np.sqrt(((own - before) ** 2).sum()))


@pytest.mark.parametrize("radius", [0.0, 0.1, 0.505, 2.0])
def test_a_step_ends_on_the_sphere_or_where_adam_alone_would_have_ended(radius: float) -> None:
    """By hand: PyTorch's own Adam, then the point on the straight way back."""
    start, gradient, anchor = (torch.tensor(v) for v in ([3.0, -4.0, 0.5], [1.0, -2.0, 0.1], [3.0, -4.0, 0.0]))
    ours = ParameterVector([torch.nn.Parameter(start[:2].clone()), torch.nn.Parameter(start[2:].clone())])
    theirs = torch.nn.Parameter(start.clone())
    theirs.grad = gradient.clone()
    torch.optim.Adam([theirs], lr=0.01).step()
    loss = (torch.cat(list(ours.parameters)) * gradient).sum()
    Adam(ours, anchor=anchor).step(loss, lr=0.01, radius=torch.tensor(radius))

    offset = (theirs.detach() - anchor).double().numpy()
    distance = float(np.sqrt((offset**2).sum()))
    expected = anchor.numpy() + offset * min(1.0, radius / distance)
    np.testing.assert_allclose(ours.data, expected, rtol=0, atol=1e-6)
    if radius == 0.0:
        assert torch.equal(ours.data, anchor)
    if radius > distance:
        assert torch.equal(ours.data, theirs.detach())


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("radius", [1.0, 7.0])
def test_a_ball_as_large_as_the_way_without_a_pull_is_none(radius: float, algorithm: str) -> None:
    meta = agent(algorithm)
    free = adapted(of=meta, proximal_coef=0.0)
    held = adapted(of=meta, pull="step", pull_radius=radius)
    assert same(free.agent, held.agent)
    assert held.report["proximal_coef"] is None and "distance_free" not in free.report


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_ball_of_nothing_leaves_the_meta_trained_parameters(algorithm: str) -> None:
    meta = agent(algorithm)
    held = adapted(of=meta, pull="step", pull_radius=0.0)
    for ours, before in zip(held.agent.online.parameters(), meta.online.parameters(), strict=True):
        assert torch.equal(ours, before)
    assert held.report["distance_free"] > 0.0


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("radius", [0.3, 0.9])
def test_no_step_leaves_the_ball_and_each_part_has_its_own(
    radius: float, algorithm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    meta = agent(algorithm)
    walked: list[dict[str, list[float]]] = []
    begin, step = AdamLearner.__init__, AdamLearner.step

    def begun(learner: AdamLearner, *arguments: Any, **named: Any) -> None:
        begin(learner, *arguments, **named)
        walked.append({part: [] for part in learner.agent.parts})

    def watched(learner: AdamLearner, part: str, loss: torch.Tensor) -> None:
        step(learner, part, loss)
        walked[-1][part].append(way(learner.agent, meta, part))

    monkeypatch.setattr(AdamLearner, "__init__", begun)
    monkeypatch.setattr(AdamLearner, "step", watched)
    adapted(of=meta, pull="step", pull_radius=radius)
    free, held = walked
    for part, distances in free.items():
        most = radius * max(distances)
        assert len(held[part]) == len(distances) > 0
        assert max(held[part]) <= most * (1 + 1e-4)
        assert max(held[part]) > 0.99 * most, "it is reached: a part is not held back by another one's distance"


def test_the_report_has_the_way_without_a_pull() -> None:
    free, held = adapted(proximal_coef=0.0), adapted(pull="step", pull_radius=0.5)
    moved = np.sqrt(sum(way(free.agent, META, part) ** 2 for part in META.parts))
    length = np.sqrt(sum(float((p.detach().double() ** 2).sum()) for p in META.online.parameters()))
    assert held.report["distance_free"] == pytest.approx(moved / length, rel=1e-4)


def test_the_part_of_the_way_depends_neither_on_the_unit_of_the_reward_nor_on_the_rate() -> None:
    """A penalty in the loss, of one strength, keeps all of the way in one unit and little of it in another."""
    cases = ((1e-3, 1e-3), (1e3, 1e-3), (1.0, 1e-5))

    def parts_of_the_way(**settings: Any) -> list[float]:
        found = []
        for reward_unit, lr in cases:
            free, held = (
                adapted(reward_unit=reward_unit, lr=lr, **one).agent for one in ({"proximal_coef": 0.0}, settings)
            )
            found.append(way(held, META, "critic") / way(free, META, "critic"))
        return found

    by_step = parts_of_the_way(pull="step", pull_radius=0.5)
    by_loss = parts_of_the_way(proximal_coef=1.0, step1_penalty=True)
    assert np.allclose(by_step, 0.5, rtol=0, atol=0.1)
    assert max(by_loss) - min(by_loss) > 0.2


def test_equal_arguments_give_equal_results_and_theta_meta_is_untouched() -> None:
    before = {name: tensor.clone() for name, tensor in META.named_tensors()}
    first, again = (adapted(pull="step", pull_radius=0.4) for _ in range(2))
    assert same(first.agent, again.agent)
    assert all(torch.equal(tensor, before[name]) for name, tensor in META.named_tensors())
