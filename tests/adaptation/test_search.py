"""The search for a context: offsets along the training tasks' axes, baked into the actor."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from mql.adaptation import search
from mql.adaptation.gate import Gate
from mql.adaptation.meta_training import MetaTraining
from mql.adaptation.playing import NewTask, Request, carry_out
from mql.adaptation.result import AdaptationResult
from mql.adaptation.search import shifted
from mql.adaptation.training_tasks import TrainingTasks, with_fixed_context
from mql.agent.agent import Agent
from mql.config.schema import AdaptConfig, AgentConfig
from mql.errors import UserError
from mql.types import Episode


def agent(**config: object) -> Agent:
    settings = {"hidden_sizes": (16,), "context_dim": 4, "segment_length": 4, "burn_in": 4, **config}
    return Agent(3, 2, AgentConfig.model_validate(settings), seed=0)


@pytest.mark.parametrize("algorithm", ["td3", "sac"])
def test_an_offset_in_the_actor_is_an_offset_of_the_context(algorithm: str) -> None:
    own, rng = agent(algorithm=algorithm), np.random.default_rng(0)
    offset = rng.normal(size=4).astype(np.float32)
    moved = shifted(own, offset)
    obs, z = torch.from_numpy(rng.normal(size=(5, 3))).float(), torch.from_numpy(rng.normal(size=(5, 4))).float()
    wanted = own.online.actor.act(obs, z + torch.from_numpy(offset))
    assert torch.allclose(moved.online.actor.act(obs, z), wanted, atol=1e-6)
    assert torch.allclose(moved.target.actor.act(obs, z), wanted, atol=1e-6)
    assert not torch.allclose(own.online.actor.act(obs, z), wanted, atol=1e-3)
    # The numpy policy acts on it, too.
    context = moved.begin(5)
    context.state = z.numpy()
    assert np.allclose(moved.act(obs.numpy(), context), wanted.detach().numpy(), atol=1e-5)


def test_axes_are_the_principal_components_of_the_tasks_means() -> None:
    rng = np.random.default_rng(0)
    means = rng.normal(size=(50, 4)) * [3.0, 1.0, 0.1, 0.0] + 7.0
    axes = search._principal(means, 3)
    values, vectors = np.linalg.eigh(np.cov(means.T))
    for axis, value, vector in zip(axes, values[::-1], vectors.T[::-1], strict=False):
        assert np.linalg.norm(axis) == pytest.approx(np.sqrt(value), rel=1e-5)
        assert abs(axis @ vector) == pytest.approx(np.sqrt(value), rel=1e-5)
    assert len(search._principal(np.tile(means[:1], (5, 1)), 3)) == 0  # all tasks look alike


def training(count: int = 40) -> TrainingTasks:
    """Training tasks whose mean contexts lie in a row, and who have no episodes."""
    contexts = np.linspace([-1.0, 0.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0], count).astype(np.float32)
    return TrainingTasks(np.arange(count) + 100, contexts, [])


def episode(reward: float) -> Episode:
    still = np.zeros((2, 3), np.float32)
    return Episode(still, np.zeros((1, 2), np.float32), np.array([reward], np.float32), False, True, 0, 0)


Value = Callable[[np.ndarray, bool], float]


def searched(value: Value, budget: int, noise: float = 0.0) -> tuple[AdaptationResult, list[Request]]:
    """Search where an agent is worth `value` of (what is added to z, whether z itself counts)."""
    own, asked = agent(), []
    first = own.online.actor.tanh_layers()[0]
    gate = Gate(noise=noise, familiar_from=np.inf, margin=0.1)
    prepared = search.Prepared(None, training(), np.eye(3, 4, dtype=np.float32), gate)
    process = search.process(MetaTraining(own, None), prepared, AdaptConfig(method="search"), NewTask(budget, 0))  # type: ignore[arg-type]

    def play(request: Request) -> list[Episode]:
        asked.append(request)
        moved = request.agent.online.actor.tanh_layers()[0]
        added = torch.linalg.lstsq(first.weight[:, -4:], (moved.bias - first.bias)[:, None]).solution[:, 0]
        worth = value(np.round(added.detach().numpy(), 3) + 0.0, bool(moved.weight[:, -4:].any()))
        return [episode(worth) for _ in request.starts]

    return carry_out(process, play), asked


@pytest.mark.parametrize(("budget", "tried"), [(0, 0), (1, 0), (2, 1), (5, 4), (8, 5), (13, 9), (20, 15), (40, 19)])
def test_a_budget_says_how_many_contexts_are_tried(budget: int, tried: int) -> None:
    result, asked = searched(lambda added, reads: 0.0, budget)
    assert result.report["tried"] == tried and not result.report["accepted"]
    charged = sum(len(request.starts) for request in asked)
    assert charged == budget if 2 <= budget <= 20 else charged <= budget


@pytest.mark.parametrize("budget", [5, 8, 20])
def test_the_best_offset_is_found(budget: int) -> None:
    wanted = [1.0, 0.0, 0.0, 0.0]
    result, _ = searched(lambda added, reads: 5.0 if reads and list(added) == wanted else 0.0, budget)
    assert result.report["chosen"] == {"offset": wanted} and result.report["accepted"]
    assert not searched(lambda added, reads: float(reads and list(added) == wanted), budget, 100.0)[0].report[
        "accepted"
    ]


@pytest.mark.parametrize("budget", [5, 8, 20])
def test_the_best_training_task_is_found(budget: int) -> None:
    # An agent without an episode of its own to tell has contexts near zero, which is the middle of the row.
    result, _ = searched(lambda added, reads: 0.0 if reads else 1.0 - abs(float(added[0])), budget)
    chosen = result.report["chosen"]["context_of"]
    assert chosen in (119, 120)


def test_a_fixed_context_is_acted_on_whatever_is_met() -> None:
    own, rng = agent(), np.random.default_rng(0)
    context = rng.normal(size=4).astype(np.float32)
    fixed = with_fixed_context(own, context)
    obs, z = torch.from_numpy(rng.normal(size=(5, 3))).float(), torch.from_numpy(rng.normal(size=(5, 4))).float()
    wanted = own.online.actor.act(obs, torch.from_numpy(context).expand(5, 4))
    assert torch.allclose(fixed.online.actor.act(obs, z), wanted, atol=1e-6)
    assert not torch.allclose(own.online.actor.act(obs, z), wanted, atol=1e-3)


def test_nearest_is_told_in_standard_deviations_along_the_axes() -> None:
    rng = np.random.default_rng(0)
    contexts = (rng.normal(size=(30, 4)) * [10.0, 0.1, 1.0, 1.0]).astype(np.float32)
    tasks, here = TrainingTasks(np.arange(30), contexts, []), rng.normal(size=4)
    away = contexts - here
    distances = np.einsum("ki,ij,kj->k", away, np.linalg.inv(np.cov(contexts.T)), away)
    assert list(tasks.nearest(here)) == list(np.argsort(distances))


def test_what_can_not_be_searched_is_refused() -> None:
    blind = agent(use_context=False)
    with pytest.raises(UserError, match="no context to search in"):
        search.prepare(MetaTraining(blind, None), AdaptConfig(method="search"))  # type: ignore[arg-type]
