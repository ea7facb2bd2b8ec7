"""The search for a context: offsets along the training tasks' axes, baked into the actor."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mql.adaptation import search
from mql.adaptation.playing import NewTask, Request
from mql.adaptation.search import Axes, offsets_of, shifted
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


@pytest.mark.parametrize(("budget", "tried"), [(0, 0), (1, 0), (2, 2), (5, 4), (13, 10), (17, 13), (40, 13)])
def test_a_budget_says_how_many_offsets_are_tried(budget: int, tried: int) -> None:
    offsets = offsets_of(np.eye(3, 4, dtype=np.float32), budget)
    assert len(offsets) == tried
    if tried:
        assert not offsets[0].any() and len({tuple(offset) for offset in offsets}) == tried


def found(returns: dict[tuple[float, ...], float], budget: int, noise: float = 0.0) -> tuple[tuple[float, ...], int]:
    """Search where an offset's return is a number of its own, 0.0 elsewhere; return the offset kept and the charge."""
    from mql.adaptation.meta_training import MetaTraining

    own, played = agent(), 0
    axes = Axes(np.eye(3, 4, dtype=np.float32), noise)
    trained = MetaTraining(own, None)  # type: ignore[arg-type]
    process = search.process(trained, axes, AdaptConfig(method="search"), NewTask(budget, 0))

    def value(request: Request) -> Episode:
        moved = request.agent.online.actor.tanh_layers()[0]
        first = own.online.actor.tanh_layers()[0]
        change = (moved.bias - first.bias).detach()
        solved = torch.linalg.lstsq(first.weight[:, -4:], change[:, None]).solution[:, 0]
        reward = returns.get(tuple(float(round(v)) + 0.0 for v in solved.detach().numpy()), 0.0)
        return Episode(
            np.zeros((2, 3), np.float32),
            np.zeros((1, 2), np.float32),
            np.array([reward], np.float32),
            False,
            True,
            0,
            0,
        )

    try:
        request = next(process)
        while True:
            played += len(request.starts)
            request = process.send([value(request) for _ in request.starts])
    except StopIteration as end:
        return tuple(end.value.report["offset"] or ()), played


def test_the_best_offset_is_found_and_all_are_charged() -> None:
    best = (0.0, -2.0, 0.0, 0.0)
    offset, played = found({best: 5.0, (1.0, 0.0, 0.0, 0.0): 4.0}, 17)
    assert offset == best and played == 17
    assert found({}, 17) == ((0.0, 0.0, 0.0, 0.0), 17)
    assert found({(1.0, 0.0, 0.0, 0.0): 4.0}, 2)[0] == (1.0, 0.0, 0.0, 0.0)
    assert found({best: 5.0}, 17, noise=100.0)[0] == (0.0, 0.0, 0.0, 0.0)  # no more than chance


def test_what_can_not_be_searched_is_refused() -> None:
    from mql.adaptation.meta_training import MetaTraining

    blind = agent(use_context=False)
    with pytest.raises(UserError, match="no context to search in"):
        search.prepare(MetaTraining(blind, None), AdaptConfig(method="search"))  # type: ignore[arg-type]
