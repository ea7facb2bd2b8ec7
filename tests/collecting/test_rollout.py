"""Collection: whole episodes, in the order of the tasks, whoever runs them."""

from __future__ import annotations

import numpy as np
import pytest

from mql.agent.agent import Agent
from mql.collecting.exploration import EXPLORERS, Explorer, explorer_for, random_actions
from mql.collecting.rollout import collect
from mql.config.schema import AgentConfig
from mql.tasks import registry
from mql.tasks.family import TaskFamily
from mql.types import Episode


def episodes(
    family_name: str, *, threads: int, lanes: int = 5, mode: str = "carry", explorer: str | None = None
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
        explorer=explorer_of(family, explorer),
        threads=threads,
    )


def explorer_of(family: TaskFamily, kind: str | None) -> Explorer | None:
    if kind is None:
        return None
    return random_actions(family) if kind == "random" else explorer_for(family, kind, 0.3)


@pytest.mark.parametrize("mode", ["carry", "window"])
@pytest.mark.parametrize("explorer", [None, "random", *EXPLORERS])
@pytest.mark.parametrize("threads", [2, 8])
def test_episodes_do_not_depend_on_the_number_of_threads(mode: str, explorer: str | None, threads: int) -> None:
    alone = episodes("reacher-goal", threads=1, mode=mode, explorer=explorer)
    shared = episodes("reacher-goal", threads=threads, mode=mode, explorer=explorer)
    assert [e.task for e in shared] == [e.task for e in alone]
    assert [e.seed for e in shared] == [0, 1, 2, 3, 4]
    for a, b in zip(alone, shared, strict=True):
        assert np.allclose(a.action, b.action, atol=1e-4)  # products of other sizes round differently
        assert np.allclose(a.obs, b.obs, atol=1e-3)


def test_equal_arguments_give_equal_episodes() -> None:
    first, second = (episodes("reacher-goal", threads=2, explorer="white") for _ in range(2))
    assert all(
        np.array_equal(a.obs, b.obs) and np.array_equal(a.action, b.action) for a, b in zip(first, second, strict=True)
    )


def test_exploration_needs_a_generator_and_every_task_a_seed() -> None:
    family = registry.load("point-robot")
    agent = Agent(family.obs_dim, family.action_dim, AgentConfig(hidden_sizes=(8,)), seed=0)
    with pytest.raises(ValueError, match="random generator"):
        collect(agent, family, family.tasks("train")[:1], [0], explorer=random_actions(family))
    with pytest.raises(ValueError, match="1 tasks but 2 seeds"):
        collect(agent, family, family.tasks("train")[:1], [0, 1])
    with pytest.raises(ValueError, match="1 episodes but 0 random generators"):
        collect(agent, family, family.tasks("train")[:1], [0], explorer=random_actions(family), rng=[])
