"""Collection: whole episodes, in the order of the tasks, whoever runs them."""

from __future__ import annotations

import numpy as np
import pytest

from mql.agent.agent import Agent
from mql.collecting.rollout import collect
from mql.config.schema import AgentConfig
from mql.tasks import registry
from mql.types import Episode


def episodes(
    family_name: str, *, threads: int, lanes: int = 5, mode: str = "carry", **options: object
) -> list[Episode]:
    family = registry.load(family_name)
    config = AgentConfig.model_validate(
        {"hidden_sizes": (16,), "context_dim": 4, "context_mode": mode, "shared_encoder": mode == "carry"}
    )
    agent = Agent(family.obs_dim, family.action_dim, config, seed=0)
    return collect(
        agent,
        family,
        family.tasks("train")[:lanes],
        list(range(lanes)),
        rng=np.random.default_rng(1),
        threads=threads,
        **options,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("mode", ["carry", "window"])
@pytest.mark.parametrize("options", [{}, {"exploration_noise": 0.3}, {"random_actions": True}])
@pytest.mark.parametrize("threads", [2, 8])
def test_episodes_do_not_depend_on_the_number_of_threads(mode: str, options: dict[str, object], threads: int) -> None:
    alone = episodes("reacher-goal", threads=1, mode=mode, **options)
    shared = episodes("reacher-goal", threads=threads, mode=mode, **options)
    assert [e.task for e in shared] == [e.task for e in alone]
    assert [e.seed for e in shared] == [0, 1, 2, 3, 4]
    for a, b in zip(alone, shared, strict=True):
        assert np.allclose(a.action, b.action, atol=1e-4)  # products of other sizes round differently
        assert np.allclose(a.obs, b.obs, atol=1e-3)


def test_equal_arguments_give_equal_episodes() -> None:
    first, second = (episodes("reacher-goal", threads=2, exploration_noise=0.3) for _ in range(2))
    assert all(
        np.array_equal(a.obs, b.obs) and np.array_equal(a.action, b.action) for a, b in zip(first, second, strict=True)
    )


def test_exploration_needs_a_generator_and_every_task_a_seed() -> None:
    family = registry.load("point-robot")
    agent = Agent(family.obs_dim, family.action_dim, AgentConfig(hidden_sizes=(8,)), seed=0)
    with pytest.raises(ValueError, match="random generator"):
        collect(agent, family, family.tasks("train")[:1], [0], exploration_noise=0.1)
    with pytest.raises(ValueError, match="1 tasks but 2 seeds"):
        collect(agent, family, family.tasks("train")[:1], [0, 1])
